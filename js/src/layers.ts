/** How strongly each layer's features fire on each token: one cell a token and layer, deep layers on top. */
import { el, layerTag, modified, oneLine, short, showToken } from "./dom";
import type { Fit, Frame } from "./frame";
import type { Panel } from "./prompt";
import { radios } from "./radios";
import type { Store } from "./store";
import type { Theme } from "./theme";
import type { Tip } from "./tip";

type Measure = "peak" | "top5";

const COLOURS: Record<Theme, { cell: string; none: string; mark: string }> = {
  dark: { cell: "255, 199, 94", none: "#161c25", mark: "#e7ebf1" },
  light: { cell: "190, 84, 0", none: "#efefec", mark: "#1b2430" },
};
/** A name of a row needs this much height. */
const NAME = 13;
const WIDEST = 16;

export interface Layers extends Panel {
  theme(theme: Theme): void;
}

export function layersPanel(store: Store, tip: Tip): Layers {
  let measure: Measure = "peak";
  let theme: Theme = "dark";
  const measures = radios<Measure>(
    "layers-measure",
    "What the cells show",
    [
      ["peak", "peak", "the strongest activation of the layer on the token"],
      ["top5", "top 5", "the sum of the layer's five strongest activations on the token"],
    ],
    (chosen) => {
      measure = chosen;
      update();
    },
  );
  const names = el("div", { class: "layer-names", attrs: { "aria-hidden": "true" } });
  const canvas = el("canvas", {
    axon: "layers",
    attrs: { role: "img", tabindex: "0", "aria-label": "Layer profile" },
  });
  const holder = el("div", { class: "layer-cells" }, canvas);
  const element = el(
    "div",
    { class: "layers" },
    el("div", { class: "layers-head" }, el("span", { class: "term", text: "Layers" }), measures.element),
    names,
    holder,
  );
  element.hidden = true;
  let frames: Frame[] = [];
  let column = WIDEST;
  let drawn = "";

  const rowHeight = () => Math.max(6, Math.min(13, Math.round(78 / Math.max(store.saes.length, 1))));

  const update = () => {
    const count = store.saes.length;
    element.hidden = count < 2;
    if (element.hidden) return;
    measures.show(measure);
    frames = store.tokens();
    name();
    const at = store.frame();
    const state = [
      ...[store.run, frames.length, at?.step, measure, theme, holder.clientWidth, count, devicePixelRatio],
      store.selected?.sae,
    ].join();
    if (state === drawn) return;
    drawn = state;
    paint(count, at);
    canvas.setAttribute("aria-label", words(at));
  };

  /** As many names as there is room for, the first and the last always. */
  const name = () => {
    const high = rowHeight();
    const count = store.saes.length;
    const every = Math.ceil(NAME / high);
    const state = `${high} ${store.saes.map(({ title }) => title).join()} ${store.selected?.sae}`;
    if (names.dataset.state === state) return;
    names.dataset.state = state;
    names.style.height = `${high * count}px`;
    names.replaceChildren(
      ...store.saes.flatMap(({ title }, sae) => {
        const chosen = sae === store.selected?.sae;
        if (!chosen && sae % every !== 0) return [];
        const one = el("span", { text: layerTag(title), title });
        if (chosen) one.className = "chosen";
        one.style.top = `${high * (count - 1 - sae) + high / 2}px`;
        return [one];
      }),
    );
  };

  const amount = (fit: Fit | undefined): number | null => fit?.[measure] ?? null;

  const paint = (count: number, at: Frame | null) => {
    const wide = Math.max(holder.clientWidth, 1);
    const high = rowHeight();
    const ratio = Math.min(2, devicePixelRatio || 1);
    column = Math.min(WIDEST, wide / Math.max(frames.length, 1));
    canvas.width = Math.round(wide * ratio);
    canvas.height = Math.round(count * high * ratio);
    canvas.style.height = `${count * high}px`;
    const context = canvas.getContext("2d");
    if (!context) return;
    context.scale(ratio, ratio);
    const { cell, none, mark } = COLOURS[theme];
    const gap = column >= 5 ? 1 : 0;
    for (let sae = 0; sae < count; sae++) {
      const values = frames.map((frame) => amount(frame.fits[sae]));
      const most = Math.max(...values.map((value) => value ?? 0), 1e-9);
      const top = high * (count - 1 - sae);
      values.forEach((value, i) => {
        const share = Math.max(value ?? 0, 0) / most;
        const faded = store.cursor !== null && (frames[i]?.step ?? 0) > (at?.step ?? 0) ? 0.35 : 1;
        context.fillStyle = none;
        context.fillRect(i * column, top, Math.max(column - gap, 0.5), high - 1);
        if (value === null || share <= 0) return;
        context.fillStyle = `rgba(${cell}, ${((0.08 + 0.87 * share) * faded).toFixed(3)})`;
        context.fillRect(i * column, top, Math.max(column - gap, 0.5), high - 1);
      });
    }
    const place = at ? frames.indexOf(at) : -1;
    if (place < 0) return;
    context.strokeStyle = mark;
    context.lineWidth = 1;
    context.strokeRect(place * column - 0.5, 0.5, Math.max(column - gap, 2) + 1, count * high - 2);
  };

  const words = (at: Frame | null): string => {
    const what = measure === "peak" ? "peak activation" : "sum of the five strongest activations";
    const numbers = store.saes.map(({ title }, sae) => {
      const value = amount(at?.fits[sae]);
      return `${title}: ${value === null ? "none" : short(value)}`;
    });
    const on = at ? ` on “${showToken(at.token)}”: ${numbers.join(", ")}` : "";
    return `Layer profile, ${what} by layer and token${on}. Left and right arrow look at any token.`;
  };

  const frameAt = (event: MouseEvent): Frame | undefined => {
    const box = canvas.getBoundingClientRect();
    const x = ((event.clientX - box.left) * canvas.clientWidth) / (box.width || 1);
    return frames[Math.floor(x / column)];
  };
  canvas.addEventListener("click", (event) => {
    const frame = frameAt(event);
    if (frame) store.look(frame.step);
  });
  canvas.addEventListener("pointermove", (event) => {
    const frame = frameAt(event);
    if (!frame) return tip.hide();
    const box = canvas.getBoundingClientRect();
    const over = store.saes.length - 1 - Math.floor((event.clientY - box.top) / rowHeight());
    tip.show(event.clientX, box.top - 4, ...tellColumn(frame, over));
  });
  canvas.addEventListener("pointerleave", () => tip.hide());
  canvas.addEventListener("keydown", (event) => {
    const by = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
    if (!by || modified(event)) return;
    event.preventDefault();
    event.stopPropagation();
    store.move(by);
  });

  const tellColumn = (frame: Frame, over: number): Node[] => {
    const table = el("div", { class: "fits many two" });
    const cell = (text: string, of = "") => table.append(el("span", { class: of, text }));
    cell("");
    cell("peak", "term");
    cell("top 5", "term");
    for (let sae = store.saes.length - 1; sae >= 0; sae--) {
      const fit = frame.fits[sae];
      const of = sae === over ? "over" : "";
      cell(oneLine(store.layerTitle(sae), 20), `term ${of}`);
      cell(fit?.peak == null ? "–" : short(fit.peak), of);
      cell(fit?.top5 == null ? "–" : short(fit.top5), of);
    }
    return [
      el(
        "div",
        { class: "tip-head" },
        el("b", { class: "mono", text: showToken(frame.token) }),
        el("span", { text: `position ${frame.position}` }),
      ),
      table,
    ];
  };

  const sizes = new ResizeObserver(() => update());
  sizes.observe(holder);
  return {
    element,
    update,
    theme(next) {
      theme = next;
      update();
    },
    dispose: () => sizes.disconnect(),
  };
}
