/** What can be loaded, and what a search among labels found: read defensively, as all of it is text from strangers. */
import { type Key, keyOf } from "./frame";
import { list, number, record, text, whole } from "./loose";

/** An SAE that can be loaded with its model. */
export interface Offer {
  /** What it is loaded by, "" for a model that brings its own. */
  name: string;
  model: string;
  hook: string;
  layer: number | null;
  width: number | null;
  l0: number | null;
  labelled: boolean;
  /** Its files are on this machine. */
  cached: boolean;
  loaded: boolean;
  /** Why it cannot be traced, "" where it can. */
  refused: string;
}

export interface Catalog {
  total: number;
  offers: Offer[];
}

export interface Found {
  rows: [key: Key, name: string][];
  /** There are more than these. */
  more: boolean;
  /** The token that the text is, "" where it is none, and the features that push it most. */
  token: string;
  boosting: [key: Key, name: string][];
}

export function readCatalog(message: Record<string, unknown>): Catalog {
  const offers = list(message.rows).flatMap(readOffer);
  return { total: Math.max(number(message.total) ?? 0, offers.length), offers };
}

function readOffer(value: unknown): Offer[] {
  const raw = record(value);
  const model = text(raw?.model);
  if (!raw || !model) return [];
  return [
    {
      name: text(raw.name),
      model,
      hook: text(raw.hook),
      layer: whole(raw.layer),
      width: whole(raw.width),
      l0: number(raw.l0),
      labelled: raw.labelled === true,
      cached: raw.cached === true,
      loaded: raw.loaded === true,
      refused: text(raw.refused),
    },
  ];
}

export function readFound(message: Record<string, unknown>): Found {
  return {
    rows: readNames(message.rows),
    more: message.more === true,
    token: text(message.token),
    boosting: readNames(message.boosting),
  };
}

/** Features with their names, as [sae, id, name]. */
export function readNames(value: unknown): [key: Key, name: string][] {
  return list(value).flatMap((item): [Key, string][] => {
    const [sae, id] = [whole(list(item)[0]), whole(list(item)[1])];
    return sae === null || id === null ? [] : [[keyOf(sae, id), text(list(item)[2])]];
  });
}
