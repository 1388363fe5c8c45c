/** What a button opens over the rest: a press elsewhere closes it, and so does Tab out of it. */

interface Options {
  /** Called each time it has opened. */
  opened(): void;
  /** True while only its button closes it. */
  stays?(): boolean;
}

export interface Popup {
  /** Closes it and goes back to its button; false where it was closed. */
  leave(): boolean;
  dispose(): void;
}

export function popup(
  opener: HTMLElement,
  element: HTMLElement,
  { opened, stays = () => false }: Options,
): Popup {
  const turn = (open: boolean) => {
    element.hidden = !open;
    opener.setAttribute("aria-expanded", String(open));
    if (open) opened();
  };
  const close = () => {
    if (!element.hidden && !stays()) turn(false);
  };
  // In a shadow root what was pressed is, to the page around it, the root's host: the path alone tells.
  const outside = (event: Event) => {
    const path = event.composedPath();
    if (!path.includes(element) && !path.includes(opener)) close();
  };
  element.addEventListener("focusout", ({ relatedTarget: to }) => {
    if (to instanceof Node && !element.contains(to) && !opener.contains(to)) close();
  });
  opener.addEventListener("click", () => turn(element.hidden !== false));
  document.addEventListener("pointerdown", outside);
  element.hidden = true;
  opener.setAttribute("aria-expanded", "false");
  return {
    leave() {
      if (element.hidden) return false;
      turn(false);
      opener.focus({ preventScroll: true });
      return true;
    },
    dispose: () => document.removeEventListener("pointerdown", outside),
  };
}
