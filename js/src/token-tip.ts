/** What is said of the token under the pointer, or under the keys. */
import { el, likelihood, oneLine, percent, short, showToken } from "./dom";
import { tagOf } from "./firing";
import { type Alternative, type Frame, keyOf, LITTLE } from "./frame";
import type { Store } from "./store";
import { beyond, little } from "./token";

const MOST_FEATURES = 4;

export function describe(frame: Frame, store: Store): Node[] {
  const nodes: Node[] = [
    el(
      "div",
      { class: "tip-head" },
      el("b", { class: "mono", text: named(frame), attrs: { dir: "auto" } }),
      el("span", { text: `${frame.generated ? "written" : "prompt"} · position ${frame.position}` }),
    ),
  ];
  const line = (text: string, name = "tip-line") => nodes.push(el("div", { class: name, text }));
  if (frame.logprob !== null) {
    const rank = frame.rank === null ? [] : [`rank ${frame.rank.toLocaleString("en")}`];
    const surprise = `surprise ${short(Math.max(-frame.logprob, 0))} nats`;
    line([`probability ${likelihood(Math.exp(frame.logprob))}`, ...rank, surprise].join(" · "));
  }
  if (frame.clean !== null) line(`the plain model: probability ${likelihood(Math.exp(frame.clean))}`);
  const put = store.tracks.find(({ run, from }) => run === frame.run && from === frame.step)?.token;
  if (put != null) line("put in by hand: here this branch begins");
  if (frame.alternatives.length) {
    line("likeliest at this place", "tip-line quiet");
    // Its text may differ: at the beginning of a text the leading space is not shown.
    const own = ({ token, tokenId }: Alternative) =>
      tokenId === null ? token === frame.token : tokenId === frame.tokenId;
    for (const one of frame.alternatives)
      nodes.push(likely(one.token, one.probability, own(one) ? "mono own" : "mono"));
    if (frame.logprob !== null && !frame.alternatives.some(own))
      nodes.push(likely(frame.token, Math.exp(frame.logprob), "mono own"));
  }
  nodes.push(...strongest(frame, store));
  if (frame.fits.length) nodes.push(fitTable(frame, store));
  const low = little(frame, store);
  if (low.length) {
    const many = store.saes.length > 1;
    const where = many ? ` at ${low.map((sae) => store.layerTitle(sae)).join(", ")}` : "";
    line(`The features explain little of this token${where}: read them with care.`, "tip-line care");
  }
  const context = beyond(frame, store);
  if (context !== null) line(`Beyond the ${context} tokens of the SAE's training texts.`, "tip-line care");
  for (const { key, before, after } of frame.steered.slice(0, 6))
    line(
      `steered: ${oneLine(store.label(key), 60)} ${before ? short(before) : "0"} → ${short(after)}`,
      "tip-line steered",
    );
  return nodes;
}

function likely(token: string, probability: number, kind: string): HTMLElement {
  return bar(showToken(token), likelihood(probability), probability, kind);
}

/** The token's text; what has none is part of a character that stands with a later token. */
function named(frame: Frame): string {
  return frame.token === "" ? "(part of a character)" : showToken(frame.token);
}

/** The features that fire on it, the strongest first. */
function strongest(frame: Frame, store: Store): HTMLElement[] {
  const shown = frame.features
    .filter(({ sae, id }) => store.settings.dense || !store.dense(keyOf(sae, id)))
    .sort((p, q) => q.activation - p.activation)
    .slice(0, MOST_FEATURES);
  const most = shown[0]?.activation ?? 0;
  if (most <= 0) return [];
  return [
    el("div", { class: "tip-line quiet", text: "fires on it" }),
    ...shown.map(({ sae, id, activation }) => {
      const label = oneLine(store.label(keyOf(sae, id)), 48);
      const tag = tagOf(store, sae);
      return bar(tag ? `${tag} ${label}` : label, short(activation), activation / most);
    }),
  ];
}

function bar(text: string, value: string, share: number, kind = ""): HTMLElement {
  const row = el(
    "div",
    { class: `alternative ${kind}` },
    el("span", { class: "what", text, attrs: { dir: "auto" } }),
    el("span", { class: "bar" }),
    el("span", { class: "value", text: value }),
  );
  row.style.setProperty("--share", String(Math.min(Math.max(share, 0), 1)));
  return row;
}

/** How each SAE sees the token. */
function fitTable(frame: Frame, store: Store): HTMLElement {
  const many = store.saes.length > 1;
  const table = el("div", { class: many ? "fits many" : "fits" });
  const cell = (text: string, name = "") => table.append(el("span", { class: name, text }));
  if (many) cell("");
  for (const word of ["explained", "cosine", "L0", "shown"]) cell(word, "term");
  frame.fits.forEach(({ explained, cosine, l0, share }, sae) => {
    if (many) cell(oneLine(store.layerTitle(sae), 20), "term");
    cell(explained === null ? "–" : short(explained), explained !== null && explained < LITTLE ? "care" : "");
    cell(cosine === null ? "–" : short(cosine));
    cell(l0 === null ? "–" : String(Math.round(l0)));
    cell(share === null ? "–" : percent(share));
  });
  return table;
}
