/** Steers the selected feature: set it, scale it, or switch it off, from the very next token on. */
import { el, short, write } from "./dom";
import type { Key, Steer } from "./frame";
import type { Panel } from "./prompt";
import { radios } from "./radios";
import { fineness, type Range, range } from "./range";
import type { Store } from "./store";
import type { Link } from "./wire";

export type Mode = "set" | "scale" | "off";
const MODES: [Mode, string, string][] = [
  ["set", "set", "give it this activation on every token, whether it fires or not"],
  ["scale", "scale", "multiply its activation by this wherever it fires"],
  ["off", "off", "take it out: activation 0 on every token"],
];
const SCALE = { least: -2, most: 4, step: 0.05 };

export function modeOf(steer: Steer | undefined): Mode | null {
  if (!steer) return null;
  if (steer.scale) return "scale";
  return steer.value === 0 ? "off" : "set";
}

/** The highest activation worth setting: three times the highest that is known. */
function ceiling(store: Store, key: Key): number {
  const known = store.details.get(key)?.maximum ?? 0;
  return 3 * Math.max(known, store.node(key)?.peak ?? 0) || 10;
}

export function follow(slider: Range, store: Store, key: Key, value: number, scale: boolean): void {
  const most = ceiling(store, key);
  if (scale) slider.follow(value, Math.min(SCALE.least, value), Math.max(SCALE.most, value), SCALE.step);
  else slider.follow(value, Math.min(0, value), Math.max(most, value), fineness(most));
}

export function amount(value: number, scale: boolean): string {
  const number = `${value < 0 ? "−" : ""}${value === 0 ? "0" : short(Math.abs(value))}`;
  return scale ? `× ${number}` : number;
}

export function steerControl(link: Link, store: Store): Panel {
  let key: Key | null = null;
  const current = () => link.steering().find((steer) => steer.key === key);
  const act = (value: number | null, scale: boolean) => {
    if (store.selected) link.steer(store.selected.sae, store.selected.id, value, scale);
  };
  const modes = radios("steer-mode", "How to steer it", MODES, (mode) => {
    slider.release();
    if (mode === "off") act(0, false);
    else if (mode === "scale") act(2, true);
    else if (key !== null) act(Number((ceiling(store, key) / 3).toPrecision(3)), false);
  });
  const number = el("output", { class: "value" });
  const slider = range({
    axon: "steer-slider",
    label: "Activation it is steered to",
    choose: (value) => {
      const scale = current()?.scale ?? false;
      act(value, scale);
      write(number, amount(value, scale));
    },
  });
  const remove = el("button", {
    class: "text-button",
    axon: "steer-remove",
    text: "remove",
    title: "Steer it no longer",
    attrs: { type: "button" },
  });
  remove.addEventListener("click", () => {
    slider.release();
    act(null, false);
  });
  const muted = el("span", { class: "muted-note", text: "muted" });
  const element = el(
    "div",
    { class: "steer", axon: "steer" },
    el("div", { class: "steer-head" }, el("h3", { text: "Steer" }), modes.element, muted, remove),
    el("div", { class: "steer-line" }, slider.element, number),
  );
  const update = () => {
    if (store.selectedKey !== key) {
      key = store.selectedKey;
      slider.release();
    }
    if (key === null) return;
    const steer = current();
    modes.show(modeOf(steer));
    remove.style.visibility = steer ? "" : "hidden";
    muted.hidden = !steer || link.trait("steering_muted") !== true;
    element.classList.toggle("on", steer !== undefined);
    const value = steer?.value ?? store.activation(store.frame(), key);
    follow(slider, store, key, value, steer?.scale ?? false);
    slider.element.setAttribute(
      "aria-label",
      steer?.scale ? "What its activation is multiplied by" : "Activation it is set to",
    );
    write(number, steer ? amount(slider.value(), steer.scale) : "as it is");
    slider.element.setAttribute("aria-valuetext", number.textContent ?? "");
  };
  const off = link.onTraits(["steering", "steering_muted"], update);
  return { element, update, dispose: off };
}
