import { beforeEach, describe, expect, it } from "vitest";
import { readWhy } from "./answers";
import { strongest } from "./contexts";
import { codeOf, pythonOf } from "./copy";
import { rawFrame, type Spec } from "./fixtures";
import { type Frame, readFrame, readInfo } from "./frame";
import { effectsAfter, groupsOf, hiddenIn, measureOf, type Order } from "./rank";
import { firedOn } from "./search";
import { Store } from "./store";

let store: Store;

function frame(step: number, spec: Spec = {}): Frame {
  const read = readFrame(rawFrame(1, step, spec));
  if (!read) throw new Error("unreadable fixture");
  return read;
}

function pin(...pinned: string[]): void {
  store.mark({ chosen: [], inspected: null, pinned });
}

const order = (by: Order) =>
  groupsOf(store.frame(), store, by).map(({ sae, lines }) => [sae, ...lines.map(({ key }) => key)]);

beforeEach(() => {
  store = new Store();
  store.ingest([
    frame(0, {
      features: [
        [30, 4, "feature 10"],
        [7, 2, "Zebra"],
        [12, 1, "feature 9"],
        [5, 3, "deep", 1],
      ],
    }),
  ]);
});

describe("the order of what fires", () => {
  it("is by activation, SAE by SAE, unless something else is asked for", () => {
    expect(order("activation")).toEqual([
      [0, "0:30", "0:7", "0:12"],
      [1, "1:5"],
    ]);
    expect(order("id")[0]).toEqual([0, "0:7", "0:12", "0:30"]);
    // As a person counts: 9 before 10.
    expect(order("label")[0]).toEqual([0, "0:12", "0:30", "0:7"]);
  });

  it("is by the share of the known maximum where one is known, then by activation", () => {
    expect(order("share")[0]).toEqual([0, "0:30", "0:7", "0:12"]);
    store.learnMaxima([
      ["0:30", 40],
      ["0:12", 2],
      ["0:7", null],
    ]);
    expect(order("share")[0]).toEqual([0, "0:12", "0:30", "0:7"]);
    const [lines] = groupsOf(store.frame(), store, "share").map((group) => group.lines);
    expect(lines?.map((line) => measureOf(line, "share", store, null))).toEqual([0.5, 0.1, null]);
  });

  it("is by what each does for the next token, whichever way, once that is known", () => {
    store.ingest([frame(1, { features: [[1, 1]] })]);
    store.look(0);
    expect(effectsAfter(store.frame(), store)).toBeNull();
    const feature = (id: number, direct: number, exact: number | null) => [id, `f ${id}`, 1, direct, exact];
    const why = (done: number) => ({
      kind: "why",
      run: 1,
      step: 1,
      token: " t1",
      token_id: 1,
      done,
      total: 2,
      saes: [{ sae: 0, features: [feature(7, -3, 0.1), feature(12, 2, done === 2 ? 0.7 : null)] }],
    });
    const tell = (done: number) => {
      const read = readWhy(why(done));
      if (read) store.explain(read);
    };
    tell(0);
    expect(order("effect")[0]).toEqual([0, "0:7", "0:12", "0:30"]);
    expect(effectsAfter(store.frame(), store)?.exact).toBe(false);
    tell(2);
    expect(order("effect")[0]).toEqual([0, "0:12", "0:7", "0:30"]);
    expect(effectsAfter(store.frame(), store)?.exact).toBe(true);
  });

  it("has what is pinned on top and once, though it is quiet or dense", () => {
    pin("0:12", "1:99");
    expect(order("activation")).toEqual([
      [null, "0:12", "1:99"],
      [0, "0:30", "0:7"],
      [1, "1:5"],
    ]);
    expect(order("id")[0]).toEqual([null, "0:12", "1:99"]);
    store = new Store();
    pin("0:3");
    expect(order("activation")).toEqual([[null, "0:3"]]);
  });

  it("leaves out dense features where that is asked for, and counts them", () => {
    const features: Spec["features"] = [
      [1, 2],
      [2, 1],
    ];
    const raw = rawFrame(1, 1, { features, steered: [[0, 9, 0, 4]] });
    (raw.features as { dense?: boolean }[]).forEach((feature) => {
      feature.dense = true;
    });
    const read = readFrame(raw);
    if (read) store.ingest([read]);
    store.configure({ dense: false });
    expect([order("activation"), hiddenIn(store.frame(), store)]).toEqual([[[0, "0:9"]], 2]);
    pin("0:1");
    expect(order("activation")).toEqual([
      [null, "0:1"],
      [0, "0:9"],
    ]);
    expect(hiddenIn(store.frame(), store)).toBe(1);
  });
});

describe("a token that is searched for", () => {
  it("finds what fired most on it, however it is written", () => {
    store.ingest([
      frame(1, {
        token: " King",
        features: [
          [1, 2],
          [2, 9],
        ],
      }),
      frame(2, {
        token: "king",
        features: [
          [1, 5],
          [3, 1],
          [4, 1],
          [5, 1],
          [6, 0.5],
        ],
      }),
      frame(3, { token: " kings", features: [[8, 50]] }),
    ]);
    const found = firedOn(store, "king ").map(({ key, activation }) => [key, activation]);
    expect(found).toEqual([
      ["0:2", 9],
      ["0:1", 5],
      ["0:3", 1],
      ["0:4", 1],
      ["0:5", 1],
    ]);
    expect([firedOn(store, ""), firedOn(store, "queen")]).toEqual([[], []]);
  });
});

describe("a feature in Python", () => {
  const know = (...saes: [layer: number, hook: string, name: string][]) => {
    const raw = saes.map(([layer, hook, name]) => ({ layer, hook, name, title: `layer ${layer}` }));
    store.know(readInfo({ model: "m", saes: raw })?.saes ?? []);
  };

  it("is a number, or a pair where several SAEs are read", () => {
    know([8, "h8", "s"]);
    expect(codeOf(store, ["0:4821"])).toBe("w.feature(4821)");
    expect(codeOf(store, ["0:4821", "0:7"])).toBe("w.selected = [4821, 7]");
    know([4, "h4", "s"], [8, "h8", "s"]);
    expect(codeOf(store, ["1:4821"])).toBe("w.feature((8, 4821))");
    know([8, "in", "s"], [8, "out", "s"]);
    expect(pythonOf(store, "1:4821")).toBe('("out", 4821)');
    know([8, "in", 'a"b'], [8, "in", "c"]);
    expect(codeOf(store, ["0:1", "1:2"])).toBe('w.selected = [("a\\"b", 1), ("c", 2)]');
  });
});

describe("where a feature fires most", () => {
  it("is told by the strongest firings that do not stand in each other's text", () => {
    const strengths = [0, 1, 0, 5, 6, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 2, 4];
    store = new Store();
    store.ingest(
      strengths.map((value, step) =>
        frame(step, { special: step === 0, features: value ? [[7, value]] : [], token: ` w${step}` }),
      ),
    );
    const found = strongest(store, "0:7");
    expect(found.map(({ step, tokens, at }) => [step, tokens[at]])).toEqual([
      [4, [" w4", 6]],
      [19, [" w19", 4]],
      [12, [" w12", 3]],
    ]);
    expect(found[0]?.tokens.slice(0, 4)).toEqual([
      [" w1", 1],
      [" w2", 0],
      [" w3", 5],
      [" w4", 6],
    ]);
    expect(found[2]?.tokens.map(([token]) => token)).toEqual(
      Array.from({ length: 11 }, (_, i) => ` w${6 + i}`),
    );
    expect(strongest(store, "0:8")).toEqual([]);
  });
});
