/**
 * One run's own tokens in the strip. Only what changes is written to the page: a token costs no more where there are
 * a thousand others.
 */
import { el } from "./dom";
import type { Frame } from "./frame";
import type { Track } from "./store";
import { tokenSpan } from "./token";

export interface Cell {
  span: HTMLElement;
  frame: Frame;
  heat: string;
}

/** What is said of all tokens from some step on: they come after the one looked at; they belong to another branch. */
export type Suffix = "later" | "aside";

export class TokenRow {
  readonly element: HTMLElement;
  readonly letter = el("button", { class: "letter", axon: "track", attrs: { type: "button" } });
  readonly compare = el("button", {
    class: "versus",
    axon: "compare",
    text: "vs",
    attrs: { type: "button" },
  });
  readonly ending = el("span", { class: "ending" });
  readonly fork = el("span", { class: "fork", text: "↳ ", attrs: { "aria-hidden": "true" } });
  readonly text = el("div", { class: "track-text", attrs: { dir: "auto" } }, this.fork, this.ending);
  /** What its letter and its ending tell of. */
  state = "";
  #cells = new Map<number, Cell>();
  #end = 0;
  #from: Record<Suffix, number> = { later: Number.POSITIVE_INFINITY, aside: Number.POSITIVE_INFINITY };

  constructor(run: number) {
    this.element = el(
      "div",
      { class: "track", attrs: { role: "row", "data-run": String(run) } },
      cell(this.letter),
      cell(this.compare),
      this.text,
    );
  }

  get cells(): ReadonlyMap<number, Cell> {
    return this.#cells;
  }

  /** Takes the run's own frames, what it has in common with its parent stands there; gives the new ones. */
  fill(track: Track): Cell[] {
    const { frames, from, token } = track;
    for (const { frame } of this.#cells.values())
      if (frames[frame.step] !== frame) {
        this.#clear();
        break;
      }
    const fresh: Cell[] = [];
    for (let step = from; step < frames.length; step++) {
      const frame = frames[step];
      if (!frame || frame.special || this.#cells.has(step)) continue;
      const cell = { span: tokenSpan(frame), frame, heat: "" };
      if (step === from && token !== null) cell.span.classList.add("put");
      for (const name of ["later", "aside"] as const)
        cell.span.classList.toggle(name, step >= this.#from[name]);
      this.text.insertBefore(cell.span, this.#after(step));
      this.#cells.set(step, cell);
      this.#end = Math.max(this.#end, step + 1);
      fresh.push(cell);
    }
    return fresh;
  }

  /** Says of the tokens from step `from` on what it said of others. */
  mark(name: Suffix, from: number): void {
    const before = this.#from[name];
    this.#from[name] = from;
    for (let step = Math.min(before, from); step < Math.min(Math.max(before, from), this.#end); step++)
      this.#cells.get(step)?.span.classList.toggle(name, step >= from);
  }

  /** What a late frame's token stands before. */
  #after(step: number): HTMLElement {
    for (let next = step + 1; next < this.#end; next++) {
      const cell = this.#cells.get(next);
      if (cell) return cell.span;
    }
    return this.ending;
  }

  #clear(): void {
    for (const { span } of this.#cells.values()) span.remove();
    this.#cells.clear();
    this.#end = 0;
  }
}

/** For those who hear the strip: a row is a branch, and all that stands in it is a cell. */
function cell(button: HTMLElement): HTMLElement {
  return el("span", { class: "cell", attrs: { role: "gridcell" } }, button);
}
