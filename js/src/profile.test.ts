import { describe, expect, it } from "vitest";
import { bars } from "./profile";

describe("the profile of a run", () => {
  it("has a bar for each token that is lit, around its place", () => {
    expect(bars([0.25, 0, 1])).toBe("M-0.4 1V0.750H0.4V1zM1.6 1V0.000H2.4V1z");
    expect(bars([])).toBe("");
  });

  it("joins tokens where there are many, and loses no bright one", () => {
    const heats = new Array(1500).fill(0.1);
    heats[1001] = 1;
    const drawn = bars(heats).split("z").filter(Boolean);
    expect(drawn).toHaveLength(375);
    expect(drawn.filter((bar) => bar.includes("V0.000"))).toEqual(["M999.6 1V0.000H1003.4V1"]);
    expect(drawn.at(-1)).toBe("M1495.6 1V0.900H1499.4V1");
  });
});
