/** Communities of the co-activation graph, which keep their colours while it grows. No DOM. */
import { type Key, SIGNIFICANT } from "./frame";
import type { EdgeState } from "./store";

/** As many as there are colours that everybody can tell apart. */
export const MOST_CLUSTERS = 7;
/** Two or three nodes are no community. */
const FEWEST = 4;
/** A move has to be worth so much of all weight: what is nearly as good elsewhere stays. */
const WORTH = 1e-3;
const MOST_ROUNDS = 20;
/** Surer edges tie no closer than this. */
const SUREST = 8;

type Weights = Map<number, number>[];

/** Whether there are edges enough for a community: cheap to ask, as often as one likes. */
export function mayCluster(edges: ReadonlyMap<string, EdgeState>): boolean {
  const tied = new Set<Key>();
  for (const { a, b, s } of edges.values()) {
    if (s >= SIGNIFICANT) tied.add(a).add(b);
    if (tied.size >= FEWEST) return true;
  }
  return false;
}

export class Clusters {
  #edges: ReadonlyMap<string, EdgeState> | null = null;
  #version = -1;
  #community = new Map<Key, number>();
  #colours = new Map<Key, number>();
  #next = 0;

  /** The colour, from 0 to MOST_CLUSTERS - 1, of each feature in one of the largest communities. */
  of(edges: ReadonlyMap<string, EdgeState>, version: number): ReadonlyMap<Key, number> {
    if (edges === this.#edges && version === this.#version) return this.#colours;
    this.#edges = edges;
    this.#version = version;
    const sure = [...edges.values()].filter((edge) => edge.s >= SIGNIFICANT);
    const keys = [...new Set(sure.flatMap(({ a, b }) => [a, b]))].sort();
    const place = new Map(keys.map((key, i) => [key, i]));
    const weights: Weights = keys.map(() => new Map());
    for (const { a, b, s } of sure) {
      const [i, j] = [place.get(a) as number, place.get(b) as number];
      weights[i]?.set(j, Math.min(s, SUREST));
      weights[j]?.set(i, Math.min(s, SUREST));
    }
    // Each starts where it was: what was found before is left only for something better.
    const found = communities(
      weights,
      keys.map((key) => this.#community.get(key) ?? this.#next++),
    );
    this.#community = new Map(keys.map((key, i) => [key, found[i] as number]));
    this.#colours = this.#paint(keys);
    return this.#colours;
  }

  #paint(keys: Key[]): Map<Key, number> {
    const members = new Map<number, Key[]>();
    for (const key of keys) {
      const community = this.#community.get(key) as number;
      members.set(community, [...(members.get(community) ?? []), key]);
    }
    const largest = [...members.values()]
      .filter((group) => group.length >= FEWEST)
      .sort((p, q) => q.length - p.length || ((p[0] as Key) < (q[0] as Key) ? -1 : 1))
      .slice(0, MOST_CLUSTERS);
    // Who had a colour keeps it: the group with the most nodes of one goes first.
    const claims = largest.flatMap((group) => {
      const votes = new Map<number, number>();
      for (const key of group) {
        const had = this.#colours.get(key);
        if (had !== undefined) votes.set(had, (votes.get(had) ?? 0) + 1);
      }
      return [...votes].map(([colour, count]) => ({ group, colour, count }));
    });
    const given = new Map<Key[], number>();
    const taken = new Set<number>();
    for (const { group, colour } of claims.sort((p, q) => q.count - p.count))
      if (!given.has(group) && !taken.has(colour)) {
        given.set(group, colour);
        taken.add(colour);
      }
    for (const group of largest) {
      if (given.has(group)) continue;
      const free =
        Array.from({ length: MOST_CLUSTERS }, (_, i) => i).find((colour) => !taken.has(colour)) ?? 0;
      given.set(group, free);
      taken.add(free);
    }
    return new Map([...given].flatMap(([group, colour]) => group.map((key): [Key, number] => [key, colour])));
  }
}

/**
 * Louvain's method: nodes go, one after the other, to the neighbouring community where they raise modularity most;
 * then whole communities do. `start` is the community each one begins in; the same input gives the same answer.
 */
export function communities(weights: Weights, start: number[]): number[] {
  const moved = settle(weights, start);
  const names = [...new Set(moved)];
  const index = new Map(names.map((name, i) => [name, i]));
  const joined: Weights = names.map(() => new Map());
  weights.forEach((row, i) => {
    const own = index.get(moved[i] as number) as number;
    for (const [j, weight] of row) {
      const other = index.get(moved[j] as number) as number;
      joined[own]?.set(other, (joined[own]?.get(other) ?? 0) + weight);
    }
  });
  const together = settle(joined, names);
  const merged = together.some((community, i) => community !== names[i]);
  const named = moved.map((community) => together[index.get(community) as number] as number);
  return merged ? communities(weights, named) : named;
}

function settle(weights: Weights, start: number[]): number[] {
  const at = [...start];
  const degree = weights.map((row) => [...row.values()].reduce((sum, weight) => sum + weight, 0));
  const all = degree.reduce((sum, weight) => sum + weight, 0);
  if (!all) return at;
  const size = new Map<number, number>();
  at.forEach((community, i) => {
    size.set(community, (size.get(community) ?? 0) + (degree[i] ?? 0));
  });
  for (let round = 0; round < MOST_ROUNDS; round++) {
    let moves = 0;
    weights.forEach((row, i) => {
      const [own, mine] = [at[i] as number, degree[i] ?? 0];
      const ties = new Map<number, number>([[own, 0]]);
      for (const [j, weight] of row) {
        const other = at[j] as number;
        if (j !== i) ties.set(other, (ties.get(other) ?? 0) + weight);
      }
      size.set(own, (size.get(own) ?? 0) - mine);
      const gain = (community: number) =>
        (ties.get(community) ?? 0) - (mine * (size.get(community) ?? 0)) / all;
      let [best, most] = [own, gain(own) + WORTH * mine];
      for (const community of ties.keys()) {
        const value = gain(community);
        if (value > most) [best, most] = [community, value];
      }
      size.set(best, (size.get(best) ?? 0) + mine);
      if (best !== own) moves++;
      at[i] = best;
    });
    if (!moves) break;
  }
  return at;
}
