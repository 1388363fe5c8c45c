/** One quiet box that says more about what the pointer is on. */
import { el } from "./dom";

/** A place in the window. */
type Box = Pick<DOMRect, "left" | "top" | "right" | "bottom">;

/** The least distance from the edges, and from what is told of. */
const EDGE = 8;
const GAP = 6;

export class Tip {
  readonly element = el("div", { class: "tip", axon: "tip", attrs: { role: "tooltip" } });
  #root: HTMLElement;

  constructor(root: HTMLElement) {
    this.#root = root;
    this.element.hidden = true;
  }

  /** Shows `content` beside a point of the window, inside the widget. */
  show(x: number, y: number, ...content: Node[]): void {
    this.element.replaceChildren(...content);
    this.element.hidden = false;
    this.element.style.maxHeight = "";
    const root = this.#root.getBoundingClientRect();
    const { offsetWidth: wide, offsetHeight: high } = this.element;
    const left = Math.min(Math.max(x - root.left + 14, 8), Math.max(root.width - wide - 8, 8));
    let top = y - root.top + 16;
    if (top + high > root.height - 8) top = Math.max(y - root.top - high - 12, 8);
    this.element.style.transform = `translate(${Math.round(left)}px, ${Math.round(top)}px)`;
  }

  /** Shows `content` above or below a box of the window, where there is room for it: never over the box. */
  beside(box: Box, ...content: Node[]): void {
    const { element } = this;
    element.replaceChildren(...content);
    element.hidden = false;
    element.style.maxHeight = "";
    const root = this.#root.getBoundingClientRect();
    const [left, right] = [Math.max(root.left, 0) + EDGE, Math.min(root.right, innerWidth) - EDGE];
    const [top, bottom] = [Math.max(root.top, 0) + EDGE, Math.min(root.bottom, innerHeight) - EDGE];
    const [above, below] = [box.top - GAP - top, bottom - box.bottom - GAP];
    const up = above >= element.offsetHeight || above >= below;
    element.style.maxHeight = `${Math.max(up ? above : below, 0)}px`;
    const x = Math.max(Math.min(box.left, right - element.offsetWidth), left);
    const y = up ? box.top - GAP - element.offsetHeight : box.bottom + GAP;
    const { clientLeft, clientTop } = this.#root;
    element.style.transform = `translate(${Math.round(x - root.left - clientLeft)}px, ${Math.round(y - root.top - clientTop)}px)`;
  }

  hide(): void {
    this.element.hidden = true;
  }
}
