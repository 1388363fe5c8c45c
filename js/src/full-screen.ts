/** The view over the whole screen; where a frame may not do that, over the whole window. */
import { button, icon } from "./dom";

export interface FullScreen {
  button: HTMLButtonElement;
  /** Leaves; false where there was nothing to leave. */
  leave(): boolean;
  dispose(): void;
}

/** `changed` is called after the view took its new size. */
export function fullScreen(root: HTMLElement, changed: () => void): FullScreen {
  const screen = () => (root.getRootNode() as Document | ShadowRoot).fullscreenElement === root;
  const filling = () => root.classList.contains("filling");
  const show = () => {
    const on = screen() || filling();
    if (root.classList.contains("full") === on) return;
    root.classList.toggle("full", on);
    const title = on ? "Leave full screen (Esc)" : "Full screen (f)";
    element.title = title;
    element.setAttribute("aria-label", title);
    element.setAttribute("aria-pressed", String(on));
    element.replaceChildren(icon(on ? "shrink" : "grow"));
    requestAnimationFrame(changed);
  };
  const fill = (on: boolean) => {
    root.classList.toggle("filling", on);
    // The layer over everything, whatever the page does to the place the view stands in.
    if (on) root.popover = "manual";
    if (on) root.showPopover?.();
    else root.removeAttribute("popover");
    show();
  };
  const leave = () => {
    if (filling()) fill(false);
    else if (screen()) void document.exitFullscreen();
    else return false;
    return true;
  };
  const element = button("full-screen", "grow", "", "Full screen (f)", () => {
    if (leave()) return;
    const asked = root.requestFullscreen?.() ?? Promise.reject();
    asked.catch(() => {
      if (root.isConnected) fill(true);
    });
  });
  root.addEventListener("fullscreenchange", show);
  element.setAttribute("aria-pressed", "false");
  return {
    button: element,
    leave,
    dispose() {
      root.removeEventListener("fullscreenchange", show);
      leave();
    },
  };
}
