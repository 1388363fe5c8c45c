/** What Python sends, read defensively: labels and tokens are text from strangers and shapes may be wrong. */
import { list, number, record, text, whole } from "./loose";
import type { Marks } from "./state";

export { list, number, record, text } from "./loose";

export interface Feature {
  id: number;
  label: string;
  activation: number;
  layer: number;
  sae: number;
  dense: boolean;
}

/** [a, b, n, s]: a and b index the frame's features, n tokens shared so far, s = -log10 q of that co-firing. */
export type Edge = [a: number, b: number, n: number, s: number];

/** A co-firing by the nodes' own names. */
export interface Pair {
  a: Key;
  b: Key;
  n: number;
  s: number;
}

/** How one SAE sees one token. */
export interface Fit {
  explained: number | null;
  cosine: number | null;
  l0: number | null;
  /** The shown features' part of all activation. */
  share: number | null;
  peak: number | null;
  /** The sum of the five strongest activations. */
  top5: number | null;
}

/** An activation as it was read, and as the model was run with. */
export interface Steered {
  key: Key;
  sae: number;
  id: number;
  before: number;
  after: number;
}

export interface Alternative {
  token: string;
  probability: number;
  tokenId: number | null;
}

export interface Frame {
  run: number;
  step: number;
  position: number;
  token: string;
  tokenId: number;
  generated: boolean;
  special: boolean;
  logprob: number | null;
  /** Its place among all tokens by that probability, from 1. */
  rank: number | null;
  /** What the plain model gave this token, while it is read through the SAE. */
  clean: number | null;
  alternatives: Alternative[];
  features: Feature[];
  edges: Edge[];
  /** One per SAE; none on special tokens. */
  fits: Fit[];
  steered: Steered[];
  /** Activations of features that are followed and are not among those shown. */
  beside: Map<Key, number>;
  l0: number | null;
  explained: number | null;
  ms: number | null;
}

/** A run of the tree as Python tells of it. */
export interface RunInfo {
  run: number;
  /** null for the root. */
  parent: number | null;
  /** The first step that is its own. */
  from: number;
  /** The length of its whole text in steps, as far as Python told. */
  total: number;
  /** Why it ended, "" while it is open. */
  finish: string;
  /** The token a person put in at `from`; null when the model went on by itself. */
  token: string | null;
  edges: Pair[];
}

export interface SaeInfo {
  name: string;
  hook: string;
  layer: number;
  dSae: number | null;
  /** The length of the texts the SAE was trained on, in tokens. */
  context: number | null;
  /** "layer 3", or "5 pre" and "5 post" where a layer has more than one SAE. */
  title: string;
  neuronpedia: string;
  /** A sentence on where its labels come from. */
  labels: string;
  /** What it is and how good it was measured to be, as terms with what is known of them. */
  card: [term: string, words: string][];
}

export interface Info {
  model: string;
  sae: string;
  hook: string;
  layer: number;
  dSae: number | null;
  context: number | null;
  device: string;
  fallback: string;
  neuronpedia: string;
  labels: string;
  /** In the order of depth: a feature names its SAE by the place here. */
  saes: SaeInfo[];
}

/** A feature in the list of those that are steered. */
export interface Steer {
  key: Key;
  sae: number;
  id: number;
  layer: number;
  label: string;
  /** The activation it is set to, or (`scale`) what its own is multiplied by. */
  value: number;
  scale: boolean;
}

export type Key = string;
export const keyOf = (sae: number, id: number): Key => `${sae}:${id}`;

/** The SAE's place and the feature's number in it. */
export function partsOf(key: Key): { sae: number; id: number } {
  const [sae, id] = key.split(":").map(Number);
  return { sae: sae ?? 0, id: id ?? 0 };
}

/** A co-firing is called significant from q <= .05 on. */
export const SIGNIFICANT = 1.3;
/** Below this explained variance an SAE's features tell little about the token. */
export const LITTLE = 0.6;
/** Longer than any model's context: a step beyond is a mistake, and would cost memory. */
const MOST_STEPS = 200_000;

/** A number of steps, or the number of one, that can be true. */
export function steps(value: unknown): number | null {
  const n = whole(value);
  return n !== null && n <= MOST_STEPS ? n : null;
}

/** One token's frame, or null when it cannot be placed in a run. */
export function readFrame(value: unknown): Frame | null {
  const raw = record(value);
  const run = whole(raw?.run);
  const step = steps(raw?.step);
  if (!raw || run === null || step === null) return null;
  // Edges point at features by place: a feature that is dropped must not shift the others.
  const places = new Map<number, number>();
  const features: Feature[] = [];
  list(raw.features).forEach((item, place) => {
    const feature = readFeature(item);
    if (!feature) return;
    places.set(place, features.length);
    features.push(feature);
  });
  const edges: Edge[] = [];
  for (const item of list(raw.edges)) {
    const [from, to, n, s] = list(item).map(number);
    const a = places.get(from ?? -1);
    const b = places.get(to ?? -1);
    if (a === undefined || b === undefined || a === b) continue;
    edges.push([a, b, n ?? 0, s ?? 0]);
  }
  const fits = list(raw.fits).map(readFit);
  const [l0, explained] = [number(raw.l0), number(raw.explained_variance)];
  // Runs saved by earlier versions tell of one SAE only.
  if (!fits.length && explained !== null) fits.push({ ...readFit([]), explained, l0 });
  return {
    run,
    step,
    position: whole(raw.position) ?? step,
    token: text(raw.token),
    tokenId: number(raw.token_id) ?? -1,
    generated: raw.generated === true,
    special: raw.special === true,
    logprob: number(raw.logprob),
    rank: whole(raw.rank),
    clean: number(raw.clean_logprob),
    alternatives: list(raw.alternatives)
      .map((item): [string, number | null, number | null] => [
        text(list(item)[0]),
        number(list(item)[1]),
        whole(list(item)[2]),
      ])
      .flatMap(([token, probability, tokenId]) =>
        probability === null ? [] : [{ token, probability, tokenId }],
      ),
    features,
    edges,
    fits,
    steered: list(raw.steered).flatMap(readSteered),
    beside: new Map(
      list(raw.beside).flatMap((item): [Key, number][] => {
        const [sae, id, activation] = [whole(list(item)[0]), whole(list(item)[1]), number(list(item)[2])];
        return sae === null || id === null || activation === null ? [] : [[keyOf(sae, id), activation]];
      }),
    ),
    l0,
    explained,
    ms: number(raw.ms),
  };
}

function readFeature(value: unknown): Feature | null {
  const raw = record(value);
  const id = whole(raw?.id);
  const activation = number(raw?.activation);
  if (!raw || id === null || activation === null) return null;
  return {
    id,
    activation,
    layer: whole(raw.layer) ?? 0,
    sae: whole(raw.sae) ?? 0,
    label: text(raw.label),
    dense: raw.dense === true,
  };
}

function readFit(value: unknown): Fit {
  const at = (place: number) => number(list(value)[place]);
  return { explained: at(0), cosine: at(1), l0: at(2), share: at(3), peak: at(4), top5: at(5) };
}

function readSteered(value: unknown): Steered[] {
  const [sae, id] = [whole(list(value)[0]), whole(list(value)[1])];
  const [before, after] = [number(list(value)[2]), number(list(value)[3])];
  if (sae === null || id === null || after === null) return [];
  return [{ key: keyOf(sae, id), sae, id, before: before ?? 0, after }];
}

/** The run's significant edges, as [sae, id, sae, id, n, s]. */
export function readPairs(value: unknown): Pair[] {
  const pairs: Pair[] = [];
  for (const item of list(value)) {
    const [sa, a, sb, b, n, s] = list(item).map(number);
    if (sa == null || a == null || sb == null || b == null || n == null || s == null) continue;
    pairs.push({ a: keyOf(sa, a), b: keyOf(sb, b), n, s });
  }
  return pairs;
}

export function readRun(value: unknown): RunInfo | null {
  const raw = record(value);
  const run = whole(raw?.run);
  if (!raw || run === null) return null;
  const parent = whole(raw.parent);
  const from = steps(raw.from) ?? 0;
  // Numbers only ever grow: whatever claims to come from itself or from a later run does not.
  if (parent !== null && parent >= run) return null;
  return {
    run,
    parent,
    from: parent === null ? 0 : from,
    total: steps(raw.total) ?? 0,
    finish: text(raw.finish),
    token: typeof raw.token === "string" ? raw.token : null,
    edges: readPairs(raw.edges),
  };
}

const MOST_CARD = 40;

function readSae(value: unknown): SaeInfo {
  const raw = record(value) ?? {};
  const layer = whole(raw.layer) ?? 0;
  return {
    name: text(raw.name) || text(raw.sae),
    hook: text(raw.hook),
    layer,
    dSae: number(raw.d_sae),
    context: number(raw.context),
    title: text(raw.title) || `layer ${layer}`,
    neuronpedia: text(raw.neuronpedia),
    labels: text(raw.labels),
    card: list(raw.card)
      .slice(0, MOST_CARD)
      .flatMap((row): [string, string][] => {
        const [term, words] = [text(list(row)[0]), text(list(row)[1])];
        return term && words ? [[term, words]] : [];
      }),
  };
}

export function readInfo(value: unknown): Info | null {
  const raw = record(value);
  if (!raw || !text(raw.model)) return null;
  const saes = list(raw.saes).map(readSae);
  return {
    model: text(raw.model),
    sae: text(raw.sae),
    hook: text(raw.hook),
    layer: whole(raw.layer) ?? 0,
    dSae: number(raw.d_sae),
    context: number(raw.context),
    device: text(raw.device),
    fallback: text(raw.fallback),
    neuronpedia: text(raw.neuronpedia),
    labels: text(raw.labels),
    saes: saes.length ? saes : [readSae(raw)],
  };
}

export function readSteering(value: unknown): Steer[] {
  return list(value).flatMap((item) => {
    const raw = record(item);
    const [sae, id, amount] = [whole(raw?.sae) ?? 0, whole(raw?.id), number(raw?.value)];
    if (!raw || id === null || amount === null) return [];
    const layer = whole(raw.layer) ?? 0;
    return [
      {
        key: keyOf(sae, id),
        sae,
        id,
        layer,
        label: text(raw.label),
        value: amount,
        scale: raw.scale === true,
      },
    ];
  });
}

/** What is selected, inspected and pinned, each feature as [sae, id]. */
export function readMarks(value: unknown): Marks {
  const raw = record(value) ?? {};
  const key = (item: unknown): Key[] => {
    const [sae, id] = [whole(list(item)[0]), whole(list(item)[1])];
    return sae === null || id === null ? [] : [keyOf(sae, id)];
  };
  const chosen = list(raw.features).flatMap(key);
  const inspected = key(raw.inspected)[0] ?? null;
  return {
    chosen,
    inspected: inspected !== null && chosen.includes(inspected) ? inspected : null,
    pinned: list(raw.pinned).flatMap(key),
  };
}
