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
      edges: [[3, 1, 3, 2, 9, s], [3, 1, 3, 77, 9, 5], ["x"]],
    });
    const edges = () => [...store.moment().edges.values()].map(({ a, b, n, s }) => [a, b, n, s]);
    model.tell({ kind: "steps", run: 4, steps: frames.slice(0, 1) });
    model.tell(settled(3));
    expect(edges()).toEqual([["3:1", "3:2", 9, 3]]);
    model.tell({ kind: "steps", run: 4, steps: frames.slice(1, 2) });
    expect(edges()).toEqual([["3:1", "3:2", 9, 3]]);
    model.tell({ kind: "steps", run: 4, steps: frames.slice(2) });
    expect(edges()).toEqual([["3:1", "3:2", 3, 2]]);
    model.tell({ ...settled(3), total: 3, edges: [] });
    expect(edges()).toEqual([["3:1", "3:2", 3, 0]]);
  });

  it("takes up the newest step and the selection that were there before it", () => {
    model.traits.step = rawFrame(2, 0, { features: [[9, 1]] });
    model.traits.selected_feature = 9;
    link.start();
    expect([store.run, store.frames.length]).toEqual([2, 1]);
    expect(store.selected).toEqual({ id: 9, layer: 3 });
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
    link.ask(7, 3);
    link.ask(7, 3);
    expect(model.asked("feature")).toEqual([{ kind: "feature", id: 7, layer: 3 }]);
    vi.advanceTimersByTime(6000);
    link.ask(7, 3);
    expect(model.asked("feature")).toHaveLength(2);
    model.tell({ kind: "feature", id: 7, layer: 3, label: "dog", source: "here" });
    vi.advanceTimersByTime(6000);
    link.ask(7, 3);
    expect(model.asked("feature")).toHaveLength(2);
    expect(store.label("3:7")).toBe("dog");
  });

  it("forgets details when another model or SAE is loaded", () => {
    link.start();
    model.tell({ kind: "feature", id: 7, layer: 3, label: "dog" });
    model.change("info", { model: "m", sae: "other", layer: 3 });
    expect(store.details.size).toBe(0);
  });

  it("follows Python's selection, but late echoes do not undo newer clicks", () => {
    link.start();
    model.change("selected_feature", 4);
    expect(store.selected).toEqual({ id: 4, layer: 3 });
    link.select(5, 3);
    link.select(6, 3);
    model.change("selected_feature", 5);
    expect(store.selected?.id).toBe(6);
    model.change("selected_feature", 6);
    expect(store.selected?.id).toBe(6);
    model.change("selected_feature", null);
    expect(store.selected).toBeNull();
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

describe("a saved run", () => {
  it("answers like Python does", () => {
    const saved = new SavedModel({
      schema: 1,
      info: { model: "m" },
      traits: { prompt: "hi" },
      run: 3,
      finish: "eos",
      steps: steps(3, 0, 250),
      features: [{ kind: "feature", id: 1, layer: 3, label: "one" }],
    });
    const own = new Link(saved, store);
    own.start();
    expect([store.tokens().length, store.finish, own.trait("prompt")]).toEqual([250, "eos", "hi"]);
    own.ask(1, 3);
    own.ask(2, 3);
    expect([...store.details.keys()]).toEqual(["3:1"]);
    own.select(1, 3);
    expect(store.selected).toEqual({ id: 1, layer: 3 });
    own.dispose();
  });

  it("survives a page without a run", () => {
    for (const data of [null, {}, { steps: "x", features: 3 }])
      new Link(new SavedModel(data), new Store()).start();
  });
});
