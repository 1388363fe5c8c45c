import { describe, expect, it } from "vitest";
import { readDetails, safeUrl } from "./details";
import { rawFrame, type Spec } from "./fixtures";
import { type Frame, readFrame } from "./frame";
import { Store } from "./store";

function frame(run: number, step: number, spec: Spec = {}): Frame {
  const read = readFrame(rawFrame(run, step, spec));
  if (!read) throw new Error("unreadable fixture");
  return read;
}

const RUN: Spec[] = [
  { special: true },
  {
    features: [
      [1, 4],
      [2, 2],
    ],
  },
  {
    features: [
      [2, 6],
      [3, 1],
    ],
  },
  {
    features: [
      [1, 1],
      [2, 3],
    ],
    edges: [[0, 1, 2, 1.6]],
  },
];

function filled(order = [0, 1, 2, 3]): Store {
  const store = new Store();
  for (const step of order) store.ingest([frame(1, step, RUN[step])]);
  return store;
}

function picture(store: Store) {
  const { step, nodes, edges, scale } = store.moment();
  return { step, scale, nodes: [...nodes.values()].sort((p, q) => p.id - q.id), edges: [...edges.values()] };
}

describe("order", () => {
  it("folds peaks, counts and the newest activation", () => {
    const { nodes } = filled().moment();
    expect(nodes.get("0:2")).toMatchObject({
      last: 3,
      lastStep: 3,
      peak: 6,
      peakStep: 2,
      count: 3,
      firstStep: 1,
    });
    expect(nodes.get("0:3")).toMatchObject({ last: 1, lastStep: 2, count: 1 });
  });

  it("gives the same picture in any order and with duplicates", () => {
    const straight = picture(filled());
    expect(picture(filled([3, 1, 0, 2]))).toEqual(straight);
    expect(picture(filled([0, 1, 1, 2, 0, 3, 3]))).toEqual(straight);
  });

  it("names the first gap, also one at the end that only the total tells of", () => {
    const store = filled([0, 2, 3]);
    expect(store.missing()).toEqual({ run: 1, from: 1 });
    store.ingest([frame(1, 1, RUN[1])]);
    expect(store.missing()).toBeNull();
    store.end(1, "eos", 6);
    expect(store.missing()).toEqual({ run: 1, from: 4 });
  });
});

describe("runs", () => {
  it("a new run drops the one before, frames of an old run are dropped", () => {
    const store = filled();
    store.look(1);
    store.ingest([frame(2, 0, RUN[1])]);
    expect(store.frames).toHaveLength(1);
    expect(store.cursor).toBeNull();
    store.ingest([frame(1, 1, RUN[1])]);
    expect([store.run, store.frames.length]).toEqual([2, 1]);
  });

  it("ignores the end of an old run", () => {
    const store = filled();
    store.enter(2);
    store.end(1, "eos", 4);
    expect([store.finish, store.total]).toEqual(["", 0]);
  });
});

describe("cursor", () => {
  it("shows the graph as it stood, and follows again at the end", () => {
    const store = filled();
    store.look(2);
    expect(store.frame()?.step).toBe(2);
    expect(store.moment().nodes.get("0:2")).toMatchObject({ last: 6, count: 2 });
    expect(store.moment().edges.size).toBe(0);
    store.move(-1);
    expect(store.moment().nodes.has("0:3")).toBe(false);
    store.move(2);
    expect([store.cursor, store.moment().edges.size]).toEqual([null, 1]);
  });

  it("keeps to tokens that are shown and stays while the run goes on", () => {
    const store = filled([0, 1, 2]);
    store.look(0);
    expect(store.cursor).toBe(1);
    store.ingest([frame(1, 3, RUN[3])]);
    expect(store.cursor).toBe(1);
    expect(store.moment().step).toBe(1);
    store.move(-5);
    expect(store.cursor).toBe(1);
  });
});

describe("what is asked about a feature", () => {
  it("lists firings and neighbours", () => {
    const store = filled();
    expect(store.firings("0:1").map(({ step, activation }) => [step, activation])).toEqual([
      [1, 4],
      [3, 1],
    ]);
    expect(store.neighbours("0:1")).toEqual([{ key: "0:2", label: "label 2", n: 2, s: 1.6 }]);
    expect(store.neighbours("0:3")).toEqual([]);
  });

  it("sorts neighbours by significance, then by count, and keeps an edge's newest value", () => {
    const store = filled();
    store.ingest([
      frame(1, 4, {
        features: [
          [1, 1],
          [2, 1],
          [3, 1],
          [4, 1],
        ],
        edges: [
          [0, 1, 3, 2],
          [0, 2, 9, 0],
          [0, 3, 4, 5],
        ],
      }),
    ]);
    expect(store.neighbours("0:1").map(({ key, n }) => [key, n])).toEqual([
      ["0:4", 4],
      ["0:2", 3],
      ["0:3", 9],
    ]);
  });

  it("keeps a known label when a later frame has none", () => {
    const store = new Store();
    store.ingest([frame(1, 0, { features: [[1, 1, ""]] }), frame(1, 1, { features: [[1, 1, "dog"]] })]);
    store.ingest([frame(1, 2, { features: [[1, 1, ""]] })]);
    expect(store.label("0:1")).toBe("dog");
    store.ingest([frame(1, 3, { features: [[1, 1, "d…"]] })]);
    expect(store.label("0:1")).toBe("dog");
    store.ingest([frame(1, 4, { features: [[1, 1, "cat…"]] })]);
    expect(store.label("0:1")).toBe("cat…");
    expect(store.label("0:99")).toBe("feature 99");
  });

  it("measures speed on generated tokens by the engine's clock", () => {
    const store = filled();
    expect(store.speed()).toBe(20);
    expect(new Store().speed()).toBeNull();
  });
});

describe("hostile and broken input", () => {
  it("keeps text as it is and never reads it", () => {
    const evil = '<img src=x onerror="alert(1)">';
    const read = readFrame({ ...rawFrame(1, 0, { features: [[1, 1, evil]] }), token: evil });
    expect([read?.token, read?.features[0]?.label]).toEqual([evil, evil]);
  });

  it("refuses frames without a place and drops features without numbers, moving edges along", () => {
    for (const bad of [
      null,
      3,
      [],
      {},
      { run: 1 },
      { run: 1, step: -1 },
      { run: "1", step: 0 },
      { run: 1, step: 0.5 },
    ])
      expect(readFrame(bad)).toBeNull();
    const raw = rawFrame(1, 0, {
      features: [
        [1, Number.NaN],
        [2, 1],
        [3, 2],
      ],
      edges: [
        [0, 1, 2, 1],
        [1, 2, 3, 2],
        [2, 9, 1, 1],
      ],
    });
    const read = readFrame(raw);
    expect(read?.features.map(({ id }) => id)).toEqual([2, 3]);
    expect(read?.edges).toEqual([[0, 1, 3, 2]]);
  });

  it("lets only web pages become links", () => {
    expect(safeUrl("https://www.neuronpedia.org/gpt2-small/8-res-jb/1")).not.toBe("");
    for (const bad of [
      "javascript:alert(1)",
      "data:text/html,x",
      "http://a",
      "//a",
      "/lab",
      "https://a b",
      "",
    ])
      expect(safeUrl(bad)).toBe("");
    expect(readDetails({ id: 1, url: "javascript:1" })?.url).toBe("");
  });

  it("reads texts in which it fires, and what is like it, and leaves out what is none", () => {
    const read = readDetails({
      id: 7,
      contexts: [
        [
          ["a", 0],
          [" b", 2.5],
          [" c", "x"],
        ],
        [],
        [["d", 0]],
        "x",
        [[3]],
      ],
      nearest: [[1, 9, 0.5, "like it"], [0, 8, null, "x"], ["a"], null],
    });
    expect(read?.contexts).toEqual([
      {
        tokens: [
          ["a", 0],
          [" b", 2.5],
          [" c", 0],
        ],
        at: 1,
      },
    ]);
    expect(read?.nearest).toEqual([{ key: "1:9", cosine: 0.5, label: "like it" }]);
    const store = new Store();
    if (read) store.learn(read);
    expect(store.label("1:9")).toBe("like it");
  });

  it("reads details with parts missing", () => {
    expect(
      readDetails({ id: 7, layer: 3, fires_on: [[" a", 2], " b"], boosts: [["x", 1], "y"] }),
    ).toMatchObject({
      firesOn: [
        [" a", 2],
        [" b", null],
      ],
      boosts: ["x", "y"],
      score: null,
      maximum: null,
    });
    expect(readDetails({ label: "no id" })).toBeNull();
  });
});
