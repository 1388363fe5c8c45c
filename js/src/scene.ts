/** The 3D graph: layout, camera and drawing loop. Only the scene files import three. */
import ForceGraph3D, { type ForceGraph3DInstance } from "3d-force-graph";
import { MOUSE, Object3D, type PerspectiveCamera, Vector3 } from "three";
import type { OrbitControls } from "three/examples/jsm/controls/OrbitControls.js";
import { type Key, SIGNIFICANT } from "./frame";
import { type Body, calm, gather } from "./layout";
import { type Bounds, Rig } from "./scene-camera";
import { type Named, Names, nameOf } from "./scene-labels";
import { type Mark, Marks, type Tie } from "./scene-marks";
import { MOST_PIXELS, PALETTES, Painter, rgb } from "./scene-paint";
import { watchPointer } from "./scene-pointer";
import type { Moment, NodeState } from "./store";
import type { Theme } from "./theme";

export interface SceneOptions {
  holder: HTMLElement;
  theme: Theme;
  /** Where nodes were: a scene that replaces another one takes up its shape. */
  bodies: Map<Key, Body>;
  onPick(node: NodeState | null): void;
  onHover(node: NodeState | null, x: number, y: number): void;
  onLost(): void;
}

/** Seconds without a new token or a touch after which the picture comes to rest. */
const AWAKE = 75;

export class GraphScene {
  readonly canvas: HTMLCanvasElement;
  #options: SceneOptions;
  #graph: ForceGraph3DInstance;
  #camera: PerspectiveCamera;
  #controls: OrbitControls;
  #rig: Rig;
  #painter: Painter;
  #names: Names;
  #marks: Marks;
  #structure = "";
  #theme: Theme;
  #size = { width: 1, height: 1 };
  #ratio = Math.min(2, devicePixelRatio || 1);
  #still = matchMedia("(prefers-reduced-motion: reduce)");
  #visible = false;
  /** The layout is not at rest. */
  #moving = false;
  #dirty = true;
  #request = 0;
  #drawn = 0;
  #before = 0;
  #lively = performance.now();
  #touched = Number.NEGATIVE_INFINITY;
  #over = false;
  #gone = new AbortController();

  constructor(options: SceneOptions) {
    this.#options = options;
    this.#theme = options.theme;
    this.#marks = new Marks(options.bodies);
    this.#graph = makeGraph(options.holder);
    this.#graph.onEngineStop(() => {
      this.#moving = false;
    });
    this.canvas = this.#graph.renderer().domElement;
    this.canvas.setAttribute("aria-label", "3D graph of the features that fired");
    this.canvas.setAttribute("role", "img");
    this.#camera = this.#graph.camera() as PerspectiveCamera;
    this.#controls = this.#graph.controls() as OrbitControls;
    this.#controls.enableDamping = true;
    this.#controls.dampingFactor = 0.14;
    this.#controls.mouseButtons = { LEFT: MOUSE.ROTATE, MIDDLE: MOUSE.DOLLY, RIGHT: MOUSE.PAN };
    this.#rig = new Rig(this.#camera, this.#controls);
    this.#painter = new Painter(this.#graph.scene());
    this.#names = new Names(this.#graph.scene(), this.#ratio);
    this.theme(options.theme);
    this.#listen();
  }

  /** Takes the moment to show: who is there, how strongly, tied to whom. */
  show(moment: Moment, selected: Key | null): void {
    if (selected !== this.#marks.selected) {
      if (selected) this.#rig.focus();
      else this.#rig.back();
    }
    this.#marks.show(moment, selected);
    this.#restructure();
    this.#lively = performance.now();
    this.#wake();
  }

  /** Tells the layout, but only when who or what is tied changed: each call heats it up again. */
  #restructure(): void {
    const { structure } = this.#marks;
    if (structure === this.#structure) return;
    this.#structure = structure;
    this.#moving = true;
    this.#graph.graphData({ nodes: this.#marks.here.map((mark) => mark.body), links: this.#marks.links });
  }

  /** A new run: nothing stays, and the camera frames the graph again. */
  restart(): void {
    this.#marks.clear();
    this.#options.bodies.clear();
    this.#rig.restart();
    this.#restructure();
    this.#wake();
  }

  fit(): void {
    this.#rig.fit();
    this.#touched = Number.NEGATIVE_INFINITY;
    this.#lively = performance.now();
    this.#wake();
  }

  theme(theme: Theme): void {
    this.#theme = theme;
    this.#graph.backgroundColor(PALETTES[theme].back);
    this.#painter.palette(PALETTES[theme]);
    this.#names.theme(theme);
    this.#wake();
  }

  resize(width: number, height: number): void {
    this.#size = { width, height };
    this.#graph.width(width).height(height);
    this.#wake();
  }

  /** Draws only while it can be seen. */
  visible(visible: boolean): void {
    this.#visible = visible;
    if (visible) this.#wake();
    else this.#sleep();
  }

  #wake(): void {
    this.#dirty = true;
    if (!this.#visible || this.#request) return;
    this.#before = performance.now();
    this.#request = requestAnimationFrame((now) => this.#tick(now));
  }

  #sleep(): void {
    cancelAnimationFrame(this.#request);
    this.#request = 0;
  }

  #tick(now: number): void {
    this.#request = 0;
    const again = () => {
      if (this.#visible) this.#request = requestAnimationFrame((next) => this.#tick(next));
    };
    // A turn or a breath looks the same at half the rate and leaves the machine to the model.
    if (!this.#moving && !this.#dirty && now - this.#before < 30) {
      again();
      return;
    }
    const dt = Math.min(Math.max((now - this.#before) / 1000, 0), 0.1);
    this.#before = now;
    const awake = now - this.#lively < 1000 * AWAKE && !this.#still.matches;
    const turning = awake && !this.#over && now - this.#touched > 6000;
    // The controls glide on for a moment after the hand let go.
    const gliding = now - this.#touched < 1500;
    const easing = this.#marks.ease(dt, now / 1000, awake);
    const bounds = this.#bounds();
    // Nodes of a wide graph are drawn larger, or they would turn into dust when it is fitted into view.
    const grow = Math.min(Math.max((bounds?.radius ?? 0) / 95, 1), 1.8);
    const body = this.#marks.get(this.#marks.selected)?.body;
    const node = body ? new Vector3(body.x, body.y, body.z) : null;
    const flying = this.#rig.tick(dt, bounds, node, turning);
    this.#camera.lookAt(this.#controls.target);
    this.#camera.updateMatrixWorld();
    const naming = this.#paint(dt, grow);
    this.#dirty = easing || naming || gliding;
    // One frame of the library's own cycle: a layout tick, the controls, the drawing.
    this.#graph.resumeAnimation();
    this.#graph.pauseAnimation();
    this.#drawn += 1;
    const breathing = awake && this.#marks.here.some((mark) => mark.firing);
    if (this.#dirty || this.#moving || flying || turning || breathing) again();
  }

  #bounds(): Bounds | null {
    const { here } = this.#marks;
    if (!here.length) return null;
    // The middle of what is to be seen, which the mean, drawn to where nodes crowd, is not.
    const [x, y, z] = (["x", "y", "z"] as const).map((axis) => {
      const values = here.map(({ body }) => body[axis]).sort((p, q) => p - q);
      return (inner(values, 0.02) + inner(values, 0.98)) / 2;
    });
    const centre = new Vector3(x, y, z);
    const offsets = here.map(({ body }) => new Vector3(body.x, body.y, body.z).sub(centre));
    const far = offsets.map((offset) => offset.length()).sort((p, q) => p - q);
    const needed = offsets
      .map((offset, i) => this.#rig.reach(offset, here[i]?.radius ?? 0))
      .sort((p, q) => p - q);
    // A lone straggler must not push the camera away from all the others.
    return { centre, radius: Math.max(inner(far, 0.98), 30), distance: Math.max(inner(needed, 0.98), 110) };
  }

  #paint(dt: number, grow: number): boolean {
    const { width, height } = this.#size;
    const unit = (2 * Math.tan((this.#camera.fov * Math.PI) / 360)) / height;
    const at = new Vector3();
    let [near, far] = [Number.POSITIVE_INFINITY, 1];
    for (const mark of this.#marks.all) {
      at.set(mark.body.x, mark.body.y, mark.body.z).applyMatrix4(this.#camera.matrixWorldInverse);
      mark.depth = -at.z;
      at.applyMatrix4(this.#camera.projectionMatrix);
      mark.x = ((at.x + 1) * width) / 2;
      mark.y = ((1 - at.y) * height) / 2;
      mark.r = (mark.radius * grow) / (unit * Math.max(mark.depth, 1));
      mark.r = Math.min(Math.max(mark.r, 1), MOST_PIXELS);
      near = Math.min(near, mark.depth);
      far = Math.max(far, mark.depth);
    }
    const { bright, faint, hot } = PALETTES[this.#theme];
    this.#painter.view(width, height, this.#ratio, this.#camera.fov, near, far);
    this.#painter.dots(this.#marks.dots(grow));
    this.#painter.ribbons(this.#marks.ribbons(rgb(bright), rgb(faint), rgb(hot)));
    const named = this.#marks.named(width, height).map((mark) => this.#name(mark, unit));
    return this.#names.tick(dt, named, width, height);
  }

  #name(mark: Mark, unit: number): Named {
    const strong = this.#marks.strong(mark);
    return {
      key: mark.node.key,
      text: nameOf(mark.node.label || `feature ${mark.node.id}`),
      x: mark.x,
      y: mark.y,
      radius: mark.r * (strong ? 1.6 : 1),
      unit: unit * mark.depth,
      place: mark.body,
      strong,
    };
  }

  #listen(): void {
    const { signal } = this.#gone;
    const touch = () => {
      this.#touched = performance.now();
      this.#lively = this.#touched;
      this.#wake();
    };
    const pick = (event: PointerEvent) => {
      const box = this.canvas.getBoundingClientRect();
      return this.#marks.pick(event.clientX - box.left, event.clientY - box.top);
    };
    watchPointer(
      this.canvas,
      {
        touch,
        hover: (event) => {
          const mark = event ? pick(event) : null;
          this.#over = event !== null;
          this.#marks.hovered = mark?.node.key ?? null;
          this.canvas.style.cursor = mark ? "pointer" : "grab";
          this.#options.onHover(mark?.node ?? null, event?.clientX ?? 0, event?.clientY ?? 0);
          this.#wake();
        },
        click: (event) => this.#options.onPick(pick(event)?.node ?? null),
        drag: () => this.#rig.release(),
        engage: (engaged) => {
          this.#controls.enableZoom = engaged;
        },
      },
      signal,
    );
    const lost = (event: Event) => {
      event.preventDefault();
      this.visible(false);
      this.#options.onLost();
    };
    this.canvas.addEventListener("webglcontextlost", lost, { signal });
  }

  /** For tests: where each node is in the window. */
  nodes(): { id: number; layer: number; x: number; y: number; activation: number }[] {
    const box = this.canvas.getBoundingClientRect();
    return this.#marks.here.map(({ node, x, y }) => ({
      id: node.id,
      layer: node.layer,
      x: box.left + x,
      y: box.top + y,
      activation: node.last,
    }));
  }

  get drawn(): number {
    return this.#drawn;
  }

  /** Browsers grant a page some sixteen contexts: this one goes back at once. */
  dispose(): void {
    this.visible(false);
    this.#gone.abort();
    const renderer = this.#graph.renderer();
    const lost = renderer.getContext().isContextLost();
    this.#graph._destructor();
    renderer.dispose();
    if (!lost) renderer.forceContextLoss();
    renderer.domElement.remove();
    this.#options.holder.replaceChildren();
    this.#marks.clear();
  }
}

/** The value below which that share of sorted values lies. */
function inner(sorted: number[], share: number): number {
  return sorted[Math.round((sorted.length - 1) * share)] ?? 0;
}

function makeGraph(holder: HTMLElement): ForceGraph3DInstance {
  const page = window as unknown as { scene?: unknown };
  const had = "scene" in page;
  const kept = page.scene;
  const graph = new ForceGraph3D(holder, {
    controlType: "orbit",
    rendererConfig: { antialias: true, alpha: false },
  });
  // The library leaves its scene on the window, where it would outlive the view.
  if (had) page.scene = kept;
  else delete page.scene;
  // Frames are drawn when there is something to see, by the scene's own loop.
  graph.pauseAnimation();
  graph
    .showNavInfo(false)
    .enablePointerInteraction(false)
    .enableNodeDrag(false)
    .nodeId("key")
    .nodeThreeObject(() => new Object3D())
    .linkVisibility(false)
    .d3VelocityDecay(0.7)
    .d3AlphaDecay(0.08)
    .d3AlphaMin(0.004);
  const sure = (tie: Tie) => tie.edge.s >= SIGNIFICANT;
  graph.d3Force("center", null);
  graph.d3Force("charge")?.strength(-40).distanceMax(200);
  graph
    .d3Force("link")
    ?.distance((tie: Tie) => (sure(tie) ? 26 : 42))
    .strength((tie: Tie) => (sure(tie) ? 0.25 : 0.05));
  graph.d3Force("gather", gather(0.05));
  graph.d3Force("calm", calm(1.5, 6));
  return graph;
}
