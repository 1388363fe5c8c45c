/** Small helpers to build elements. Text only ever enters as text: never as markup. */

interface Props {
  class?: string;
  axon?: string;
  text?: string;
  title?: string;
  attrs?: Record<string, string>;
}

export function el<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  props: Props = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  if (props.class) element.className = props.class;
  if (props.axon) element.dataset.axon = props.axon;
  if (props.title) element.title = capital(props.title);
  if (props.text !== undefined) element.textContent = props.text;
  for (const [name, value] of Object.entries(props.attrs ?? {})) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** An explanation goes on where a label ends; in a tip it stands alone, with a capital. */
function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

const ICONS = {
  play: "M4 2.5v11l9-5.5z",
  pause: "M4 3h3v10H4zM9 3h3v10H9z",
  stop: "M3.5 3.5h9v9h-9z",
  reset: "M8 2.5a5.5 5.5 0 1 0 5.3 4l-1.5.4A4 4 0 1 1 8 4v2.2L11.5 3 8 0z",
  save: "M7.2 2h1.6v6.2l2.3-2.3 1.1 1.1L8 11.2 3.8 7l1.1-1.1 2.3 2.3zM2.5 12.4h11V14h-11z",
  fit: "M2 6V2h4v1.5H3.5V6zM10 2h4v4h-1.5V3.5H10zM2 10h1.5v2.5H6V14H2zM12.5 10H14v4h-4v-1.5h2.5z",
  close: "M4 3 3 4l4 4-4 4 1 1 4-4 4 4 1-1-4-4 4-4-1-1-4 4z",
  more: "M3.2 5.2 8 10l4.8-4.8 1 1L8 12 2.2 6.2z",
  grow: "M9.5 2H14v4.5h-1.5V4.6L9.6 7.5 8.5 6.4l2.9-2.9H9.5zM6.5 14H2V9.5h1.5v1.9l2.9-2.9 1.1 1.1-2.9 2.9h1.9z",
  shrink:
    "M13.5 7H9V2.5h1.5v1.9L13.4 1.5l1.1 1.1L11.600 5.5h1.9zM2.5 9H7v4.5H5.5v-1.9L2.600 14.5 1.5 13.4l2.9-2.9H2.5z",
  keys: "M1.5 3.5h13v9h-13zM3 5v6h10V5zM4 6h1.5v1.5H4zM6.200 6h1.5v1.5H6.200zM8.4 6h1.5v1.5H8.4zM10.600 6h1.5v1.5h-1.5zM5 8.700h6v1.300H5z",
  end: "M3 2.5v11L9.5 8zM11 3h2v10h-2z",
  pin: "M5.5 1.5h5v1.3l-.8.5v3.4l2.3 2v1.3H8.7V14.5h-1.4V10H4V8.7l2.3-2V3.3l-.8-.5z",
  loop: "M3 8V4.2h7V2l3.8 3L10 8V5.7H4.5V8zM13 8v3.8H6V14l-3.8-3L6 8v2.3h5.5V8z",
};
export type Icon = keyof typeof ICONS;

export function icon(name: Icon): SVGSVGElement {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(space, "path");
  path.setAttribute("d", ICONS[name]);
  path.setAttribute("fill-rule", "evenodd");
  svg.append(path);
  return svg;
}

export function button(
  axon: string,
  glyph: Icon,
  word: string,
  title: string,
  action?: () => void,
): HTMLButtonElement {
  const element = el("button", {
    class: "button",
    axon,
    title,
    attrs: { type: "button", "aria-label": title },
  });
  element.append(icon(glyph));
  if (word) element.append(el("span", { class: "word", text: word }));
  if (action) element.addEventListener("click", action);
  return element;
}

/** Sets text only when it changed, so that a selection in it survives. */
export function write(element: Element, value: string): void {
  if (element.textContent !== value) element.textContent = value;
}

/** Makes `parent` hold exactly `count` children, reusing those that are there so that clicks never miss. */
export function rows<E extends HTMLElement>(parent: HTMLElement, count: number, make: () => E): E[] {
  while (parent.children.length > count) parent.lastElementChild?.remove();
  while (parent.children.length < count) parent.append(make());
  return [...parent.children] as E[];
}

/** One line of a stranger's text: control characters and line breaks would tear a label apart. */
export function oneLine(text: string, most = 400): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are exactly what is taken out
  const clean = text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]+/g, " ");
  const letters = [...clean.trim()];
  return letters.length > most ? `${letters.slice(0, most - 1).join("")}…` : letters.join("");
}

/** A token in a sentence about it: what is invisible gets a sign, what is long is cut. */
export function showToken(token: string, most = 60): string {
  const signs = token.replace(/\n/g, "↵").replace(/\t/g, "⇥").replace(/^ | $/g, "·");
  return oneLine(signs, most) || (token ? "◦" : "(empty)");
}

/** Activations and ratios in as many digits as carry meaning. */
export function short(value: number): string {
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size < 0.001) return value.toExponential(1);
  return value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : size >= 0.1 ? 2 : 3);
}

export function percent(share: number): string {
  const value = 100 * share;
  return `${value >= 10 || value === 0 ? value.toFixed(0) : value >= 0.1 ? value.toFixed(1) : "<0.1"} %`;
}

/** A token's probability, which is never 0: it may be too small for the digits that came. */
export function likelihood(probability: number): string {
  return percent(Math.max(probability, 1e-9));
}

/** The same with its sign: a minus as long as the plus. */
export function signed(value: number): string {
  const size = Math.abs(value) < 0.0005 ? "0" : short(Math.abs(value));
  return size === "0" ? "0" : `${value < 0 ? "−" : "+"}${size}`;
}

/** With these keys held a key is the browser's, or the page's. */
export function modified({ ctrlKey, metaKey, altKey }: KeyboardEvent): boolean {
  return ctrlKey || metaKey || altKey;
}

/** A click acts on what the element showed when the pointer went down, though it may be renewed meanwhile. */
export function pickable(element: HTMLElement, act: (value: string, event: MouseEvent) => void): void {
  let held = "";
  element.addEventListener("pointerdown", () => {
    held = element.dataset.value ?? "";
  });
  element.addEventListener("click", (event) => {
    // A key's click had no pointer before it: what is held is of another one, that went elsewhere.
    act((event.detail > 0 && held) || (element.dataset.value ?? ""), event);
    held = "";
  });
}

/** "3" for "layer 3": where the word stands beside it, or there is no room for it. */
export function layerTag(title: string): string {
  return oneLine(title.replace(/^layer /, ""), 24);
}
