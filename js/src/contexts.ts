/** A feature where it fires most: the token with some of the text around it. */
import type { Context } from "./details";
import { el, pickable, rows, short, showToken } from "./dom";
import type { Key } from "./frame";
import { type Section, section } from "./section";
import type { Store } from "./store";

const MOST = 3;
const [BEFORE, AFTER] = [6, 4];
/** Two moments that share most of their text are one context. */
const APART = 4;

export interface Moment extends Context {
  /** The token to look at. */
  step: number;
}

/** The run's strongest firings that do not stand in each other's text. */
export function strongest(store: Store, key: Key): Moment[] {
  const tokens = store.tokens();
  const values = tokens.map((frame) => store.activation(frame, key));
  const places = values
    .map((value, place) => ({ value, place }))
    .filter(({ value }) => value > 0)
    .sort((p, q) => q.value - p.value || p.place - q.place);
  const chosen: number[] = [];
  for (const { place } of places) {
    if (chosen.length === MOST) break;
    if (chosen.every((other) => Math.abs(other - place) > APART)) chosen.push(place);
  }
  return chosen.map((place) => {
    const first = Math.max(place - BEFORE, 0);
    const window = tokens.slice(first, place + AFTER + 1);
    return {
      step: tokens[place]?.step ?? 0,
      at: place - first,
      tokens: window.map(({ token }, i): [string, number] => [token, values[first + i] ?? 0]),
    };
  });
}

export interface Contexts extends Section {
  show(contexts: (Context & { step?: number })[]): void;
}

/** `look` is called with the step of a context that was clicked; without it they are only to read. */
export function contextList(axon: string, title: string, look?: (step: number) => void): Contexts {
  const part = section(axon, title, "contexts");
  return {
    ...part,
    show(contexts) {
      part.element.hidden = contexts.length === 0;
      const made = rows<HTMLElement>(part.body, contexts.length, () => {
        if (!look) return el("p", { class: "context mono" });
        const row = el("button", { class: "context mono", attrs: { type: "button" } });
        pickable(row, (step) => look(Number(step)));
        return row;
      });
      contexts.forEach((context, i) => {
        if (made[i]) paint(made[i], context);
      });
    },
  };
}

/** Draws anew only what has changed: a text that stands still can be read and marked. */
function paint(row: HTMLElement, { tokens, at, step }: Context & { step?: number }): void {
  const state = JSON.stringify([tokens, at]);
  row.dataset.value = String(step ?? "");
  if (row.dataset.state === state) return;
  row.dataset.state = state;
  const most = Math.max(...tokens.map(([, value]) => value), 1e-9);
  const [token, value] = tokens[at] ?? ["", 0];
  row.title = `${step === undefined ? "" : `token ${step}: `}“${showToken(token)}” ${short(value)}`;
  row.replaceChildren(
    ...tokens.map(([text, value], place) => {
      const shown = text.replace(/\s*\n\s*/g, " ↵ ");
      const piece = el(place === at ? "mark" : "span", { text: place ? shown : shown.trimStart() });
      if (value > 0) piece.style.setProperty("--heat", (value / most).toFixed(3));
      return piece;
    }),
  );
}
