/** What a hand does on the canvas: hover, click, drag, wheel, keys. */
import { modified } from "./dom";

export interface PointerActions {
  /** The pointer moved over the canvas (or left it: null) without a button down. */
  hover(at: PointerEvent | null): void;
  click(at: PointerEvent): void;
  /** The person moves the camera. */
  drag(): void;
  touch(): void;
  /** Turns the camera by so many radians around and over the graph, and comes so many times nearer. */
  turn(round: number, over: number, nearer: number): void;
  fit(): void;
  /** The wheel and swipes go to the camera (true) or to the page around (false). */
  engage(engaged: boolean): void;
}

/** A hand is not perfectly still during a click. */
const SLIP = 4;
/** By one press of a key. */
const TURN = 0.12;
const NEARER = 1.12;
const KEYS: Record<string, [round: number, over: number, nearer: number]> = {
  ArrowLeft: [-TURN, 0, 1],
  ArrowRight: [TURN, 0, 1],
  ArrowUp: [0, -TURN, 1],
  ArrowDown: [0, TURN, 1],
  "+": [0, 0, NEARER],
  "=": [0, 0, NEARER],
  "-": [0, 0, 1 / NEARER],
};

export function watchPointer(canvas: HTMLCanvasElement, actions: PointerActions, signal: AbortSignal): void {
  let down: { x: number; y: number; dragged: boolean } | null = null;
  let engaged = false;
  let clicked = false;
  const engage = (next: boolean) => {
    engaged = next;
    clicked &&= next;
    canvas.style.touchAction = next ? "none" : "pan-y";
    actions.engage(next);
  };
  const on = <K extends keyof HTMLElementEventMap>(name: K, act: (event: HTMLElementEventMap[K]) => void) =>
    canvas.addEventListener(name, act, { signal });
  canvas.tabIndex = 0;
  engage(false);
  on("pointerdown", (event) => {
    down = { x: event.clientX, y: event.clientY, dragged: false };
    clicked = true;
    canvas.focus({ preventScroll: true });
    engage(true);
    actions.touch();
  });
  on("pointermove", (event) => {
    if (!down) return actions.hover(event);
    if (Math.hypot(event.clientX - down.x, event.clientY - down.y) <= SLIP) return;
    if (!down.dragged) actions.drag();
    down.dragged = true;
    actions.touch();
  });
  on("pointerleave", () => actions.hover(null));
  on("pointerup", (event) => {
    const click = down !== null && !down.dragged && event.button === 0;
    down = null;
    actions.touch();
    if (click) actions.click(event);
  });
  on("pointercancel", () => {
    down = null;
  });
  on("wheel", () => {
    if (!engaged) return;
    actions.drag();
    actions.touch();
  });
  on("focus", () => engage(true));
  // Notebooks may take the focus back right after a click: what was clicked stays engaged until a click elsewhere.
  on("blur", () => {
    if (!clicked) engage(false);
  });
  on("keydown", (event) => {
    if (event.key === "Escape") engage(false);
    if (modified(event)) return;
    const by = KEYS[event.key];
    if (by) actions.turn(...by);
    else if (event.key === "0") actions.fit();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  document.addEventListener(
    "pointerdown",
    (event) => {
      if (!event.composedPath().includes(canvas)) engage(false);
    },
    { signal, capture: true },
  );
}
