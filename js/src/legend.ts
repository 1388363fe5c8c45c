/** How to read the graph, one line each. */
import { el } from "./dom";

export function legendPanel(): HTMLElement {
  const line = (sign: string, text: string, title: string) =>
    el("span", { class: "key", title }, el("i", { class: `sign ${sign}` }), text);
  return el(
    "div",
    { class: "legend", axon: "legend" },
    line(
      "hot",
      "fires on this token",
      "brighter: stronger, measured against the strongest activation of the run so far",
    ),
    line("quiet", "fired earlier", "light fades with each token since"),
    line("size", "size: peak so far", "the larger, the higher its peak in this run"),
    line("sure", "together, q ≤ .05", "together on more tokens than chance allows, after Benjamini–Hochberg"),
    line("faint", "together", "together on two or more tokens, but chance would do that too"),
  );
}
