/** The 3D graph: layout, camera and drawing loop. Only the scene files import three. */
import type { ForceGraph3DInstance } from "3d-force-graph";
import { MOUSE, type PerspectiveCamera, Vector3 } from "three";
import type { OrbitControls } from "three/examples/jsm/controls/OrbitControls.js";
import { oneLine } from "./dom";
import type { Key } from "./frame";
import type { Body, Box, Strand } from "./layout";
import type { Look } from "./look";
import { type Bounds, Rig } from "./scene-camera";
import { makeGraph, tickForces } from "./scene-engine";
import { type Named, Names, nameOf } from "./scene-labels";
import { type EdgeColours, type Mark, Marks, type Picked } from "./scene-marks";
import { MOST_PIXELS, PALETTES, Painter, type Palette, rgb, STARK } from "./scene-paint";
import { photograph } from "./scene-picture";
import { watchPointer } from "./scene-pointer";
import { type SeenEdge, type SeenNode, seenEdges, seenNodes } from "./scene-seen";
import { Sheets } from "./scene-sheets";
import { type Title, Titles } from "./scene-titles";
import type { Moment, NodeState } from "./store";
import type { Theme } from "./theme";

/** What the pointer is on. */
export interface Target {
  node: NodeState | null;
  edge: Strand | null;
}

export interface SceneOptions {
  holder: HTMLElement;
  theme: Theme;
  /** Where nodes were: a scene that replaces another one takes up its shape. */
  bodies: Map<Key, Body>;
  /** What a feature is called by now. */
  labelOf(key: Key): string;
  /** A click on a node or on nothing; `more`: on a node beside others. */
  onPick(node: NodeState | null, more: boolean): void;
  onHover(target: Target, x: number, y: number): void;
  onLost(): void;
}

const CANVAS = "Graph of the features that fired: arrows turn it, plus and minus zoom, 0 fits it into view";
/** Seconds without a new token or a touch after which the picture comes to rest. */
const AWAKE = 75;
/** Layers side by side are looked at from where all of them can be read. */
const FRONT = new Vector3(-0.08, 0.06, 1);
const ABOVE = new Vector3(0, 0, 1);
/** Seconds after which everything that eases or flies is where it wants to be, and layout ticks likewise. */
const LONG = 20;
const MOST_TICKS = 150;
/** Edges are looked for under the pointer once it lingers so long, in ms. */
const LINGER = 45;

export class GraphScene {
  readonly canvas: HTMLCanvasElement;
  #options: SceneOptions;
  #graph: ForceGraph3DInstance;
  #camera: PerspectiveCamera;
  #controls: OrbitControls;
  #rig: Rig;
  #painter: Painter;
  #names: Names;
  #titles: Titles;
  #sheets: Sheets;
  #marks: Marks;
  #look: Look | null = null;
  #structure = "";
  #theme: Theme;
  #size = { width: 1, height: 1 };
  #ratio = Math.min(2, devicePixelRatio || 1);
  #still = matchMedia("(prefers-reduced-motion: reduce)");
  #contrast = matchMedia("(prefers-contrast: more), (forced-colors: active)");
  #visible = false;
  /** The layout is not at rest. */
  #moving = false;
  #dirty = true;
  #grow = 1;
  #request = 0;
  #drawn = 0;
  #before = 0;
  #lively = performance.now();
  #touched = Number.NEGATIVE_INFINITY;
  #over = false;
  #linger: ReturnType<typeof setTimeout> | undefined;
  #gone = new AbortController();

  constructor(options: SceneOptions) {
    this.#options = options;
    this.#theme = options.theme;
    this.#marks = new Marks(options.bodies);
    this.#sheets = new Sheets(options.bodies);
    this.#graph = makeGraph(options.holder, this.#sheets);
    this.#sheets.onArrive = () => {
      this.#moving = true;
      this.#graph.d3ReheatSimulation();
    };
    this.#graph.onEngineStop(() => {
      this.#moving = false;
    });
    this.canvas = this.#graph.renderer().domElement;
    this.canvas.setAttribute("aria-label", CANVAS);
    this.canvas.setAttribute("role", "application");
    this.#camera = this.#graph.camera() as PerspectiveCamera;
    this.#controls = this.#graph.controls() as OrbitControls;
    this.#controls.enableDamping = true;
    this.#controls.dampingFactor = 0.14;
    this.#controls.mouseButtons = { LEFT: MOUSE.ROTATE, MIDDLE: MOUSE.DOLLY, RIGHT: MOUSE.PAN };
    this.#rig = new Rig(this.#camera, this.#controls);
    this.#painter = new Painter(this.#graph.scene());
    this.#names = new Names(this.#graph.scene(), this.#ratio);
    this.#titles = new Titles(this.#graph.scene(), this.#ratio);
    this.theme(options.theme);
    this.#contrast.addEventListener("change", () => this.theme(this.#theme), { signal: this.#gone.signal });
    this.#listen();
  }

  /** Takes the moment to show: who is there, how strongly, tied to whom, and how to look at it. */
  show(moment: Moment, look: Look, picked: Picked): void {
    const selected = picked.inspected;
    if (selected !== this.#marks.selected) {
      if (selected) this.#rig.focus();
      else this.#rig.back();
    }
    this.#look = look;
    this.#marks.show(moment, look, this.#theme, picked);
    if (this.#sheets.lay(look, this.#camera.aspect, this.#still.matches)) this.#turn();
    for (const { body } of this.#marks.here) this.#sheets.admit(body);
    this.#restructure();
    this.#lively = performance.now();
    this.#wake();
  }

  /** The layout is another one: looks at it from where it is to be read. */
  #turn(): void {
    this.#rig.face(this.#front);
    // A map is moved about, not turned.
    this.#controls.mouseButtons.LEFT = this.#sheets.mapped ? MOUSE.PAN : MOUSE.ROTATE;
    // Planes do not push each other.
    this.#graph.d3Force("charge")?.distanceMax(this.#sheets.layered ? 40 : 200);
  }

  get #front(): Vector3 | null {
    return this.#sheets.mapped ? ABOVE : this.#sheets.layered ? FRONT : null;
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
    this.#sheets.clear();
    this.#options.bodies.clear();
    this.#rig.restart();
    this.#restructure();
    this.#wake();
  }

  fit(): void {
    this.#rig.face(this.#front);
    this.#touched = Number.NEGATIVE_INFINITY;
    this.#lively = performance.now();
    this.#wake();
  }

  theme(theme: Theme): void {
    this.#theme = theme;
    this.#graph.backgroundColor(PALETTES[theme].back);
    this.#painter.palette(this.#palette);
    this.#marks.stark = this.#contrast.matches;
    this.#names.theme(theme);
    this.#titles.theme(theme);
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
    const busy = this.#advance(dt, now);
    // One frame of the library's own cycle: a layout tick, the controls, the drawing.
    this.#graph.resumeAnimation();
    this.#graph.pauseAnimation();
    this.#drawn += 1;
    if (busy || this.#moving) again();
  }

  /** Moves everything on by `dt` seconds; true while it has not come to rest. */
  #advance(dt: number, now: number): boolean {
    const awake = now - this.#lively < 1000 * AWAKE && !this.#still.matches;
    const turning = awake && !this.#over && !this.#sheets.on && now - this.#touched > 6000;
    // The controls glide on for a moment after the hand let go.
    const gliding = now - this.#touched < 1500;
    const easing = this.#marks.ease(dt, now / 1000, awake);
    const laying = this.#sheets.tick(dt);
    const bounds = this.#bounds();
    // Nodes of a wide graph are drawn larger, or they would turn into dust when it is fitted into view.
    this.#grow = this.#sheets.on ? this.#sheets.grow : Math.min(Math.max((bounds?.radius ?? 0) / 95, 1), 1.8);
    const body = this.#marks.get(this.#marks.selected)?.body;
    const node = body ? new Vector3(body.x, body.y, body.z) : null;
    const flying = this.#rig.tick(dt, bounds, node, turning, this.#still.matches);
    this.#camera.lookAt(this.#controls.target);
    this.#camera.updateMatrixWorld();
    const naming = this.#paint(dt, this.#grow, this.#ratio);
    this.#dirty = easing || naming || gliding || laying;
    const breathing = awake && this.#marks.here.some((mark) => mark.firing);
    return this.#dirty || flying || turning || breathing;
  }

  /** The graph as it would be seen now, `scale` pixels for each of the page's, on a canvas of its own. */
  picture(scale: number): HTMLCanvasElement {
    if (!this.#visible) this.#catchUp();
    return photograph(this.#graph.renderer(), this.#size, scale, (ratio) => {
      this.#paint(0, this.#grow, ratio);
      this.#graph.renderer().render(this.#graph.scene(), this.#camera);
    });
  }

  /** Nothing moves while nobody looks: brings all of it to where it would have come. */
  #catchUp(): void {
    this.#sheets.tick(LONG);
    for (let ticks = 0; this.#moving && ticks < MOST_TICKS; ticks++) tickForces(this.#graph);
    this.#advance(LONG, performance.now());
  }

  #bounds(): Bounds | null {
    const { here } = this.#marks;
    if (!here.length) return null;
    // The middle of what is to be seen, which the mean, drawn to where nodes crowd, is not.
    const [x, y, z] = (["x", "y", "z"] as const).map((axis) => {
      const values = here.map(({ body }) => body[axis]).sort((p, q) => p - q);
      return (inner(values, 0.02) + inner(values, 0.98)) / 2;
    });
    const centre = this.#sheets.on ? new Vector3() : new Vector3(x, y, z);
    const offsets = here.map(({ body }) => new Vector3(body.x, body.y, body.z).sub(centre));
    const far = offsets.map((offset) => offset.length()).sort((p, q) => p - q);
    const needed = offsets
      .map((offset, i) => this.#rig.reach(offset, here[i]?.radius ?? 0))
      .sort((p, q) => p - q);
    // All of it is to be seen, but a lone straggler must not push the camera away from all the others.
    const all = Math.min(needed.at(-1) ?? 0, 1.2 * inner(needed, 0.98));
    const distance = Math.max(all, 110, ...this.#corners(centre));
    return { centre, radius: Math.max(inner(far, 0.98), 30), distance };
  }

  #corners(centre: Vector3): number[] {
    if (!this.#sheets.on) return [];
    return this.#sheets.corners().map(({ x, y, z }) => this.#rig.reach(new Vector3(x, y, z).sub(centre), 3));
  }

  #paint(dt: number, grow: number, ratio: number): boolean {
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
    const colours = this.#colours;
    const sheets = this.#sheets.ribbons(
      colours.faint,
      unit * this.#camera.position.distanceTo(this.#controls.target),
    );
    this.#painter.view(width, height, ratio, this.#camera.fov, near, far);
    this.#painter.dots(this.#marks.dots(grow));
    this.#painter.ribbons([...sheets, ...this.#marks.ribbons(colours)]);
    const taken = this.#titles.draw(this.#sheets.titles().map((title, sae) => this.#title(title, sae, unit)));
    const named = this.#marks.named(width, height).map((mark) => this.#name(mark, unit));
    return this.#names.tick(dt, named, width, height, taken);
  }

  get #palette(): Palette {
    return this.#contrast.matches ? STARK[this.#theme] : PALETTES[this.#theme];
  }

  get #colours(): EdgeColours {
    const { bright, faint, alike, hot } = this.#palette;
    return { bright: rgb(bright), faint: rgb(faint), alike: rgb(alike), own: rgb(hot) };
  }

  #title({ at, alpha }: { at: Title["place"]; alpha: number }, sae: number, unit: number): Title {
    const { width, height } = this.#size;
    const seen = new Vector3(at.x, at.y, at.z).applyMatrix4(this.#camera.matrixWorldInverse);
    const depth = Math.max(-seen.z, 1);
    seen.applyMatrix4(this.#camera.projectionMatrix);
    return {
      text: oneLine(this.#look?.titles[sae] ?? `${sae}`, 20),
      x: ((seen.x + 1) * width) / 2,
      y: ((1 - seen.y) * height) / 2,
      place: at,
      unit: unit * depth,
      alpha,
    };
  }

  #name(mark: Mark, unit: number): Named {
    const strong = this.#marks.strong(mark);
    return {
      key: mark.node.key,
      text: nameOf(this.#options.labelOf(mark.node.key)),
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
    const point = (event: PointerEvent | null, mark: Mark | null, edge: Strand | null) => {
      this.#marks.hovered = mark?.node.key ?? null;
      this.#marks.pointed = edge?.key ?? null;
      this.canvas.style.cursor = mark ? "pointer" : edge ? "help" : "grab";
      this.#options.onHover({ node: mark?.node ?? null, edge }, event?.clientX ?? 0, event?.clientY ?? 0);
      this.#wake();
    };
    // Nodes answer at once; edges, of which there are many, to a pointer that lingers.
    const linger = (event: PointerEvent) => {
      const box = this.canvas.getBoundingClientRect();
      point(event, null, this.#marks.pickEdge(event.clientX - box.left, event.clientY - box.top));
    };
    watchPointer(
      this.canvas,
      {
        touch,
        hover: (event) => {
          const mark = event ? pick(event) : null;
          this.#over = event !== null;
          clearTimeout(this.#linger);
          if (event && !mark) {
            if (this.#marks.hovered) point(event, null, null);
            this.#linger = setTimeout(() => linger(event), LINGER);
          } else point(event, mark, null);
        },
        click: (event) => {
          const more = event.ctrlKey || event.metaKey || event.shiftKey;
          this.#options.onPick(pick(event)?.node ?? null, more);
        },
        drag: () => {
          clearTimeout(this.#linger);
          this.#rig.release();
        },
        turn: (round, over, nearer) => {
          this.#rig.turn(round, over, nearer);
          touch();
        },
        fit: () => this.fit(),
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

  /** For tests. */
  nodes(): SeenNode[] {
    return seenNodes(this.#marks, this.canvas);
  }

  edges(): SeenEdge[] {
    return seenEdges(this.#marks, this.canvas);
  }

  names(): [key: Key, text: string][] {
    return this.#names.up;
  }

  rings(): Key[] {
    return this.#marks.dots(1).flatMap(({ ring, key }) => (ring === 1 ? [key] : []));
  }

  nameBoxes(): Box[] {
    return this.#names.boxes;
  }

  get drawn(): number {
    return this.#drawn;
  }

  /** Browsers grant a page some sixteen contexts: this one goes back at once. */
  dispose(): void {
    this.visible(false);
    clearTimeout(this.#linger);
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
