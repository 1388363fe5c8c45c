/** A line that stands for a feature: picked alone, or with Ctrl, Cmd or Shift beside those that are selected. */
import { pickable } from "./dom";
import type { Key } from "./frame";
import type { Link } from "./wire";

export function pickFeature(row: HTMLElement, link: Link, select: (key: Key) => void): void {
  pickable(row, (key, event) => {
    if (beside(event)) link.toggle(key);
    else if (key) select(key);
  });
  // With these keys held, Enter is no click.
  row.addEventListener("keydown", (event) => {
    const key = row.dataset.value;
    if (event.key !== "Enter" || !key || !beside(event)) return;
    event.preventDefault();
    event.stopPropagation();
    link.toggle(key);
  });
}

function beside(event: MouseEvent | KeyboardEvent): boolean {
  return event.ctrlKey || event.metaKey || event.shiftKey;
}
