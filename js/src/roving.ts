/** A group of which Tab reaches one element, and the arrow keys the others. */
import { modified } from "./dom";

const STEPS: Record<string, number> = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 };

/**
 * Keeps the keyboard inside `element`. `members` gives what can be reached, now; `across` says whether left and right
 * move too; `moved` hears where the arrows led. The result is to be called when the members may have changed: it lets
 * Tab reach the one at `at`, or the one that was reached last.
 */
export function roving(
  element: HTMLElement,
  members: () => HTMLElement[],
  { across = false, moved = (_to: HTMLElement) => {} } = {},
): (at?: number) => void {
  let last = 0;
  const refresh = (at?: number) => {
    const all = members();
    last = Math.min(Math.max(at ?? last, 0), Math.max(all.length - 1, 0));
    all.forEach((one, i) => {
      one.tabIndex = i === last ? 0 : -1;
    });
  };
  element.addEventListener("focusin", (event) => {
    const place = members().indexOf(event.target as HTMLElement);
    if (place >= 0) refresh(place);
  });
  element.addEventListener("keydown", (event) => {
    const all = members();
    const here = all.indexOf(event.target as HTMLElement);
    const { key } = event;
    const step = across || key === "ArrowDown" || key === "ArrowUp" ? (STEPS[key] ?? 0) : 0;
    const edge = key === "Home" ? 0 : key === "End" ? all.length - 1 : null;
    if (here < 0 || (!step && edge === null) || modified(event)) return;
    event.preventDefault();
    event.stopPropagation();
    const to = all[edge ?? (across ? (here + step + all.length) % all.length : here + step)];
    if (!to) return;
    to.focus();
    moved(to);
  });
  return refresh;
}
