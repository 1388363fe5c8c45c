import { describe, expect, it } from "vitest";
import { Clusters, communities, MOST_CLUSTERS } from "./clusters";
import { HUES, type Tint } from "./scene-hue";
import type { EdgeState } from "./store";

type Pair = [a: number, b: number];

function edges(pairs: Pair[], s = 4): Map<string, EdgeState> {
  const found = pairs.map(([a, b]): [string, EdgeState] => {
    const [one, other] = [`0:${a}`, `0:${b}`].sort() as [string, string];
    const key = `${one}|${other}`;
    return [key, { key, a: one, b: other, n: 3, s, lastStep: 0 }];
  });
  return new Map(found);
}

/** All pairs among so many nodes from `from` on. */
function clique(from: number, count: number): Pair[] {
  const pairs: Pair[] = [];
  for (let i = 0; i < count; i++) for (let j = i + 1; j < count; j++) pairs.push([from + i, from + j]);
  return pairs;
}

function modularity(pairs: Pair[], at: number[]): number {
  const degree = at.map(() => 0);
  for (const pair of pairs) for (const end of pair) degree[end] = (degree[end] ?? 0) + 1;
  let sum = 0;
  for (let i = 0; i < at.length; i++)
    for (let j = 0; j < at.length; j++)
      if (at[i] === at[j]) {
        const tied = pairs.filter(([a, b]) => (a === i && b === j) || (a === j && b === i)).length;
        sum += tied - ((degree[i] ?? 0) * (degree[j] ?? 0)) / (2 * pairs.length);
      }
  return sum / (2 * pairs.length);
}

/** Zachary's karate club, 34 members: the network every method is tried on. */
const CLUB =
  `1-2 1-3 1-4 1-5 1-6 1-7 1-8 1-9 1-11 1-12 1-13 1-14 1-18 1-20 1-22 1-32 2-3 2-4 2-8 2-14 2-18 2-20
2-22 2-31 3-4 3-8 3-9 3-10 3-14 3-28 3-29 3-33 4-8 4-13 4-14 5-7 5-11 6-7 6-11 6-17 7-17 9-31 9-33 9-34 10-34
14-34 15-33 15-34 16-33 16-34 19-33 19-34 20-34 21-33 21-34 23-33 23-34 24-26 24-28 24-30 24-33 24-34 25-26
25-28 25-32 26-32 27-30 27-34 28-34 29-32 29-34 30-33 30-34 31-33 31-34 32-33 32-34 33-34`
    .split(/\s+/)
    .map((pair) => pair.split("-").map((end) => Number(end) - 1) as Pair);

describe("communities", () => {
  it("reach, on the karate club, the modularity that Louvain's method is known to reach there", () => {
    const weights = Array.from({ length: 34 }, () => new Map<number, number>());
    for (const [a, b] of CLUB) {
      weights[a]?.set(b, 1);
      weights[b]?.set(a, 1);
    }
    const found = communities(
      weights,
      weights.map((_, i) => i),
    );
    // The best there is has .4198.
    expect(modularity(CLUB, found)).toBeGreaterThan(0.4);
    expect([3, 4]).toContain(new Set(found).size);
  });
});

describe("clusters", () => {
  const colourOf = (clusters: Clusters, pairs: Pair[], version: number) => clusters.of(edges(pairs), version);

  it("are groups tied among each other; what is not significant ties nobody", () => {
    const two = [...clique(0, 6), ...clique(10, 5), [0, 10] as Pair];
    const found = colourOf(new Clusters(), two, 1);
    const colours = (from: number, count: number) =>
      new Set(Array.from({ length: count }, (_, i) => found.get(`0:${from + i}`)));
    expect(colours(0, 6).size).toBe(1);
    expect(colours(10, 5).size).toBe(1);
    expect(found.get("0:0")).not.toBe(found.get("0:10"));
    expect(new Clusters().of(edges(two, 1), 1).size).toBe(0);
  });

  it("are the largest ones only, in as many colours as there are", () => {
    const many = Array.from({ length: 12 }, (_, i) => clique(20 * i, 16 - i)).flat();
    const found = colourOf(new Clusters(), [...many, ...clique(900, 3)], 1);
    expect(new Set(found.values()).size).toBe(MOST_CLUSTERS);
    expect(found.has("0:0")).toBe(true);
    expect(found.has("0:225")).toBe(false);
    expect(found.has("0:900")).toBe(false);
  });

  it("keep their colours while the graph grows", () => {
    const clusters = new Clusters();
    // Groups come up one after the other and grow by turns, in an order drawn once.
    let state = 1;
    const next = (below: number) => {
      state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
      return Math.floor((state / 0x7fffffff) * below);
    };
    const pairs: Pair[] = [];
    let [changed, seen] = [0, 0];
    let before: ReadonlyMap<string, number> = new Map();
    for (let step = 1; step <= 150; step++) {
      for (let k = 0; k < 3; k++) {
        const group = next(1 + Math.min(4, step / 20));
        const [a, b] = [next(20), next(20)];
        if (a !== b) pairs.push([100 * group + a, 100 * group + b]);
      }
      if (step % 10 === 0) pairs.push([next(20), 100 + next(20)]);
      const now = colourOf(clusters, pairs, step);
      for (const [key, colour] of before) {
        seen++;
        if (now.get(key) !== colour) changed++;
      }
      before = now;
    }
    expect(seen).toBeGreaterThan(3000);
    expect(changed / seen).toBeLessThan(0.02);
    expect(new Set(before.values()).size).toBeGreaterThan(3);
    // The same history gives the same picture.
    expect(colourOf(clusters, pairs, 151)).toEqual(before);
  });
});

describe("the colours of clusters", () => {
  // Machado, Oliveira & Fernandes 2009, severity 1, on linear light.
  const EYES: Record<string, number[][]> = {
    usual: [
      [1, 0, 0],
      [0, 1, 0],
      [0, 0, 1],
    ],
    protan: [
      [0.152286, 1.052583, -0.204868],
      [0.114503, 0.786281, 0.099216],
      [-0.003882, -0.048116, 1.051998],
    ],
    deutan: [
      [0.367322, 0.860646, -0.227968],
      [0.280085, 0.672501, 0.047413],
      [-0.01182, 0.04294, 0.968881],
    ],
    tritan: [
      [1.255528, -0.076749, -0.178779],
      [-0.078411, 0.930809, 0.147602],
      [0.004733, 0.691367, 0.3039],
    ],
  };
  const linear = (tint: Tint) =>
    tint.map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
  const luminance = (tint: Tint) => {
    const [r = 0, g = 0, b = 0] = linear(tint);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  /** CIE Lab, D65. */
  const lab = (rgb: number[]) => {
    const [r = 0, g = 0, b = 0] = rgb.map((part) => Math.min(Math.max(part, 0), 1));
    const f = (t: number) => (t > 0.008856 ? Math.cbrt(t) : 7.787 * t + 16 / 116);
    const x = f((0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.95047);
    const y = f(0.2126 * r + 0.7152 * g + 0.0722 * b);
    const z = f((0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.08883);
    return [116 * y - 16, 500 * (x - y), 200 * (y - z)];
  };

  for (const theme of ["dark", "light"] as const)
    for (const [eye, matrix] of Object.entries(EYES))
      it(`keep apart on ${theme} to ${eye} eyes, and from the background`, () => {
        const { clusters, back } = HUES[theme];
        expect(clusters.length).toBe(MOST_CLUSTERS);
        const seen = clusters.map((tint) =>
          lab(matrix.map((row) => row.reduce((sum, part, i) => sum + part * (linear(tint)[i] ?? 0), 0))),
        );
        const gaps = seen.flatMap((one, i) =>
          seen.slice(i + 1).map((other) => Math.hypot(...one.map((part, k) => part - (other[k] ?? 0)))),
        );
        expect(Math.min(...gaps)).toBeGreaterThan(12);
        for (const tint of clusters) {
          const [p, q] = [luminance(tint), luminance(back)];
          expect((Math.max(p, q) + 0.05) / (Math.min(p, q) + 0.05)).toBeGreaterThan(3);
        }
      });
});
