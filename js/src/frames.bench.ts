/** A page that draws one graph two ways, for `python -m tests.benchmarks.frames`. */
import ForceGraph3D from "3d-force-graph";
import type { Key } from "./frame";
import type { Body } from "./layout";
import { lookOf } from "./look";
import { GraphScene } from "./scene";
import { NOTHING } from "./scene-marks";
import { type EdgeState, type Moment, type NodeState, Store } from "./store";

const SIZE = { width: 900, height: 600 };
/** By one frame, in radians. */
const TURN = 0.12;

interface Way {
  /** Turns the camera by one step and draws, this frame or the next. */
  turn(): void;
  show(shown: boolean): void;
}

function stage(): HTMLElement {
  const holder = document.createElement("div");
  Object.assign(holder.style, { width: `${SIZE.width}px`, height: `${SIZE.height}px` });
  document.body.append(holder);
  return holder;
}

/** Every node fires now; half of the edges are significant, half are faint. */
function moment(nodes: number, edges: number): Moment {
  const keys = Array.from({ length: nodes }, (_, i) => `0:${i}`);
  const state = (key: Key, id: number): NodeState => ({
    ...{ key, sae: 0, id, layer: 3, last: 1 - id / nodes, lastStep: 9, firstStep: 0, peak: 1 - id / nodes },
    ...{ peakStep: 9, count: 1, dense: false, steered: null },
  });
  const found = new Map<string, EdgeState>();
  for (let i = 0; found.size < edges; i++) {
    const [a, b] = [keys[i % nodes] as Key, keys[(i * 7 + 1 + Math.floor(i / nodes)) % nodes] as Key];
    const key = `${a}|${b}`;
    if (a !== b) found.set(key, { key, a, b, n: 3, s: found.size % 2 ? 3 : 0.2, lastStep: 9 });
  }
  return {
    step: 9,
    nodes: new Map(keys.map((key, i) => [key, state(key, i)])),
    edges: found,
    scale: 1,
    scales: [1],
  };
}

async function ours(shown: Moment): Promise<Way & { bodies: Map<Key, Body>; scene: GraphScene }> {
  const holder = stage();
  const bodies = new Map<Key, Body>();
  const scene = new GraphScene({
    ...{ holder, theme: "dark", bodies, labelOf: (key) => `what ${key} stands for` },
    ...{ onPick: () => {}, onHover: () => {}, onLost: () => {} },
  });
  scene.resize(SIZE.width, SIZE.height);
  const store = new Store();
  store.configure({ keep: shown.nodes.size, edges: "all" });
  scene.show(shown, lookOf(store, true), NOTHING);
  scene.visible(true);
  // Until the layout rests.
  for (let before = -1; before !== scene.drawn || scene.drawn < 60; ) {
    before = scene.drawn;
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
  return {
    bodies,
    scene,
    turn: () => scene.canvas.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight" })),
    show(on) {
      holder.hidden = !on;
      scene.visible(on);
    },
  };
}

/** Spheres and lines, an object each, as the library makes them, at the same places. */
function theirs(shown: Moment, bodies: Map<Key, Body>): Way {
  const holder = stage();
  const graph = new ForceGraph3D(holder, { controlType: "orbit" })
    .width(SIZE.width)
    .height(SIZE.height)
    .enablePointerInteraction(false)
    .cooldownTicks(0)
    .graphData({
      nodes: [...bodies.values()].map(({ key, x, y, z }) => ({ id: key, x, y, z, fx: x, fy: y, fz: z })),
      links: [...shown.edges.values()].map(({ a, b }) => ({ source: a, target: b })),
    });
  const far = 2.5 * Math.max(...[...bodies.values()].map(({ x, y, z }) => Math.hypot(x, y, z)));
  let angle = 0;
  return {
    turn() {
      angle += TURN;
      graph.cameraPosition(
        { x: far * Math.sin(angle), y: 0, z: far * Math.cos(angle) },
        { x: 0, y: 0, z: 0 },
      );
    },
    show(on) {
      holder.hidden = !on;
      if (on) graph.resumeAnimation();
      else graph.pauseAnimation();
    },
  };
}

/** How many frames are drawn in so many seconds while the camera turns, and in how many ms. */
async function pace(way: Way, seconds: number): Promise<[frames: number, ms: number]> {
  const frame = () => new Promise(requestAnimationFrame);
  way.show(true);
  for (let warm = 0; warm < 3; warm++) {
    way.turn();
    await frame();
  }
  const start = performance.now();
  let frames = 0;
  while (performance.now() - start < 1000 * seconds) {
    way.turn();
    await frame();
    frames += 1;
  }
  const taken = performance.now() - start;
  way.show(false);
  return [frames, taken];
}

let ways: Way[] = [];

/** Makes both, ours first; gives how much is drawn. */
async function prepare(nodes: number, edges: number): Promise<[nodes: number, edges: number]> {
  const shown = moment(nodes, edges);
  const own = await ours(shown);
  own.show(false);
  const other = theirs(shown, own.bodies);
  other.show(false);
  ways = [own, other];
  return [own.scene.nodes().length, own.scene.edges().length];
}

Object.assign(window, { prepare, pace: (way: number, seconds: number) => pace(ways[way] as Way, seconds) });
