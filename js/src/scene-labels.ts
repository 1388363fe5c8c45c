/** Names of the strongest nodes: text sprites of constant size on screen that never cover one another. */
import type { Scene } from "three";
import SpriteText from "three-spritetext";
import { oneLine } from "./dom";
import { type Box, declutter } from "./layout";
import type { Theme } from "./theme";

const MOST = 12;
const HEIGHT = 12;
const PAD = 2.5;
/** Seconds a name stays at least, unless its node goes. */
const STAY = 1.5;

export interface Named {
  key: string;
  text: string;
  /** On screen, in pixels of the canvas. */
  x: number;
  y: number;
  radius: number;
  /** World units per pixel at the node's depth. */
  unit: number;
  place: { x: number; y: number; z: number };
  /** The selected and the hovered node's names are shown whatever else is. */
  strong: boolean;
}

const NOWHERE: Box = { left: 0, top: 0, right: 0, bottom: 0 };

interface Slot {
  sprite: SpriteText;
  key: string | null;
  text: string;
  alpha: number;
  /** Seconds it has been up. */
  since: number;
  box: Box;
  /** Where it stands, seen from its node. */
  dx: number;
  dy: number;
}

export class Names {
  #scene: Scene;
  #slots: Slot[] = [];
  #theme: Theme = "dark";
  #ratio: number;

  constructor(scene: Scene, ratio: number) {
    this.#scene = scene;
    this.#ratio = ratio;
  }

  theme(theme: Theme): void {
    this.#theme = theme;
    for (const slot of this.#slots) this.#dress(slot);
  }

  /** Names in order of priority, of which so many may be up, beside what is taken; true while one still fades in. */
  tick(dt: number, named: Named[], width: number, height: number, taken: Box[]): boolean {
    // A name that is up keeps its right to stay unless something clearly stronger needs the room.
    const order = named
      .map((name, rank) => ({ name, rank: name.strong ? -99 : rank - this.#right(name.key) }))
      .sort((p, q) => p.rank - q.rank)
      .slice(0, MOST)
      .map(({ name }) => name);
    const boxes = order.map((name) => this.#boxes(name, width, height));
    const discs = order.map(({ x, y, radius }) => {
      const r = 0.75 * radius;
      return { left: x - r, right: x + r, top: y - r, bottom: y + r };
    });
    const places = declutter(boxes, [...discs, ...taken], 4, 2);
    const up = new Map<string, { name: Named; box: Box }>();
    order.forEach((name, i) => {
      const box = boxes[i]?.[places[i] ?? -1];
      if (box) up.set(name.key, { name, box });
    });
    // What has to make room goes at once, so that two names never lie over each other.
    for (const slot of this.#slots) if (slot.key !== null && !up.has(slot.key)) slot.key = null;
    let fading = false;
    for (const [key, { name, box }] of up) {
      let slot = this.#slot(key);
      if (!slot) {
        slot = this.#slots.find((candidate) => candidate.key === null) ?? this.#create();
        slot.key = key;
        slot.alpha = 0;
        slot.since = 0;
      }
      if (slot.text !== name.text) {
        slot.text = name.text;
        slot.sprite.text = name.text;
      }
      slot.since += dt;
      slot.alpha += (1 - slot.alpha) * (1 - Math.exp(-dt / 0.12));
      if (slot.alpha < 0.98) fading = true;
      slot.box = box;
      slot.dx = (box.left + box.right) / 2 - name.x;
      slot.dy = (box.top + box.bottom) / 2 - name.y;
      const [wide, high] = [box.right - box.left, box.bottom - box.top];
      slot.sprite.position.set(name.place.x, name.place.y, name.place.z);
      slot.sprite.scale.set(wide * name.unit, high * name.unit, 1);
      slot.sprite.center.set(0.5 - slot.dx / wide, 0.5 + slot.dy / high);
      slot.sprite.material.opacity = slot.alpha;
    }
    for (const slot of this.#slots) slot.sprite.visible = slot.key !== null;
    return fading;
  }

  /** The names that are up, for tests. */
  get up(): [key: string, text: string][] {
    return this.#slots.flatMap(({ key, text }) => (key === null ? [] : [[key, text] as [string, string]]));
  }

  /** Where they stand on the canvas, for tests. */
  get boxes(): Box[] {
    return this.#slots.flatMap(({ key, box }) => (key === null ? [] : [box]));
  }

  /** How many places a name that is up is put forward: newly up it stays long enough to be read. */
  #right(key: string): number {
    const slot = this.#slot(key);
    return slot ? (slot.since < STAY ? 20 : 3) : 0;
  }

  #slot(key: string): Slot | undefined {
    return this.#slots.find((slot) => slot.key === key);
  }

  /** Above, below, right or left of the node, first of all where the name already is. */
  #boxes(name: Named, width: number, height: number): Box[] {
    const wide = measure(name.text, HEIGHT) + 4 * PAD;
    const high = HEIGHT + 2 * PAD;
    const up = name.radius + 3 + high / 2;
    const side = name.radius + 3 + wide / 2;
    const offsets = [
      [0, -up],
      [0, up],
      [side, 0],
      [-side, 0],
    ] as const;
    const slot = this.#slot(name.key);
    const stay = (dx: number, dy: number) =>
      slot ? Math.abs(Math.sign(dx) - Math.sign(slot.dx)) + Math.abs(Math.sign(dy) - Math.sign(slot.dy)) : 0;
    return offsets
      .map(([dx, dy]) => ({ dx, dy, far: stay(dx, dy) }))
      .sort((p, q) => p.far - q.far)
      .map(({ dx, dy }) => {
        const left = Math.min(Math.max(name.x + dx - wide / 2, 4), Math.max(width - wide - 4, 4));
        const top = name.y + dy - high / 2;
        return { left, top, right: left + wide, bottom: top + high };
      })
      .filter((box) => box.top >= 4 && box.bottom <= height - 4);
  }

  #create(): Slot {
    const sprite = new SpriteText("", HEIGHT);
    const slot: Slot = { sprite, key: null, text: "", alpha: 0, since: 0, box: NOWHERE, dx: 0, dy: -1 };
    sprite.fontFace = FONT;
    sprite.fontWeight = "600";
    // Twice the size it is shown at: the first mip level then is exactly what lands on the screen.
    sprite.fontSize = HEIGHT * 2 * this.#ratio;
    sprite.padding = [2 * PAD, PAD];
    sprite.renderOrder = 10;
    sprite.material.depthTest = false;
    sprite.material.depthWrite = false;
    this.#dress(slot);
    this.#slots.push(slot);
    this.#scene.add(sprite);
    return slot;
  }

  #dress({ sprite }: Slot): void {
    sprite.color = this.#theme === "dark" ? "#eef1f6" : "#1b2430";
    sprite.backgroundColor = this.#theme === "dark" ? "rgba(14,18,23,0.68)" : "rgba(251,251,250,0.78)";
  }
}

export const FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif";
/** What widths are measured at; text of another size is as much wider. */
const RULED = 12;
let ruler: CanvasRenderingContext2D | null | undefined;
const widths = new Map<string, number>();

export function measure(text: string, size: number): number {
  let width = widths.get(text);
  if (width === undefined) {
    ruler ??= document.createElement("canvas").getContext("2d");
    if (ruler) ruler.font = `600 ${RULED}px ${FONT}`;
    width = ruler?.measureText(text).width ?? 7 * text.length;
    if (widths.size > 2000) widths.clear();
    widths.set(text, width);
  }
  return (width * size) / RULED;
}

export function nameOf(label: string): string {
  return oneLine(label, 30);
}
