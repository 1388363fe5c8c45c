/** What a store holds besides the frames: how it is looked at, and what that shows. */
import type { ComparedFeature } from "./answers";
import type { Key } from "./frame";

export interface Firing {
  step: number;
  token: string;
  activation: number;
}

export interface Neighbour {
  key: Key;
  label: string;
  n: number;
  s: number;
}

export interface Selection {
  sae: number;
  id: number;
}

/** Which features a person or Python has marked, each list in the order that was done. */
export interface Marks {
  chosen: Key[];
  /** The one of them that is read about. */
  inspected: Key | null;
  /** They stay in sight whatever fires. */
  pinned: Key[];
}

/** How the graph is drawn. */
export interface Settings {
  edges: "significant" | "all" | "similar";
  /** Edges need at least so many tokens together, or ("similar") a decoder cosine at least so high. */
  leastCount: number;
  leastCosine: number;
  hue: "activation" | "cluster" | "layer" | "effect" | "compare";
  layout: "force" | "layers" | "map";
  /** How many nodes stay. */
  keep: number;
  /** Show dense features too. */
  dense: boolean;
}

/** What features did for one token: colours of the graph. */
export interface Effects {
  run: number;
  step: number;
  /** Say "effect on ⟨ Paris⟩". */
  of: string;
  /** Log-probability lost without a feature; else its direct push on the logit. */
  exact: boolean;
  values: Map<Key, number>;
  /** The largest of them, sign aside. */
  scale: number;
}

/** Two runs of the tree side by side, over the tokens that are not common to both. */
export interface Comparison {
  a: number;
  b: number;
  rows: Map<Key, ComparedFeature>;
  titleA: string;
  titleB: string;
}

export type Change =
  | "run" // another tree: nothing that was there stays
  | "track" // another run of the tree is looked at, or a branch was added
  | "frames"
  | "end"
  | "cursor"
  | "select" // features were selected, inspected or pinned
  | "details"
  | "names" // features are called otherwise: nothing else changed
  | "settings"
  | "info"
  | "why"
  | "compare"
  | "similar"
  | "map" // places on it came in, or word of how far it is
  | "edge";
