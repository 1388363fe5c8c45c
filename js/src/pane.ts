/** A part of the view that collapses to a thin bar, and stays as it was left. */
import { el, icon } from "./dom";
import { recall, remember } from "./memory";

/** The edge of the view it collapses towards. */
type Edge = "left" | "right" | "bottom";

export interface Pane {
  element: HTMLElement;
  /** Brings back what was collapsed: something in it is asked for. */
  open(): void;
}

export function pane(name: string, title: string, edge: Edge, ...content: Node[]): Pane {
  const word = el("span", { class: "word", text: title });
  const head = el(
    "button",
    { class: "collapse", axon: `collapse-${name}`, attrs: { type: "button", "aria-label": title } },
    icon("more"),
    word,
  );
  const body = el("div", { class: "pane-body" }, ...content);
  const element = el("div", { class: `pane at-${edge} ${name}-pane` }, head, body);
  const turn = (open: boolean) => {
    element.classList.toggle("collapsed", !open);
    head.setAttribute("aria-expanded", String(open));
    head.title = `${open ? "Collapse" : "Show"} the ${title.toLowerCase()}`;
  };
  const key = `collapsed ${name}`;
  head.addEventListener("click", () => {
    const open = element.classList.contains("collapsed");
    turn(open);
    remember(key, !open);
  });
  turn(recall(key) !== true);
  return { element, open: () => turn(true) };
}
