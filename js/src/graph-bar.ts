/** The switches over the graph: which edges, what the colours say, how it is laid out. */
import { el, write } from "./dom";
import { type Choices, choices } from "./look";
import { type Option, radios } from "./radios";
import { range } from "./range";
import type { Settings, Store } from "./store";

export interface Bar {
  element: HTMLElement;
  update(): void;
}

const EDGES: Option<Settings["edges"]>[] = [
  ["significant", "significant", "pairs of features together on more tokens than chance allows (q ≤ .05)"],
  ["all", "all", "these, and faintly all pairs that chance would bring together too"],
  ["similar", "similar", "features whose decoder directions point the same way"],
];
const HUES: Option<Settings["hue"]>[] = [
  ["activation", "activation", "lit where it fires on the token looked at"],
  ["cluster", "cluster", "groups of features tied among each other more than to others"],
  ["layer", "layer", "from the first layers to the last"],
  ["effect", "effect", "which features pushed the chosen token up or down"],
  ["compare", "compare", "in which of the two compared branches a feature is stronger"],
];
const LAYOUTS: Option<Settings["layout"]>[] = [
  ["force", "force", "near to each other what fires together"],
  ["layers", "by layer", "the layers side by side, in the order of depth"],
  ["map", "map", "near to each other what writes alike, on a map of the whole SAE"],
];

/** The thresholds: shared tokens, and the cosine of two directions. */
const COUNT = { least: 2, most: 10, step: 1 };
const KEEP = { least: 20, most: 1000, step: 20 };
const COSINE = { least: 0.3, most: 0.95, step: 0.05 };

export function graphBar(store: Store, live: boolean): Bar {
  const edges = labelled("edges", EDGES, (value) => store.configure({ edges: value }));
  const hue = labelled("hue", HUES, (value) => store.configure({ hue: value }));
  const layout = labelled("layout", LAYOUTS, (value) => store.configure({ layout: value }));
  const said = el("output", { class: "value" });
  const least = range({
    axon: "edges-least",
    label: "Threshold for edges",
    choose: (value) =>
      store.configure(alike() ? { leastCosine: Math.round(100 * value) / 100 } : { leastCount: value }),
  });
  const threshold = el("label", { class: "threshold" }, least.element, said);
  const dense = el("button", {
    class: "toggle",
    axon: "dense",
    text: "dense",
    title: "Show features that fire on so many tokens that they tell little about any",
    attrs: { type: "button" },
  });
  dense.addEventListener("click", () => store.configure({ dense: !store.settings.dense }));
  const staying = el("output", { class: "value" });
  const most = range({
    axon: "keep",
    label: "Nodes that stay",
    choose: (value) => store.configure({ keep: value }),
  });
  const keep = el(
    "label",
    {
      class: "threshold",
      title: "how many nodes stay; of the others the oldest and weakest fade, selected and pinned ones never",
    },
    el("span", { class: "word", text: "keep" }),
    most.element,
    staying,
  );
  const rest = el("div", { class: "bar-rest" }, hue.element, layout.element, dense, keep);
  const more = el("button", {
    class: "toggle more",
    axon: "graph-bar-more",
    text: "more",
    title: "Hue, layout and how many nodes stay",
    attrs: { type: "button" },
  });
  const element = el(
    "div",
    {
      class: "graph-bar",
      axon: "graph-bar",
      attrs: { role: "group", "aria-label": "How the graph is drawn" },
    },
    edges.element,
    threshold,
    more,
    rest,
  );
  const open = (wide: boolean) => {
    element.classList.toggle("open", wide);
    more.setAttribute("aria-expanded", String(wide));
  };
  more.addEventListener("click", () => open(!element.classList.contains("open")));
  open(false);

  let mode = "";
  const alike = () => mode === "similar";
  const follow = ({ leastCount, leastCosine }: Settings) => {
    const [limits, value] = alike() ? [COSINE, leastCosine] : [COUNT, leastCount];
    const word = `≥ ${alike() ? value.toFixed(2).replace(/^0/, "") : value}`;
    least.follow(value, limits.least, limits.most, limits.step);
    write(said, word);
    least.element.setAttribute("aria-valuetext", alike() ? `cosine ${word}` : `${word} tokens`);
  };
  const update = () => {
    const { settings } = store;
    const offered: Choices = choices(store, live);
    const shown = edges.show(settings.edges, offered.edges);
    // Another scale: what was just moved is no longer what the slider stands for.
    if (shown !== mode) least.release();
    mode = shown;
    threshold.title = alike()
      ? "draw features whose directions have at least this cosine"
      : "draw edges between features together on at least so many tokens";
    follow(settings);
    hue.show(settings.hue, offered.hue);
    layout.show(settings.layout, offered.layout);
    dense.hidden = !offered.dense;
    dense.setAttribute("aria-pressed", String(settings.dense));
    most.follow(settings.keep, KEEP.least, KEEP.most, KEEP.step);
    write(staying, String(settings.keep));
    most.element.setAttribute("aria-valuetext", `${settings.keep} nodes`);
  };
  update();
  return { element, update };
}

interface Switch<T> {
  element: HTMLElement;
  /** Gives the value shown as chosen: the first one, where the wish is not offered. */
  show(wish: T, offered: T[]): T;
}

/** Words to choose by with a word before them, where there is anything to choose. */
function labelled<T extends string>(
  name: string,
  options: Option<T>[],
  choose: (value: T) => void,
): Switch<T> {
  const group = radios(name, name, options, choose);
  const element = el("div", { class: "switch" }, el("span", { class: "word", text: name }), group.element);
  return {
    element,
    show(wish, offered) {
      const chosen = offered.includes(wish) ? wish : (offered[0] ?? wish);
      group.show(chosen, offered);
      element.hidden = offered.length < 2;
      return chosen;
    },
  };
}
