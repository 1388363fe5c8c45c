/** Colours that must be told apart are, by everybody's eyes. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { divergingTint, HUES, hex } from "./scene-hue";
import { PALETTES } from "./scene-paint";
import type { Theme } from "./theme";

type Colour = [number, number, number];

/** On linear light: Machado, Oliveira and Fernandes 2009, for those who lack one kind of cones. */
const EYES: Record<string, number[][]> = {
  usual: [
    [1, 0, 0],
    [0, 1, 0],
    [0, 0, 1],
  ],
  protanopia: [
    [0.152286, 1.052583, -0.204868],
    [0.114503, 0.786281, 0.099216],
    [-0.003882, -0.048116, 1.051998],
  ],
  deuteranopia: [
    [0.367322, 0.860646, -0.227968],
    [0.280085, 0.672501, 0.047413],
    [-0.01182, 0.04294, 0.968881],
  ],
  tritanopia: [
    [1.255528, -0.076749, -0.178779],
    [-0.078411, 0.930809, 0.147602],
    [0.004733, 0.691367, 0.3039],
  ],
};

const linear = (colour: string): Colour =>
  [1, 3, 5].map((at) => {
    const value = Number.parseInt(colour.slice(at, at + 2), 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  }) as Colour;

const times = (matrix: number[][], by: Colour): Colour =>
  matrix.map((row) => row.reduce((sum, value, i) => sum + value * (by[i] ?? 0), 0)) as Colour;

/** CIELAB under D65. */
function lab(colour: Colour): Colour {
  const seen = colour.map((value) => Math.min(Math.max(value, 0), 1)) as Colour;
  const [x, y, z] = times(
    [
      [0.4124564 / 0.95047, 0.3575761 / 0.95047, 0.1804375 / 0.95047],
      [0.2126729, 0.7151522, 0.072175],
      [0.0193339 / 1.08883, 0.119192 / 1.08883, 0.9503041 / 1.08883],
    ],
    seen,
  ).map((value) => (value > 216 / 24389 ? Math.cbrt(value) : ((24389 / 27) * value + 16) / 116)) as Colour;
  return [116 * y - 16, 500 * (x - y), 200 * (y - z)];
}

const apart = (p: string, q: string, eyes: number[][]): number => {
  const [a, b] = [p, q].map((colour) => lab(times(eyes, linear(colour)))) as [Colour, Colour];
  return Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]);
};

/** The style sheet's colours in a theme. */
function variables(theme: Theme): Record<string, string> {
  const sheet = readFileSync(new URL("./theme.css", import.meta.url), "utf8");
  const blocks = [...sheet.matchAll(/\.axon-widget(\[data-theme="light"\])? \{([^}]*)\}/g)];
  const of = (light: boolean) =>
    blocks.filter(([, which]) => Boolean(which) === light).map(([, , body]) => body);
  const found = [...of(false).slice(0, 1), ...(theme === "light" ? of(true) : [])].join("");
  return Object.fromEntries(
    [...found.matchAll(/--([\w-]+): (#\w{6});/g)].map(([, name, value]) => [name, value]),
  );
}

/** So far apart in CIELAB that nobody takes one for the other, also as a small dot or a thin line. */
const CLEAR = 20;

test.each(["dark", "light"] as Theme[])("in the %s theme", (theme) => {
  const colours = variables(theme);
  const palette = PALETTES[theme];
  const pairs: [string, string | undefined, string | undefined][] = [
    ["up and down", colours.up, colours.down],
    ["fires now and earlier", colours.accent, colours.node],
    ["fires now and earlier, in the graph", palette.hot, hex(HUES[theme].quiet)],
    ["edges: sure and alike", colours.cool, colours.alike],
    ["steered and firing", colours.steer, colours.accent],
    ["pushes up and pushes down", hex(divergingTint(1, theme)), hex(divergingTint(-1, theme))],
    ["pushes up and does nothing", hex(divergingTint(1, theme)), hex(divergingTint(0, theme))],
    ["pushes down and does nothing", hex(divergingTint(-1, theme)), hex(divergingTint(0, theme))],
  ];
  const told = pairs.flatMap(([name, p, q]) =>
    Object.entries(EYES).map(([eyes, matrix]) => [name, eyes, Math.round(apart(p ?? "", q ?? "", matrix))]),
  );
  expect(told.filter(([, , distance]) => !(Number(distance) >= CLEAR))).toEqual([]);
});

test("the measure is the one of the books", () => {
  // Pure red and pure green by the usual eyes, and how little is left of that to those without red cones.
  expect(apart("#ff0000", "#00ff00", EYES.usual ?? [])).toBeCloseTo(170.6, 0);
  expect(apart("#808080", "#808080", EYES.usual ?? [])).toBe(0);
  expect(lab([1, 1, 1])[0]).toBeCloseTo(100, 3);
  expect(apart("#a05050", "#608000", EYES.deuteranopia ?? [])).toBeLessThan(
    apart("#a05050", "#608000", EYES.usual ?? []) / 2,
  );
});
