/** Whoever works by keyboard keeps a place in the view when what had the focus goes away, or can take no key any more. */

/** The result ends it. */
export function keepFocus(root: HTMLElement): () => void {
  let held: HTMLElement | null = null;
  root.addEventListener("focusin", ({ target }) => {
    held = target instanceof HTMLElement ? target : null;
  });
  root.addEventListener("focusout", ({ relatedTarget: next }) => {
    if (next instanceof Node && !root.contains(next)) held = null;
  });
  // A pointer elsewhere means elsewhere.
  const leave = (event: Event) => {
    if (!event.composedPath().includes(root)) held = null;
  };
  document.addEventListener("pointerdown", leave, true);
  const watch = new MutationObserver(() => {
    if (!held || held === root) return;
    if (held.isConnected && held.checkVisibility() && !held.matches(":disabled")) return;
    const now = (root.getRootNode() as Document | ShadowRoot).activeElement;
    if (now === null || now === held || now === document.body) root.focus({ preventScroll: true });
  });
  watch.observe(root, {
    childList: true,
    subtree: true,
    attributes: true,
    attributeFilter: ["hidden", "class", "disabled"],
  });
  return () => {
    watch.disconnect();
    document.removeEventListener("pointerdown", leave, true);
  };
}
