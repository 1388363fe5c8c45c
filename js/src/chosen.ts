/** How many features are selected, where that is more than the one that is read about. */
import { codeOf, copyButton } from "./copy";
import { el, write } from "./dom";
import type { Panel } from "./prompt";
import type { Store } from "./store";
import type { Link } from "./wire";

export function chosenLine(link: Link, store: Store): Panel {
  const count = el("span", { class: "count", attrs: { role: "status" } });
  const clear = el("button", {
    class: "text-button",
    axon: "chosen-clear",
    text: "clear",
    title: "Select nothing",
    attrs: { type: "button" },
  });
  clear.addEventListener("click", () => link.choose([]));
  const copy = copyButton("chosen-copy", "copy as Python", () => codeOf(store, [...store.chosen]));
  const element = el("div", { class: "chosen", axon: "chosen" }, count, clear, copy);
  return {
    element,
    update() {
      const { size } = store.chosen;
      element.hidden = size < 2 && (size === 0 || store.selected !== null);
      write(count, `${size} selected`);
    },
  };
}
