/** A picture of the view or of a part of it: its elements and style sheet in an SVG, which browsers draw at any size. */

const XHTML = "http://www.w3.org/1999/xhtml";
const SVG = "http://www.w3.org/2000/svg";

/** What XML cannot hold, though a text node can. */
const UNFIT = /[^\P{Cc}\t\n\r]|\p{Cs}|[\ufffe\uffff]/gu;

/** Fonts that the page's own style gives: a picture stands alone. */
const GIVEN = ["--ui", "--mono"];

/**
 * Draws `part`, which is `root` or in it, `scale` pixels for each of the page's. `pictureOf` gives what a canvas shows
 * where reading it would not tell.
 */
export async function snapshot(
  root: HTMLElement,
  part: HTMLElement,
  scale: number,
  pictureOf: (canvas: HTMLCanvasElement) => HTMLCanvasElement | null,
): Promise<HTMLCanvasElement> {
  const { width, height } = part.getBoundingClientRect();
  const copy = part.cloneNode(true) as HTMLElement;
  freeze(part, copy, pictureOf);
  const frame = part === root ? copy : (root.cloneNode(false) as HTMLElement);
  if (frame !== copy) frame.append(copy);
  for (const name of GIVEN) frame.style.setProperty(name, getComputedStyle(root).getPropertyValue(name));
  for (const name of ["popover", "tabindex", "id"]) frame.removeAttribute(name);
  frame.classList.remove("filling", "full");
  Object.assign(frame.style, { width: `${width}px`, height: `${height}px`, margin: "0", resize: "none" });
  if (frame !== copy) Object.assign(frame.style, { border: "0", borderRadius: "0" });

  const canvas = document.createElement("canvas");
  canvas.width = Math.round(scale * width);
  canvas.height = Math.round(scale * height);
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(wrap(frame, sheetOf(root), width, height, scale))}`;
  await image.decode();
  canvas.getContext("2d")?.drawImage(image, 0, 0);
  return canvas;
}

function wrap(frame: HTMLElement, css: string, width: number, height: number, scale: number): string {
  const style = document.createElementNS(XHTML, "style");
  style.textContent = css;
  const outer = document.createElementNS(SVG, "svg");
  const inner = document.createElementNS(SVG, "foreignObject");
  for (const [element, by] of [
    [outer, scale],
    [inner, 1],
  ] as const) {
    element.setAttribute("width", String(Math.round(by * width)));
    element.setAttribute("height", String(Math.round(by * height)));
  }
  outer.setAttribute("viewBox", `0 0 ${width} ${height}`);
  inner.append(style, frame);
  outer.append(inner);
  return new XMLSerializer().serializeToString(outer).replace(UNFIT, "\ufffd");
}

const found = new WeakMap<HTMLElement, string>();

/** The view's own style sheet, wherever the host has put it: beside the view, or for the whole page. */
function sheetOf(root: HTMLElement): string {
  const known = found.get(root);
  if (known !== undefined) return known;
  for (const place of new Set([root.getRootNode() as Document | ShadowRoot, document]))
    for (const sheet of [...place.styleSheets, ...place.adoptedStyleSheets]) {
      const rules = rulesOf(sheet);
      if (!rules.includes(".axon-widget {")) continue;
      found.set(root, rules);
      return rules;
    }
  return "";
}

function rulesOf(sheet: CSSStyleSheet): string {
  try {
    return [...sheet.cssRules].map((rule) => rule.cssText).join("\n");
  } catch {
    return ""; // of another host, whose rules nobody may read
  }
}

/** Gives the copies what only the live elements know: what is typed, drawn and scrolled to. */
function freeze(
  part: HTMLElement,
  copy: HTMLElement,
  pictureOf: (canvas: HTMLCanvasElement) => HTMLCanvasElement | null,
): void {
  const live = [part, ...part.querySelectorAll<HTMLElement>("*")];
  const dead = [copy, ...copy.querySelectorAll<HTMLElement>("*")];
  live.forEach((one, place) => {
    const other = dead[place];
    if (!other) return;
    if (one instanceof HTMLCanvasElement) {
      const { width, height } = one.getBoundingClientRect();
      const image = document.createElement("img");
      image.src = (pictureOf(one) ?? one).toDataURL();
      image.className = one.className;
      Object.assign(image.style, { display: "block", width: `${width}px`, height: `${height}px` });
      other.replaceWith(image);
    } else if (one instanceof HTMLTextAreaElement) {
      other.textContent = one.value;
    } else if (one instanceof HTMLInputElement) {
      other.setAttribute("value", one.value);
      other.toggleAttribute("checked", one.checked);
    } else if (one instanceof HTMLOptionElement) {
      other.toggleAttribute("selected", one.selected);
    } else if (one.scrollTop || one.scrollLeft) {
      for (const child of other.children)
        (child as HTMLElement).style.translate = `${-one.scrollLeft}px ${-one.scrollTop}px`;
    }
  });
}
