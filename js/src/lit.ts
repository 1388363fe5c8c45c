/** What lights the tokens: how strongly, on which scale and in which words. */
import { oneLine, short } from "./dom";
import { type Frame, LITTLE } from "./frame";
import type { Store } from "./store";

export type LitBy = "feature" | "surprise" | "explained";

/** In nats; from here on a token is as bright as can be. The same for all runs, so that they compare. */
export const MOST_SURPRISE = 6;
/** A feature that fires at all is seen. */
const FAINTEST = 0.2;

export interface Light {
  by: LitBy;
  /** While this is the same, no token that is there changes its light. */
  state: string;
  /** What stands at the scale's two ends; both empty where there is no scale. */
  least: string;
  most: string;
  /** Why there is no scale. */
  note: string;
  title: string;
  /** A token's light, from 0 to 1. */
  heat(frame: Frame): number;
}

export function lightOf(by: LitBy, store: Store): Light {
  if (by === "surprise") return SURPRISE;
  return by === "explained" ? explained(store) : feature(store);
}

const SURPRISE: Light = {
  by: "surprise",
  state: "surprise",
  least: "0",
  most: `${MOST_SURPRISE}+ nats`,
  note: "",
  title:
    "Surprise, −log p in nats: how unlikely the token was to the model, before any sampling rule. " +
    `Brightest from ${MOST_SURPRISE} on, which is p = 0.25 %. The scale is the same for all runs.`,
  heat: ({ logprob }) => (logprob === null ? 0 : share(-logprob / MOST_SURPRISE)),
};

function feature(store: Store): Light {
  const key = store.selectedKey;
  // As the inspector tells it: also of tokens whose frames do not show the feature.
  const peak = key ? Math.max(0, ...store.firings(key).map(({ activation }) => activation)) : 0;
  const name = key ? oneLine(store.label(key), 80) : "";
  const fires = key !== null && peak > 0;
  return {
    by: "feature",
    state: `feature ${key} ${peak} ${store.heard}`,
    least: fires ? "0" : "",
    most: fires ? short(peak) : "",
    note: key ? "does not fire here" : "none is selected",
    title: !key
      ? "Select a feature to see on which tokens it fires."
      : fires
        ? `The activation of “${name}”, up to its peak in this run: ${short(peak)}.`
        : `“${name}” is not known to fire on any token of this run.`,
    heat(frame) {
      const part = fires ? store.activation(frame, key) / peak : 0;
      return part > 0 ? share(FAINTEST + (1 - FAINTEST) * part) : 0;
    },
  };
}

/** Dark where all is explained; half bright where too little is, from where on the token is marked too. */
function explained(store: Store): Light {
  const chosen = store.selected?.sae;
  const count = store.saes.length;
  const which =
    chosen !== undefined && count > 1
      ? ` at ${store.layerTitle(chosen)}, where the selected feature is`
      : count > 1
        ? `, the middle of the ${count} SAEs`
        : "";
  return {
    by: "explained",
    state: `explained ${chosen} ${count}`,
    least: "1",
    most: `≤ ${short(2 * LITTLE - 1)}`,
    note: "",
    title:
      `Explained variance: the share of the token's activation that its features make up${which}. ` +
      `Below ${short(LITTLE)}, the middle of the scale, a token is underlined too: they tell little of it.`,
    heat(frame) {
      const value = explainedOf(frame, store);
      return value === null ? 0 : share((1 - value) / (2 * (1 - LITTLE)));
    },
  };
}

/**
 * How much of a token the features explain: those of the selected feature's SAE, or else the middle of all SAEs, as of
 * many one or another is always poor.
 */
export function explainedOf(frame: Frame, store: Store): number | null {
  const own = frame.fits[store.selected?.sae ?? -1];
  if (own) return own.explained;
  const known = frame.fits.map((fit) => fit.explained ?? Number.POSITIVE_INFINITY).sort((p, q) => p - q);
  const middle = known[Math.ceil(known.length / 2) - 1];
  return middle === undefined || middle === Number.POSITIVE_INFINITY ? null : middle;
}

function share(value: number): number {
  return Math.min(Math.max(value, 0), 1);
}
