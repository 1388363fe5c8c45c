/** A feature's activation over the whole run that is looked at, as bars: to read, and to go to any token. */
import { el, modified, short, showToken, write } from "./dom";
import type { Frame, Key } from "./frame";
import type { Panel } from "./prompt";
import type { Store } from "./store";

/** More bars than that are no bars any more: then each is the strongest of several tokens. */
const MOST_BARS = 280;
const HIGH = 36;
const STEPS: Record<string, number> = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10 };

export function spark(store: Store, keyOf: () => Key | null): Panel {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  const path = (name: string) => {
    const made = document.createElementNS(space, "path");
    made.setAttribute("class", name);
    svg.append(made);
    return made;
  };
  const [bars, here] = [path("bars"), path("here")];
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  const chart = el("div", {
    class: "spark-chart",
    axon: "spark",
    attrs: { role: "slider", tabindex: "0", "aria-label": "Activation over the run", "aria-valuemin": "0" },
  });
  chart.append(svg);
  const told = el("span", { axon: "spark-told" });
  const count = el("span", { class: "quiet" });
  const element = el("div", { class: "spark" }, chart, el("div", { class: "spark-line" }, told, count));

  let tokens: Frame[] = [];
  let values: number[] = [];
  /** The place of the token under the pointer. */
  let over: number | null = null;
  const looked = () => {
    const at = store.frame()?.step;
    return tokens.findIndex(({ step }) => step === at);
  };

  const draw = () => {
    const columns = Math.min(tokens.length, MOST_BARS);
    const most = Math.max(...values, 1e-9);
    const columnOf = (place: number) => Math.floor((place * columns) / tokens.length);
    const highest = new Array<number>(columns).fill(0);
    values.forEach((value, place) => {
      const column = columnOf(place);
      highest[column] = Math.max(highest[column] ?? 0, value);
    });
    const bar = (column: number, least = 0) => {
      const value = highest[column] ?? 0;
      const high = Math.max(value > 0 ? Math.max((value / most) * HIGH, 1.5) : 0, least);
      return high ? `M${column + 0.1} ${HIGH}v${-high.toFixed(2)}h.8V${HIGH}z` : "";
    };
    set(svg, "viewBox", `0 0 ${Math.max(columns, 24)} ${HIGH}`);
    set(bars, "d", highest.map((_, column) => bar(column)).join(""));
    const at = over ?? looked();
    set(here, "d", at < 0 ? "" : bar(columnOf(at), 2));
  };

  const tell = () => {
    const at = looked();
    const place = over ?? at;
    const frame = tokens[place];
    const value = values[place] ?? 0;
    const words = frame ? `“${showToken(frame.token)}” ${value > 0 ? short(value) : "quiet"}` : "";
    write(told, words);
    set(chart, "aria-valuemax", String(Math.max(tokens.length - 1, 0)));
    set(chart, "aria-valuenow", String(Math.max(at, 0)));
    set(chart, "aria-valuetext", words);
    const fired = values.filter((value) => value > 0).length;
    write(count, `fires on ${fired} of ${tokens.length} tokens`);
  };

  const placeOf = (event: PointerEvent | MouseEvent): number | null => {
    const box = chart.getBoundingClientRect();
    const columns = Math.max(Math.min(tokens.length, MOST_BARS), 24);
    const column = Math.floor(((event.clientX - box.left) / box.width) * columns);
    const tokensInColumn = tokens.length / Math.min(tokens.length, MOST_BARS);
    const first = Math.ceil(column * tokensInColumn);
    // Of several tokens in one bar it is the strongest that can be seen.
    let best: number | null = null;
    for (let place = first; place < Math.min((column + 1) * tokensInColumn, tokens.length); place++)
      if (best === null || (values[place] ?? 0) > (values[best] ?? 0)) best = place;
    return best;
  };
  const hover = (place: number | null) => {
    if (place === over) return;
    over = place;
    draw();
    tell();
  };
  chart.addEventListener("pointermove", (event) => hover(placeOf(event)));
  chart.addEventListener("pointerleave", () => hover(null));
  chart.addEventListener("click", (event) => {
    const frame = tokens[placeOf(event) ?? -1];
    if (frame) store.look(frame.step);
  });
  chart.addEventListener("keydown", (event) => {
    const step = STEPS[event.key];
    const edge = event.key === "Home" ? 0 : event.key === "End" ? tokens.length - 1 : null;
    if ((step === undefined && edge === null) || modified(event)) return;
    event.preventDefault();
    event.stopPropagation();
    const to = tokens[edge ?? Math.min(Math.max(looked() + (step ?? 0), 0), tokens.length - 1)];
    if (to) store.look(to.step);
  });

  return {
    element,
    update() {
      const key = keyOf();
      tokens = key === null ? [] : store.tokens();
      values = tokens.map((frame) => store.activation(frame, key ?? ""));
      if (over !== null && over >= tokens.length) over = null;
      element.hidden = !values.some((value) => value > 0);
      if (element.hidden) return;
      draw();
      tell();
    },
  };
}

function set(element: Element, name: string, value: string): void {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}
