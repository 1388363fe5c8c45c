/** What Python sends, read defensively: labels and tokens are text from strangers and shapes may be wrong. */

export interface Feature {
  id: number;
  label: string;
  activation: number;
  layer: number;
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

export interface Frame {
  run: number;
  step: number;
  position: number;
  token: string;
  tokenId: number;
  generated: boolean;
  special: boolean;
  logprob: number | null;
  alternatives: [token: string, probability: number][];
  features: Feature[];
  edges: Edge[];
  l0: number | null;
  explained: number | null;
  ms: number | null;
}

export interface Details {
  id: number;
  layer: number;
  label: string;
  source: string;
  score: number | null;
  firesOn: [token: string, activation: number | null][];
  boosts: string[];
  suppresses: string[];
  frequency: number | null;
  maximum: number | null;
  dense: boolean;
  url: string;
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
}

export type Key = string;
export const keyOf = (layer: number, id: number): Key => `${layer}:${id}`;

/** A co-firing is called significant from q <= .05 on. */
export const SIGNIFICANT = 1.3;

type Loose = Record<string, unknown>;

export function record(value: unknown): Loose | null {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Loose) : null;
}
export function list(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}
export function text(value: unknown): string {
  return typeof value === "string" ? value : value === null || value === undefined ? "" : String(value);
}
export function number(value: unknown): number | null {
  return typeof value === "number" && Number.isFinite(value) ? value : null;
}
function whole(value: unknown): number | null {
  const n = number(value);
  return n !== null && Number.isInteger(n) && n >= 0 ? n : null;
}

/** One token's frame, or null when it cannot be placed in a run. */
export function readFrame(value: unknown): Frame | null {
  const raw = record(value);
  const run = whole(raw?.run);
  const step = whole(raw?.step);
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
  return {
    run,
    step,
    position: whole(raw.position) ?? step,
    token: text(raw.token),
    tokenId: number(raw.token_id) ?? -1,
    generated: raw.generated === true,
    special: raw.special === true,
    logprob: number(raw.logprob),
    alternatives: list(raw.alternatives)
      .map((item): [string, number | null] => [text(list(item)[0]), number(list(item)[1])])
      .filter((pair): pair is [string, number] => pair[1] !== null),
    features,
    edges,
    l0: number(raw.l0),
    explained: number(raw.explained_variance),
    ms: number(raw.ms),
  };
}

function readFeature(value: unknown): Feature | null {
  const raw = record(value);
  const id = whole(raw?.id);
  const activation = number(raw?.activation);
  if (!raw || id === null || activation === null) return null;
  return { id, activation, layer: whole(raw.layer) ?? 0, label: text(raw.label) };
}

/** The run's significant edges, as [layer, id, layer, id, n, s]. */
export function readPairs(value: unknown): Pair[] {
  const pairs: Pair[] = [];
  for (const item of list(value)) {
    const [la, a, lb, b, n, s] = list(item).map(number);
    if (la == null || a == null || lb == null || b == null || n == null || s == null) continue;
    pairs.push({ a: keyOf(la, a), b: keyOf(lb, b), n, s });
  }
  return pairs;
}

export function readDetails(value: unknown): Details | null {
  const raw = record(value);
  const id = whole(raw?.id);
  if (!raw || id === null) return null;
  return {
    id,
    layer: whole(raw.layer) ?? 0,
    label: text(raw.label),
    source: text(raw.source),
    score: number(raw.score),
    firesOn: list(raw.fires_on).map((item): [string, number | null] =>
      Array.isArray(item) ? [text(item[0]), number(item[1])] : [text(item), null],
    ),
    boosts: list(raw.boosts).map(first),
    suppresses: list(raw.suppresses).map(first),
    frequency: number(raw.frequency),
    maximum: number(raw.max_activation),
    dense: raw.dense === true,
    url: safeUrl(text(raw.url)),
  };
}

function first(item: unknown): string {
  return text(Array.isArray(item) ? item[0] : item);
}

/** Only a web page may become a link: never javascript:, data: or a path into the notebook server. */
export function safeUrl(url: string): string {
  return /^https:\/\/[^\s]+$/i.test(url) ? url : "";
}

export function readInfo(value: unknown): Info | null {
  const raw = record(value);
  if (!raw || !text(raw.model)) return null;
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
  };
}
