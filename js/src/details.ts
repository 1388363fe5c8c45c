/** All that is known of one feature: where its name comes from, who wrote it and how well it predicts. */
import { type Key, keyOf, steps } from "./frame";
import { list, number, record, text, whole } from "./loose";

/** Another name somebody gave the feature. */
export interface Other {
  text: string;
  explainer: string;
  score: number | null;
}

/** Some text, with how strongly the feature fired on each token, and where it did so most. */
export interface Context {
  tokens: [token: string, activation: number][];
  at: number;
}

export interface Details {
  id: number;
  sae: number;
  layer: number;
  label: string;
  source: string;
  /** Who or what wrote the name, and how. */
  explainer: string;
  method: string;
  score: number | null;
  scoredBy: string;
  others: Other[];
  /** The day it was fetched, "" where it was not. */
  fetched: string;
  firesOn: [token: string, activation: number | null][];
  boosts: string[];
  suppresses: string[];
  /** Where it fired most in the data that it was labelled by. */
  contexts: Context[];
  /** The features whose decoder directions are nearest. */
  nearest: { key: Key; cosine: number; label: string }[];
  frequency: number | null;
  maximum: number | null;
  dense: boolean;
  url: string;
}

const MOST_OTHERS = 30;
const MOST_CONTEXTS = 10;

export function readDetails(value: unknown): Details | null {
  const raw = record(value);
  const id = whole(raw?.id);
  if (!raw || id === null) return null;
  return {
    id,
    sae: whole(raw.sae) ?? 0,
    layer: whole(raw.layer) ?? 0,
    label: text(raw.label),
    source: text(raw.source),
    explainer: text(raw.explainer),
    method: text(raw.method),
    score: number(raw.score),
    scoredBy: text(raw.scored_by),
    others: list(raw.others).flatMap(readOther).slice(0, MOST_OTHERS),
    fetched: /^\d{4}-\d\d-\d\d/.exec(text(raw.fetched))?.[0] ?? "",
    firesOn: list(raw.fires_on).map((item): [string, number | null] =>
      Array.isArray(item) ? [text(item[0]), number(item[1])] : [text(item), null],
    ),
    boosts: list(raw.boosts).map(first),
    suppresses: list(raw.suppresses).map(first),
    contexts: list(raw.contexts).flatMap(readContext).slice(0, MOST_CONTEXTS),
    nearest: list(raw.nearest).flatMap(readNear),
    frequency: number(raw.frequency),
    maximum: number(raw.max_activation),
    dense: raw.dense === true,
    url: safeUrl(text(raw.url)),
  };
}

function readContext(item: unknown): Context[] {
  const tokens = list(item).map((pair): [string, number] => [
    text(list(pair)[0]),
    number(list(pair)[1]) ?? 0,
  ]);
  const most = Math.max(...tokens.map(([, activation]) => activation));
  return tokens.length && most > 0 ? [{ tokens, at: tokens.findIndex(([, one]) => one === most) }] : [];
}

function readNear(item: unknown): Details["nearest"] {
  const [sae, id, cosine] = [whole(list(item)[0]), whole(list(item)[1]), number(list(item)[2])];
  return sae === null || id === null || cosine === null
    ? []
    : [{ key: keyOf(sae, id), cosine, label: text(list(item)[3]) }];
}

/** What features are known to fire at most, as [sae, id, maximum]. */
export function readMaxima(value: unknown): [Key, number | null][] {
  return list(value).flatMap((item): [Key, number | null][] => {
    const [sae, id] = [whole(list(item)[0]), whole(list(item)[1])];
    const most = number(list(item)[2]);
    return sae === null || id === null ? [] : [[keyOf(sae, id), most !== null && most > 0 ? most : null]];
  });
}

/** Where features fire in a run, as [sae, id, [[step, activation], ...]]. */
export function readActivations(value: unknown): [Key, [step: number, activation: number][]][] {
  return list(value).flatMap((item): [Key, [number, number][]][] => {
    const [sae, id] = [whole(list(item)[0]), whole(list(item)[1])];
    if (sae === null || id === null) return [];
    const fired = list(list(item)[2]).flatMap((pair): [number, number][] => {
      const [step, activation] = [steps(list(pair)[0]), number(list(pair)[1])];
      return step === null || activation === null ? [] : [[step, activation]];
    });
    return [[keyOf(sae, id), fired]];
  });
}

function readOther(value: unknown): Other[] {
  const [name, explainer, score] = list(value);
  return text(name) ? [{ text: text(name), explainer: text(explainer), score: number(score) }] : [];
}

function first(item: unknown): string {
  return text(Array.isArray(item) ? item[0] : item);
}

/** Only a web page may become a link: never javascript:, data: or a path into the notebook server. */
export function safeUrl(url: string): string {
  return /^https:\/\/[^\s]+$/i.test(url) ? url : "";
}
