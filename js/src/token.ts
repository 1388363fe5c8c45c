/** One token: how it stands in the strip, and how far what is said of it can be trusted. */
import { el, showToken } from "./dom";
import { type Frame, LITTLE } from "./frame";
import { explainedOf } from "./lit";
import type { Store } from "./store";

/** The SAEs (by place) that explain little of this token, as far as that matters now. */
export function little(frame: Frame, store: Store): number[] {
  const value = explainedOf(frame, store);
  if (value === null || value >= LITTLE) return [];
  const low = frame.fits.flatMap(({ explained }, sae) =>
    explained !== null && explained < LITTLE ? [sae] : [],
  );
  const chosen = store.selected?.sae;
  return chosen !== undefined && frame.fits[chosen] ? [chosen] : low;
}

/** The shortest training text (in tokens) this token lies beyond, or null where it lies within all. */
export function beyond(frame: Frame, store: Store): number | null {
  const contexts = store.saes.flatMap(({ context }) => (context !== null && context > 0 ? [context] : []));
  const least = Math.min(...contexts);
  return frame.position >= least ? least : null;
}

/** What nobody would see or hit: the parts of a character that stands with a later token, control characters. */
const BLANK = /^[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]*$/u;
/** What would turn the text after it around. */
const TURNING = /[\u202a-\u202e\u2066-\u2069]/;

/** The token's own characters, so that the strip's text is the text; signs for the invisible come from CSS. */
export function tokenSpan(frame: Frame): HTMLElement {
  const span = el("span", {
    class: frame.generated ? "token" : "token given",
    attrs: { role: "gridcell", "data-step": String(frame.step), "data-run": String(frame.run) },
  });
  const { token } = frame;
  if (token.trim() === "") span.setAttribute("aria-label", showToken(token));
  if (BLANK.test(token.replace(/[\n\t]/g, "."))) span.classList.add("blank");
  if (TURNING.test(token)) span.classList.add("turning");
  const pieces = token.split(/(\n|\t|^ +| +$)/).filter(Boolean);
  const parts = pieces.map((piece) => el("span", { class: kindOf(piece), text: piece }));
  // Light and marks are the core's: a space before a word would carry them to the end of the line before.
  if (!parts.some((part) => part.className === "core")) {
    if (!parts.length) parts.push(el("span"));
    parts.at(-1)?.classList.add("core");
  }
  span.append(...parts);
  return span;
}

function kindOf(piece: string): string {
  if (piece === "\n") return "newline";
  if (piece === "\t") return "tabulator";
  return piece.trim() === "" ? "space" : "core";
}

/** Says with a mark what the numbers say against this token. */
export function markToken(span: HTMLElement, frame: Frame, store: Store): void {
  span.classList.toggle("little", little(frame, store).length > 0);
  span.classList.toggle("beyond", beyond(frame, store) !== null);
  span.classList.toggle("steered", frame.steered.length > 0);
}
