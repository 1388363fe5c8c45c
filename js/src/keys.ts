/** The keys: a table that `?` shows, and those that work anywhere in the view. */
import { button, el, modified } from "./dom";

/** Add a line where a key is added. */
export const KEYS: [place: string, keys: [key: string, does: string][]][] = [
  [
    "Anywhere",
    [
      ["?", "show these keys"],
      ["/", "search features"],
      ["g", "go to the graph"],
      ["p", "pin, unpin the feature one reads about"],
      ["f", "full screen"],
      ["Esc", "close what is open, one thing at a time; some browsers leave full screen first"],
    ],
  ],
  [
    "Prompt",
    [
      ["Enter", "generate"],
      ["Shift Enter", "a new line"],
    ],
  ],
  [
    "Tokens",
    [
      ["← →", "look at the token before, after"],
      ["↑ ↓", "look at another branch"],
      ["Home", "look at the first token"],
      ["End", "go to the newest token"],
      ["Space", "replay, pause; while the model writes: stay at this token"],
      ["Esc", "follow the run"],
    ],
  ],
  [
    "Graph",
    [
      ["← → ↑ ↓", "turn"],
      ["+ −", "zoom"],
      ["0", "fit the graph into view"],
    ],
  ],
  [
    "Lists",
    [
      ["↑ ↓", "move"],
      ["Enter", "choose"],
      ["Ctrl Enter", "choose beside others"],
      ["p", "pin, unpin a feature that fires"],
    ],
  ],
];

/** What a key does, or false where there was nothing to do and the page may have it. */
export type KeyActions = Record<string, () => unknown>;

/** Where letters are written, or choose, keys are letters. */
function writes(target: EventTarget | null): boolean {
  if (target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement) return true;
  return target instanceof HTMLInputElement && !["range", "checkbox", "button"].includes(target.type);
}

/** Acts on keys that nothing in the view has taken for itself; what is typed stays in the view. */
export function watchKeys(root: HTMLElement, actions: KeyActions): void {
  root.addEventListener("keydown", (event) => {
    const { target, key } = event;
    const typed = writes(target);
    // Notebooks have plans for letters and arrows of their own.
    if (typed || target instanceof HTMLInputElement) event.stopPropagation();
    if (event.defaultPrevented || event.isComposing || modified(event)) return;
    if (typed && key !== "Escape") return;
    const action = Object.hasOwn(actions, key) ? actions[key] : undefined;
    if (!action || action() === false) return;
    event.preventDefault();
    event.stopPropagation();
  });
}

export interface KeyHelp {
  button: HTMLButtonElement;
  dialog: HTMLDialogElement;
  show(): void;
}

export function keyHelp(): KeyHelp {
  const close = button("keys-close", "close", "", "Close (Esc)", () => dialog.close());
  const title = el("h2", { text: "Keys" });
  const parts = KEYS.map(([place, keys]) =>
    el(
      "section",
      {},
      el("h3", { text: place }),
      el(
        "dl",
        {},
        ...keys.flatMap(([key, does]) => [
          el("dt", {}, ...key.split(" ").map((one) => el("kbd", { text: one }))),
          el("dd", { text: does }),
        ]),
      ),
    ),
  );
  const dialog = el(
    "dialog",
    { class: "keys", axon: "keys", attrs: { "aria-label": "Keys" } },
    el("div", { class: "keys-head" }, title, close),
    el("div", { class: "keys-table" }, ...parts),
  );
  // It takes the focus, keeps it and gives it back; whatever is pressed in it stays in it.
  dialog.addEventListener("keydown", (event) => event.stopPropagation());
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  const show = () => {
    if (!dialog.open) dialog.showModal();
  };
  return { button: button("show-keys", "keys", "", "Keys (?)", show), dialog, show };
}
