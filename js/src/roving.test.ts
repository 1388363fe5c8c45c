import { expect, it } from "vitest";
import { roving } from "./roving";

/** A key pressed in a group on its first member: whether it was taken, and what has the focus then. */
function press(key: string, held: Partial<KeyboardEvent> = {}) {
  let focused = 0;
  const members = [0, 1].map((place) => ({ tabIndex: 0, focus: () => (focused = place) }));
  const group = new EventTarget();
  roving(group as HTMLElement, () => members as unknown as HTMLElement[], { across: true });
  const event = new Event("keydown", { cancelable: true });
  const parts = { key, ctrlKey: false, metaKey: false, altKey: false, ...held };
  for (const [name, value] of Object.entries({ ...parts, target: members[0] }))
    Object.defineProperty(event, name, { value });
  group.dispatchEvent(event);
  return [event.defaultPrevented, focused];
}

it("moves by arrows, and leaves the browser's own keys alone", () => {
  expect(press("ArrowRight")).toEqual([true, 1]);
  expect(press("End")).toEqual([true, 1]);
  expect(press("ArrowRight", { altKey: true })).toEqual([false, 0]);
  expect(press("End", { metaKey: true })).toEqual([false, 0]);
  expect(press("ArrowDown", { ctrlKey: true })).toEqual([false, 0]);
  expect(press("x")).toEqual([false, 0]);
});
