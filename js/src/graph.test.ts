import { describe, expect, it, vi } from "vitest";
import { rawFrame } from "./fixtures";
import { type Frame, readFrame } from "./frame";
import { shown, strands } from "./layout";
import { choices, type Look, lookOf } from "./look";
import { HUES, hex, leaning, tintOf } from "./scene-hue";
import type { Comparison, Effects, Settings } from "./store";
import { type EdgeState, type Moment, type NodeState, Store } from "./store";

function node(key: string, more: Partial<NodeState> = {}): NodeState {
  const [sae = 0, id = 0] = key.split(":").map(Number);
  return {
    ...{ key, sae, id, layer: sae, last: 1, lastStep: 9, firstStep: 0, peak: 1, peakStep: 9 },
    ...{ count: 1, dense: false, steered: null },
    ...more,
  };
}

function edge(a: string, b: string, n: number, s: number): EdgeState {
  return { key: `${a}|${b}`, a, b, n, s, lastStep: 9 };
}

function moment(nodes: NodeState[], edges: EdgeState[] = [], scales = [1]): Moment {
  return {
    step: 9,
    nodes: new Map(nodes.map((one) => [one.key, one])),
    edges: new Map(edges.map((one) => [one.key, one])),
    scale: Math.max(...scales),
    scales,
  };
}

function look(more: Partial<Look> = {}): Look {
  const usual: Settings = new Store().settings;
  return {
    ...{ ...usual, saes: 1, layers: [3], titles: ["layer 3"] },
    ...{ effects: null, comparison: null, similar: [], clusters: new Map(), places: new Map(), unmapped: "" },
    ...more,
  };
}

const none: ReadonlySet<string> = new Set();

const keys = (list: { node: NodeState }[]) => list.map((one) => one.node.key);

describe("what is shown", () => {
  it("measures each SAE against its own strongest activation", () => {
    const both = moment(
      [node("0:1", { last: 2, peak: 2 }), node("1:1", { last: 40, peak: 40 })],
      [],
      [2, 40],
    );
    for (const one of shown(both, look({ saes: 2 }), none)) {
      expect(one.heat).toBeCloseTo(1);
      expect(one.weight).toBeCloseTo(1);
    }
  });

  it("leaves dense features out when asked to, but for the selected one", () => {
    const some = moment([node("0:1", { dense: true }), node("0:2", { dense: true }), node("0:3")]);
    expect(keys(shown(some, look(), none))).toEqual(["0:1", "0:2", "0:3"]);
    expect(keys(shown(some, look({ dense: false }), new Set(["0:2"])))).toEqual(["0:2", "0:3"]);
  });

  it("shows what is steered, however many nodes do more by themselves", () => {
    const many = Array.from({ length: 400 }, (_, i) => node(`0:${i}`));
    const quiet = { last: 0, lastStep: -1, peak: 0, count: 0, dense: true };
    const list = shown(
      moment([...many, node("0:900", { ...quiet, steered: 2 }), node("0:901", quiet)]),
      look({ dense: false }),
      none,
    );
    expect(list.length).toBeLessThan(400);
    expect(keys(list)).toContain("0:900");
    expect(keys(list)).not.toContain("0:901");
  });

  it("keeps as many as are to stay, whoever is marked among them, and lets the next to go fade", () => {
    const many = Array.from({ length: 300 }, (_, i) =>
      node(`0:${i}`, { lastStep: 9 - (i % 10), last: 1 - i / 400 }),
    );
    const kept = new Set(["0:299", "0:298"]);
    for (const keep of [60, 150, 1000]) {
      const list = shown(moment(many), look({ keep }), kept);
      expect(list.length).toBe(Math.min(keep, 300));
      expect(keys(list)).toEqual(expect.arrayContaining([...kept]));
      const faded = list.filter((one) => one.presence < 1);
      if (keep === 1000) expect(faded).toEqual([]);
      else {
        expect(faded.length).toBeGreaterThan(0.1 * keep);
        expect(Math.min(...faded.map((one) => one.presence))).toBeGreaterThan(0.3);
        // Each one fades at least as much as whoever is stronger, and nobody who fires or is marked.
        expect(faded.map((one) => -one.presence)).toEqual(
          faded.map((one) => -one.presence).sort((p, q) => p - q),
        );
        expect(faded.filter((one) => one.firing || kept.has(one.node.key))).toEqual([]);
      }
    }
    // More may be marked than are to stay.
    expect(shown(moment(many), look({ keep: 20 }), new Set(many.map(({ key }) => key))).length).toBe(300);
  });

  it("draws the more edges the more nodes stay", () => {
    const many = Array.from({ length: 400 }, (_, i) => node(`0:${i}`));
    const edges = many.flatMap(({ key }, i) =>
      Array.from({ length: 30 }, (_, k) => edge(key, `0:${(i + k + 1) % 400}`, 3, k < 10 ? 2 : 0)),
    );
    const all = new Set(many.map(({ key }) => key));
    const count = (keep: number) => {
      const found = strands(moment(many, edges), look({ keep, edges: "all" }), all, null);
      return found.filter((one) => one.drawn).length;
    };
    expect(count(1000)).toBeGreaterThan(5000);
    expect(count(100)).toBeLessThan(2000);
  });

  it("shows in a comparison what fired only in the other run", () => {
    const rows: Comparison["rows"] = new Map();
    const row = { peakA: 1, peakB: 1, tokensA: 1, tokensB: 1 };
    rows.set("0:1", { label: "here", a: 1, b: 0, ...row });
    rows.set("0:7", { label: "there", a: 0, b: 1, ...row });
    const comparison = { a: 1, b: 2, rows, titleA: "A", titleB: "B" };
    const compared = look({ hue: "compare", comparison });
    const list = shown(moment([node("0:1"), node("0:2")]), compared, none);
    expect(keys(list).sort()).toEqual(["0:1", "0:2", "0:7"]);
    const colour = (key: string) => {
      const one = list.find((other) => other.node.key === key);
      return one ? hex(tintOf(one, compared, "dark")) : "";
    };
    expect(colour("0:1")).toBe(hex(HUES.dark.up));
    expect(colour("0:7")).toBe(hex(HUES.dark.down));
    expect(new Set(["0:1", "0:2", "0:7"].map(colour)).size).toBe(3);
  });

  it("lights features by the size of their effect, whichever way it points", () => {
    const effects: Effects = {
      ...{ run: 1, step: 9, of: "effect on “ Paris”", exact: false, scale: 2 },
      values: new Map([
        ["0:1", 2],
        ["0:2", -2],
      ]),
    };
    const lit = look({ hue: "effect", effects });
    const list = shown(moment([node("0:1", { lastStep: 0 }), node("0:2"), node("0:3")]), lit, none);
    expect(list.map((one) => one.heat)).toEqual([1, 1, 0]);
    expect(list.map((one) => hex(tintOf(one, lit, "light"))).slice(0, 2)).toEqual([
      hex(HUES.light.up),
      hex(HUES.light.down),
    ]);
  });

  it("leans towards the run a feature is stronger in", () => {
    expect(leaning({ a: 1, b: 0 })).toBe(1);
    expect(leaning({ a: 0, b: 1 })).toBe(-1);
    expect(leaning({ a: 2, b: 2 })).toBe(0);
    expect(leaning({ a: 0, b: 0 })).toBe(0);
  });
});

describe("edges", () => {
  const nodes = ["0:1", "0:2", "0:3", "1:1"].map((key) => node(key));
  const all = new Set(nodes.map(({ key }) => key));
  const some = moment(nodes, [edge("0:1", "0:2", 5, 2), edge("0:1", "0:3", 3, 0), edge("0:2", "0:3", 2, 1)]);
  const similar = [
    { a: "0:1", b: "1:1", cosine: 0.8 },
    { a: "0:1", b: "0:3", cosine: 0.6 },
  ];
  const drawn = (more: Partial<Look>) =>
    strands(some, look({ similar, ...more }), all, null)
      .filter((strand) => strand.drawn)
      .map((strand) => strand.key);
  const pulling = (more: Partial<Look>) =>
    strands(some, look({ similar, ...more }), all, null)
      .filter((strand) => strand.pulls)
      .map((strand) => strand.key);

  it("draws the significant ones, or all", () => {
    expect(drawn({ edges: "significant" })).toEqual(["0:1|0:2"]);
    expect(drawn({ edges: "all" }).sort()).toEqual(["0:1|0:2", "0:1|0:3", "0:2|0:3"]);
    expect(drawn({ edges: "all", leastCount: 3 }).sort()).toEqual(["0:1|0:2", "0:1|0:3"]);
    expect(drawn({ edges: "significant", leastCount: 6 })).toEqual([]);
  });

  it("draws what is alike instead, from a cosine on", () => {
    expect(drawn({ edges: "similar" }).sort()).toEqual(["0:1~0:3", "0:1~1:1"]);
    expect(drawn({ edges: "similar", leastCosine: 0.7 })).toEqual(["0:1~1:1"]);
  });

  it("ties layers that are laid out side by side together in every mode", () => {
    expect(drawn({ layout: "layers" }).sort()).toEqual(["0:1|0:2", "0:1~1:1"]);
  });

  it("moves no node when a threshold is moved", () => {
    expect(pulling({ leastCount: 9 })).toEqual(pulling({}));
    expect(pulling({ edges: "all" })).toEqual(pulling({}));
    expect(pulling({ edges: "similar", leastCosine: 0.95 })).toEqual(pulling({ edges: "similar" }));
  });
});

describe("what can be chosen", () => {
  it("is only what shows something", () => {
    const store = new Store();
    store.configure({ edges: "similar", hue: "effect", layout: "layers" });
    expect(choices(store, false)).toEqual({
      ...{ edges: ["significant", "all"], hue: ["activation"], layout: ["force"], dense: false },
    });
    expect(choices(store, true).layout).toEqual(["force", "map"]);
    const { edges, hue, layout } = lookOf(store, false);
    expect([edges, hue, layout]).toEqual(["significant", "activation", "force"]);
    expect(choices(store, true).edges).toContain("similar");
    // Without a kernel there is a map where one was saved.
    store.place({ at: new Map([["0:1", [0, 0]]]), making: false, trouble: "" });
    expect(choices(store, false).layout).toEqual(["force", "map"]);
  });

  it("finds clusters only where they are looked at", () => {
    const store = new Store();
    const pair = (a: number, b: number, s: number) => ({ a: `0:${a}`, b: `0:${b}`, n: 9, s }) as const;
    const frame = readFrame(rawFrame(1, 0, { features: [1, 2, 3, 4].map((id) => [id, 1]) })) as Frame;
    store.ingest([frame]);
    const find = vi.spyOn(store, "clusters", "get");
    store.end(1, "length", 1, [pair(1, 2, 3), pair(2, 3, 3), pair(3, 4, 0.1)]);
    expect(choices(store, false).hue).not.toContain("cluster");
    store.end(
      ...([1, "length", 1] as const),
      [1, 2, 3, 4].flatMap((a) => [1, 2, 3, 4].filter((b) => b > a).map((b) => pair(a, b, 3))),
    );
    expect(choices(store, false).hue).toContain("cluster");
    expect(lookOf(store, false).clusters.size).toBe(0);
    expect(find).not.toHaveBeenCalled();
    store.configure({ hue: "cluster" });
    expect(lookOf(store, false).clusters.size).toBe(4);
  });

  it("says why the map is not there yet, and lays out by force until it is", () => {
    const store = new Store();
    store.configure({ layout: "map" });
    store.place({ at: new Map(), making: true, trouble: "" });
    expect(lookOf(store, true)).toMatchObject({
      layout: "force",
      unmapped: expect.stringContaining("being made"),
    });
    store.place({ at: new Map(), making: false, trouble: "It cannot be made." });
    expect(lookOf(store, true)).toMatchObject({ layout: "force", unmapped: "It cannot be made." });
    store.place({ at: new Map([["0:1", [0.5, 0]]]), making: true, trouble: "" });
    expect(lookOf(store, true)).toMatchObject({ layout: "map", unmapped: "" });
    // Another answer adds to it; another model has another map.
    store.place({ at: new Map([["1:2", [0, 1]]]), making: false, trouble: "" });
    expect([...lookOf(store, true).places.keys()]).toEqual(["0:1", "1:2"]);
    store.forgetDetails();
    expect(store.places.at.size).toBe(0);
  });
});
