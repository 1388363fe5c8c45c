/** The place of the 3D graph: makes the scene only once it can be seen, and says so when it cannot be drawn. */
import { el, write } from "./dom";
import type { Key } from "./frame";
import { graphBar } from "./graph-bar";
import { edgeTip, nodeTip } from "./graph-tip";
import type { Body, Box } from "./layout";
import { legendPanel } from "./legend";
import { lookOf } from "./look";
import { GraphScene, type Target } from "./scene";
import type { SeenEdge, SeenNode } from "./scene-seen";
import type { Store } from "./store";
import type { Theme } from "./theme";
import type { Tip } from "./tip";
import type { Link } from "./wire";

/** A handle for browser tests, on the graph's element as `element.axon`; not for anything else. */
export interface TestHandle {
  /** Shown nodes with their place in the window. */
  nodes(): SeenNode[];
  /** Drawn edges with both ends' places in the window. */
  edges(): SeenEdge[];
  /** The names that stand beside nodes. */
  names(): [key: Key, text: string][];
  /** Where these stand on the canvas. */
  nameBoxes(): Box[];
  /** Nodes with the ring of those that are selected. */
  rings(): Key[];
  /** Frames drawn so far. */
  drawn(): number;
  picture(scale: number): HTMLCanvasElement | null;
}

export class GraphPanel {
  readonly element = el("div", { class: "stage" });
  #graph = el("div", { class: "graph", axon: "graph" });
  #holder = el("div", { class: "holder" });
  #note = el("div", { class: "empty" });
  #again = el("button", { class: "button", axon: "redraw", text: "Draw again", attrs: { type: "button" } });
  #store: Store;
  #link: Link;
  #tip: Tip;
  #live: boolean;
  #bar: ReturnType<typeof graphBar>;
  #legend = legendPanel();
  /** What the pointer is on, and where it is. */
  #over: (Target & { x: number; y: number }) | null = null;
  #theme: Theme = "dark";
  #scene: GraphScene | null = null;
  #trouble = "";
  /** Why the map that was asked for is not shown. */
  #unmapped = "";
  /** Drawing again may help where a surface was lost, not where there never was one. */
  #lostOnce = false;
  #size = { width: 0, height: 0 };
  #near = false;
  #gone = false;
  #run = -1;
  #bodies = new Map<Key, Body>();
  #resizes: ResizeObserver;
  #sights: IntersectionObserver;
  #seen = () => this.#look();

  constructor(link: Link, store: Store, tip: Tip, live: boolean) {
    this.#link = link;
    this.#store = store;
    this.#tip = tip;
    this.#live = live;
    this.#bar = graphBar(store, live);
    this.#run = store.tree;
    this.element.append(this.#bar.element, this.#graph, this.#legend.element);
    this.#graph.append(this.#holder, this.#note);
    this.#again.addEventListener("click", () => this.#renew());
    const handle: TestHandle = {
      nodes: () => this.#scene?.nodes() ?? [],
      edges: () => this.#scene?.edges() ?? [],
      names: () => this.#scene?.names() ?? [],
      nameBoxes: () => this.#scene?.nameBoxes() ?? [],
      rings: () => this.#scene?.rings() ?? [],
      drawn: () => this.#scene?.drawn ?? 0,
      picture: (scale) => this.picture(scale),
    };
    Object.assign(this.#graph, { axon: handle });
    this.#resizes = new ResizeObserver(([entry]) => {
      const width = Math.floor(entry?.contentRect.width ?? 0);
      const height = Math.floor(entry?.contentRect.height ?? 0);
      // Hidden tabs and detached outputs report nothing: keep the last real size.
      if (width < 2 || height < 2) return;
      this.#size = { width, height };
      if (this.#scene) this.#scene.resize(width, height);
      else this.#look();
    });
    this.#resizes.observe(this.#graph);
    this.#sights = new IntersectionObserver(([entry]) => {
      this.#near = entry?.isIntersecting ?? false;
      this.#look();
    });
    this.#sights.observe(this.#graph);
    document.addEventListener("visibilitychange", this.#seen);
  }

  theme(theme: Theme): void {
    this.#theme = theme;
    this.#scene?.theme(theme);
    this.#show();
  }

  fit(): void {
    this.#scene?.fit();
  }

  /** The graph on a canvas of its own, `scale` pixels for each of the page's; null where it cannot be drawn. */
  picture(scale: number): HTMLCanvasElement | null {
    if (!this.#scene && !this.#trouble && this.#size.width > 0) this.#create();
    return this.#scene?.picture(scale) ?? null;
  }

  focus(): void {
    this.#scene?.canvas.focus({ preventScroll: true });
  }

  update(): void {
    if (this.#store.tree !== this.#run) {
      this.#run = this.#store.tree;
      this.#bodies.clear();
      if (this.#over) this.#tip.hide();
      this.#over = null;
      this.#scene?.restart();
    }
    this.#bar.update();
    this.#show();
    if (this.#over) this.#explain();
    this.#say();
  }

  #show(): void {
    const look = lookOf(this.#store, this.#live);
    const moment = this.#store.moment();
    if (this.#live && (look.edges === "similar" || look.layout === "layers")) this.#link.askSimilar();
    if (this.#live && this.#store.settings.layout === "map") this.#link.askPlaces();
    const { selectedKey: inspected, chosen, pinned } = this.#store;
    this.#scene?.show(moment, look, { inspected, chosen, pinned });
    const nodes = [...moment.nodes.values()];
    this.#unmapped = look.unmapped;
    this.#legend.update(look, this.#theme, {
      steered: nodes.some((node) => node.steered !== null),
      dense: look.dense && nodes.some((node) => node.dense),
    });
  }

  #say(): void {
    const { word, sentence } = this.#link.status();
    const empty = this.#store.moment().nodes.size === 0;
    let note = this.#trouble || (empty ? "" : this.#unmapped);
    if (!note && empty) {
      if (word === "loading") note = sentence ? `Loading ${sentence}` : "Loading the model…";
      else if (word === "running") note = "Reading the prompt…";
      else if (word === "failed") note = "Nothing is loaded: try again, or choose another model above.";
      else if (word === "closed") note = "This widget is closed.";
      else note = "Press Generate: every feature that fires appears here.";
    }
    this.#note.hidden = note === "";
    this.#note.classList.toggle("trouble", this.#trouble !== "");
    this.#note.classList.toggle("aside", !empty && this.#trouble === "");
    this.#graph.classList.toggle("undrawn", this.#trouble !== "");
    if (this.#note.firstChild?.textContent !== note) {
      const line = el("p");
      write(line, note);
      this.#note.replaceChildren(line, ...(this.#lostOnce ? [this.#again] : []));
    }
  }

  #look(): void {
    const visible = this.#near && document.visibilityState === "visible" && this.#size.width > 0;
    if (visible && !this.#scene && !this.#trouble) this.#create();
    this.#scene?.visible(visible);
  }

  #create(): void {
    if (this.#gone) return;
    try {
      this.#scene = new GraphScene({
        holder: this.#holder,
        theme: this.#theme,
        bodies: this.#bodies,
        labelOf: (key) => this.#store.label(key),
        onPick: (node, more) => {
          this.#tip.hide();
          this.#over = null;
          if (!more) this.#link.select(node?.id ?? null, node?.sae);
          else if (node) this.#link.toggle(node.key);
        },
        onHover: (target, x, y) => this.#hover(target, x, y),
        onLost: () => this.#lost(),
      });
    } catch (error) {
      console.warn("axon-widget: no WebGL", error);
      this.#holder.replaceChildren();
      this.#trouble = "This browser offers no WebGL, so the graph cannot be drawn. Everything else works.";
      this.#say();
      return;
    }
    this.#scene.resize(this.#size.width, this.#size.height);
    this.#show();
    this.#say();
  }

  #lost(): void {
    this.#drop();
    this.#lostOnce = true;
    this.#trouble = "The browser took the drawing surface away: too many 3D views are open on this page.";
    this.#say();
  }

  #renew(): void {
    this.#drop();
    this.#lostOnce = false;
    this.#trouble = "";
    this.#look();
    this.#say();
  }

  #hover(target: Target, x: number, y: number): void {
    const { node, edge } = target;
    // Where no kernel answers, what the frames hold is all there is.
    if (edge && this.#live) this.#link.askEdge(edge.a, edge.b);
    if (!node && !edge) {
      if (this.#over) this.#tip.hide();
      this.#over = null;
      return;
    }
    this.#over = { ...target, x, y };
    this.#explain();
  }

  /** Says what the pointer is on; again when more is known of it. */
  #explain(): void {
    if (!this.#over) return;
    const { node, edge, x, y } = this.#over;
    const { nodes, edges } = this.#store.moment();
    if (node) this.#tip.show(x, y, ...nodeTip(this.#store, nodes.get(node.key) ?? node));
    else if (edge) this.#tip.show(x, y, ...edgeTip(this.#store, { ...edge, ...edges.get(edge.key) }));
  }

  #drop(): void {
    if (this.#over) this.#tip.hide();
    this.#over = null;
    this.#scene?.dispose();
    this.#scene = null;
  }

  dispose(): void {
    this.#gone = true;
    this.#resizes.disconnect();
    this.#sights.disconnect();
    document.removeEventListener("visibilitychange", this.#seen);
    this.#drop();
  }
}
