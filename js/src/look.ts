/** How the graph is to be looked at: what was chosen in the bar, as far as there is something to show. No DOM. */
import type { Key } from "./frame";
import type { Comparison, Effects, Settings, Similar, Store } from "./store";

export interface Look extends Settings {
  /** How many SAEs there are, and the layer of each. */
  saes: number;
  layers: number[];
  titles: string[];
  effects: Effects | null;
  comparison: Comparison | null;
  similar: readonly Similar[];
  clusters: ReadonlyMap<Key, number>;
  places: ReadonlyMap<Key, readonly [x: number, y: number]>;
  /** The map is asked for, and not there yet: why, as a sentence. */
  unmapped: string;
}

/** What can be chosen now: nothing is offered that would show nothing. */
export interface Choices {
  edges: Settings["edges"][];
  hue: Settings["hue"][];
  layout: Settings["layout"][];
  /** There are dense features to hide. */
  dense: boolean;
}

const NONE: ReadonlyMap<Key, number> = new Map();
const MAKING = "The map is being made, once for this SAE: that takes up to a minute.";

export function choices(store: Store, live: boolean): Choices {
  const many = store.saes.length > 1;
  // Nor can anybody make a map.
  const mapped = live || store.places.at.size > 0;
  const hue: Settings["hue"][] = ["activation"];
  if (store.clustered) hue.push("cluster");
  if (many) hue.push("layer");
  if (store.effects) hue.push("effect");
  if (store.comparison) hue.push("compare");
  return {
    // Without a kernel nobody can be asked what is alike.
    edges: live || store.similar.length ? ["significant", "all", "similar"] : ["significant", "all"],
    hue,
    layout: ["force", ...(many ? ["layers" as const] : []), ...(mapped ? ["map" as const] : [])],
    dense: [...store.moment().nodes.values()].some((node) => node.dense),
  };
}

export function lookOf(store: Store, live: boolean): Look {
  const { settings } = store;
  const offered = choices(store, live);
  const within = <T>(wish: T, list: T[], usual: T): T => (list.includes(wish) ? wish : usual);
  const hue = within(settings.hue, offered.hue, "activation");
  const layout = within(settings.layout, offered.layout, "force");
  const { at, making, trouble } = store.places;
  return {
    ...settings,
    edges: within(settings.edges, offered.edges, "significant"),
    hue,
    layout: layout === "map" && !at.size ? "force" : layout,
    unmapped: layout === "map" && !at.size ? (making ? MAKING : trouble) : "",
    saes: Math.max(store.saes.length, 1),
    layers: store.saes.map(({ layer }) => layer),
    titles: store.saes.map(({ title }) => title),
    effects: store.effects,
    comparison: store.comparison,
    similar: store.similar,
    // Finding them takes a while.
    clusters: hue === "cluster" ? store.clusters : NONE,
    places: at,
  };
}
