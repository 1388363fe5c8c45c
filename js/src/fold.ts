/** A run folded token by token into the graph it makes. */
import { type Frame, type Key, keyOf, type Pair, partsOf } from "./frame";

export interface NodeState {
  key: Key;
  sae: number;
  id: number;
  layer: number;
  /** Activation on the newest token it fired on, and which one that was (-1: none yet). */
  last: number;
  lastStep: number;
  firstStep: number;
  peak: number;
  peakStep: number;
  /** Tokens of the run it was shown on so far. */
  count: number;
  /** Fires on so many tokens that it tells little of any. */
  dense: boolean;
  /** The activation the model was run with on the newest token, null when it was not steered there. */
  steered: number | null;
}

export interface EdgeState {
  key: string;
  a: Key;
  b: Key;
  n: number;
  s: number;
  lastStep: number;
}

/** The graph as it stood after one token. */
export interface Moment {
  step: number;
  nodes: ReadonlyMap<Key, NodeState>;
  edges: ReadonlyMap<string, EdgeState>;
  /** The strongest activation so far. */
  scale: number;
  /** The same for each SAE: what brightness and size are measured against, as activations of layers differ. */
  scales: number[];
}

export class Fold implements Moment {
  step = -1;
  /** Another one whenever an edge may have changed. */
  version = 0;
  nodes = new Map<Key, NodeState>();
  edges = new Map<string, EdgeState>();
  scale = 0;
  scales: number[] = [];
  #steered: NodeState[] = [];

  add(frame: Frame): void {
    this.step = frame.step;
    this.version++;
    for (const f of frame.features) {
      const key = keyOf(f.sae, f.id);
      this.scale = Math.max(this.scale, f.activation);
      while (this.scales.length <= f.sae && f.sae < 1000) this.scales.push(0);
      this.scales[f.sae] = Math.max(this.scales[f.sae] ?? 0, f.activation);
      const node = this.nodes.get(key) ?? this.#enter(key, frame.step, f.layer);
      node.dense ||= f.dense;
      node.last = f.activation;
      node.lastStep = frame.step;
      node.count += 1;
      if (f.activation > node.peak) {
        node.peak = f.activation;
        node.peakStep = frame.step;
      }
    }
    this.#steer(frame);
    for (const [i, j, n, s] of frame.edges) {
      const fa = frame.features[i];
      const fb = frame.features[j];
      if (!fa || !fb) continue;
      const [a, b] = [keyOf(fa.sae, fa.id), keyOf(fb.sae, fb.id)].sort() as [Key, Key];
      const key = `${a}|${b}`;
      this.edges.set(key, { key, a, b, n, s, lastStep: frame.step });
    }
  }

  #enter(key: Key, step: number, layer: number): NodeState {
    const node: NodeState = {
      key,
      ...partsOf(key),
      layer,
      last: 0,
      lastStep: -1,
      firstStep: step,
      peak: 0,
      peakStep: step,
      count: 0,
      dense: false,
      steered: null,
    };
    this.nodes.set(key, node);
    return node;
  }

  /** What a person put in is part of the picture, though it may not fire by itself. */
  #steer(frame: Frame): void {
    for (const node of this.#steered) node.steered = null;
    this.#steered = frame.steered.map(({ key, sae, after }) => {
      const layer = frame.features.find((f) => f.sae === sae)?.layer ?? 0;
      const node = this.nodes.get(key) ?? this.#enter(key, frame.step, layer);
      node.steered = after;
      return node;
    });
  }

  /** Takes the significance of every pair as it stands now; a pair that is not listed has none. */
  settle(edges: Pair[]): void {
    this.version++;
    for (const edge of this.edges.values()) edge.s = 0;
    for (const { a, b, n, s } of edges) {
      const [first, second] = [a, b].sort() as [Key, Key];
      if (!this.nodes.has(first) || !this.nodes.has(second)) continue;
      const key = `${first}|${second}`;
      const lastStep = this.edges.get(key)?.lastStep ?? this.step;
      this.edges.set(key, { key, a: first, b: second, n, s, lastStep });
    }
  }
}
