/** An edge to be moved by hand or with the arrows; what is set stays so in this browser. */
import { el, modified } from "./dom";
import { recall, remember } from "./memory";

interface Options {
  name: string;
  label: string;
  /** Which way the arrow points that makes it larger. */
  grows: "left" | "up" | "down";
  /** The length as it is now, and how far it may go, in pixels. */
  size(): number;
  least: number;
  most(): number;
  /** Sets the length; null: as it is by itself. */
  set(pixels: number | null): void;
}

/** By one press of an arrow. */
const STEP = 16;
const ARROWS = {
  left: ["ArrowLeft", "ArrowRight"],
  up: ["ArrowUp", "ArrowDown"],
  down: ["ArrowDown", "ArrowUp"],
} as const;

export function divider(options: Options): HTMLElement {
  const { name, label, grows, least } = options;
  const across = grows === "left";
  const key = `size ${name}`;
  const element = el("div", {
    class: `divider ${across ? "upright" : "level"}`,
    axon: `divide-${name}`,
    title: "Drag to resize, double-click for the usual size",
    attrs: {
      role: "separator",
      tabindex: "0",
      "aria-label": label,
      "aria-orientation": across ? "vertical" : "horizontal",
    },
  });
  const say = () => {
    const numbers = { now: options.size(), min: least, max: Math.max(options.most(), least) };
    for (const [part, value] of Object.entries(numbers))
      element.setAttribute(`aria-value${part}`, String(Math.round(value)));
  };
  const set = (wish: number | null, keep = true) => {
    const pixels = wish === null ? null : Math.round(Math.max(Math.min(wish, options.most()), least));
    options.set(pixels);
    if (keep) remember(key, pixels);
    say();
  };
  let held: { at: number; size: number } | null = null;
  const place = (event: PointerEvent) => (across ? event.clientX : event.clientY);
  element.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    held = { at: place(event), size: options.size() };
    element.setPointerCapture(event.pointerId);
  });
  element.addEventListener("pointermove", (event) => {
    if (!held) return;
    const moved = place(event) - held.at;
    set(held.size + (grows === "down" ? moved : -moved));
  });
  for (const end of ["pointerup", "pointercancel"] as const)
    element.addEventListener(end, () => {
      held = null;
    });
  element.addEventListener("dblclick", () => set(null));
  element.addEventListener("focus", say);
  element.addEventListener("keydown", (event) => {
    if (modified(event)) return;
    const [more, less] = ARROWS[grows];
    const by = event.key === more ? STEP : event.key === less ? -STEP : 0;
    if (by) set(options.size() + by);
    else if (event.key === "Home") set(least);
    else if (event.key === "End") set(options.most());
    else if (event.key === "Enter") set(null);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  requestAnimationFrame(say);
  const before = recall(key);
  // How much room there is now shows only once the view stands somewhere: the style sheet sees to it.
  if (typeof before === "number" && Number.isFinite(before) && before >= least) options.set(before);
  return element;
}
