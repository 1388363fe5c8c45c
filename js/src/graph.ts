/** The place of the 3D graph: makes the scene only once it can be seen, and says so when it cannot be drawn. */
import { el, oneLine, short, write } from "./dom";
import type { Key } from "./frame";
import type { Body } from "./layout";
import { readStatus } from "./prompt";
import { GraphScene } from "./scene";
import type { NodeState, Store } from "./store";
import type { Theme } from "./theme";
import type { Tip } from "./tip";
import type { Link } from "./wire";

/** A handle for browser tests, on the graph's element as `element.axon`; not for anything else. */
export interface TestHandle {
  /** Shown nodes with their place in the window. */
  nodes(): { id: number; layer: number; x: number; y: number; activation: number }[];
  /** Frames drawn so far. */
  drawn(): number;
}

export class GraphPanel {
  readonly element = el("div", { class: "graph", axon: "graph" });
  #holder = el("div", { class: "holder" });
  #note = el("div", { class: "empty" });
  #again = el("button", { class: "button", axon: "redraw", text: "Draw again", attrs: { type: "button" } });
  #store: Store;
  #link: Link;
  #tip: Tip;
  #theme: Theme = "dark";
  #scene: GraphScene | null = null;
  #trouble = "";
  /** Drawing again may help where a surface was lost, not where there never was one. */
  #lostOnce = false;
  #size = { width: 0, height: 0 };
  #near = false;
  #run = -1;
  #bodies = new Map<Key, Body>();
  #resizes: ResizeObserver;
  #sights: IntersectionObserver;
  #seen = () => this.#look();

  constructor(link: Link, store: Store, tip: Tip) {
    this.#link = link;
    this.#store = store;
    this.#tip = tip;
    this.#run = store.run;
    this.element.append(this.#holder, this.#note);
    this.#again.addEventListener("click", () => this.#renew());
    const handle: TestHandle = {
      nodes: () => this.#scene?.nodes() ?? [],
      drawn: () => this.#scene?.drawn ?? 0,
    };
    Object.assign(this.element, { axon: handle });
    this.#resizes = new ResizeObserver(([entry]) => {
      const width = Math.floor(entry?.contentRect.width ?? 0);
      const height = Math.floor(entry?.contentRect.height ?? 0);
      // Hidden tabs and detached outputs report nothing: keep the last real size.
      if (width < 2 || height < 2) return;
      this.#size = { width, height };
      if (this.#scene) this.#scene.resize(width, height);
      else this.#look();
    });
    this.#resizes.observe(this.element);
    this.#sights = new IntersectionObserver(([entry]) => {
      this.#near = entry?.isIntersecting ?? false;
      this.#look();
    });
    this.#sights.observe(this.element);
    document.addEventListener("visibilitychange", this.#seen);
  }

  theme(theme: Theme): void {
    this.#theme = theme;
    this.#scene?.theme(theme);
  }

  fit(): void {
    this.#scene?.fit();
  }

  update(): void {
    if (this.#store.run !== this.#run) {
      this.#run = this.#store.run;
      this.#bodies.clear();
      this.#scene?.restart();
    }
    this.#scene?.show(this.#store.moment(), this.#store.selectedKey);
    this.#say();
  }

  #say(): void {
    const { word, sentence } = readStatus(this.#link.trait("status"));
    const empty = this.#store.moment().nodes.size === 0;
    let note = this.#trouble;
    if (!note && empty) {
      if (word === "loading") note = sentence ? `Loading ${sentence}` : "Loading the model…";
      else if (word === "running") note = "Reading the prompt…";
      else if (word === "failed") note = "Nothing is loaded.";
      else note = "Press Generate: every feature that fires appears here.";
    }
    this.#note.hidden = note === "";
    this.#note.classList.toggle("trouble", this.#trouble !== "");
    this.element.classList.toggle("undrawn", this.#trouble !== "");
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
    try {
      this.#scene = new GraphScene({
        holder: this.#holder,
        theme: this.#theme,
        bodies: this.#bodies,
        onPick: (node) => {
          this.#tip.hide();
          this.#link.select(node?.id ?? null, node?.layer);
        },
        onHover: (node, x, y) => this.#hover(node, x, y),
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
    this.#scene.show(this.#store.moment(), this.#store.selectedKey);
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

  #hover(node: NodeState | null, x: number, y: number): void {
    if (!node) {
      this.#tip.hide();
      return;
    }
    const frame = this.#store.frame();
    const now = this.#store.activation(frame, node.key);
    this.#tip.show(
      x,
      y,
      el("div", {
        class: "tip-title",
        text: oneLine(node.label) || `feature ${node.id}`,
        attrs: { dir: "auto" },
      }),
      el("div", {
        class: "tip-line quiet",
        text: `${now > 0 ? `activation ${short(now)}` : "quiet on this token"} · peak ${short(node.peak)} · id ${node.id}`,
      }),
    );
  }

  #drop(): void {
    this.#scene?.dispose();
    this.#scene = null;
  }

  dispose(): void {
    this.#resizes.disconnect();
    this.#sights.disconnect();
    document.removeEventListener("visibilitychange", this.#seen);
    this.#drop();
  }
}
