/** Everything known about the tree of runs: no DOM, no three. All views of one model share one store. */
import { type Compared, type EdgeNumbers, type Places, pairKey, type Similar, type Why } from "./answers";
import { Clusters, mayCluster } from "./clusters";
import type { Details } from "./details";
import { Fold, type Moment, type NodeState } from "./fold";
import { type Frame, type Key, keyOf, type Pair, partsOf, type RunInfo, type SaeInfo } from "./frame";
import { NameTable } from "./names";
import { type Cost, costOf, speedOf } from "./paces";
import type { Change, Comparison, Effects, Firing, Marks, Neighbour, Selection, Settings } from "./state";
import { type Gap, type Track, Tree } from "./tree";

export type { ComparedFeature, EdgeNumbers, Places, Similar, Why } from "./answers";
export type { EdgeState, Moment, NodeState } from "./fold";
export type { Change, Comparison, Effects, Firing, Marks, Neighbour, Selection, Settings } from "./state";
export type { Gap, Track } from "./tree";

export class Store {
  /** The run that is looked at. */
  run = -1;
  /** The step looked at, or null: the newest one, following the run. */
  cursor: number | null = null;
  /** The feature that is read about. */
  selected: Selection | null = null;
  /** All selected features, that one among them. */
  chosen: ReadonlySet<Key> = new Set();
  /** Features that stay in sight whatever fires. */
  pinned: ReadonlySet<Key> = new Set();
  details = new Map<Key, Details>();
  readonly names = new NameTable();
  settings: Settings = {
    edges: "significant",
    leastCount: 2,
    leastCosine: 0.5,
    hue: "activation",
    layout: "force",
    keep: 240,
    dense: true,
  };
  /** In the order of depth: a feature names its SAE by the place here. */
  saes: SaeInfo[] = [];
  effects: Effects | null = null;
  comparison: Comparison | null = null;
  similar: Similar[] = [];
  places: Places = { at: new Map(), making: false, trouble: "" };
  /** Known maxima of features whose details nobody asked for; null: it is not known. */
  maxima = new Map<Key, number | null>();
  /** Another one whenever activations came in that no frame shows. */
  heard = 0;
  /** By `pairKey`. */
  edgeNumbers = new Map<string, EdgeNumbers>();

  #tree = new Tree(-1);
  #live = new Fold();
  #past: Fold | null = null;
  #whys = new Map<string, Why>();
  #clusters = new Clusters();
  #hueBefore: Settings["hue"] = "activation";
  /** Firings that no frame shows: by feature, and by the run and step in which they were. */
  #heard = new Map<Key, Map<string, number>>();
  #listeners = new Set<(change: Change) => void>();

  subscribe(listener: (change: Change) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #emit(change: Change): void {
    for (const listener of [...this.#listeners]) listener(change);
  }

  // The tree

  /** The number of the run everything grew from: another number, another tree. */
  get tree(): number {
    return this.#tree.root;
  }

  /** All runs of the tree in the order they were begun, the root first. */
  get tracks(): Track[] {
    return this.#tree.root < 0 ? [] : this.#tree.tracks;
  }

  /** The run that is looked at. */
  get track(): Track {
    return this.#tree.get(this.run) ?? (this.#tree.get(this.#tree.root) as Track);
  }

  /** Frames of the run looked at. Sparse while some are missing: frames[i].step === i. */
  get frames(): (Frame | undefined)[] {
    return this.track.frames;
  }

  get total(): number {
    return this.track.total;
  }

  /** Why the run looked at ended, "" while it is open. */
  get finish(): string {
    return this.track.finish;
  }

  /** A letter for each run of the tree, in the order they were begun. */
  title(run: number): string {
    const place = this.tracks.findIndex((track) => track.run === run);
    if (place < 0) return "?";
    return place < 26 ? String.fromCharCode(65 + place) : `A${place - 25}`;
  }

  /** The run in which a step of the run looked at was written. */
  owner(step: number): number {
    return this.ownerIn(this.run, step);
  }

  ownerIn(run: number, step: number): number {
    return this.#tree.owner(run, step)?.run ?? run;
  }

  /** Enters run `run`: one of the tree, or a new tree's root. False when `run` is an old one. */
  enter(run: number): boolean {
    if (this.#tree.has(run)) return run >= 0;
    if (run < this.#tree.newest) return false;
    this.clear(run);
    return true;
  }

  clear(run: number): void {
    this.#tree = new Tree(run);
    this.run = run;
    this.cursor = null;
    this.#live = new Fold();
    this.#forget();
    this.effects = null;
    this.comparison = null;
    this.#whys.clear();
    this.#heard.clear();
    this.#emit("run");
  }

  /** What was said of one run does not hold for another. */
  #forget(): void {
    this.#past = null;
    this.similar = [];
    this.edgeNumbers.clear();
  }

  /** Takes the whole tree as Python tells it; what is known of its runs stays. */
  plant(infos: RunInfo[], newest: number): void {
    const root = infos.find((info) => info.parent === null);
    if (!root) return;
    const before = this.#tree;
    if (root.run !== before.root) {
      const related = infos.some((info) => before.has(info.run));
      if (!related && newest < before.newest) return;
      this.clear(root.run);
      this.#add(infos);
      // A branch was seen before anything told that it is one.
      if (related)
        for (const track of before.tracks) for (const frame of track.frames) if (frame) this.#tree.put(frame);
      this.run = this.#tree.has(newest) ? newest : root.run;
    } else this.#add(infos);
    this.#rebuild();
    this.#emit("track");
    this.#emit("end");
  }

  #add(infos: RunInfo[]): void {
    for (const info of [...infos].sort((p, q) => p.run - q.run)) {
      const track = info.run === this.#tree.root ? this.#tree.get(info.run) : this.#tree.branch(info);
      if (!track) continue;
      track.total = Math.max(track.total, info.total);
      track.finish = info.finish || track.finish;
      track.settled = { edges: info.edges, total: info.total };
    }
  }

  /** A branch begins: it is looked at. False when what it grows from is not here. */
  branch(info: RunInfo): boolean {
    if (this.#tree.has(info.run)) return true;
    if (!this.#tree.branch(info)) return false;
    this.visit(info.run);
    return true;
  }

  /** Looks at another run of the tree, at one of its steps or as it goes on. */
  visit(run: number, step: number | null = null): void {
    if (!this.#tree.has(run)) return;
    if (run !== this.run) {
      this.run = run;
      this.cursor = null;
      this.#forget();
      this.effects = null;
      if (this.comparison && run !== this.comparison.a && run !== this.comparison.b) this.comparison = null;
      this.#rebuild();
      this.#emit("track");
    }
    this.look(step);
  }

  #rebuild(): void {
    this.#live = this.#fold(new Fold(), this.frames.length - 1);
    this.#past = null;
    for (const [key, { dense }] of this.details) if (dense) this.#thicken(this.#live.nodes.get(key));
    this.#settle();
  }

  /** Takes frames in any order, twice or with gaps. */
  ingest(frames: Frame[]): void {
    let fresh = false;
    let late = false;
    for (const frame of frames) {
      if (!this.enter(frame.run)) continue;
      const looked = this.frames;
      const length = looked.length;
      if (!this.#tree.put(frame)) continue;
      for (const { sae, id, label } of frame.features) this.names.read(keyOf(sae, id), label);
      fresh = true;
      if (looked[frame.step] !== frame) continue;
      late ||= frame.step < length;
      if (!late) this.#live.add(frame);
    }
    if (!fresh) return;
    if (late) this.#rebuild();
    else this.#settle();
    this.#emit("frames");
  }

  /** `edges` are the significant ones as they stand now: what frames said of a pair grows old. */
  end(run: number, finish: string, total: number, edges: Pair[] = []): void {
    if (!this.enter(run)) return;
    const track = this.#tree.get(run);
    if (!track) return;
    track.finish = finish;
    track.total = Math.max(track.total, total);
    track.settled = { edges, total };
    this.#settle();
    this.#emit("end");
  }

  /** Frames that came after the edges were settled know better. */
  #settle(): void {
    const { settled, frames } = this.track;
    if (settled && frames.length <= settled.total) this.#live.settle(settled.edges);
  }

  /** The first frames that must exist but have not arrived, those of the run looked at before others. */
  missing(): Gap | null {
    return this.#tree.gap(this.run);
  }

  // The look

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

  /** Which features belong together over the whole run, by the colour of each group. */
  get clusters(): ReadonlyMap<Key, number> {
    return this.#clusters.of(this.#live.edges, this.#live.version);
  }

  get clustered(): boolean {
    return mayCluster(this.#live.edges);
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

  /** Stays at the token looked at, though the run may go on. */
  hold(): void {
    const at = this.frame();
    if (this.cursor !== null || !at) return;
    this.cursor = at.step;
    this.#emit("cursor");
  }

  /** Moves the look by so many shown tokens. */
  move(by: number): void {
    const shown = this.tokens();
    const at = shown.findIndex((frame) => frame.step === this.frame()?.step);
    const target = shown[Math.min(Math.max(at + by, 0), shown.length - 1)];
    if (target) this.look(target.step);
  }

  /** Takes what is selected, inspected and pinned from now on. */
  mark({ chosen, inspected, pinned }: Marks): void {
    const now = this.marks;
    if (inspected === now.inspected && same(chosen, now.chosen) && same(pinned, now.pinned)) return;
    this.selected = inspected === null ? null : partsOf(inspected);
    this.chosen = new Set(chosen);
    this.pinned = new Set(pinned);
    this.#emit("select");
  }

  get marks(): Marks {
    return { chosen: [...this.chosen], inspected: this.selectedKey, pinned: [...this.pinned] };
  }

  get selectedKey(): Key | null {
    return this.selected ? keyOf(this.selected.sae, this.selected.id) : null;
  }

  configure(settings: Partial<Settings>): void {
    this.settings = { ...this.settings, ...settings };
    this.#emit("settings");
  }

  // What is known of features

  know(saes: SaeInfo[]): void {
    this.saes = saes;
    this.#emit("info");
  }

  /** "layer 3", or "5 pre" where a layer has more than one SAE. */
  layerTitle(sae: number): string {
    return this.saes[sae]?.title ?? `SAE ${sae}`;
  }

  learn(details: Details): void {
    const key = keyOf(details.sae, details.id);
    this.details.set(key, details);
    this.names.take(key, details.label);
    for (const near of details.nearest) this.names.take(near.key, near.label);
    if (details.dense) for (const fold of [this.#live, this.#past]) this.#thicken(fold?.nodes.get(key));
    this.#emit("details");
  }

  #thicken(node: NodeState | undefined): void {
    if (node) node.dense = true;
  }

  /** Takes what features are called from now on, as labels come in. */
  rename(names: [Key, string][]): void {
    if (!names.length) return;
    for (const [key, name] of names) this.names.rename(key, name);
    this.#emit("names");
  }

  learnMaxima(maxima: [Key, number | null][]): void {
    if (!maxima.length) return;
    for (const [key, most] of maxima) this.maxima.set(key, most);
    this.#emit("details");
  }

  /** The strongest activation in the data that the label comes from. */
  maximum(key: Key): number | null {
    return this.details.get(key)?.maximum ?? this.maxima.get(key) ?? null;
  }

  forgetDetails(): void {
    this.places = { at: new Map(), making: false, trouble: "" };
    this.details.clear();
    this.maxima.clear();
    this.names.clear();
    this.#emit("details");
  }

  dense(key: Key): boolean {
    return this.#live.nodes.get(key)?.dense || this.details.get(key)?.dense || false;
  }

  label(key: Key): string {
    return this.names.of(key);
  }

  /** A node's state over the whole run, whatever moment is looked at. */
  node(key: Key): NodeState | null {
    return this.#live.nodes.get(key) ?? null;
  }

  /** How strongly a feature fires on a token, as far as that is known: frames show only the strongest. */
  activation(frame: Frame | null | undefined, key: Key): number {
    if (!frame) return 0;
    const { sae, id } = partsOf(key);
    const shown = frame.features.find((f) => f.id === id && f.sae === sae)?.activation;
    return shown ?? frame.beside.get(key) ?? this.#heard.get(key)?.get(`${frame.run} ${frame.step}`) ?? 0;
  }

  learnActivations(run: number, rows: [Key, [step: number, activation: number][]][]): void {
    if (!this.#tree.has(run)) return;
    for (const [key, fired] of rows) {
      const heard = this.#heard.get(key) ?? new Map<string, number>();
      for (const [step, activation] of fired) heard.set(`${this.ownerIn(run, step)} ${step}`, activation);
      this.#heard.set(key, heard);
    }
    this.heard++;
    this.#emit("details");
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
    return speedOf(this.tokens(), this.cursor ?? this.frames.length);
  }

  cost(): Cost {
    return costOf(this.tokens());
  }

  // What Python answered

  /** The reasons for a token at a step of the run looked at, as far as they are known. */
  why(step: number, tokenId: number): Why | null {
    return this.#whys.get(`${this.owner(step)}|${step}|${tokenId}`) ?? null;
  }

  explain(why: Why): void {
    if (!this.#tree.has(why.run)) return;
    const key = `${why.run}|${why.step}|${why.tokenId}`;
    const known = this.#whys.get(key);
    // A quick answer that comes late must not take exact values away.
    if (known && !known.error && known.done > why.done) return;
    this.#whys.set(key, why);
    for (const { features } of why.saes)
      for (const feature of features) this.names.take(feature.key, feature.label);
    this.#emit("why");
  }

  light(effects: Effects | null): void {
    if (effects === this.effects) return;
    this.effects = effects;
    this.#emit("why");
  }

  compare(compared: Compared | null): void {
    if (compared && !(this.#tree.has(compared.a) && this.#tree.has(compared.b))) return;
    for (const [key, { label }] of compared?.rows ?? []) this.names.take(key, label);
    this.comparison = compared && {
      a: compared.a,
      b: compared.b,
      rows: compared.rows,
      titleA: this.title(compared.a),
      titleB: this.title(compared.b),
    };
    // Whoever compares wants to see it; whoever is done gets back what was there.
    const { hue } = this.settings;
    if (compared && hue !== "compare") this.#hueBefore = hue;
    if (compared) this.configure({ hue: "compare" });
    else if (hue === "compare") this.configure({ hue: this.#hueBefore });
    this.#emit("compare");
  }

  resemble(run: number, similar: Similar[]): void {
    if (run !== this.run) return;
    this.similar = similar;
    this.#emit("similar");
  }

  /** Takes places on the maps; those that were known stay, as each map is made once. */
  place({ at, making, trouble }: Places): void {
    this.places = { at: new Map([...this.places.at, ...at]), making, trouble };
    this.#emit("map");
  }

  measure(numbers: EdgeNumbers): void {
    this.edgeNumbers.set(pairKey(numbers.a, numbers.b), numbers);
    this.#emit("edge");
  }
}

function same(a: Key[], b: Key[]): boolean {
  return a.length === b.length && a.every((key, i) => key === b[i]);
}
