/** The library that lays the graph out: set up so that it grows calmly and draws nothing by itself. */
import ForceGraph3D, { type ForceGraph3DInstance } from "3d-force-graph";
import { Object3D } from "three";
import { partsOf } from "./frame";
import { calm, type Force, gather } from "./layout";
import type { Tie } from "./scene-marks";
import type { Sheets } from "./scene-sheets";

/** How the layout comes to rest. */
export const COOLING = { velocityDecay: 0.7, alphaDecay: 0.08, alphaMin: 0.004 };

export function makeGraph(holder: HTMLElement, sheets: Sheets): ForceGraph3DInstance {
  const page = window as unknown as { scene?: unknown };
  const had = "scene" in page;
  const kept = page.scene;
  const graph = new ForceGraph3D(holder, {
    controlType: "orbit",
    // What is drawn here softens its own edges: four samples for each pixel would only take four times as long.
    rendererConfig: { antialias: false, alpha: false },
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
    .d3VelocityDecay(COOLING.velocityDecay)
    .d3AlphaDecay(COOLING.alphaDecay)
    .d3AlphaMin(COOLING.alphaMin);
  tune((name, force) => (force === undefined ? graph.d3Force(name) : graph.d3Force(name, force)), sheets);
  return graph;
}

/** Gives a force of the layout, or sets one. */
type Forces = (name: string, force?: Force | null) => unknown;

interface Tunable {
  strength(value: unknown): Tunable;
  distance(value: unknown): Tunable;
  distanceMax(value: number): Tunable;
}

/** Makes the library's usual forces calm ones. */
export function tune(forces: Forces, sheets: Sheets): void {
  const apart = ({ strand }: Tie) => Math.abs(partsOf(strand.a).sae - partsOf(strand.b).sae);
  const distance = (tie: Tie) => {
    const close = sheets.layered ? 0.55 : 1;
    if (tie.strand.kind === "together") return close * (tie.strand.bright ? 26 : 42);
    // What lives on in the next layer shall stand right across from where it was.
    return sheets.layered && apart(tie) ? sheets.gap * apart(tie) : close * 30;
  };
  const strength = ({ strand }: Tie) =>
    strand.kind === "together" ? (strand.bright ? 0.25 : 0.05) : 0.3 * strand.cosine ** 2;
  forces("center", null);
  const [charge, link] = [forces("charge") as Tunable, forces("link") as Tunable];
  charge.strength(() => (sheets.layered ? -16 : -40)).distanceMax(200);
  link.distance(distance).strength(strength);
  forces(
    "gather",
    gather(() => (sheets.layered ? 0 : 0.05)),
  );
  forces("calm", calm(1.5, 6));
  forces("sheets", sheets.force);
}

/** One tick of the layout, without drawing. */
export function tickForces(graph: ForceGraph3DInstance): void {
  for (const child of graph.scene().children)
    if ("tickFrame" in child && typeof child.tickFrame === "function") child.tickFrame();
}
