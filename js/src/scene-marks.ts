/** The nodes and edges on show: where they are, how they look now and what they ease towards. No WebGL here. */
import { type Key, SIGNIFICANT } from "./frame";
import { type Body, edgesOf, seed, shown, shownEdges } from "./layout";
import type { Dot, Rgb, Ribbon } from "./scene-paint";
import type { EdgeState, Moment, NodeState } from "./store";

export interface Mark {
  body: Body;
  node: NodeState;
  /** False while it fades out. */
  here: boolean;
  firing: boolean;
  heat: number;
  heatGoal: number;
  /** 1 while it fires on the token looked at. */
  now: number;
  /** Its claim to a name: follows the light slowly, so that names do not change with every token. */
  fame: number;
  radius: number;
  radiusGoal: number;
  alpha: number;
  /** Screen position and radius in canvas pixels, and distance from the camera. */
  x: number;
  y: number;
  r: number;
  depth: number;
}

export interface Tie {
  source: Key | Body;
  target: Key | Body;
  edge: EdgeState;
  alpha: number;
  /** Shown because one end is selected: it does not pull. */
  loose: boolean;
}

export class Marks {
  selected: Key | null = null;
  hovered: Key | null = null;
  #bodies: Map<Key, Body>;
  #marks = new Map<Key, Mark>();
  #ties = new Map<string, Tie>();
  /** The selected node and all it fires together with. */
  #around = new Set<Key>();

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
    return [...this.#ties.values()].filter((tie) => !tie.loose);
  }

  /** Differs when the layout has to hear of it. */
  get structure(): string {
    return `${this.here.map((mark) => mark.node.key).join()}/${this.links.map((tie) => tie.edge.key).join()}`;
  }

  get(key: Key | null): Mark | undefined {
    return key === null ? undefined : this.#marks.get(key);
  }

  clear(): void {
    this.#marks.clear();
    this.#ties.clear();
    this.#around.clear();
  }

  show(moment: Moment, selected: Key | null): void {
    this.selected = selected;
    const list = shown(moment, selected);
    const keys = new Set(list.map(({ node }) => node.key));
    const edges = shownEdges(moment, keys);
    for (const mark of this.#marks.values()) {
      mark.here = false;
      mark.heatGoal = 0;
    }
    for (const { node, heat, weight, firing } of list) {
      const mark = this.#marks.get(node.key) ?? this.#enter(node, edges, moment.step);
      mark.node = node;
      mark.here = true;
      mark.firing = firing;
      mark.heatGoal = heat;
      mark.radiusGoal = 1.5 + 3.4 * weight * weight + 1.2 * heat;
    }
    const ties = new Map<string, Tie>();
    for (const edge of edges) ties.set(edge.key, this.#tie(edge, false));
    this.#around.clear();
    for (const edge of selected ? edgesOf(moment, selected, keys) : []) {
      this.#around.add(edge.a).add(edge.b);
      if (!ties.has(edge.key)) ties.set(edge.key, this.#tie(edge, true));
    }
    this.#ties = ties;
  }

  #tie(edge: EdgeState, loose: boolean): Tie {
    const tie = this.#ties.get(edge.key) ?? { source: edge.a, target: edge.b, edge, alpha: 0, loose };
    return Object.assign(tie, { edge, loose });
  }

  #enter(node: NodeState, edges: EdgeState[], step: number): Mark {
    let body = this.#bodies.get(node.key);
    if (!body) {
      const near = edges
        .filter((edge) => edge.a === node.key || edge.b === node.key)
        .map((edge) => this.#marks.get(edge.a === node.key ? edge.b : edge.a)?.body)
        .filter((found): found is Body => found !== undefined)
        .slice(0, 3);
      // Not tied to anything yet: come in beside something that fires on the same token.
      if (!near.length) {
        const peers = this.all.filter((mark) => mark.node.lastStep === step && mark.body.age > 0);
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
      now: 0,
      fame: 0,
      radius: 0.4,
      radiusGoal: 1,
      alpha: 0,
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
      const aside = this.selected !== null && key !== this.selected && !this.#around.has(key);
      const goal = mark.heatGoal * (breathing && lit ? 1 + 0.07 * Math.sin(2 * seconds + mark.node.id) : 1);
      mark.heat = toward(mark.heat, goal, goal > mark.heat ? 0.1 : 0.45);
      mark.now = toward(mark.now, lit ? 1 : 0, lit ? 0.07 : 0.4);
      mark.fame = toward(mark.fame, mark.heatGoal, mark.heatGoal > mark.fame ? 0.5 : 2);
      mark.radius = toward(mark.radius, mark.radiusGoal, 0.25);
      mark.alpha = toward(mark.alpha, mark.here ? (aside ? 0.3 : 1) : 0, 0.25);
      if (!mark.here && mark.alpha === 0) this.#marks.delete(key);
    }
    for (const tie of this.#ties.values()) tie.alpha = toward(tie.alpha, 1, 0.4);
    return changing;
  }

  dots(grow: number): Dot[] {
    // From far to near, but a node that shines is not hidden behind a quiet one just before it.
    const order = (mark: Mark) => mark.depth - 60 * mark.heat;
    return this.all
      .filter((mark) => mark.depth > 1)
      .sort((p, q) => order(q) - order(p))
      .map(({ body, radius, heat, alpha, now, node }) => ({
        x: body.x,
        y: body.y,
        z: body.z,
        radius: radius * grow,
        heat,
        alpha,
        now,
        ring: node.key === this.selected ? 1 : node.key === this.hovered ? 0.55 : 0,
      }));
  }

  ribbons(bright: Rgb, faint: Rgb, own: Rgb): Ribbon[] {
    const ribbons: Ribbon[] = [];
    for (const { edge, alpha } of this.#ties.values()) {
      const a = this.#marks.get(edge.a);
      const b = this.#marks.get(edge.b);
      if (!a || !b) continue;
      const sure = edge.s >= SIGNIFICANT;
      const touching = edge.a === this.selected || edge.b === this.selected;
      const lit = Math.min(a.heat, b.heat);
      let strength = sure ? 0.42 + 0.45 * lit : 0.13 + 0.2 * lit;
      if (this.selected) strength = touching ? (sure ? 0.9 : 0.4) : strength * 0.3;
      ribbons.push({
        from: a.body,
        to: b.body,
        width: sure ? 1.5 + Math.min(edge.s, 8) / 8 : 0.9,
        colour: touching ? own : sure ? bright : faint,
        alpha: strength * alpha * Math.min(a.alpha, b.alpha),
      });
    }
    return ribbons;
  }

  /** Selected or hovered: its name is shown whatever else is. */
  strong({ node }: Mark): boolean {
    return node.key === this.selected || node.key === this.hovered;
  }

  /** Those that may bear a name, the strongest first. */
  named(width: number, height: number): Mark[] {
    const rank = (mark: Mark) =>
      (this.strong(mark) ? 9 : 0) + (this.#around.has(mark.node.key) ? 2 : 0) + mark.fame;
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
}
