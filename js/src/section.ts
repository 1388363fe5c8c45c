/** A part of a panel under a heading that folds it away, which this browser remembers. */
import { el } from "./dom";
import { recall, remember } from "./memory";

export interface Section {
  element: HTMLDetailsElement;
  head: HTMLElement;
  body: HTMLElement;
}

/** `kind` is the body's class. */
export function section(axon: string, title: string, kind: string): Section {
  const head = el("h3", { text: title });
  const body = el("div", { class: kind, axon });
  const element = el("details", { class: "section" }, el("summary", {}, head), body);
  element.open = recall(`section ${axon}`) !== false;
  element.addEventListener("toggle", () => remember(`section ${axon}`, element.open));
  return { element, head, body };
}
