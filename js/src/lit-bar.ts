/** The switch of what lights the tokens, and the scale of that light. */
import { el, write } from "./dom";
import { type Light, type LitBy, lightOf } from "./lit";
import { recall, remember } from "./memory";
import type { Panel } from "./prompt";
import { radios } from "./radios";
import type { Store } from "./store";

const LIGHTS: [by: LitBy, word: string, title: string][] = [
  ["feature", "feature", "Light the tokens by the selected feature's activation"],
  ["surprise", "surprise", "Light the tokens by how unlikely they were to the model"],
  ["explained", "explained", "Light the tokens by how little of them the features explain"],
];

export interface LitBar extends Panel {
  light(): Light;
}

/** `changed` is called when another light is chosen. */
export function litBar(store: Store, changed: () => void): LitBar {
  let chosen = LIGHTS.find(([by]) => by === recall("lit by"))?.[0];
  const words = radios<LitBy>("lit-by", "What lights the tokens", LIGHTS, (by) => {
    chosen = by;
    remember("lit by", by);
    changed();
  });
  const least = el("span");
  const most = el("span");
  const ramp = el("span", { class: "ramp" });
  const note = el("span", { class: "lit-note" });
  const scale = el("span", { class: "scale", axon: "lit-scale" }, least, ramp, most, note);
  const element = el(
    "div",
    { class: "lit" },
    el("span", { class: "term", text: "lit by" }),
    words.element,
    scale,
  );

  // Until someone chooses: whoever selects a feature wants to see it.
  const light = () => lightOf(chosen ?? (store.selected ? "feature" : "surprise"), store);

  return {
    element,
    light,
    update() {
      const { by, least: from, most: to, note: why, title } = light();
      words.show(by);
      write(least, from);
      write(most, to);
      write(note, to ? "" : why);
      ramp.hidden = !to;
      scale.title = title;
    },
  };
}
