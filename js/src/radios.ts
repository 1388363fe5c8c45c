/** Words of which one is chosen: with arrows as in any radio group, or with a click. */
import { el } from "./dom";
import { roving } from "./roving";

export interface Radios<T extends string> {
  element: HTMLElement;
  show(chosen: T): void;
}

export function radios<T extends string>(
  axon: string,
  label: string,
  options: [value: T, word: string, title: string][],
  choose: (value: T) => void,
): Radios<T> {
  const buttons = options.map(([value, word, title]) => {
    const one = el("button", {
      text: word,
      title,
      attrs: { type: "button", role: "radio", "data-value": value },
    });
    one.addEventListener("click", () => choose(value));
    return one;
  });
  const element = el(
    "div",
    { class: "choice", axon, attrs: { role: "radiogroup", "aria-label": label } },
    ...buttons,
  );
  const reach = roving(element, () => buttons, { across: true, moved: (to) => to.click() });
  return {
    element,
    show(chosen) {
      for (const one of buttons) one.setAttribute("aria-checked", String(one.dataset.value === chosen));
      reach(options.findIndex(([value]) => value === chosen));
    },
  };
}
