/** One view: the panels, put together and kept up to date at the pace of the screen. */
import { actPanel } from "./act";
import { controlsPanel } from "./controls";
import { el } from "./dom";
import { edges } from "./edges";
import { keepFocus } from "./focus";
import { fullScreen } from "./full-screen";
import { GraphPanel } from "./graph";
import { keyHelp, watchKeys } from "./keys";
import { layersPanel } from "./layers";
import { pane } from "./pane";
import { Player } from "./player";
import { type Panel, promptPanel } from "./prompt";
import { saveMenu } from "./save";
import { sidePanel } from "./side";
import { statusPanel } from "./status";
import { steeringPanel } from "./steering";
import type { Change, Store } from "./store";
import { watchTheme } from "./theme";
import { Tip } from "./tip";
import { tokensPanel } from "./tokens";
import type { Link } from "./wire";

/** Text follows every screen frame; the graph's structure need not change more often than this. */
const GRAPH_INTERVAL = 80;

/** What a hand has just asked for is drawn at once. */
const PROMPT: Change[] = ["run", "track", "select", "settings"];

export function mount(link: Link, store: Store, host: HTMLElement, live: boolean): () => void {
  const root = el("div", {
    class: "axon-widget",
    attrs: { "data-lm-suppress-shortcuts": "true", tabindex: "-1" },
  });
  if (!live) root.classList.add("saved-run");
  const tip = new Tip(root);
  const player = new Player(store, () => link.status().word === "running");
  const graph = new GraphPanel(link, store, tip, live);
  const side = sidePanel(link, store, live);
  const controls = controlsPanel(link, live);
  const layers = layersPanel(store, tip);
  const help = keyHelp();
  const full = fullScreen(root, () => graph.fit());
  const save = saveMenu(link, store, player, graph, root, live);
  const prompt = promptPanel(link, live, {
    fit: () => graph.fit(),
    tools: [save.button, help.button, full.button],
    menus: [save.element],
  });
  const status = statusPanel(link, store, live);
  const tokens = tokensPanel(link, store, player, tip, live);
  const panels: Panel[] = [prompt, status, controls, side, tokens, layers];
  const left = el("div", { class: "left" }, controls.element);
  const text: Node[] = [tokens.element];
  if (live) {
    const steering = steeringPanel(link, store);
    const act = actPanel(link, store, () => {
      aside.open();
      side.why();
    });
    left.append(steering.element);
    text.push(act.element);
    panels.push(steering, act);
  }
  const settings = pane("settings", "Settings", "left", left);
  const aside = pane("side", "Features", "right", side.element);
  const strip = pane("text", "Tokens", "bottom", ...text);
  const profile = pane("layers", "Layers", "bottom", layers.element);
  const footer = el("footer", { class: "tokens" }, strip.element, profile.element);
  const middle = el("div", { class: "middle" }, settings.element, graph.element, aside.element);
  root.append(prompt.element, status.element, middle, footer, tip.element, help.dialog);
  edges(root, aside.element, strip.element);
  host.append(root);

  watchKeys(root, {
    "?": () => help.show(),
    "/": () => {
      aside.open();
      side.search();
    },
    g: () => graph.focus(),
    f: () => full.button.click(),
    p: () => store.selectedKey !== null && link.pin(store.selectedKey, !store.pinned.has(store.selectedKey)),
    Escape: () => {
      if (save.leave()) return true;
      if (store.chosen.size) link.close();
      else if (store.cursor !== null) store.look(null);
      else return full.leave();
      return true;
    },
  });
  const offFocus = keepFocus(root);

  const offTheme = watchTheme((theme) => {
    root.dataset.theme = theme;
    graph.theme(theme);
    layers.theme(theme);
  });

  // A container query cannot restyle the container itself.
  const widths = new ResizeObserver(([entry]) => {
    const width = entry?.contentRect.width ?? 0;
    if (width > 0) root.classList.toggle("narrow", width <= 640);
  });
  widths.observe(root);

  // Whatever panel is open: the strip is lit by what is selected, too.
  const update = () => {
    const { pinned, selectedKey: key } = store;
    link.watch(new Set(key === null ? pinned : [...pinned, key]));
    for (const panel of panels) panel.update();
  };
  let frame = 0;
  let later: ReturnType<typeof setTimeout> | undefined;
  let drawn = 0;
  const draw = () => {
    frame = 0;
    update();
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
    if (change !== undefined && PROMPT.includes(change)) drawn = 0;
    frame ||= requestAnimationFrame(draw);
  };
  const offStore = store.subscribe(schedule);
  const offTraits = link.onTraits(["status", "info"], () => schedule());
  // The whole of what is known is there at once, also in a second view or after a reload.
  update();
  drawGraph();

  return () => {
    cancelAnimationFrame(frame);
    clearTimeout(later);
    offStore();
    offTraits();
    offTheme();
    offFocus();
    full.dispose();
    save.dispose();
    widths.disconnect();
    player.dispose();
    for (const panel of panels) panel.dispose?.();
    graph.dispose();
    root.remove();
  };
}
