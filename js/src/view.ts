/** One view: the panels, put together and kept up to date at the pace of the screen. */
import { controlsPanel } from "./controls";
import { el } from "./dom";
import { GraphPanel } from "./graph";
import { inspectorPanel } from "./inspector";
import { legendPanel } from "./legend";
import { Player } from "./player";
import { promptPanel } from "./prompt";
import { statusPanel } from "./status";
import type { Change, Store } from "./store";
import { watchTheme } from "./theme";
import { Tip } from "./tip";
import { tokensPanel } from "./tokens";
import type { Link } from "./wire";

/** Text follows every screen frame; the graph's structure need not change more often than this. */
const GRAPH_INTERVAL = 80;

export function mount(link: Link, store: Store, host: HTMLElement, live: boolean): () => void {
  const root = el("div", { class: "axon-widget", attrs: { "data-lm-suppress-shortcuts": "true" } });
  if (!live) root.classList.add("saved-run");
  const tip = new Tip(root);
  const player = new Player(store);
  const graph = new GraphPanel(link, store, tip);
  const status = statusPanel(link);
  const panels = {
    prompt: promptPanel(link, store, live, { fit: () => graph.fit() }),
    controls: controlsPanel(link, live),
    inspector: inspectorPanel(link, store),
    tokens: tokensPanel(store, player, tip),
  };
  root.append(
    panels.prompt.element,
    status.element,
    el(
      "div",
      { class: "middle" },
      panels.controls.element,
      el("div", { class: "stage" }, graph.element, legendPanel()),
      panels.inspector.element,
    ),
    panels.tokens.element,
    tip.element,
  );
  host.append(root);

  const offTheme = watchTheme((theme) => {
    root.dataset.theme = theme;
    graph.theme(theme);
  });

  // A container query cannot restyle the container itself.
  const widths = new ResizeObserver(([entry]) => {
    const width = entry?.contentRect.width ?? 0;
    if (width > 0) root.classList.toggle("narrow", width <= 640);
  });
  widths.observe(root);

  let frame = 0;
  let later: ReturnType<typeof setTimeout> | undefined;
  let drawn = 0;
  const draw = () => {
    frame = 0;
    for (const panel of Object.values(panels)) panel.update();
    const wait = GRAPH_INTERVAL - (performance.now() - drawn);
    if (wait <= 0) drawGraph();
    else later ??= setTimeout(drawGraph, wait);
  };
  const drawGraph = () => {
    clearTimeout(later);
    later = undefined;
    drawn = performance.now();
    graph.update();
  };
  const schedule = (change?: Change) => {
    if (change === "run" || change === "select") drawn = 0;
    frame ||= requestAnimationFrame(draw);
  };
  const offStore = store.subscribe(schedule);
  const offTraits = link.onTraits(["status", "info"], () => schedule());
  // The whole of what is known is there at once, also in a second view or after a reload.
  for (const panel of Object.values(panels)) panel.update();
  drawGraph();

  return () => {
    cancelAnimationFrame(frame);
    clearTimeout(later);
    offStore();
    offTraits();
    offTheme();
    widths.disconnect();
    player.dispose();
    status.dispose?.();
    for (const panel of Object.values(panels)) panel.dispose?.();
    graph.dispose();
    root.remove();
  };
}
