/** Which nodes and edges are drawn, how strongly, and the forces that let the graph grow calmly. No three. */
import { type Key, SIGNIFICANT } from "./frame";
import type { EdgeState, Moment, NodeState } from "./store";

export const MOST_NODES = 200;
const MOST_BRIGHT = 500;
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
  /** Simulation ticks since it came in: newcomers may move faster until they found their place. */
  age: number;
}

export interface Shown {
  node: NodeState;
  /** 0..1: light now, fading with the tokens since it fired. */
  heat: number;
  /** 0..1: how strong it has been at most. */
  weight: number;
  firing: boolean;
}

export function shown(moment: Moment, keep: Key | null): Shown[] {
  const scale = moment.scale || 1;
  const all: (Shown & { rank: number })[] = [];
  for (const node of moment.nodes.values()) {
    const age = moment.step - node.lastStep;
    const heat = Math.sqrt(Math.max(node.last, 0) / scale) * FADE ** age;
    const weight = Math.sqrt(Math.max(node.peak, 0) / scale);
    const rank = node.key === keep ? 9 : heat + 0.7 * weight * 0.99 ** age;
    all.push({ node, heat, weight, firing: age === 0, rank });
  }
  if (all.length > MOST_NODES) all.sort((p, q) => q.rank - p.rank);
  return all.slice(0, MOST_NODES);
}

/** Every significant edge (the surest first), and of the others the few that tie each node in. */
export function shownEdges(moment: Moment, keys: ReadonlySet<Key>): EdgeState[] {
  const bright: EdgeState[] = [];
  const faint: EdgeState[] = [];
  for (const edge of moment.edges.values())
    if (keys.has(edge.a) && keys.has(edge.b)) (edge.s >= SIGNIFICANT ? bright : faint).push(edge);
  bright.sort((p, q) => q.s - p.s);
  faint.sort((p, q) => q.n - p.n || q.lastStep - p.lastStep);
  const tied = new Map<Key, number>();
  const kept = bright.slice(0, MOST_BRIGHT);
  for (const edge of faint) {
    const [a, b] = [tied.get(edge.a) ?? 0, tied.get(edge.b) ?? 0];
    if (Math.min(a, b) >= FAINT_PER_NODE || Math.max(a, b) >= 3 * FAINT_PER_NODE) continue;
    tied.set(edge.a, a + 1);
    tied.set(edge.b, b + 1);
    kept.push(edge);
  }
  return kept;
}

/** All of one node's edges, the surest first: shown while it is selected, without pulling on the layout. */
export function edgesOf(moment: Moment, key: Key, keys: ReadonlySet<Key>): EdgeState[] {
  return [...moment.edges.values()]
    .filter((edge) => (edge.a === key || edge.b === key) && keys.has(edge.a) && keys.has(edge.b))
    .sort((p, q) => q.s - p.s || q.n - p.n)
    .slice(0, MOST_OWN);
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

function force(act: (bodies: Body[], alpha: number) => void): Force {
  let bodies: Body[] = [];
  const acting = (alpha: number) => act(bodies, alpha);
  return Object.assign(acting, {
    initialize(next: object[]) {
      bodies = next as Body[];
    },
  });
}

/** A soft pull of every node to the middle; a centre force would shift the whole picture at each newcomer. */
export const gather = (strength: number) =>
  force((bodies, alpha) => {
    for (const body of bodies) {
      body.vx -= body.x * strength * alpha;
      body.vy -= body.y * strength * alpha;
      body.vz -= body.z * strength * alpha;
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
