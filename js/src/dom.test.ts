import { describe, expect, it } from "vitest";
import { pickable, short, showToken } from "./dom";

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

describe("a number", () => {
  it.each([
    [0, "0"],
    [-0, "0"],
    [0.00012, "1.2e-4"],
    [-0.012, "-0.012"],
    [0.5, "0.50"],
    [12.34, "12.3"],
    [123.4, "123"],
  ])("%d has the digits that carry meaning: %s", (value, shown) => {
    expect(short(value)).toBe(shown);
  });
});

describe("a click on an element that is renewed", () => {
  const seen: string[] = [];
  const element = Object.assign(new EventTarget(), { dataset: { value: "" } });
  pickable(element as unknown as HTMLElement, (value) => seen.push(value));
  const click = (detail: number) =>
    element.dispatchEvent(Object.assign(new Event("click"), { detail }) as MouseEvent);

  it("acts on what it showed when the pointer went down, and a key's on what it shows", () => {
    element.dataset.value = "first";
    element.dispatchEvent(new Event("pointerdown"));
    element.dataset.value = "second";
    click(1);
    // The pointer goes down and up elsewhere: there is no click.
    element.dispatchEvent(new Event("pointerdown"));
    element.dataset.value = "third";
    click(0);
    expect(seen).toEqual(["first", "third"]);
  });
});
