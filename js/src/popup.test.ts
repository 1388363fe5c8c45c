import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { popup } from "./popup";

class Part extends EventTarget {
  hidden = false;
  focused = 0;
  attributes: Record<string, string> = {};
  setAttribute(name: string, value: string) {
    this.attributes[name] = value;
  }
  contains(other: unknown) {
    return other === this;
  }
  focus() {
    this.focused += 1;
  }
}

beforeEach(() => {
  vi.stubGlobal("document", new EventTarget());
  vi.stubGlobal("Node", Part);
});
afterEach(() => {
  vi.unstubAllGlobals();
});

function made(stays = () => false) {
  const [opener, element] = [new Part(), new Part()];
  const opened = vi.fn();
  const menu = popup(opener as unknown as HTMLElement, element as unknown as HTMLElement, { opened, stays });
  const press = () => opener.dispatchEvent(new Event("click"));
  /** A press somewhere: from outside a shadow root only the path tells what in it was pressed. */
  const down = (...path: Part[]) =>
    document.dispatchEvent(Object.assign(new Event("pointerdown"), { composedPath: () => path }));
  const tab = (to: Part | null) =>
    element.dispatchEvent(Object.assign(new Event("focusout"), { relatedTarget: to }));
  return { opener, element, opened, menu, press, down, tab };
}

it("opens and closes by its button", () => {
  const { opener, element, opened, menu, press } = made();
  expect([element.hidden, opener.attributes["aria-expanded"], menu.leave()]).toEqual([true, "false", false]);
  press();
  expect([element.hidden, opener.attributes["aria-expanded"]]).toEqual([false, "true"]);
  press();
  expect([element.hidden, opener.attributes["aria-expanded"]]).toEqual([true, "false"]);
  press();
  expect(opened).toHaveBeenCalledTimes(2);
  expect([menu.leave(), element.hidden, opener.focused]).toEqual([true, true, 1]);
});

it("stays for a press in it and closes for one elsewhere", () => {
  const { opener, element, menu, press, down } = made();
  press();
  down(new Part(), element, new Part());
  down(opener);
  expect(element.hidden).toBe(false);
  down(new Part());
  expect(element.hidden).toBe(true);
  press();
  menu.dispose();
  down(new Part());
  expect(element.hidden).toBe(false);
});

it("closes when the focus goes elsewhere, not when it is gone", () => {
  const { opener, element, press, tab } = made();
  press();
  for (const to of [null, opener, element]) tab(to);
  expect(element.hidden).toBe(false);
  tab(new Part());
  expect(element.hidden).toBe(true);
});

it("stays while it works", () => {
  const { element, press, down, tab } = made(() => true);
  press();
  down(new Part());
  tab(new Part());
  expect(element.hidden).toBe(false);
  press();
  expect(element.hidden).toBe(true);
});
