/** The seven sliders. A move acts on the very next token. */
import { el, write } from "./dom";
import { number } from "./frame";
import type { Panel } from "./prompt";
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

export const SLIDERS: Slider[] = [
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
    const input = el("input", {
      axon: `slider-${slider.name}`,
      attrs: {
        type: "range",
        min: String(slider.least),
        max: String(slider.most),
        step: String(slider.step),
        "aria-label": slider.label,
      },
    });
    let held = false;
    // Python's echo of an earlier move must not undo the one just made.
    let quiet = 0;
    let later: ReturnType<typeof setTimeout> | undefined;
    const paint = () => {
      const value = Number(input.value);
      write(shown, say(slider, value));
      const share = (value - slider.least) / (slider.most - slider.least);
      input.style.setProperty("--share", String(Math.min(Math.max(share, 0), 1)));
      input.setAttribute("aria-valuetext", say(slider, value));
    };
    const follow = () => {
      if (held) return;
      clearTimeout(later);
      if (Date.now() < quiet) {
        later = setTimeout(follow, quiet - Date.now());
        return;
      }
      const value = number(link.trait(slider.name)) ?? slider.usual;
      input.value = String(value);
      paint();
      // Python may set values the slider cannot reach: say the true one.
      if (Math.abs(value - Number(input.value)) > slider.step)
        write(shown, value.toFixed(digits(slider.step)));
    };
    const hold = () => {
      held = true;
    };
    const release = () => {
      held = false;
    };
    input.addEventListener("pointerdown", hold);
    for (const name of ["pointerup", "pointercancel", "blur", "change"] as const)
      input.addEventListener(name, release);
    input.addEventListener("input", () => {
      quiet = Date.now() + 600;
      paint();
      link.set(slider.name, Number(input.value));
    });
    input.addEventListener("dblclick", () => {
      input.value = String(slider.usual);
      paint();
      link.set(slider.name, slider.usual);
    });
    element.append(
      el(
        "label",
        { class: "slider", title: `${slider.title} (double-click: ${say(slider, slider.usual)})` },
        el("span", { class: "name", text: slider.label }),
        shown,
        input,
      ),
    );
    follow();
    const off = link.onTraits([slider.name], follow);
    return () => {
      clearTimeout(later);
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
