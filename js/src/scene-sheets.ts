/** Layouts on planes: the layers' features side by side in the order of depth, or each SAE's map. */
import { type Key, partsOf } from "./frame";
import { type Body, force, scatter } from "./layout";
import type { Look } from "./look";
import type { Rgb, Ribbon } from "./scene-paint";

export interface Point {
  x: number;
  y: number;
  z: number;
}

/** Seconds from one place to another. */
const WAY = 1.2;
/** World units: how high a plane is, and how near or far two of them may stand. */
const HIGH = 190;
const NEAREST = 24;
const FARTHEST = 140;
/** Of the room it has a plane fills so much: threads are to be seen between them. */
const FILL = 0.72;
/** No feature stands on the frame. */
const RIM = 5;
/** One map alone may be so much wider than high. */
const WIDEST = 1.5;
/** Between two maps. */
const ALLEY = 26;

type Layout = Look["layout"];

export class Sheets {
  #bodies: Map<Key, Body>;
  #layout: Layout = "force";
  #count = 1;
  #columns = 1;
  #stretch = 1;
  #places: Look["places"] = new Map();
  /** From where to where each body moves since it was sent there, and for how long it has. */
  #ways = new Map<Body, { from: Point; to: Point; passed: number }>();
  /** Bodies that are, or will be, where this layout has them. */
  #placed = new WeakSet<Body>();
  /** 0..1: how much of frames and titles is to be seen. */
  #seen = 0;
  /** What frames and titles are those of: they fade out as they were. */
  #drawn: Layout = "layers";
  /** From the middle of one plane to that of the next. */
  gap = 60;
  /** Called once every body is in its plane, or back home. */
  onArrive: () => void = () => {};

  constructor(bodies: Map<Key, Body>) {
    this.#bodies = bodies;
  }

  /** Not the force layout, which stands in space. */
  get on(): boolean {
    return this.#layout !== "force";
  }

  get layered(): boolean {
    return this.#layout === "layers";
  }

  get mapped(): boolean {
    return this.#layout === "map";
  }

  /** Lays bodies out in a stage of this shape; true when the layout was another one before. */
  lay({ layout, saes, places }: Look, aspect: number, atOnce: boolean): boolean {
    this.#places = places;
    const same = layout === this.#layout && (!this.on || saes === this.#count);
    if (!same) {
      this.#layout = layout;
      if (this.on) this.#drawn = layout;
      this.#count = saes;
      const room = (HIGH * 1.06 * Math.min(aspect, 3)) / saes;
      if (this.layered) this.gap = within(room, NEAREST, FARTHEST);
      // As many maps in a row as make the whole as wide as the stage.
      this.#stretch = saes > 1 ? 1 : within(aspect, 1, WIDEST);
      this.#columns = Math.min(Math.max(Math.round(Math.sqrt(saes * aspect)), 1), saes);
      this.#ways.clear();
      this.#placed = new WeakSet();
    }
    for (const body of this.#bodies.values()) {
      if (!same && this.on) body.home ??= [body.x, body.y, body.z];
      // Who comes in later comes in where it belongs, if that is known by then.
      const wanted = !same || (this.mapped && !this.#placed.has(body));
      if (wanted && this.#knows(body)) this.#send(body, atOnce || (same && body.age === 0));
    }
    return !same;
  }

  /** Where it belongs can be said: what is on no map stays where it is. */
  #knows(body: Body): boolean {
    return !this.mapped || this.#places.has(body.key);
  }

  #send(body: Body, atOnce: boolean): void {
    const from = { x: body.x, y: body.y, z: body.z };
    this.#placed.add(body);
    this.#ways.set(body, { from, to: this.#goal(body), passed: atOnce ? WAY : 0 });
  }

  #goal(body: Body): Point {
    const [aside, up] = scatter(body.key);
    if (this.mapped) {
      const { x, y } = this.#middle(partsOf(body.key).sae);
      const [right, top] = this.#places.get(body.key) ?? [0, 0];
      return { x: x + right * (this.#wide - RIM), y: y + top * (HIGH / 2 - RIM), z: 0 };
    }
    if (this.layered) {
      const y = within(0.8 * body.y, -0.45 * HIGH, 0.45 * HIGH);
      return { x: this.middle(body) + 0.8 * aside * this.half, y, z: 0.1 * body.z };
    }
    const [x, y, z] = body.home ?? [60 * aside, body.y, 60 * up];
    return { x, y, z };
  }

  /** Another run: nothing is on its way any more. */
  clear(): void {
    this.#ways.clear();
  }

  /** Half the width features have. */
  get half(): number {
    return (FILL * this.gap) / 2;
  }

  /** Half the width a plane has. */
  get #wide(): number {
    return this.#drawn === "layers" ? this.half : (this.#stretch * HIGH) / 2;
  }

  /** How much larger nodes are drawn than they are: less where planes are narrow. */
  get grow(): number {
    return this.mapped ? 1 : within(this.gap / 32, 0.8, 1.15);
  }

  /** Where the middle of an SAE's plane is. */
  #middle(sae: number): Point {
    if (this.#drawn === "layers") return { x: (sae - (this.#count - 1) / 2) * this.gap, y: 0, z: 0 };
    const [column, row] = [sae % this.#columns, Math.floor(sae / this.#columns)];
    const rows = Math.ceil(this.#count / this.#columns);
    // The last row may be shorter: it stands in the middle too.
    const beside = row === rows - 1 ? this.#count - row * this.#columns : this.#columns;
    const step = HIGH + ALLEY;
    return { x: (column - (beside - 1) / 2) * step, y: ((rows - 1) / 2 - row) * step, z: 0 };
  }

  /** Where, along the axis, the middle of a body's layer is. */
  middle(body: Body): number {
    return this.#middle(partsOf(body.key).sae).x;
  }

  /** Moves what is on its way; true while something is. */
  tick(dt: number): boolean {
    const goal = this.on ? 1 : 0;
    this.#seen += (goal - this.#seen) * (1 - Math.exp(-dt / 0.3));
    if (Math.abs(this.#seen - goal) < 0.01) this.#seen = goal;
    return this.#move(dt) || this.#seen !== goal;
  }

  /** Who comes in while layers are laid out belongs into its plane from the start, beside what it came in by. */
  admit(body: Body): void {
    if (!this.layered || this.#placed.has(body)) return;
    this.#placed.add(body);
    const middle = this.middle(body);
    body.x = within(body.x, middle - 0.8 * this.half, middle + 0.8 * this.half);
    body.y = within(body.y, -0.45 * HIGH, 0.45 * HIGH);
    body.z = within(body.z, -6, 6);
  }

  #move(dt: number): boolean {
    if (!this.#ways.size) return false;
    for (const [body, way] of this.#ways) {
      way.passed += dt;
      const part = Math.min(way.passed / WAY, 1);
      const share = part * part * (3 - 2 * part);
      const { from, to } = way;
      body.fx = body.x = from.x * (1 - share) + to.x * share;
      body.fy = body.y = from.y * (1 - share) + to.y * share;
      body.fz = body.z = from.z * (1 - share) + to.z * share;
      body.vx = body.vy = body.vz = 0;
      if (part < 1) continue;
      this.#ways.delete(body);
      // Where a map has it no force moves it.
      if (!this.mapped) body.fx = body.fy = body.fz = undefined;
      if (!this.on) body.home = undefined;
    }
    if (this.#ways.size) return true;
    this.onArrive();
    return false;
  }

  /** Keeps every body within the frame of its layer; takes the place of the pull to the one middle. */
  readonly force = force((bodies, alpha) => {
    if (!this.layered) return;
    for (const body of bodies) {
      const middle = this.middle(body);
      body.vx += (middle - body.x) * 0.05 * alpha;
      body.vy -= body.y * 0.03 * alpha;
      body.vz -= body.z * 0.4 * alpha;
      const [wide, high] = [this.half - RIM, HIGH / 2 - RIM];
      body.vx = within(body.x + body.vx, middle - wide, middle + wide) - body.x;
      body.vy = within(body.y + body.vy, -high, high) - body.y;
    }
  });

  /** The outermost points, that the camera must not miss. */
  corners(): Point[] {
    return Array.from({ length: this.#count }, (_, sae) => this.#frame(sae)).flat();
  }

  #frame(sae: number): [Point, Point, Point, Point] {
    const { x, y } = this.#middle(sae);
    const [left, right] = [x - this.#wide, x + this.#wide];
    const [top, bottom] = [y + HIGH / 2, y - HIGH / 2];
    return [
      { x: left, y: top, z: 0 },
      { x: right, y: top, z: 0 },
      { x: right, y: bottom, z: 0 },
      { x: left, y: bottom, z: 0 },
    ];
  }

  /** A faint sheet with a frame for each layer; `unit`: world units per pixel. */
  ribbons(colour: Rgb, unit: number): Ribbon[] {
    if (!this.#seen) return [];
    return Array.from({ length: this.#count }, (_, sae) => {
      const frame = this.#frame(sae);
      const sides = frame.map((from, i) => ({
        from,
        to: frame[(i + 1) % 4] ?? from,
        width: 0.8,
        alpha: 0.3,
      }));
      const { x, y } = this.#middle(sae);
      const [from, to] = [
        { x, y: y + HIGH / 2, z: 0 },
        { x, y: y - HIGH / 2, z: 0 },
      ];
      return [{ from, to, width: (2 * this.#wide) / unit, alpha: 0.05 }, ...sides];
    })
      .flat()
      .map((ribbon) => ({ ...ribbon, colour, alpha: ribbon.alpha * this.#seen }));
  }

  /** Where each plane's title hangs, and how much of it is to be seen. */
  titles(): { at: Point; alpha: number }[] {
    if (!this.#seen || this.#count < 2) return [];
    return Array.from({ length: this.#count }, (_, sae) => {
      const { x, y } = this.#middle(sae);
      return { at: { x, y: y - HIGH / 2, z: 0 }, alpha: this.#seen };
    });
  }
}

function within(value: number, least: number, most: number): number {
  return Math.min(Math.max(value, least), most);
}
