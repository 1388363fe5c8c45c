/** One quiet box that says more about what the pointer is on. */
import { el } from "./dom";

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
    const root = this.#root.getBoundingClientRect();
    const { offsetWidth: wide, offsetHeight: high } = this.element;
    const left = Math.min(Math.max(x - root.left + 14, 8), Math.max(root.width - wide - 8, 8));
    let top = y - root.top + 16;
    if (top + high > root.height - 8) top = Math.max(y - root.top - high - 12, 8);
    this.element.style.transform = `translate(${Math.round(left)}px, ${Math.round(top)}px)`;
  }

  hide(): void {
    this.element.hidden = true;
  }
}
