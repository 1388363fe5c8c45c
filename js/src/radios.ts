/** Words of which one is chosen: with arrows as in any radio group, or with a click. */
import { el } from "./dom";
import { roving } from "./roving";

export type Option<T> = [value: T, word: string, title: string];

export interface Radios<T> {
  element: HTMLElement;
  /** Shows which one is chosen, null for none, and only those that are `offered`. */
  show(chosen: T | null, offered?: T[]): void;
}

export function radios<T extends string>(
  axon: string,
  label: string,
  options: Option<T>[],
  choose: (value: T) => void,
): Radios<T> {
  const buttons = options.map(([value, word, title]) => {
    const one = el("button", {
      axon: `${axon}-${value}`,
      text: word,
      title,
      attrs: { type: "button", role: "radio" },
    });
    one.addEventListener("click", () => choose(value));
    return one;
  });
  const element = el(
    "div",
    { class: "choice", axon, attrs: { role: "radiogroup", "aria-label": label } },
    ...buttons,
  );
  const there = () => buttons.filter((one) => !one.hidden);
  const reach = roving(element, there, { across: true, moved: (to) => to.click() });
  return {
    element,
    show(chosen, offered) {
      let at: HTMLElement | undefined;
      options.forEach(([value], place) => {
        const one = buttons[place];
        if (!one) return;
        one.hidden = offered !== undefined && !offered.includes(value);
        one.setAttribute("aria-checked", String(value === chosen));
        if (value === chosen) at = one;
      });
      reach(at && there().indexOf(at as HTMLButtonElement));
    },
  };
}
