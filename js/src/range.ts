/** A slider that acts while it is moved, and follows Python without being pulled from under a hand. */
import { el } from "./dom";

interface Options {
  axon: string;
  label: string;
  /** Called with each value a person chooses. */
  choose(value: number): void;
  /** Called when Python's value may be shown that was refused. */
  later?(): void;
}

export interface Range {
  element: HTMLInputElement;
  /** Shows Python's value; false where a hand is on the slider or has just been. */
  follow(value: number, least: number, most: number, step: number): boolean;
  /** What the slider stands at. */
  value(): number;
  /** Lets the next value through at once: another feature is shown, or none any more. */
  release(): void;
}

/** Python's echo of an earlier move must not undo the one just made. */
const QUIET = 600;

export function range({ axon, label, choose, later }: Options): Range {
  const element = el("input", { axon, attrs: { type: "range", "aria-label": label } });
  let held = false;
  let quiet = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const paint = () => {
    const [least, most] = [Number(element.min), Number(element.max)];
    const share = (Number(element.value) - least) / (most - least || 1);
    element.style.setProperty("--share", String(Math.min(Math.max(share, 0), 1)));
  };
  element.addEventListener("pointerdown", () => {
    held = true;
  });
  for (const name of ["pointerup", "pointercancel", "blur", "change"] as const)
    element.addEventListener(name, () => {
      held = false;
    });
  element.addEventListener("input", () => {
    quiet = Date.now() + QUIET;
    paint();
    choose(Number(element.value));
  });
  return {
    element,
    follow(value, least, most, step) {
      clearTimeout(timer);
      const rest = quiet - Date.now();
      if (later && !held && rest > 0) timer = setTimeout(later, rest);
      if (held || rest > 0) return false;
      const limits = { min: String(least), max: String(most), step: String(step) };
      for (const [name, limit] of Object.entries(limits))
        if (element.getAttribute(name) !== limit) element.setAttribute(name, limit);
      element.value = String(value);
      paint();
      return true;
    },
    value: () => Number(element.value),
    release() {
      clearTimeout(timer);
      held = false;
      quiet = 0;
    },
  };
}

/** Two digits' worth of steps for a slider of this length. */
export function fineness(most: number): number {
  return 10 ** Math.floor(Math.log10(Math.max(most, 1e-6) / 100));
}
