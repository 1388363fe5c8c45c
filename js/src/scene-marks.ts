/** The nodes and edges on show: where they are, how they look now and what they ease towards. No WebGL here. */
import { type Key, partsOf } from "./frame";
import { type Body, type Strand, seed, shown, strands } from "./layout";
import type { Look } from "./look";
import { type Tint, tintOf } from "./scene-hue";
import type { Dot, Rgb, Ribbon } from "./scene-paint";
import type { Moment, NodeState } from "./store";
import type { Theme } from "./theme";

/** Which nodes a person marked: the one that is read about, all that are selected, and those that are pinned. */
export interface Picked {
  inspected: Key | null;
  chosen: ReadonlySet<Key>;
  pinned: ReadonlySet<Key>;
}

export const NOTHING: Picked = { inspected: null, chosen: new Set(), pinned: new Set() };

export interface Mark {
  body: Body;
  node: NodeState;
  /** False while it fades out. */
  here: boolean;
  firing: boolean;
  heat: number;
  heatGoal: number;
  tint: Tint;
  tintGoal: Tint;
  /** Its claim to a name: follows the light slowly, so that names do not change with every token. */
  fame: number;
  radius: number;
  radiusGoal: number;
  alpha: number;
  /** Less for those that are next to go. */
  presence: number;
  /** Screen position and radius in canvas pixels, and distance from the camera. */
  x: number;
  y: number;
  r: number;
  depth: number;
}

export interface Tie {
  source: Key | Body;
  target: Key | Body;
  strand: Strand;
  alpha: number;
}

/** A tie as it was last drawn. */
interface Line {
  strand: Strand;
  from: Mark;
  to: Mark;
}

export interface EdgeColours {
  bright: Rgb;
  faint: Rgb;
  alike: Rgb;
  own: Rgb;
}

/** So near a line, in pixels, the pointer is on it. */
const NEAR = 5;

/** The faintest edge where more contrast was asked for. */
const STARKEST = 0.75;

export class Marks {
  selected: Key | null = null;
  hovered: Key | null = null;
  /** The edge under the pointer. */
  pointed: string | null = null;
  /** More contrast was asked for: nothing is drawn so faintly that it has to be looked for. */
  stark = false;
  #bodies: Map<Key, Body>;
  #marks = new Map<Key, Mark>();
  #ties = new Map<string, Tie>();
  #shown = new Set<string>();
  #lines: Line[] = [];
  #layout: Look["layout"] = "force";
  #picked = NOTHING;
  /** The selected node and all it is tied to. */
  #around = new Set<Key>();
  /** The selected node, if it is among those shown: only then do the others stand back. */
  #inspected: Key | null = null;

  constructor(bodies: Map<Key, Body>) {
    this.#bodies = bodies;
  }

  get all(): Mark[] {
    return [...this.#marks.values()];
  }

  get here(): Mark[] {
    return this.all.filter((mark) => mark.here);
  }

  /** The edges that pull in the layout. */
  get links(): Tie[] {
    return [...this.#ties.values()].filter(({ strand }) => strand.pulls && this.#shown.has(strand.key));
  }

  /** Differs when the layout has to hear of it. */
  get structure(): string {
    const keys = this.here.map((mark) => mark.node.key).join();
    return `${keys}/${this.links.map((tie) => tie.strand.key).join()}/${this.#layout}`;
  }

  get lines(): readonly Line[] {
    return this.#lines;
  }

  get(key: Key | null): Mark | undefined {
    return key === null ? undefined : this.#marks.get(key);
  }

  clear(): void {
    this.#marks.clear();
    this.#ties.clear();
    this.#shown.clear();
    this.#lines = [];
    this.#around.clear();
  }

  show(moment: Moment, look: Look, theme: Theme, picked: Picked): void {
    const selected = picked.inspected;
    this.selected = selected;
    this.#picked = picked;
    this.#layout = look.layout;
    const kept = new Set([...picked.pinned, ...picked.chosen, ...(selected === null ? [] : [selected])]);
    const list = shown(moment, look, kept);
    const keys = new Set(list.map(({ node }) => node.key));
    this.#inspected = selected !== null && keys.has(selected) ? selected : null;
    const edges = strands(moment, look, keys, selected);
    for (const mark of this.#marks.values()) {
      mark.here = false;
      mark.heatGoal = 0;
    }
    for (const one of list) {
      const { node, heat, weight, firing } = one;
      const tint = tintOf(one, look, theme);
      const mark = this.#marks.get(node.key) ?? this.#enter(node, edges, moment.step, tint);
      mark.node = node;
      mark.here = true;
      mark.firing = firing;
      mark.presence = one.presence;
      mark.heatGoal = heat;
      mark.tintGoal = tint;
      mark.radiusGoal = 1.5 + 3.4 * weight * weight + 1.2 * heat;
    }
    this.#shown.clear();
    this.#around.clear();
    for (const strand of edges) {
      const { key, a, b } = strand;
      this.#shown.add(key);
      const tie = this.#ties.get(key);
      if (tie) tie.strand = strand;
      else this.#ties.set(key, { source: a, target: b, strand, alpha: 0 });
      if (strand.drawn && (a === selected || b === selected)) this.#around.add(a).add(b);
    }
  }

  #enter(node: NodeState, edges: Strand[], step: number, tint: Tint): Mark {
    let body = this.#bodies.get(node.key);
    if (!body) {
      const near = edges
        .filter((edge) => edge.pulls && (edge.a === node.key || edge.b === node.key))
        .map((edge) => this.#marks.get(edge.a === node.key ? edge.b : edge.a)?.body)
        .filter((found): found is Body => found !== undefined)
        .slice(0, 3);
      // Not tied to anything yet: come in beside something that fires on the same token.
      if (!near.length) {
        const peers = this.all.filter(
          (mark) => mark.node.sae === node.sae && mark.node.lastStep === step && mark.body.age > 0,
        );
        near.push(...peers.slice(0, 2).map((mark) => mark.body));
      }
      body = seed(node.key, near);
      this.#bodies.set(node.key, body);
    }
    const mark: Mark = {
      body,
      node,
      here: true,
      firing: false,
      heat: 0,
      heatGoal: 0,
      tint,
      tintGoal: tint,
      fame: 0,
      radius: 0.4,
      radiusGoal: 1,
      alpha: 0,
      presence: 1,
      x: -1,
      y: -1,
      r: 0,
      depth: 1,
    };
    this.#marks.set(node.key, mark);
    return mark;
  }

  /** Display only: eases light and size towards what the stored numbers say; true while they differ. */
  ease(dt: number, seconds: number, breathing: boolean): boolean {
    let changing = false;
    const toward = (from: number, to: number, time: number) => {
      const gap = to - from;
      if (Math.abs(gap) < 0.004) return to;
      changing = true;
      return from + gap * (1 - Math.exp(-dt / time));
    };
    for (const [key, mark] of this.#marks) {
      const lit = mark.firing && mark.here;
      const aside = this.#inspected !== null && !this.#around.has(key) && !this.#marked(key);
      const goal = mark.heatGoal * (breathing && lit ? 1 + 0.07 * Math.sin(2 * seconds + mark.node.id) : 1);
      mark.heat = toward(mark.heat, goal, goal > mark.heat ? 0.1 : 0.45);
      mark.tint = mark.tint.map((part, i) =>
        toward(part, mark.tintGoal[i] ?? part, lit ? 0.09 : 0.4),
      ) as Tint;
      mark.fame = toward(mark.fame, mark.heatGoal, mark.heatGoal > mark.fame ? 0.5 : 2);
      mark.radius = toward(mark.radius, mark.radiusGoal, 0.25);
      mark.alpha = toward(
        mark.alpha,
        mark.here ? Math.min(mark.presence, aside && !this.stark ? 0.3 : 1) : 0,
        0.25,
      );
      if (!mark.here && mark.alpha === 0) this.#marks.delete(key);
    }
    for (const [key, tie] of this.#ties) {
      const shown = this.#shown.has(key);
      tie.alpha = toward(tie.alpha, shown && tie.strand.drawn ? 1 : 0, shown ? 0.4 : 0.15);
      if (!shown && tie.alpha === 0) this.#ties.delete(key);
    }
    return changing;
  }

  dots(grow: number): Dot[] {
    // From far to near, but a node that shines is not hidden behind a quiet one just before it.
    const order = (mark: Mark) => mark.depth - 60 * mark.heat;
    return this.all
      .filter((mark) => mark.depth > 1)
      .sort((p, q) => order(q) - order(p))
      .map(({ body, radius, heat, alpha, tint, node }) => ({
        key: node.key,
        x: body.x,
        y: body.y,
        z: body.z,
        radius: radius * grow,
        heat,
        alpha,
        tint,
        steered: node.steered !== null,
        dense: node.dense,
        ring: this.#ring(node.key),
      }));
  }

  ribbons({ bright, faint, alike, own }: EdgeColours): Ribbon[] {
    const ribbons: Ribbon[] = [];
    this.#lines = [];
    // Very many faint lines would add up to a fog.
    const faintest = Math.sqrt(400 / Math.max(this.#ties.size, 400));
    for (const [key, { strand, alpha }] of this.#ties) {
      const from = this.#marks.get(strand.a);
      const to = this.#marks.get(strand.b);
      if (!from || !to || alpha < 0.01) continue;
      const touching = strand.a === this.selected || strand.b === this.selected;
      const pointed = strand.key === this.pointed;
      const colour =
        touching || pointed ? own : strand.kind === "similar" ? alike : strand.bright ? bright : faint;
      let { width, strength } = weight(strand, Math.min(from.heat, to.heat));
      if (!strand.bright) strength *= faintest;
      // On a map the places are what is to be read.
      if (this.#layout === "map") strength *= 0.5;
      if (this.#inspected) strength = touching ? (strand.bright ? 0.9 : 0.4) : strength * 0.3;
      if (this.stark) strength = Math.max(strength, STARKEST);
      if (pointed) [strength, width] = [1, Math.max(width, 2) + 0.6];
      // An edge that fades away is not there any more.
      if (this.#shown.has(key) && strand.drawn && from.here && to.here)
        this.#lines.push({ strand, from, to });
      ribbons.push({
        from: from.body,
        to: to.body,
        width,
        colour,
        alpha: strength * alpha * Math.min(from.alpha, to.alpha),
      });
    }
    return ribbons;
  }

  /** How clearly it is ringed. */
  #ring(key: Key): number {
    const { chosen, pinned } = this.#picked;
    if (key === this.selected || chosen.has(key)) return 1;
    return key === this.hovered ? 0.55 : pinned.has(key) ? 0.4 : 0;
  }

  #marked(key: Key): boolean {
    const { chosen, pinned } = this.#picked;
    return key === this.selected || chosen.has(key) || pinned.has(key);
  }

  /** Selected, pinned or hovered: its name is shown before others. */
  strong({ node }: Mark): boolean {
    return this.#marked(node.key) || node.key === this.hovered;
  }

  /** Those that may bear a name, the strongest first. */
  named(width: number, height: number): Mark[] {
    const rank = (mark: Mark) =>
      (this.#picked.pinned.has(mark.node.key) ? 20 : 0) +
      (this.strong(mark) ? 9 : 0) +
      (this.#around.has(mark.node.key) ? 2 : 0) +
      mark.fame;
    return this.here
      .filter((mark) => mark.depth > 1 && mark.alpha > 0.35)
      .filter((mark) => mark.x > 0 && mark.x < width && mark.y > 0 && mark.y < height)
      .sort((p, q) => rank(q) - rank(p))
      .slice(0, 24);
  }

  /** The node under a point of the canvas, or within a few pixels of it. */
  pick(x: number, y: number): Mark | null {
    let best: { mark: Mark; score: number } | null = null;
    for (const mark of this.#marks.values()) {
      if (!mark.here || mark.depth <= 1) continue;
      const miss = Math.hypot(mark.x - x, mark.y - y) - mark.r;
      if (miss > 6) continue;
      // Of several that are hit, the one that is drawn in front.
      const score = Math.max(miss, 0) * 1000 + mark.depth - 60 * mark.heat;
      if (!best || score < best.score) best = { mark, score };
    }
    return best?.mark ?? null;
  }

  /** The edge whose line passes under a point of the canvas: of several the surest. */
  pickEdge(x: number, y: number): Strand | null {
    let best: { strand: Strand; score: number } | null = null;
    for (const { strand, from, to } of this.#lines) {
      if (from.depth <= 1 || to.depth <= 1) continue;
      const miss = distanceTo(x, y, from, to);
      if (miss > NEAR) continue;
      const score = miss - (strand.bright ? 3 : 0) + (strand.key === this.pointed ? -1 : 0);
      if (!best || score < best.score) best = { strand, score };
    }
    return best?.strand ?? null;
  }
}

/** How strongly an edge is drawn whose darker end has this much light. */
function weight(strand: Strand, lit: number): { width: number; strength: number } {
  if (strand.kind === "similar") {
    const across = partsOf(strand.a).sae !== partsOf(strand.b).sae;
    return { width: 0.7 + 1.3 * strand.cosine ** 2, strength: (across ? 0.16 : 0.24) + 0.6 * lit };
  }
  if (!strand.bright) return { width: 0.9, strength: 0.13 + 0.2 * lit };
  return { width: 1.5 + Math.min(strand.s, 8) / 8, strength: 0.42 + 0.45 * lit };
}

/** From a point to the line between two others. */
function distanceTo(x: number, y: number, a: { x: number; y: number }, b: { x: number; y: number }): number {
  const [dx, dy] = [b.x - a.x, b.y - a.y];
  const length = dx * dx + dy * dy;
  const at = length > 0 ? Math.min(Math.max(((x - a.x) * dx + (y - a.y) * dy) / length, 0), 1) : 0;
  return Math.hypot(x - a.x - at * dx, y - a.y - at * dy);
}
