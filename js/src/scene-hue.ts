/** What a node's colour says, in numbers and in hex: shared by the scene and its legend. No three, no DOM. */
import type { Shown } from "./layout";
import type { Look } from "./look";
import type { Theme } from "./theme";

export type Tint = [red: number, green: number, blue: number];

interface Hues {
  back: Tint;
  quiet: Tint;
  hot: Tint;
  /** Shallow to deep: lightness grows all the way, so that the order is seen without hue too. */
  ramp: Tint[];
  /** Blue and orange keep apart for every kind of colour vision. */
  /** For communities, in the order they are given out: told apart by every kind of colour vision. */
  clusters: Tint[];
  down: Tint;
  even: Tint;
  up: Tint;
}

const hues = (
  colours: Record<Exclude<keyof Hues, "ramp" | "clusters">, string> & Record<"ramp" | "clusters", string[]>,
): Hues => ({
  back: parse(colours.back),
  quiet: parse(colours.quiet),
  hot: parse(colours.hot),
  ramp: colours.ramp.map(parse),
  clusters: colours.clusters.map(parse),
  down: parse(colours.down),
  even: parse(colours.even),
  up: parse(colours.up),
});

export const HUES: Record<Theme, Hues> = {
  dark: hues({
    back: "#0e1217",
    quiet: "#4d74ad",
    hot: "#ffc75e",
    ramp: ["#7564ec", "#4b93ea", "#2cb5b4", "#63cf7c", "#d3e04a"],
    clusters: ["#56b4e9", "#e69f00", "#1fa57d", "#d78bb5", "#f0e442", "#e0632a", "#3b74d8"],
    down: "#5aa7ff",
    even: "#7d8794",
    up: "#ff9f45",
  }),
  light: hues({
    back: "#fbfbfa",
    quiet: "#7f9dc9",
    hot: "#e06a00",
    ramp: ["#440154", "#3f4a8a", "#26828e", "#2fa66a", "#8c9d14"],
    clusters: ["#2d96c3", "#b48700", "#960f00", "#003ca5", "#e16969", "#5a2d69", "#691e2d"],
    down: "#1660b8",
    even: "#a9b0ba",
    up: "#c25400",
  }),
};

/** How much of its colour a node keeps that has nothing to say in this hue. */
const DIM = 0.3;

function parse(colour: string): Tint {
  const value = Number.parseInt(colour.slice(1), 16);
  return [(value >> 16) & 255, (value >> 8) & 255, value & 255].map((part) => part / 255) as Tint;
}

export function hex(tint: Tint): string {
  return `#${tint
    .map((part) =>
      Math.round(255 * part)
        .toString(16)
        .padStart(2, "0"),
    )
    .join("")}`;
}

export function mix(a: Tint, b: Tint, share: number): Tint {
  return a.map((part, i) => part + ((b[i] ?? part) - part) * share) as Tint;
}

/** The colour of the layer at place `at` of `count`. */
export function layerTint(at: number, count: number, theme: Theme): Tint {
  const { ramp, quiet } = HUES[theme];
  const place = count > 1 ? Math.min(Math.max(at / (count - 1), 0), 1) * (ramp.length - 1) : 0;
  const low = Math.min(Math.floor(place), ramp.length - 2);
  return mix(ramp[low] ?? quiet, ramp[low + 1] ?? quiet, place - low);
}

export function clusterTint(cluster: number, theme: Theme): Tint {
  const { clusters, even } = HUES[theme];
  return clusters[cluster % clusters.length] ?? even;
}

/** From -1 over 0 to 1. */
export function divergingTint(value: number, theme: Theme): Tint {
  const { down, even, up } = HUES[theme];
  // What is small still shows which way it points.
  return mix(even, value < 0 ? down : up, Math.min(Math.abs(value), 1) ** 0.6);
}

export function tintOf({ node, heat, firing }: Shown, look: Look, theme: Theme): Tint {
  const { back, quiet, hot, even } = HUES[theme];
  if (look.hue === "cluster") {
    const cluster = look.clusters.get(node.key);
    if (cluster === undefined) return mix(back, even, DIM);
    return mix(back, clusterTint(cluster, theme), firing ? 1 : 0.7 + 0.3 * Math.min(heat, 1));
  }
  if (look.hue === "layer")
    return mix(back, layerTint(node.sae, look.saes, theme), firing ? 1 : 0.42 + 0.58 * Math.min(heat, 1));
  if (look.hue === "effect" && look.effects) {
    const value = look.effects.values.get(node.key);
    if (value === undefined) return mix(back, even, DIM);
    return divergingTint(value / (look.effects.scale || 1), theme);
  }
  if (look.hue === "compare" && look.comparison) {
    const row = look.comparison.rows.get(node.key);
    if (!row) return mix(back, even, DIM);
    return divergingTint(leaning(row), theme);
  }
  return firing ? hot : quiet;
}

/** 1: only in A, -1: only in B, 0: alike in both. */
export function leaning({ a, b }: { a: number; b: number }): number {
  const [first, second] = [Math.max(a, 0), Math.max(b, 0)];
  return first + second > 0 ? (first - second) / (first + second) : 0;
}
