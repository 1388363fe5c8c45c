import { forceLink, forceManyBody, forceSimulation } from "d3-force-3d";
import { describe, expect, it, vi } from "vitest";
import { rawFrame } from "./fixtures";
import { Fold } from "./fold";
import { type Frame, readFrame } from "./frame";
import type { Body } from "./layout";
import { lookOf } from "./look";
import { COOLING, tune } from "./scene-engine";
import { Marks, NOTHING } from "./scene-marks";
import { Sheets } from "./scene-sheets";
import { Store } from "./store";

vi.mock("3d-force-graph", () => ({ default: class {} }));

const [TOKENS, PER_TOKEN, FEATURES, FRAMES] = [150, 15, 700, 4];

/** A run whose features come back: some often, in company, and many once. */
function written(): Frame[] {
  let state = 7;
  const next = () => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
    return state / 0x7fffffff;
  };
  const count = new Map<string, number>();
  return Array.from({ length: TOKENS }, (_, step) => {
    const topic = Math.floor(step / 12) % 6;
    const ids = new Set<number>();
    while (ids.size < PER_TOKEN)
      ids.add(next() < 0.5 ? 20 * topic + Math.floor(20 * next()) : Math.floor(FEATURES * next() ** 2));
    const all = [...ids];
    const edges: [number, number, number, number][] = [];
    for (let i = 0; i < all.length; i++)
      for (let j = i + 1; j < all.length; j++) {
        const key = `${Math.min(all[i] ?? 0, all[j] ?? 0)} ${Math.max(all[i] ?? 0, all[j] ?? 0)}`;
        const n = (count.get(key) ?? 0) + 1;
        count.set(key, n);
        if (n > 1) edges.push([i, j, n, n > 3 ? n / 2 : 0.3]);
      }
    const features = all.map((id): [number, number] => [id, 0.2 + next()]);
    return readFrame(rawFrame(1, step, { features, edges })) as Frame;
  });
}

describe("a graph that grows", () => {
  it("lets nothing jump, at fifteen tokens and sixty frames a second", () => {
    const bodies = new Map<string, Body>();
    const marks = new Marks(bodies);
    const sheets = new Sheets(bodies);
    const link = forceLink().id((body: Body) => body.key);
    const simulation = forceSimulation([], 3).stop();
    simulation.force("link", link).force("charge", forceManyBody());
    simulation.velocityDecay(COOLING.velocityDecay).alphaDecay(COOLING.alphaDecay).alphaMin(COOLING.alphaMin);
    tune(
      (name, force) => (force === undefined ? simulation.force(name) : simulation.force(name, force)),
      sheets,
    );
    const [store, fold] = [new Store(), new Fold()];
    const look = lookOf(store, true);
    const jumps: number[] = [];
    let structure = "";
    for (const frame of written()) {
      fold.add(frame);
      marks.show(fold, look, "dark", NOTHING);
      if (marks.structure !== structure) {
        structure = marks.structure;
        simulation.nodes(marks.here.map(({ body }) => body));
        link.links(marks.links);
        simulation.alpha(1);
      }
      for (let tick = 0; tick < FRAMES; tick++) {
        const before = marks.here.map(({ body: { x, y, z } }) => [x, y, z] as const);
        simulation.tick();
        marks.ease(1 / 60, 0, false);
        const radius = Math.max(...marks.here.map(({ body: { x, y, z } }) => Math.hypot(x, y, z)), 30);
        // While there are only a few, all of them look for a place.
        if (frame.step < 10) continue;
        marks.here.forEach(({ body }, i) => {
          const [x = 0, y = 0, z = 0] = before[i] ?? [];
          jumps.push(Math.hypot(body.x - x, body.y - y, body.z - z) / radius);
        });
      }
    }
    jumps.sort((p, q) => p - q);
    const p95 = jumps[Math.floor(0.95 * jumps.length)] ?? 1;
    expect(jumps.length).toBeGreaterThan(50_000);
    expect(bodies.size).toBeGreaterThan(300);
    expect(p95).toBeLessThan(0.02);
    // It does move.
    expect(jumps[Math.floor(0.5 * jumps.length)]).toBeGreaterThan(0.0005);
  });
});
