import { describe, expect, it } from "vitest";
import { showToken } from "./dom";

describe("a token in a sentence", () => {
  it.each([
    [" a", "·a"],
    ["a ", "a·"],
    [" ", "·"],
    ["\n\t", "↵⇥"],
    ["", "(empty)"],
    ["\u0000", "◦"],
    [" \u202eevil", "· evil"],
    ["你好", "你好"],
    ["x".repeat(1000), `${"x".repeat(59)}…`],
    ["😀".repeat(3), "😀😀😀"],
  ])("%j is shown as %s", (token, shown) => {
    expect(showToken(token)).toBe(shown);
  });

  it("is cut where there is less room", () => {
    expect(showToken(" abcdef", 4)).toBe("·ab…");
  });
});
