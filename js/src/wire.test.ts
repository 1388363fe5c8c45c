import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { FakeModel, rawFrame } from "./fixtures";
import { SavedModel } from "./replay";
import { Store } from "./store";
import { Link } from "./wire";

let model: FakeModel;
let store: Store;
let link: Link;

beforeEach(() => {
  vi.useFakeTimers();
  model = new FakeModel();
  store = new Store();
  link = new Link(model, store);
});
afterEach(() => {
  link.dispose();
  vi.useRealTimers();
});

const steps = (run: number, from: number, to: number) =>
  Array.from({ length: to - from }, (_, i) => rawFrame(run, from + i, { features: [[1, 1]] }));

describe("greeting", () => {
  it("says hello once and takes the snapshot", () => {
    link.start();
    expect(model.sent).toEqual([{ kind: "hello" }]);
    model.tell({ kind: "snapshot", run: 4, total: 3, finish: "eos" });
    model.tell({ kind: "steps", run: 4, steps: steps(4, 0, 3) });
    expect([store.run, store.tokens().length, store.finish, store.missing()]).toEqual([4, 3, "eos", null]);
    vi.advanceTimersByTime(60_000);
    expect(model.asked("pull")).toEqual([]);
  });

  it("settles the edges, whichever comes first, until newer frames know better", () => {
    link.start();
    const frames = [0, 1, 2].map((step) =>
      rawFrame(4, step, {
        features: [
          [1, 1],
          [2, 1],
        ],
        edges: [[0, 1, step + 1, 2]],
      }),
    );
    const settled = (s: number) => ({
      kind: "end",
      run: 4,
      total: 2,
      finish: "eos",
      edges: [[0, 1, 0, 2, 9, s], [0, 1, 0, 77, 9, 5], ["x"]],
    });
    const edges = () => [...store.moment().edges.values()].map(({ a, b, n, s }) => [a, b, n, s]);
    model.tell({ kind: "steps", run: 4, steps: frames.slice(0, 1) });
    model.tell(settled(3));
    expect(edges()).toEqual([["0:1", "0:2", 9, 3]]);
    model.tell({ kind: "steps", run: 4, steps: frames.slice(1, 2) });
    expect(edges()).toEqual([["0:1", "0:2", 9, 3]]);
    model.tell({ kind: "steps", run: 4, steps: frames.slice(2) });
    expect(edges()).toEqual([["0:1", "0:2", 3, 2]]);
    model.tell({ ...settled(3), total: 3, edges: [] });
    expect(edges()).toEqual([["0:1", "0:2", 3, 0]]);
  });

  it("takes up the newest step and the selection that were there before it", () => {
    model.traits.step = rawFrame(2, 0, { features: [[9, 1]] });
    model.traits._selection = { features: [[0, 9]], inspected: [0, 9] };
    link.start();
    expect([store.run, store.frames.length]).toEqual([2, 1]);
    expect(store.selected).toEqual({ id: 9, sae: 0 });
  });

  it("keeps quiet about what it does not know", () => {
    link.start();
    for (const odd of [
      null,
      1,
      "x",
      [],
      {},
      { kind: "unheard" },
      { kind: "steps" },
      { kind: "end" },
      { kind: "feature" },
    ])
      model.tell(odd);
    expect(store.run).toBe(-1);
  });
});

describe("gaps", () => {
  it("asks for what is missing, once it had time to arrive", () => {
    link.start();
    model.change("step", rawFrame(1, 0));
    model.change("step", rawFrame(1, 3));
    expect(model.asked("pull")).toEqual([]);
    vi.advanceTimersByTime(200);
    expect(model.asked("pull")).toEqual([{ kind: "pull", run: 1, from: 1 }]);
    model.tell({ kind: "steps", run: 1, steps: steps(1, 1, 4) });
    vi.advanceTimersByTime(60_000);
    expect(model.asked("pull")).toHaveLength(1);
    expect(store.tokens()).toHaveLength(4);
  });

  it("does not ask when a late frame closes the gap by itself", () => {
    link.start();
    model.change("step", rawFrame(1, 1));
    model.change("step", rawFrame(1, 0));
    vi.advanceTimersByTime(60_000);
    expect(model.asked("pull")).toEqual([]);
  });

  it("notices frames lost at the very end", () => {
    link.start();
    model.tell({ kind: "steps", run: 1, steps: steps(1, 0, 3) });
    model.tell({ kind: "end", run: 1, finish: "length", total: 5 });
    vi.advanceTimersByTime(200);
    expect(model.asked("pull")).toEqual([{ kind: "pull", run: 1, from: 3 }]);
  });

  it("asks ever less often, then rests, and takes heart when something comes", () => {
    link.start();
    model.change("step", rawFrame(1, 5));
    vi.advanceTimersByTime(600_000);
    expect(model.asked("pull")).toHaveLength(7);
    model.tell({ kind: "steps", run: 1, steps: steps(1, 0, 2) });
    vi.advanceTimersByTime(200);
    expect(model.asked("pull").at(-1)).toEqual({ kind: "pull", run: 1, from: 2 });
  });
});

describe("runs", () => {
  it("reset clears, stale frames and stale resets do not come back", () => {
    link.start();
    model.tell({ kind: "steps", run: 1, steps: steps(1, 0, 3) });
    model.tell({ kind: "reset", run: 2 });
    model.change("step", rawFrame(1, 3));
    expect([store.run, store.frames.length]).toEqual([2, 0]);
    model.change("step", rawFrame(2, 0));
    model.tell({ kind: "reset", run: 1 });
    model.tell({ kind: "end", run: 1, finish: "eos", total: 9 });
    expect([store.run, store.frames.length, store.finish]).toEqual([2, 1, ""]);
  });
});

describe("actions", () => {
  it("throttles a slider and always sends where it came to rest", () => {
    link.start();
    for (let i = 1; i <= 20; i++) {
      link.set("temperature", i / 10);
      vi.advanceTimersByTime(20);
    }
    vi.advanceTimersByTime(500);
    const values = model.asked("set").map(({ value }) => value);
    expect(values.length).toBeLessThanOrEqual(6);
    expect([values[0], values.at(-1)]).toEqual([0.1, 2]);
    link.set("temperature", 0.5);
    expect(model.asked("set").at(-1)?.value).toBe(0.5);
  });

  it("asks for a feature once, and again only when no answer came", () => {
    link.start();
    link.ask(7, 0);
    link.ask(7, 0);
    expect(model.asked("feature")).toEqual([{ kind: "feature", sae: 0, id: 7 }]);
    vi.advanceTimersByTime(6000);
    link.ask(7, 0);
    expect(model.asked("feature")).toHaveLength(2);
    model.tell({ kind: "feature", id: 7, layer: 3, label: "dog", source: "here" });
    vi.advanceTimersByTime(6000);
    link.ask(7, 0);
    expect(model.asked("feature")).toHaveLength(2);
    expect(store.label("0:7")).toBe("dog");
  });

  it("forgets details when another model or SAE is loaded", () => {
    link.start();
    model.tell({ kind: "feature", id: 7, layer: 3, label: "dog" });
    model.change("info", { model: "m", sae: "other", layer: 3 });
    expect(store.details.size).toBe(0);
  });

  it("is silent after dispose", () => {
    link.start();
    model.change("step", rawFrame(1, 5));
    link.dispose();
    vi.advanceTimersByTime(60_000);
    model.change("step", rawFrame(1, 6));
    expect(model.asked("pull")).toEqual([]);
    expect([...model.listeners.values()].every((callbacks) => callbacks.size === 0)).toBe(true);
    expect(store.frames).toHaveLength(6);
  });
});

describe("branches", () => {
  it("takes the whole tree from the greeting", () => {
    link.start();
    model.tell({
      kind: "snapshot",
      run: 6,
      runs: [
        { run: 4, parent: null, from: 0, total: 4, finish: "eos", token: null, edges: [] },
        {
          run: 6,
          parent: 4,
          from: 2,
          total: 5,
          finish: "length",
          token: " dog",
          edges: [[0, 1, 0, 2, 9, 3]],
        },
      ],
      similar: [[0, 1, 0, 2, 0.9]],
    });
    model.tell({ kind: "steps", run: 4, steps: steps(4, 0, 4) });
    model.tell({ kind: "steps", run: 6, steps: steps(6, 2, 5) });
    expect([store.run, store.tree, store.finish, store.missing()]).toEqual([6, 4, "length", null]);
    expect(store.track).toMatchObject({ parent: 4, from: 2, token: " dog" });
    expect(store.frames.map((frame) => frame?.run)).toEqual([4, 4, 6, 6, 6]);
    expect(store.similar).toEqual([{ a: "0:1", b: "0:2", cosine: 0.9 }]);
    vi.advanceTimersByTime(60_000);
    expect(model.asked("pull")).toEqual([]);
  });

  it("follows a branch as it begins and asks for its gaps by its own number", () => {
    link.start();
    model.tell({ kind: "steps", run: 1, steps: steps(1, 0, 4) });
    model.tell({ kind: "branch", run: 2, parent: 1, from: 2, token: null });
    model.change("step", rawFrame(2, 3));
    vi.advanceTimersByTime(200);
    expect(model.asked("pull")).toEqual([{ kind: "pull", run: 2, from: 2 }]);
    model.tell({ kind: "steps", run: 2, steps: steps(2, 2, 4) });
    expect([store.run, store.missing(), store.frames.length]).toEqual([2, null, 4]);
  });

  it("asks for everything when it missed what a branch grows from", () => {
    link.start();
    model.tell({ kind: "branch", run: 7, parent: 5, from: 2, token: null });
    expect(model.asked("hello")).toHaveLength(2);
  });

  it("names the run a step was written in", () => {
    link.start();
    model.tell({ kind: "steps", run: 1, steps: steps(1, 0, 4) });
    model.tell({ kind: "branch", run: 2, parent: 1, from: 2, token: null });
    model.tell({ kind: "steps", run: 2, steps: steps(2, 2, 4) });
    link.branch(1, null);
    link.branch(3, 12);
    link.askWhy(1, 5, true);
    expect(model.asked("branch")).toEqual([
      { kind: "branch", run: 1, step: 1, token_id: null },
      { kind: "branch", run: 2, step: 3, token_id: 12 },
    ]);
    expect(model.asked("why")).toEqual([{ kind: "why", run: 1, step: 1, token_id: 5, exact: true }]);
  });
});

describe("steering", () => {
  it("acts at once, throttled per feature, and the last value always goes out", () => {
    link.start();
    for (let i = 1; i <= 20; i++) {
      link.steer(0, 7, i, false);
      link.steer(1, 7, 2, true);
      vi.advanceTimersByTime(20);
    }
    link.steer(0, 7, null, false);
    vi.advanceTimersByTime(500);
    const of = (sae: number) => model.asked("steer").filter((message) => message.sae === sae);
    expect(of(0)[0]).toEqual({ kind: "steer", sae: 0, id: 7, value: 1, scale: false });
    expect(of(0).at(-1)?.value).toBeNull();
    expect(of(0).length).toBeLessThanOrEqual(7);
    expect(of(1)[0]).toEqual({ kind: "steer", sae: 1, id: 7, value: 2, scale: true });
    expect(of(1).length).toBeLessThanOrEqual(5);
    link.preset("mute");
    link.set("reconstruct", true);
    expect(model.sent.slice(-2)).toEqual([
      { kind: "steering", action: "mute" },
      { kind: "set", name: "reconstruct", value: true },
    ]);
  });

  it("reads the list as far as it makes sense", () => {
    link.start();
    model.change("steering", [
      { sae: 1, id: 7, layer: 4, label: "dog", value: 0, scale: false },
      { id: 8, value: 2, scale: true },
      { sae: 0, id: "9", value: 1 },
      { sae: 0, id: 9, value: Number.NaN },
      null,
      3,
    ]);
    expect(link.steering()).toEqual([
      { key: "1:7", sae: 1, id: 7, layer: 4, label: "dog", value: 0, scale: false },
      { key: "0:8", sae: 0, id: 8, layer: 0, label: "", value: 2, scale: true },
    ]);
    model.change("steering", "nonsense");
    expect(link.steering()).toEqual([]);
  });
});

describe("selection", () => {
  it("follows Python's, but late echoes do not undo newer clicks", () => {
    link.start();
    model.select([0, 4]);
    expect(store.selected).toEqual({ id: 4, sae: 0 });
    link.select(5, 1);
    link.select(6, 0);
    expect(model.asked("select")).toEqual([
      { kind: "select", sae: 1, id: 5 },
      { kind: "select", sae: 0, id: 6 },
    ]);
    model.select([1, 5]);
    expect(store.selectedKey).toBe("0:6");
    model.select([0, 6]);
    expect(store.selectedKey).toBe("0:6");
    model.select();
    expect(store.selected).toBeNull();
    // An echo that never came blocks nothing.
    link.select(7, 0);
    vi.advanceTimersByTime(3000);
    model.select([1, 9]);
    expect(store.selectedKey).toBe("1:9");
  });

  it("holds several features, the newest of which is inspected", () => {
    link.start();
    link.choose(["0:1", "1:2"]);
    expect([[...store.chosen], store.selectedKey]).toEqual([["0:1", "1:2"], "1:2"]);
    link.choose(["0:1", "1:2", "0:3"], null);
    expect(store.selected).toBeNull();
    expect(model.asked("choose")).toEqual([
      {
        kind: "choose",
        features: [
          [0, 1],
          [1, 2],
        ],
        inspected: [1, 2],
      },
      {
        kind: "choose",
        features: [
          [0, 1],
          [1, 2],
          [0, 3],
        ],
        inspected: null,
      },
    ]);
    link.select(5, 0);
    expect([...store.chosen]).toEqual(["0:5"]);
    link.choose([]);
    expect([store.chosen.size, store.selected]).toEqual([0, null]);
  });

  it("adds and takes away one by one, and opens nothing by that", () => {
    link.start();
    link.toggle("0:1");
    link.toggle("0:2");
    expect([[...store.chosen], store.selectedKey]).toEqual([["0:1", "0:2"], null]);
    link.toggle("0:1");
    expect([...store.chosen]).toEqual(["0:2"]);
    link.select(2, 0);
    link.toggle("0:3");
    expect(store.selectedKey).toBe("0:3");
    link.toggle("0:3");
    expect(store.selectedKey).toBe("0:2");
    link.toggle("0:2");
    expect([store.chosen.size, store.selected]).toEqual([0, null]);
  });

  it("pins beside it, and stays pinned", () => {
    link.start();
    link.pin("0:1", true);
    link.pin("1:2", true);
    link.pin("0:1", true);
    link.select(9, 0);
    link.select(null);
    expect([...store.pinned]).toEqual(["1:2", "0:1"]);
    link.pin("1:2", false);
    expect(model.asked("pin").at(-1)).toEqual({ kind: "pin", features: [[0, 1]] });
    vi.advanceTimersByTime(3000);
    model.change("_selection", { features: [], inspected: null, pinned: [[0, 7]] });
    expect([...store.pinned]).toEqual(["0:7"]);
  });

  it("tells of a change once, and of none not at all", () => {
    link.start();
    let told = 0;
    store.subscribe((change) => {
      if (change === "select") told++;
    });
    link.select(3, 0);
    model.select([0, 3]);
    expect(told).toBe(1);
    for (const odd of [null, 3, { features: "x", inspected: [0], pinned: [[1], ["a", 2], null] }]) {
      model.change("_selection", odd);
      expect(store.marks).toEqual({ chosen: [], inspected: null, pinned: [] });
    }
    expect(told).toBe(2);
    model.change("_selection", { features: [[0, 1]], inspected: [0, 2] });
    expect(store.marks).toEqual({ chosen: ["0:1"], inspected: null, pinned: [] });
  });
});

describe("features that are followed", () => {
  it("are asked for once in each run, and known where no frame shows them", () => {
    link.start();
    model.tell({ kind: "snapshot", run: 1, runs: [{ run: 1, parent: null, from: 0, total: 3 }] });
    model.tell({
      kind: "steps",
      run: 1,
      steps: [...steps(1, 0, 2), { ...rawFrame(1, 2), beside: [[0, 9, 0.5], ["x"]] }],
    });
    link.watch(["0:9"]);
    link.watch(["0:9", "1:4"]);
    expect(model.asked("activations")).toEqual([
      { kind: "activations", run: 1, features: [[0, 9]] },
      { kind: "activations", run: 1, features: [[1, 4]] },
    ]);
    model.tell({
      kind: "activations",
      run: 1,
      rows: [
        [
          0,
          9,
          [
            [0, 2],
            [1, 3],
            ["a", 1],
          ],
        ],
        ["x"],
        null,
      ],
    });
    const told = (key: string) => store.tokens().map((frame) => store.activation(frame, key));
    expect(told("0:9")).toEqual([2, 3, 0.5]);
    expect(store.firings("0:9").map(({ step }) => step)).toEqual([0, 1, 2]);
    expect([told("0:1"), told("1:4")]).toEqual([
      [1, 1, 0],
      [0, 0, 0],
    ]);
    // A branch shares what it has in common, and has an own end.
    model.tell({ kind: "branch", run: 2, parent: 1, from: 1, token: null });
    model.change("step", rawFrame(2, 1));
    link.watch(["0:9"]);
    expect(model.asked("activations").at(-1)).toEqual({ kind: "activations", run: 2, features: [[0, 9]] });
    expect(told("0:9")).toEqual([2, 0]);
    model.tell({
      kind: "activations",
      run: 2,
      rows: [
        [
          0,
          9,
          [
            [0, 2],
            [1, 7],
          ],
        ],
      ],
    });
    expect(told("0:9")).toEqual([2, 7]);
    store.visit(1);
    expect(told("0:9")).toEqual([2, 3, 0.5]);
    // What nobody followed for a while is asked for again.
    link.watch([]);
    link.watch(["0:9"]);
    expect(model.asked("activations").at(-1)).toEqual({ kind: "activations", run: 1, features: [[0, 9]] });
    model.tell({ kind: "reset", run: 5 });
    model.change("step", rawFrame(5, 0));
    expect(told("0:9")).toEqual([0]);
  });
});

describe("known maxima", () => {
  it("are asked for once, and again after a while where nobody knew", () => {
    link.start();
    link.askMaxima(["0:1", "1:2"]);
    link.askMaxima(["0:1", "1:2"]);
    expect(model.asked("maxima")).toEqual([
      {
        kind: "maxima",
        features: [
          [0, 1],
          [1, 2],
        ],
      },
    ]);
    model.tell({ kind: "maxima", maxima: [[0, 1, 8], [1, 2, null], ["x"], null, [0, 3, -1]] });
    expect(["0:1", "1:2", "0:3"].map((key) => store.maximum(key))).toEqual([8, null, null]);
    vi.advanceTimersByTime(6000);
    link.askMaxima(["0:1", "1:2"]);
    expect(model.asked("maxima")[1]).toEqual({ kind: "maxima", features: [[1, 2]] });
    // What was asked about one feature alone is newer.
    model.tell({ kind: "feature", id: 1, sae: 0, max_activation: 9 });
    expect(store.maximum("0:1")).toBe(9);
    model.change("info", { model: "m", sae: "other" });
    expect(store.maximum("0:1")).toBeNull();
  });
});

describe("answers", () => {
  const why = {
    kind: "why",
    run: 1,
    step: 3,
    token: " x",
    token_id: 9,
    logprob: -1,
    logit_difference: 12,
    done: 1,
    total: 2,
    saes: [
      {
        sae: 1,
        features: [
          [7, "seven", 2.5, 1.5, 0.3],
          [8, "eight", 1, -2, null],
        ],
        error: [1, null],
        all: [3, 4],
      },
    ],
  };
  beforeEach(() => {
    link.start();
    model.tell({ kind: "steps", run: 1, steps: steps(1, 0, 5) });
  });

  it("keeps the reasons for a token, and exact ones against a quick answer that comes late", () => {
    model.tell(why);
    model.tell({ ...why, done: 0, total: 0 });
    expect(store.why(3, 9)).toMatchObject({ done: 1, logitDifference: 12, token: " x" });
    expect(store.why(3, 9)?.saes[0]).toMatchObject({
      sae: 1,
      features: [
        { key: "1:7", label: "seven", activation: 2.5, direct: 1.5, exact: 0.3 },
        { key: "1:8", direct: -2, exact: null },
      ],
      error: { direct: 1, exact: null },
      bias: { direct: null, exact: null },
      all: { direct: 3, exact: 4 },
    });
    model.tell({ ...why, run: 77 });
    expect([store.why(4, 9), store.why(3, 8)]).toEqual([null, null]);
  });

  it("keeps an edge's numbers by its ends, whichever comes first, and asks again as the run grows", () => {
    link.askEdge("0:2", "0:1");
    link.askEdge("0:1", "0:2");
    expect(model.asked("edge")).toEqual([{ kind: "edge", run: 1, a: [0, 2], b: [0, 1] }]);
    model.tell({ kind: "edge", a: [0, 2], b: [0, 1], n: 4, n_a: 6, n_b: 5, tokens: 40, p: 1e-9, q: null });
    expect(store.edgeNumbers.get("0:1|0:2")).toMatchObject({
      a: "0:2",
      n: 4,
      nA: 6,
      p: 1e-9,
      q: null,
      phi: null,
    });
    model.tell({ kind: "steps", run: 1, steps: steps(1, 5, 6) });
    link.askEdge("0:1", "0:2");
    expect(model.asked("edge")).toHaveLength(2);
  });

  it("asks what is alike at most once a second, and only when there is something new", () => {
    for (let i = 0; i < 10; i++) link.askSimilar();
    expect(model.asked("similar")).toEqual([{ kind: "similar", run: 1, least: 0.3 }]);
    model.tell({ kind: "similar", run: 1, least: 0.3, edges: [[0, 1, 1, 2, 0.8], [0, 1, 1], "x", null] });
    expect(store.similar).toEqual([{ a: "0:1", b: "1:2", cosine: 0.8 }]);
    model.tell({ kind: "similar", run: 9, edges: [] });
    expect(store.similar).toHaveLength(1);
    model.tell({ kind: "steps", run: 1, steps: [rawFrame(1, 5, { features: [[55, 1]] })] });
    link.askSimilar();
    expect(model.asked("similar")).toHaveLength(1);
    vi.advanceTimersByTime(1100);
    expect(model.asked("similar")).toHaveLength(2);
    // The threshold chooses from what is known.
    store.configure({ leastCosine: 0.7 });
    vi.advanceTimersByTime(1100);
    link.askSimilar();
    expect(model.asked("similar")).toHaveLength(2);
  });

  it("compares two runs of the tree", () => {
    model.tell({ kind: "branch", run: 2, parent: 1, from: 3, token: null });
    link.compare(2, 1);
    expect(model.asked("compare")).toEqual([{ kind: "compare", a: 2, b: 1 }]);
    const rows = [[0, 4, "four", 1.5, 0, 3, 0, 2, 0], [0], null];
    model.tell({ kind: "comparison", a: 2, b: 1, from: 3, rows });
    expect(store.comparison).toMatchObject({ a: 2, b: 1, titleA: "B", titleB: "A" });
    expect([...(store.comparison?.rows ?? [])]).toEqual([
      ["0:4", { label: "four", a: 1.5, b: 0, peakA: 3, peakB: 0, tokensA: 2, tokensB: 0 }],
    ]);
  });

  it("never stumbles over their shape", () => {
    const odd: unknown[] = [null, 0, "x", [], {}, [null], [[]], [{}], { run: 1, step: 3 }];
    for (const kind of [
      "snapshot",
      "branch",
      "why",
      "edge",
      "similar",
      "comparison",
      "end",
      "steps",
      "reset",
    ])
      for (const value of odd) {
        model.tell({
          kind,
          runs: value,
          saes: value,
          edges: value,
          rows: value,
          a: value,
          b: value,
          steps: value,
        });
        model.tell({ ...why, kind, runs: value, saes: value, edges: value, rows: value, a: value, b: value });
        model.tell({
          ...why,
          kind,
          run: value,
          step: value,
          saes: [value, { features: value, error: value }],
        });
      }
    expect(store.tracks.length).toBeGreaterThan(0);
    expect(store.moment().nodes).toBeDefined();
  });
});

describe("a saved run", () => {
  it("answers like Python does", () => {
    const saved = new SavedModel({
      schema: 1,
      info: { model: "m" },
      traits: { prompt: "hi" },
      run: 3,
      finish: "eos",
      steps: steps(3, 0, 250),
      features: [{ kind: "feature", id: 1, layer: 3, label: "one", max_activation: 4, boosts: [" cat"] }],
      activations: [[0, 8, [[2, 1.5]]]],
    });
    const own = new Link(saved, store);
    own.start();
    expect([store.tokens().length, store.finish, own.trait("prompt")]).toEqual([250, "eos", "hi"]);
    own.search("cat", ({ token, rows, boosting }) =>
      expect([token, rows, boosting]).toEqual(["cat", [], [["0:1", "one"]]]),
    );
    own.search("one", ({ token, rows }) => expect([token, rows]).toEqual(["", [["0:1", "one"]]]));
    expect.assertions(8);
    own.watch(["0:8"]);
    expect(store.firings("0:8")).toMatchObject([{ step: 2, activation: 1.5 }]);
    own.askMaxima(["0:1"]);
    expect(store.maximum("0:1")).toBe(4);
    own.ask(1, 0);
    own.ask(2, 0);
    expect([...store.details.keys()]).toEqual(["0:1"]);
    own.select(1, 0);
    expect(store.selected).toEqual({ id: 1, sae: 0 });
    own.choose(["0:1", "0:2"]);
    own.pin("0:7", true);
    own.select(null);
    expect(store.marks).toEqual({ chosen: [], inspected: null, pinned: ["0:7"] });
    own.dispose();
  });

  it("survives a page without a run", () => {
    for (const data of [null, {}, { steps: "x", features: 3, runs: [null, {}], similar: 3 }])
      new Link(new SavedModel(data), new Store()).start();
  });

  it("may hold a tree", () => {
    const runs = [
      { run: 1, parent: null, from: 0, total: 3, finish: "eos" },
      { run: 2, parent: 1, from: 2, total: 4, finish: "length" },
    ];
    const saved = new SavedModel({
      info: { model: "m" },
      run: 2,
      runs,
      steps: [...steps(1, 0, 3), ...steps(2, 2, 4)],
    });
    const own = new Link(saved, store);
    own.start();
    expect([store.tracks.length, store.run, store.frames.length, store.finish]).toEqual([2, 2, 4, "length"]);
    own.dispose();
  });
});
