import { describe, expect, it } from "vitest";
import { readInfo } from "./frame";

describe("what is loaded", () => {
  it("has the card of each SAE, without what is no card", () => {
    const card = [["L0", "32"], ["<b>", "<i>x</i>"], ["", "nothing"], ["alone"], 3, null, [null, "x"]];
    const info = readInfo({
      model: "m",
      saes: [{ name: "s", card }, { name: "t", card: "no" }, { name: "u" }],
    });
    expect(info?.saes.map((sae) => sae.card)).toEqual([
      [
        ["L0", "32"],
        ["<b>", "<i>x</i>"],
      ],
      [],
      [],
    ]);
    const many = Array.from({ length: 500 }, (_, i) => [`term ${i}`, "words"]);
    expect(readInfo({ model: "m", saes: [{ name: "s", card: many }] })?.saes[0]?.card).toHaveLength(40);
  });
});
