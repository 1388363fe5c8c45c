/** Everything known about the run: no DOM, no three. All views of one model share one store. */
import { type Details, type Frame, type Key, keyOf, type Pair } from "./frame";

export interface NodeState {
  key: Key;
  id: number;
  layer: number;
  label: string;
  /** Activation on the newest token it fired on, and which one that was. */
  last: number;
  lastStep: number;
  firstStep: number;
  peak: number;
  peakStep: number;
  /** Tokens of the run it was shown on so far. */
  count: number;
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
  /** The strongest activation so far: what brightness and size are measured against. */
  scale: number;
}

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
  id: number;
  layer: number;
}

export type Change = "run" | "frames" | "end" | "cursor" | "select" | "details";

class Fold implements Moment {
  step = -1;
  nodes = new Map<Key, NodeState>();
  edges = new Map<string, EdgeState>();
  scale = 0;

  add(frame: Frame): void {
    this.step = frame.step;
    for (const f of frame.features) {
      const key = keyOf(f.layer, f.id);
      this.scale = Math.max(this.scale, f.activation);
      const node = this.nodes.get(key);
      if (!node) {
        this.nodes.set(key, {
          key,
          id: f.id,
          layer: f.layer,
          label: f.label,
          last: f.activation,
          lastStep: frame.step,
          firstStep: frame.step,
          peak: f.activation,
          peakStep: frame.step,
          count: 1,
        });
        continue;
      }
      // A label may arrive after the feature was first seen; an empty or shortened one never hides the whole one.
      const cut = f.label.endsWith("…") && node.label.startsWith(f.label.slice(0, -1));
      if (f.label && !cut) node.label = f.label;
      node.last = f.activation;
      node.lastStep = frame.step;
      node.count += 1;
      if (f.activation > node.peak) {
        node.peak = f.activation;
        node.peakStep = frame.step;
      }
    }
    for (const [i, j, n, s] of frame.edges) {
      const fa = frame.features[i];
      const fb = frame.features[j];
      if (!fa || !fb) continue;
      const [a, b] = [keyOf(fa.layer, fa.id), keyOf(fb.layer, fb.id)].sort() as [Key, Key];
      const key = `${a}|${b}`;
      this.edges.set(key, { key, a, b, n, s, lastStep: frame.step });
    }
  }

  /** Takes the significance of every pair as it stands now; a pair that is not listed has none. */
  settle(edges: Pair[]): void {
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

export class Store {
  run = -1;
  /** Sparse while frames are missing: frames[i].step === i. */
  frames: (Frame | undefined)[] = [];
  /** How many frames Python said the run has; frames may know more. */
  total = 0;
  /** Why the run ended, "" while it is open. */
  finish = "";
  /** The step looked at, or null: the newest one, following the run. */
  cursor: number | null = null;
  selected: Selection | null = null;
  details = new Map<Key, Details>();

  #live = new Fold();
  #past: Fold | null = null;
  #settled: { edges: Pair[]; total: number } | null = null;
  #listeners = new Set<(change: Change) => void>();

  subscribe(listener: (change: Change) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #emit(change: Change): void {
    for (const listener of [...this.#listeners]) listener(change);
  }

  /** Enters run `run`, dropping the one before it. False when `run` is an old one. */
  enter(run: number): boolean {
    if (run < this.run) return false;
    if (run > this.run) this.clear(run);
    return true;
  }

  clear(run: number): void {
    this.run = run;
    this.frames = [];
    this.total = 0;
    this.finish = "";
    this.cursor = null;
    this.#live = new Fold();
    this.#past = null;
    this.#settled = null;
    this.#emit("run");
  }

  /** Takes frames in any order, twice or with gaps. */
  ingest(frames: Frame[]): void {
    let fresh = false;
    let late = false;
    for (const frame of frames) {
      if (!this.enter(frame.run) || this.frames[frame.step]) continue;
      late ||= frame.step < this.frames.length;
      this.frames[frame.step] = frame;
      fresh = true;
      if (!late) this.#live.add(frame);
    }
    if (!fresh) return;
    if (late) {
      this.#live = this.#fold(new Fold(), this.frames.length - 1);
      this.#past = null;
    }
    this.#settle();
    this.#emit("frames");
  }

  /** `edges` are the significant ones as they stand now: what frames said of a pair grows old. */
  end(run: number, finish: string, total: number, edges: Pair[] = []): void {
    if (!this.enter(run)) return;
    this.finish = finish;
    this.total = Math.max(this.total, total);
    this.#settled = { edges, total };
    this.#settle();
    this.#emit("end");
  }

  /** Frames that came after the edges were settled know better. */
  #settle(): void {
    if (this.#settled && this.frames.length <= this.#settled.total) this.#live.settle(this.#settled.edges);
  }

  /** The first step that must exist but has not arrived. */
  missing(): number | null {
    const known = Math.max(this.frames.length, this.total);
    for (let step = 0; step < known; step++) if (!this.frames[step]) return step;
    return null;
  }

  /** Frames that are there and are shown, in order: special tokens are not. */
  tokens(): Frame[] {
    return this.frames.filter((frame): frame is Frame => frame !== undefined && !frame.special);
  }

  /** The frame looked at. */
  frame(): Frame | null {
    if (this.cursor !== null) return this.frames[this.cursor] ?? null;
    for (let step = this.frames.length - 1; step >= 0; step--) {
      const frame = this.frames[step];
      if (frame && !frame.special) return frame;
    }
    return null;
  }

  moment(): Moment {
    if (this.cursor === null || this.cursor >= this.#live.step) return this.#live;
    if (!this.#past || this.#past.step > this.cursor) this.#past = new Fold();
    return this.#fold(this.#past, this.cursor);
  }

  #fold(fold: Fold, upTo: number): Fold {
    for (let step = fold.step + 1; step <= upTo; step++) {
      const frame = this.frames[step];
      if (frame) fold.add(frame);
    }
    return fold;
  }

  /** Looks at one step, or (null, or the newest step) follows the run. */
  look(step: number | null): void {
    const shown = this.tokens();
    const last = shown.at(-1);
    const next = step === null || !last || step >= last.step ? null : Math.max(step, shown[0]?.step ?? 0);
    if (next === this.cursor) return;
    this.cursor = next;
    this.#emit("cursor");
  }

  /** Moves the look by so many shown tokens. */
  move(by: number): void {
    const shown = this.tokens();
    const at = shown.findIndex((frame) => frame.step === this.frame()?.step);
    const target = shown[Math.min(Math.max(at + by, 0), shown.length - 1)];
    if (target) this.look(target.step);
  }

  select(selection: Selection | null): void {
    if (selection?.id === this.selected?.id && selection?.layer === this.selected?.layer) return;
    this.selected = selection;
    this.#emit("select");
  }

  get selectedKey(): Key | null {
    return this.selected ? keyOf(this.selected.layer, this.selected.id) : null;
  }

  /** The layer a feature is known to live in: Python's selection names only the id. */
  layerOf(id: number): number | null {
    for (const node of this.#live.nodes.values()) if (node.id === id) return node.layer;
    return null;
  }

  learn(details: Details): void {
    this.details.set(keyOf(details.layer, details.id), details);
    this.#emit("details");
  }

  forgetDetails(): void {
    this.details.clear();
    this.#emit("details");
  }

  label(key: Key): string {
    return this.#live.nodes.get(key)?.label || this.details.get(key)?.label || `feature ${key.split(":")[1]}`;
  }

  /** A node's state over the whole run, whatever moment is looked at. */
  node(key: Key): NodeState | null {
    return this.#live.nodes.get(key) ?? null;
  }

  activation(frame: Frame | null | undefined, key: Key): number {
    return frame?.features.find((f) => keyOf(f.layer, f.id) === key)?.activation ?? 0;
  }

  firings(key: Key): Firing[] {
    const firings: Firing[] = [];
    for (const frame of this.tokens()) {
      const activation = this.activation(frame, key);
      if (activation > 0) firings.push({ step: frame.step, token: frame.token, activation });
    }
    return firings;
  }

  neighbours(key: Key): Neighbour[] {
    const found: Neighbour[] = [];
    for (const edge of this.moment().edges.values()) {
      const other = edge.a === key ? edge.b : edge.b === key ? edge.a : null;
      if (other) found.push({ key: other, label: this.label(other), n: edge.n, s: edge.s });
    }
    return found.sort((p, q) => q.s - p.s || q.n - p.n);
  }

  /** Tokens per second over the last generated tokens before the look, by the engine's own clock. */
  speed(): number | null {
    const upTo = this.cursor ?? this.frames.length;
    const times = this.tokens()
      .filter((frame) => frame.generated && frame.step <= upTo && (frame.ms ?? 0) > 0)
      .slice(-12)
      .map((frame) => frame.ms ?? 0);
    const spent = times.reduce((sum, ms) => sum + ms, 0);
    return spent > 0 ? (1000 * times.length) / spent : null;
  }
}
