import { describe, expect, it } from "vitest";
import { type Body, seed } from "./layout";
import { type Look, lookOf } from "./look";
import { Sheets } from "./scene-sheets";
import { Store } from "./store";

function look(more: Partial<Look>): Look {
  return { ...lookOf(new Store(), true), ...more };
}

function scattered(saes: number, count = 40): Map<string, Body> {
  const bodies = new Map<string, Body>();
  for (let i = 0; i < count; i++) {
    const body = seed(`${i % saes}:${i}`, []);
    bodies.set(body.key, { ...body, x: 5 * body.x, y: 5 * body.y, z: 5 * body.z });
  }
  return bodies;
}

/** Goes on until all is where it shall be; gives the longest way of any in one frame. */
function arrive(sheets: Sheets, bodies: Map<string, Body>, frames = 100): number {
  let most = 0;
  for (let i = 0; i < frames; i++) {
    const was = [...bodies.values()].map(({ x, y, z }) => [x, y, z]);
    sheets.tick(1 / 60);
    [...bodies.values()].forEach(({ x, y, z }, at) => {
      const [px = 0, py = 0, pz = 0] = was[at] ?? [];
      most = Math.max(most, Math.hypot(x - px, y - py, z - pz));
    });
  }
  return most;
}

const places = (bodies: Map<string, Body>) => [...bodies].map(([key, { x, y, z }]) => [key, x, y, z]);

describe("the layout by layer", () => {
  it("brings every feature into its plane and back to where it was", () => {
    const bodies = scattered(4);
    const before = places(bodies);
    const sheets = new Sheets(bodies);
    let arrived = 0;
    sheets.onArrive = () => {
      arrived += 1;
    };
    const layers = look({ layout: "layers", saes: 4 });
    expect(sheets.lay(layers, 1.6, false)).toBe(true);
    expect(sheets.lay(layers, 1.6, false)).toBe(false);
    // On its way nothing jumps.
    expect(arrive(sheets, bodies)).toBeLessThan(12);
    expect(arrived).toBe(1);
    for (const body of bodies.values()) {
      expect(Math.abs(body.x - sheets.middle(body))).toBeLessThanOrEqual(sheets.half);
      expect(body.fx).toBeUndefined();
    }
    sheets.lay(look({ layout: "force", saes: 4 }), 1.6, true);
    sheets.tick(1 / 60);
    expect(places(bodies)).toEqual(before);
  });
});

describe("the map", () => {
  const at = (bodies: Map<string, Body>) =>
    new Map(
      [...bodies.keys()].map((key, i): [string, [number, number]] => [key, [Math.cos(i), Math.sin(i)]]),
    );

  it("glides every feature to its place, holds it there, and lets it go again", () => {
    const bodies = scattered(1);
    const before = places(bodies);
    const known = at(bodies);
    const sheets = new Sheets(bodies);
    expect(sheets.lay(look({ layout: "map", places: known }), 1.6, false)).toBe(true);
    expect(arrive(sheets, bodies)).toBeLessThan(12);
    const most = (axis: "x" | "y") => Math.max(...[...bodies.values()].map((body) => Math.abs(body[axis])));
    const [wide, high] = [most("x"), most("y")];
    expect(wide / high).toBeCloseTo(1.5, 1);
    for (const [key, { x, y, z, fx, fy, fz }] of bodies) {
      const [right, up] = known.get(key) ?? [9, 9];
      expect(x / wide).toBeCloseTo(right, 2);
      expect(y / high).toBeCloseTo(up, 2);
      expect([z, fx, fy, fz]).toEqual([0, x, y, 0]);
    }
    sheets.lay(look({ layout: "force" }), 1.6, true);
    sheets.tick(1 / 60);
    expect(places(bodies)).toEqual(before);
    expect([...bodies.values()].filter(({ fx }) => fx !== undefined)).toEqual([]);
  });

  it("brings in at its place who comes later, and glides there whose place is told later", () => {
    const bodies = scattered(1);
    const known = at(bodies);
    const late = [...bodies.keys()][3] as string;
    known.delete(late);
    const sheets = new Sheets(bodies);
    const map = look({ layout: "map", places: known });
    sheets.lay(map, 1.6, true);
    sheets.tick(1 / 60);
    expect(bodies.get(late)?.fx).toBeUndefined();
    bodies.set("0:99", seed("0:99", []));
    (bodies.get(late) as Body).age = 50;
    const more = look({ layout: "map", places: new Map([...known, [late, [0.5, 0.5]], ["0:99", [-1, 1]]]) });
    expect(sheets.lay(more, 1.6, false)).toBe(false);
    sheets.tick(1 / 60);
    const fresh = bodies.get("0:99") as Body;
    expect(fresh.x).toBeLessThan(-50);
    expect(fresh.y).toBeGreaterThan(50);
    expect(bodies.get(late)?.y).not.toBeCloseTo(fresh.y / 2, 1);
    expect(arrive(sheets, bodies)).toBeLessThan(12);
    expect(bodies.get(late)?.y).toBeCloseTo(fresh.y / 2, 5);
  });

  it("lays the maps of several SAEs side by side, none over another", () => {
    const bodies = scattered(5, 100);
    const sheets = new Sheets(bodies);
    sheets.lay(look({ layout: "map", saes: 5, places: at(bodies) }), 1.6, true);
    sheets.tick(1 / 60);
    const corners = sheets.corners();
    const frames = [0, 1, 2, 3, 4].map((sae) => corners.slice(4 * sae, 4 * sae + 4));
    const inside = (body: Body, sae: number) => {
      const [a, , c] = frames[sae] ?? [];
      return !!a && !!c && body.x >= a.x && body.x <= c.x && body.y <= a.y && body.y >= c.y;
    };
    for (const body of bodies.values())
      expect([0, 1, 2, 3, 4].filter((sae) => inside(body, sae))).toEqual([Number(body.key[0])]);
    expect(sheets.titles().length).toBe(5);
    const [xs, ys] = [corners.map(({ x }) => x), corners.map(({ y }) => y)];
    expect(Math.max(...xs) + Math.min(...xs)).toBeCloseTo(0);
    expect(Math.max(...ys) + Math.min(...ys)).toBeCloseTo(0);
  });
});
