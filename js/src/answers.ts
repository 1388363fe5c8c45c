/** What Python answers when it is asked: why a token, what an edge is, what is alike, how two runs differ. */
import { type Key, keyOf, steps } from "./frame";
import { list, number, record, text, whole } from "./loose";

/** Logits above the vocabulary's mean, and nats of log-probability lost without it. */
export interface Effect {
  direct: number | null;
  exact: number | null;
}

export interface WhyFeature extends Effect {
  key: Key;
  id: number;
  label: string;
  activation: number;
}

/** A token's reasons as one SAE tells them: the parts' direct values sum to the logit difference. */
export interface WhySae {
  sae: number;
  features: WhyFeature[];
  error: Effect;
  bias: Effect;
  /** What later layers write; all others, where the SAE does not read the whole stream. */
  rest: Effect;
  wholeStream: boolean;
  /** Biases of the final norm and of the unembedding, and soft-capping. */
  final: Effect;
  gap: Effect;
  all: Effect;
}

export interface Why {
  run: number;
  step: number;
  token: string;
  tokenId: number;
  logprob: number | null;
  logitDifference: number | null;
  /** How many exact effects are there, of how many. */
  done: number;
  total: number;
  saes: WhySae[];
  /** Why there is no answer, as a sentence. */
  error: string;
}

/** All that is known of two nodes' co-firing; null where it cannot be said. */
export interface EdgeNumbers {
  a: Key;
  b: Key;
  n: number | null;
  nA: number | null;
  nB: number | null;
  tokens: number | null;
  jaccard: number | null;
  npmi: number | null;
  phi: number | null;
  p: number | null;
  q: number | null;
  shift: number | null;
  /** What the brightness goes by: q, with the shifts in time taken for chance as well. */
  qShift: number | null;
  cosine: number | null;
}

export interface Similar {
  a: Key;
  b: Key;
  cosine: number;
}

/** Places on the maps of the SAEs, within -1 and 1. */
export interface Places {
  at: Map<Key, [x: number, y: number]>;
  /** There are maps that are still being made. */
  making: boolean;
  /** Why there are maps that cannot be made, as a sentence. */
  trouble: string;
}

export interface ComparedFeature {
  label: string;
  /** Mean activation over the tokens that are a track's own. */
  a: number;
  b: number;
  peakA: number;
  peakB: number;
  /** On how many of these it fired. */
  tokensA: number;
  tokensB: number;
}

export interface Compared {
  a: number;
  b: number;
  from: number;
  /** The largest difference first. */
  rows: Map<Key, ComparedFeature>;
}

/** The same pair has the same name whichever end comes first. */
export function pairKey(a: Key, b: Key): string {
  return a < b ? `${a}|${b}` : `${b}|${a}`;
}

function effect(value: unknown): Effect {
  return { direct: number(list(value)[0]), exact: number(list(value)[1]) };
}

export function readWhy(value: unknown): Why | null {
  const raw = record(value);
  const [run, step] = [whole(raw?.run), steps(raw?.step)];
  if (!raw || run === null || step === null) return null;
  return {
    run,
    step,
    token: text(raw.token),
    tokenId: number(raw.token_id) ?? -1,
    logprob: number(raw.logprob),
    logitDifference: number(raw.logit_difference),
    done: whole(raw.done) ?? 0,
    total: whole(raw.total) ?? 0,
    saes: list(raw.saes).flatMap(readWhySae),
    error: text(raw.error),
  };
}

function readWhySae(value: unknown): WhySae[] {
  const raw = record(value);
  if (!raw) return [];
  const sae = whole(raw.sae) ?? 0;
  const features = list(raw.features).flatMap((item): WhyFeature[] => {
    const [id, label, activation, direct, exact] = list(item);
    const name = whole(id);
    if (name === null) return [];
    return [
      {
        key: keyOf(sae, name),
        id: name,
        label: text(label),
        activation: number(activation) ?? 0,
        direct: number(direct),
        exact: number(exact),
      },
    ];
  });
  return [
    {
      sae,
      features,
      error: effect(raw.error),
      bias: effect(raw.bias),
      rest: effect(raw.rest),
      wholeStream: raw.whole_stream !== false,
      final: effect(raw.final),
      gap: effect(raw.gap),
      all: effect(raw.all),
    },
  ];
}

function readEnd(value: unknown): Key | null {
  const [sae, id] = [whole(list(value)[0]), whole(list(value)[1])];
  return sae === null || id === null ? null : keyOf(sae, id);
}

export function readEdgeNumbers(value: unknown): EdgeNumbers | null {
  const raw = record(value);
  const [a, b] = [readEnd(raw?.a), readEnd(raw?.b)];
  if (!raw || a === null || b === null) return null;
  return {
    a,
    b,
    n: number(raw.n),
    nA: number(raw.n_a),
    nB: number(raw.n_b),
    tokens: number(raw.tokens),
    jaccard: number(raw.jaccard),
    npmi: number(raw.npmi),
    phi: number(raw.phi),
    p: number(raw.p),
    q: number(raw.q),
    shift: number(raw.shift),
    qShift: number(raw.q_shift),
    cosine: number(raw.cosine),
  };
}

export function readSimilar(value: unknown): Similar[] {
  return list(value).flatMap((item) => {
    const [sa, a, sb, b] = list(item).map(whole);
    const cosine = number(list(item)[4]);
    if (sa == null || a == null || sb == null || b == null || cosine === null) return [];
    return [{ a: keyOf(sa, a), b: keyOf(sb, b), cosine }];
  });
}

export function readPlaces(value: unknown): Places {
  const raw = record(value);
  const at = new Map<Key, [number, number]>();
  for (const item of list(raw?.places)) {
    const [sae, id] = [whole(list(item)[0]), whole(list(item)[1])];
    const [x, y] = [number(list(item)[2]), number(list(item)[3])];
    if (sae === null || id === null || x === null || y === null) continue;
    at.set(keyOf(sae, id), [Math.min(Math.max(x, -1), 1), Math.min(Math.max(y, -1), 1)]);
  }
  return { at, making: raw?.making === true, trouble: text(raw?.trouble) };
}

export function readCompared(value: unknown): Compared | null {
  const raw = record(value);
  const [a, b] = [whole(raw?.a), whole(raw?.b)];
  if (!raw || a === null || b === null) return null;
  const rows = new Map<Key, ComparedFeature>();
  for (const item of list(raw.rows)) {
    const cells = list(item);
    const [sae, id] = [whole(cells[0]), whole(cells[1])];
    if (sae === null || id === null) continue;
    const [meanA, meanB, peakA, peakB, tokensA, tokensB] = cells.slice(3).map(number);
    rows.set(keyOf(sae, id), {
      label: text(cells[2]),
      a: meanA ?? 0,
      b: meanB ?? 0,
      peakA: peakA ?? 0,
      peakB: peakB ?? 0,
      tokensA: tokensA ?? 0,
      tokensB: tokensB ?? 0,
    });
  }
  return { a, b, from: steps(raw.from) ?? 0, rows };
}
