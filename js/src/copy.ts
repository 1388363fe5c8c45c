/** Puts Python on the clipboard, where the page may do that. */
import { el } from "./dom";
import { type Key, partsOf } from "./frame";
import type { Store } from "./store";

/** How long the word stands that says what became of it, in ms. */
const SAID = 1600;

/** A feature as Python takes it: `4821`, or `(8, 4821)` where several SAEs are read. */
export function pythonOf(store: Store, key: Key): string {
  const { sae, id } = partsOf(key);
  const { saes } = store;
  const here = saes[sae];
  if (!here || saes.length < 2) return String(id);
  const alone = (part: "layer" | "hook") => new Set(saes.map((one) => one[part])).size === saes.length;
  const place = alone("layer") ? here.layer : alone("hook") ? here.hook : here.name;
  return `(${JSON.stringify(place)}, ${id})`;
}

/** What Python reads as the features in `keys`: one told in full, several selected. */
export function codeOf(store: Store, keys: Key[]): string {
  const [first, ...others] = keys.map((key) => pythonOf(store, key));
  return others.length ? `w.selected = [${[first, ...others].join(", ")}]` : `w.feature(${first})`;
}

/** A button that copies what `code` gives when it is pressed, and says so: also to those who hear it. */
export function copyButton(axon: string, word: string, code: () => string): HTMLElement {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const element = el("button", { class: "text-button", axon, text: word, attrs: { type: "button" } });
  const spoken = el("span", { class: "spoken", attrs: { role: "status" } });
  const explain = () => {
    element.title = `Copy ${short(code())}`;
  };
  element.addEventListener("pointerenter", explain);
  element.addEventListener("focus", explain);
  element.addEventListener("click", async () => {
    const done = (await copy(code(), element)) ? "copied" : "not allowed here";
    element.textContent = spoken.textContent = done;
    clearTimeout(timer);
    timer = setTimeout(() => {
      element.textContent = word;
      spoken.textContent = "";
    }, SAID);
  });
  return el("span", { class: "copying" }, element, spoken);
}

function short(code: string): string {
  return code.length > 60 ? `${code.slice(0, 59)}…` : code;
}

async function copy(text: string, near: HTMLElement): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyByHand(text, near);
  }
}

/** Pages that are not served securely, and frames that may not, have no clipboard of their own. */
function copyByHand(text: string, near: HTMLElement): boolean {
  const field = el("textarea", { attrs: { readonly: "", "aria-hidden": "true" } });
  field.value = text;
  field.style.cssText = "position: fixed; inset: 0 auto auto 0; width: 1px; height: 1px; opacity: 0";
  near.after(field);
  field.select();
  try {
    return document.execCommand("copy");
  } catch {
    return false;
  } finally {
    field.remove();
    near.focus({ preventScroll: true });
  }
}
