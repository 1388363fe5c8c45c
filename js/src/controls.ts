/** The seven sliders. A move acts on the very next token. */
import { el, write } from "./dom";
import { number } from "./frame";
import type { Panel } from "./prompt";
import { range } from "./range";
import type { Link } from "./wire";

interface Slider {
  name: string;
  label: string;
  title: string;
  least: number;
  most: number;
  step: number;
  usual: number;
  /** The word for a special value. */
  word?: [value: number, word: string];
}

const SLIDERS: Slider[] = [
  {
    name: "temperature",
    label: "Temperature",
    title: "how freely the next token is drawn: low is sure, high is surprising",
    least: 0.05,
    most: 2,
    step: 0.05,
    usual: 0.8,
  },
  {
    name: "top_k",
    label: "Top-k",
    title: "only the k likeliest tokens may be drawn; 0 lets all in",
    least: 0,
    most: 200,
    step: 1,
    usual: 50,
    word: [0, "off"],
  },
  {
    name: "top_p",
    label: "Top-p",
    title: "only the likeliest tokens that together have this probability may be drawn",
    least: 0.05,
    most: 1,
    step: 0.01,
    usual: 0.9,
  },
  {
    name: "repetition_penalty",
    label: "Repetition penalty",
    title: "how much tokens already written lose; 1 is none",
    least: 1,
    most: 2,
    step: 0.05,
    usual: 1.1,
  },
  {
    name: "max_tokens",
    label: "Max tokens",
    title: "how many tokens to write at most",
    least: 10,
    most: 200,
    step: 1,
    usual: 40,
  },
  {
    name: "feature_k",
    label: "Features",
    title: "how many of the strongest features are shown per token",
    least: 5,
    most: 30,
    step: 1,
    usual: 15,
  },
  {
    name: "activation_threshold",
    label: "Activation threshold",
    title: "features weaker than this are not shown",
    least: 0.01,
    most: 1,
    step: 0.01,
    usual: 0.1,
  },
];

function digits(step: number): number {
  return step >= 1 ? 0 : 2;
}

function say(slider: Slider, value: number): string {
  if (slider.word && value === slider.word[0]) return slider.word[1];
  return value.toFixed(digits(slider.step));
}

export function controlsPanel(link: Link, live: boolean): Panel {
  const element = el("section", { class: "controls", attrs: { "aria-label": "Sampling and display" } });
  if (!live) return savedSettings(link, element);
  element.append(el("h3", { text: "Settings" }));
  const offs = SLIDERS.map((slider) => {
    const shown = el("output", { class: "value" });
    const { name, label, least, most, step, usual } = slider;
    // Python may set values the slider cannot reach: the true one is told.
    const tell = (value: number) => {
      write(shown, say(slider, value));
      input.element.setAttribute("aria-valuetext", say(slider, value));
    };
    const follow = () => {
      const value = number(link.trait(name)) ?? usual;
      if (input.follow(value, least, most, step)) tell(value);
    };
    const input = range({
      axon: `slider-${name}`,
      label,
      choose(value) {
        tell(value);
        link.set(name, value);
      },
      later: follow,
    });
    input.element.addEventListener("dblclick", () => {
      input.element.value = String(usual);
      input.element.dispatchEvent(new Event("input"));
    });
    element.append(
      el(
        "label",
        { class: "slider", title: `${slider.title} (double-click: ${say(slider, usual)})` },
        el("span", { class: "name", text: label }),
        shown,
        input.element,
      ),
    );
    follow();
    const off = link.onTraits([name], follow);
    return () => {
      input.release();
      off();
    };
  });
  return {
    element,
    update() {},
    dispose() {
      for (const off of offs) off();
    },
  };
}

function savedSettings(link: Link, element: HTMLElement): Panel {
  element.append(
    el("h3", { text: link.trait("changed") === true ? "Settings at its start" : "Settings of this run" }),
  );
  for (const slider of SLIDERS) {
    const value = number(link.trait(slider.name));
    if (value === null) continue;
    element.append(
      el(
        "div",
        { class: "setting", title: slider.title },
        el("span", { class: "name", text: slider.label }),
        el("span", { class: "value", text: say(slider, value) }),
      ),
    );
  }
  return { element, update() {} };
}
