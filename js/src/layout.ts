/** Which nodes and edges are drawn, how strongly, and the forces that let the graph grow calmly. No three. */
import { type Key, partsOf, SIGNIFICANT } from "./frame";
import type { Look } from "./look";
import type { EdgeState, Moment, NodeState } from "./store";

/** How many edges are drawn for each node that stays. */
const BRIGHT = 2.5;
const FAINT = 6;
const SIMILAR = 2.5;
/** The last of those that stay fade before they go: from this place on, down to so much. */
const FADING = 0.75;
const FADED = 0.35;
const FAINT_PER_NODE = 2;
const MOST_OWN = 30;
/** What is left of a node's light one token later. */
const FADE = 0.66;

export interface Body {
  key: Key;
  x: number;
  y: number;
  z: number;
  vx: number;
  vy: number;
  vz: number;
  /** Where it is held, whatever the forces say. */
  fx?: number | undefined;
  fy?: number | undefined;
  fz?: number | undefined;
  /** Where it was before the layers were laid out. */
  home?: [x: number, y: number, z: number] | undefined;
  /** Simulation ticks since it came in: newcomers may move faster until they found their place. */
  age: number;
}

export interface Shown {
  node: NodeState;
  /** 0..1: light now, by activation fading with the tokens since it fired, or by what else is looked at. */
  heat: number;
  /** 0..1: how strong it has been at most. */
  weight: number;
  firing: boolean;
  /** 0..1: less for the next ones to go. */
  presence: number;
}

/** Activations of different layers have different scales: each SAE's are measured against its own strongest. */
function scaleOf(moment: Moment, sae: number): number {
  return moment.scales[sae] || moment.scale || 1;
}

/** What is shown: all in `kept`, and of the others as many as are to stay, the strongest and newest first. */
export function shown(moment: Moment, look: Look, kept: ReadonlySet<Key>): Shown[] {
  const all: (Shown & { rank: number })[] = [];
  const add = (node: NodeState) => {
    if (node.dense && !look.dense && !kept.has(node.key) && node.steered === null) return;
    const scale = scaleOf(moment, node.sae);
    const age = moment.step - node.lastStep;
    const heat = heatOf(node, look, scale, age);
    const weight = Math.min(Math.sqrt(Math.max(node.peak, 0) / scale), 1);
    // What a hand put in is shown however little it does by itself.
    const hand = kept.has(node.key) ? 9 : node.steered !== null ? 5 : 0;
    const rank = hand + heat + 0.7 * weight * 0.99 ** age;
    all.push({ node, heat, weight, firing: age === 0, presence: 1, rank });
  };
  for (const node of moment.nodes.values()) add(node);
  for (const node of strangers(moment, look)) add(node);
  const most = Math.max(look.keep, kept.size);
  if (all.length <= most) return all;
  all.sort((p, q) => q.rank - p.rank);
  const first = FADING * most;
  return all.slice(0, most).map((one, place) => {
    const late = Math.max(place - first, 0) / (most - first);
    return { ...one, presence: one.firing || kept.has(one.node.key) ? 1 : 1 - (1 - FADED) * late };
  });
}

function heatOf(node: NodeState, look: Look, scale: number, age: number): number {
  if (look.hue === "effect" && look.effects) {
    const value = Math.abs(look.effects.values.get(node.key) ?? 0);
    return Math.sqrt(Math.min(value / (look.effects.scale || 1), 1));
  }
  if (look.hue === "compare" && look.comparison) {
    const row = look.comparison.rows.get(node.key);
    return row ? Math.sqrt(Math.min(Math.max(row.a, row.b, 0) / scale, 1)) : 0;
  }
  return Math.sqrt(Math.max(node.last, 0) / scale) * FADE ** age;
}

/** What fired only in the other of two runs that are compared is not of this moment, but is what one looks for. */
function strangers(moment: Moment, look: Look): NodeState[] {
  if (look.hue !== "compare" || !look.comparison) return [];
  const found: NodeState[] = [];
  for (const [key, { a, b }] of look.comparison.rows) {
    if (moment.nodes.has(key)) continue;
    const { sae, id } = partsOf(key);
    const layer = look.layers[sae] ?? sae;
    const strength = Math.max(a, b, 0);
    found.push({
      ...{ key, sae, id, layer, last: strength, lastStep: -1, firstStep: -1 },
      ...{ peak: strength, peakStep: -1, count: 0, dense: false, steered: null },
    });
  }
  return found;
}

/** A line between two nodes: tokens they fired on together, or directions they share. */
export interface Strand {
  key: string;
  a: Key;
  b: Key;
  kind: "together" | "similar";
  /** Tokens together, and -log10 q of that. */
  n: number;
  s: number;
  cosine: number;
  /** It is surer than chance (or than the threshold, for a cosine). */
  bright: boolean;
  drawn: boolean;
  /** It pulls in the layout. That hangs on no threshold, so that moving one moves no node. */
  pulls: boolean;
}

export function strands(moment: Moment, look: Look, keys: ReadonlySet<Key>, selected: Key | null): Strand[] {
  const found = new Map<string, Strand>();
  const counted = look.edges !== "similar";
  const ties = togetherTies(moment, keys, BRIGHT * look.keep);
  const visible = (edge: EdgeState) =>
    counted && edge.n >= look.leastCount && (edge.s >= SIGNIFICANT || look.edges === "all");
  for (const edge of ties) found.set(edge.key, strandOf(edge, visible(edge), true));
  if (look.edges === "all")
    for (const edge of faintest(moment, keys, look.leastCount, FAINT * look.keep))
      if (!found.has(edge.key)) found.set(edge.key, strandOf(edge, true, false));
  if (selected && counted)
    for (const edge of edgesOf(moment, selected, keys).filter(visible))
      if (!found.has(edge.key)) found.set(edge.key, strandOf(edge, true, false));
  for (const strand of similarStrands(look, keys)) found.set(strand.key, strand);
  return [...found.values()];
}

function strandOf({ key, a, b, n, s }: EdgeState, drawn: boolean, pulls: boolean): Strand {
  return { key, a, b, kind: "together", n, s, cosine: 0, bright: s >= SIGNIFICANT, drawn, pulls };
}

/** Every significant edge (the surest first), and of the others the few that tie each node in. */
function togetherTies(moment: Moment, keys: ReadonlySet<Key>, most: number): EdgeState[] {
  const bright: EdgeState[] = [];
  const faint: EdgeState[] = [];
  for (const edge of moment.edges.values())
    if (keys.has(edge.a) && keys.has(edge.b)) (edge.s >= SIGNIFICANT ? bright : faint).push(edge);
  bright.sort((p, q) => q.s - p.s);
  faint.sort((p, q) => q.n - p.n || q.lastStep - p.lastStep);
  const tied = new Map<Key, number>();
  const kept = bright.slice(0, most);
  for (const edge of faint) {
    const [a, b] = [tied.get(edge.a) ?? 0, tied.get(edge.b) ?? 0];
    if (Math.min(a, b) >= FAINT_PER_NODE || Math.max(a, b) >= 3 * FAINT_PER_NODE) continue;
    tied.set(edge.a, a + 1);
    tied.set(edge.b, b + 1);
    kept.push(edge);
  }
  return kept;
}

function faintest(moment: Moment, keys: ReadonlySet<Key>, least: number, most: number): EdgeState[] {
  return [...moment.edges.values()]
    .filter((edge) => edge.s < SIGNIFICANT && edge.n >= least && keys.has(edge.a) && keys.has(edge.b))
    .sort((p, q) => q.n - p.n || q.lastStep - p.lastStep)
    .slice(0, most);
}

/** All of one node's edges, the surest first: shown while it is selected, without pulling on the layout. */
function edgesOf(moment: Moment, key: Key, keys: ReadonlySet<Key>): EdgeState[] {
  return [...moment.edges.values()]
    .filter((edge) => (edge.a === key || edge.b === key) && keys.has(edge.a) && keys.has(edge.b))
    .sort((p, q) => q.s - p.s || q.n - p.n)
    .slice(0, MOST_OWN);
}

/** Shared directions, where they are asked for; between layers also wherever these are laid out side by side. */
function similarStrands(look: Look, keys: ReadonlySet<Key>): Strand[] {
  const layered = look.layout === "layers";
  if (look.edges !== "similar" && !layered) return [];
  return look.similar
    .filter(({ a, b }) => keys.has(a) && keys.has(b))
    .slice(0, SIMILAR * look.keep)
    .map(({ a, b, cosine }) => {
      const across = partsOf(a).sae !== partsOf(b).sae;
      const drawn = cosine >= look.leastCosine && (look.edges === "similar" || across);
      const pulls = across || look.edges === "similar";
      return { key: `${a}~${b}`, a, b, kind: "similar", n: 0, s: 0, cosine, bright: true, drawn, pulls };
    });
}

/** The same name gives the same place every time: a run looks alike whenever it is drawn. */
export function scatter(key: string): [number, number, number] {
  let hash = 2166136261;
  for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 16777619);
  const next = () => {
    hash = Math.imul(hash ^ (hash >>> 15), 2246822507);
    hash = Math.imul(hash ^ (hash >>> 13), 3266489909);
    return ((hash ^ (hash >>> 16)) >>> 0) / 4294967296;
  };
  const z = 2 * next() - 1;
  const turn = 2 * Math.PI * next();
  const flat = Math.sqrt(1 - z * z);
  return [flat * Math.cos(turn), flat * Math.sin(turn), z];
}

/** Where a new node comes in: beside what it fires with, else on a small ball around the middle. */
export function seed(key: Key, near: Body[]): Body {
  const [dx, dy, dz] = scatter(key);
  const spread = near.length ? 9 : 26;
  const middle = { x: 0, y: 0, z: 0 };
  for (const body of near) {
    middle.x += body.x / near.length;
    middle.y += body.y / near.length;
    middle.z += body.z / near.length;
  }
  return {
    key,
    x: middle.x + spread * dx,
    y: middle.y + spread * dy,
    z: middle.z + spread * dz,
    vx: 0,
    vy: 0,
    vz: 0,
    age: 0,
  };
}

export interface Force {
  (alpha: number): void;
  initialize(bodies: object[]): void;
}

export function force(act: (bodies: Body[], alpha: number) => void): Force {
  let bodies: Body[] = [];
  const acting = (alpha: number) => act(bodies, alpha);
  return Object.assign(acting, {
    initialize(next: object[]) {
      bodies = next as Body[];
    },
  });
}

/** A soft pull of every node to the middle; a centre force would shift the whole picture at each newcomer. */
export const gather = (strength: () => number) =>
  force((bodies, alpha) => {
    const pull = strength() * alpha;
    if (pull)
      for (const body of bodies) {
        body.vx -= body.x * pull;
        body.vy -= body.y * pull;
        body.vz -= body.z * pull;
      }
  });

/** Runs last: whatever the other forces ask for, nothing jumps. */
export const calm = (settled: number, newcomer: number) =>
  force((bodies) => {
    for (const body of bodies) {
      const most = body.age++ < 30 ? newcomer : settled;
      const speed = Math.hypot(body.vx, body.vy, body.vz);
      if (speed <= most) continue;
      body.vx *= most / speed;
      body.vy *= most / speed;
      body.vz *= most / speed;
    }
  });

export interface Box {
  left: number;
  top: number;
  right: number;
  bottom: number;
}

/**
 * Each name comes with the boxes it could take, best first, in order of priority. Gives the place each one gets so
 * that none touches another; -1 where there is no room. All but the first `sure` names also keep off the obstacles.
 */
export function declutter(names: Box[][], obstacles: Box[], sure: number, gap: number): number[] {
  const taken: Box[] = [];
  const free = (box: Box, others: Box[]) => others.every((other) => apart(box, other, gap));
  return names.map((boxes, rank) => {
    let place = boxes.findIndex((box) => free(box, taken) && free(box, obstacles));
    if (place < 0 && rank < sure) place = boxes.findIndex((box) => free(box, taken));
    const box = boxes[place];
    if (box) taken.push(box);
    return place;
  });
}

function apart(a: Box, b: Box, gap: number): boolean {
  return a.left > b.right + gap || a.right < b.left - gap || a.top > b.bottom + gap || a.bottom < b.top - gap;
}
