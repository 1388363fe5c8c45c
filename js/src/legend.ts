/** How to read the graph as it is drawn now, one line each for size, brightness, hue and edges. */
import { el, layerTag, oneLine } from "./dom";
import type { Look } from "./look";
import { clusterTint, divergingTint, hex, layerTint } from "./scene-hue";
import type { Theme } from "./theme";

export interface Legend {
  element: HTMLElement;
  update(look: Look, theme: Theme, has: { steered: boolean; dense: boolean }): void;
}

/** More layers than this are told by the first and the last of them. */
const MOST_SWATCHES = 7;

export function legendPanel(): Legend {
  const element = el("div", { class: "legend", axon: "legend" });
  let before = "";
  return {
    element,
    update(look, theme, has) {
      const now = JSON.stringify([
        ...[look.edges, look.hue, look.layout, look.titles, look.leastCount, look.leastCosine, theme, has],
        ...[
          coloursOf(look),
          look.effects?.of,
          look.effects?.exact,
          look.comparison?.titleA,
          look.comparison?.titleB,
        ],
      ]);
      if (now === before) return;
      before = now;
      element.replaceChildren(
        line("size", [sign("size"), "size: peak"], sizeTitle(look)),
        ...brightness(look),
        ...hue(look, theme),
        ...place(look),
        ...edges(look),
        ...(has.steered
          ? [line("steered", [sign("steered"), "steered"], "its activation is set by hand")]
          : []),
        ...(has.dense ? [line("dense", [sign("dense"), "dense"], DENSE)] : []),
      );
    },
  };
}

const DENSE = "fires on so many tokens that it tells little about any of them";

function line(name: string, content: (Node | string)[], title: string): HTMLElement {
  const parts = content.map((part) => (typeof part === "string" ? el("span", { text: part }) : part));
  return el("span", { class: `key ${name}`, axon: `legend-${name}`, title }, ...parts);
}

function sign(name: string, colour = ""): HTMLElement {
  const mark = el("i", { class: `sign ${name}` });
  if (colour) mark.style.background = colour;
  return mark;
}

function sizeTitle(look: Look): string {
  const against = look.saes > 1 ? "the strongest activation of its own layer" : "the strongest activation";
  return `the larger, the higher its peak in this run, measured against ${against}`;
}

function brightness(look: Look): HTMLElement[] {
  if (look.hue === "effect")
    return [
      line("brightness", [sign("glow"), "light: size of the effect"], "what has no effect known is dim"),
    ];
  if (look.hue === "compare")
    return [
      line("brightness", [sign("glow"), "light: mean activation"], "the larger of the two branches' means"),
    ];
  const title = `activation, measured against the strongest ${look.saes > 1 ? "of its own layer" : "of the run"} so far; light fades with each token since`;
  return [line("brightness", [sign("glow"), "light: activation"], title)];
}

function hue(look: Look, theme: Theme): HTMLElement[] {
  const { effects, comparison } = look;
  if (look.hue === "layer") return [layers(look, theme)];
  if (look.hue === "cluster") return [clusters(look, theme)];
  if (look.hue === "effect" && effects) {
    const what = oneLine(effects.of, 48);
    const kind = effects.exact
      ? "log-probability lost without the feature"
      : "direct effect on the token's logit; what later layers make of it is left out";
    return [
      scale(["pushes down", "pushes up"], theme, `${what}${effects.exact ? ", exact" : ", direct"}`, kind),
    ];
  }
  if (look.hue === "compare" && comparison) {
    const [a, b] = [oneLine(comparison.titleA, 28), oneLine(comparison.titleB, 28)];
    return [
      scale(
        [`only ${b}`, `only ${a}`],
        theme,
        "",
        "grey: as strong in both; the colour says where it is stronger",
      ),
    ];
  }
  return [
    line(
      "hue",
      [sign("hot"), "fires now", sign("later"), "earlier"],
      "which of the features fire on the token looked at",
    ),
  ];
}

function place(look: Look): HTMLElement[] {
  if (look.layout !== "map") return [];
  const title =
    "where a feature lies: near to those whose decoder directions point the same way, as far as a plane can show that (t-SNE of the whole SAE)";
  return [line("place", [sign("near"), "near: write alike"], title)];
}

function scale(ends: [string, string], theme: Theme, of: string, title: string): HTMLElement {
  const bar = sign("ramp");
  const stops = [-1, -0.5, 0, 0.5, 1].map((value) => hex(divergingTint(value, theme)));
  bar.style.background = `linear-gradient(to right, ${stops.join(", ")})`;
  return line("hue", [...(of ? [`${of}:`] : []), ends[0], bar, ends[1]], title);
}

function clusters(look: Look, theme: Theme): HTMLElement {
  const colours = coloursOf(look);
  const bar = sign("ramp");
  const stops = colours.map((cluster, i) => {
    const part = (at: number) => `${((100 * at) / colours.length).toFixed(1)}%`;
    return `${hex(clusterTint(cluster, theme))} ${part(i)} ${part(i + 1)}`;
  });
  bar.style.background = `linear-gradient(to right, ${stops.join(", ")})`;
  const title =
    "groups of features that are tied among each other more than to others (Louvain's method on the significant edges of the whole run); grey: in none of the largest";
  return line("hue", [...(colours.length ? [bar] : []), "clusters"], title);
}

function coloursOf(look: Look): number[] {
  return [...new Set(look.clusters.values())].sort((p, q) => p - q);
}

function layers(look: Look, theme: Theme): HTMLElement {
  const { titles } = look;
  const colours = titles.map((_, place) => hex(layerTint(place, titles.length, theme)));
  const title = "from the first layers to the last";
  if (titles.length <= MOST_SWATCHES) {
    // "layer 0 · 1 · 2": the word once.
    const parts = titles.flatMap((name, place) => [
      sign("swatch", colours[place]),
      place ? layerTag(name) : oneLine(name, 24),
    ]);
    return line("hue", parts, title);
  }
  const bar = sign("ramp");
  bar.style.background = `linear-gradient(to right, ${colours.join(", ")})`;
  return line("hue", [oneLine(titles[0] ?? "", 16), bar, oneLine(titles.at(-1) ?? "", 16)], title);
}

function edges(look: Look): HTMLElement[] {
  const cosine = () =>
    line(
      "similar",
      [sign("alike"), `cosine ≥ ${look.leastCosine.toFixed(2).replace(/^0/, "")}`],
      "the directions the two features write point the same way",
    );
  if (look.edges === "similar") return [cosine()];
  const least = look.leastCount > 2 ? `, ${look.leastCount}+ tokens` : "";
  const lines = [
    line(
      "sure",
      [sign("sure"), `together, q ≤ .05${least}`],
      "together on more tokens than chance allows, after Benjamini–Hochberg",
    ),
  ];
  if (look.edges === "all")
    lines.push(
      line(
        "faint",
        [sign("faint"), `together${least}`],
        `together on ${look.leastCount} or more tokens, but chance would do that too`,
      ),
    );
  if (look.layout === "layers") lines.push(cosine());
  return lines;
}
