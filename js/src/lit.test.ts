import { describe, expect, it } from "vitest";
import { FakeModel, rawFrame, type Spec } from "./fixtures";
import { type Frame, type Key, readFrame, readInfo } from "./frame";
import { explainedOf, lightOf, MOST_SURPRISE } from "./lit";
import { Store } from "./store";

function frame(step: number, spec: Spec & Record<string, unknown> = {}): Frame {
  const { fits, logprob, ...rest } = spec;
  const raw = {
    ...rawFrame(1, step, rest),
    ...(fits ? { fits } : {}),
    ...("logprob" in spec ? { logprob } : {}),
  };
  const read = readFrame(raw);
  if (!read) throw new Error("unreadable fixture");
  return read;
}

/** A frame of several SAEs by what each explains. */
const explains = (...values: (number | null)[]) =>
  frame(3, { fits: values.map((explained) => [explained, 0.9, 5, 1, 1, 1]) });

function filled(): Store {
  const store = new Store();
  store.know(readInfo(new FakeModel().traits.info)?.saes ?? []);
  store.ingest([
    frame(0, { special: true }),
    frame(1, { features: [[1, 4]] }),
    frame(2, { features: [[1, 1]] }),
    frame(3, { features: [[2, 2]] }),
  ]);
  return store;
}

const inspect = (store: Store, key: Key) => store.mark({ chosen: [key], inspected: key, pinned: [] });

describe("lit by a feature", () => {
  it("is as bright as its share of the peak, and seen wherever it fires", () => {
    const store = filled();
    inspect(store, "0:1");
    const { heat, least, most, note, state } = lightOf("feature", store);
    expect([1, 2, 3].map((step) => heat(store.frames[step] as Frame))).toEqual([1, 0.4, 0]);
    expect([least, most]).toEqual(["0", "4.00"]);
    expect(note).not.toBe("");
    store.ingest([frame(4, { features: [[1, 8]] })]);
    const grown = lightOf("feature", store);
    expect(grown.heat(store.frames[1] as Frame)).toBeCloseTo(0.6);
    expect(grown.state).not.toBe(state);
    expect(lightOf("feature", store).state).toBe(grown.state);
  });

  it("says why nothing is lit", () => {
    const store = filled();
    expect(lightOf("feature", store)).toMatchObject({ most: "", note: "none is selected" });
    inspect(store, "0:99");
    const light = lightOf("feature", store);
    expect(light).toMatchObject({ most: "", note: "does not fire here" });
    expect(light.heat(store.frames[1] as Frame)).toBe(0);
  });
});

describe("lit by a feature that frames do not show", () => {
  it("is lit anew by what is told of it later, on the scale of all that is known", () => {
    const store = filled();
    inspect(store, "0:9");
    const heats = () => [1, 2, 3].map((step) => lightOf("feature", store).heat(store.frames[step] as Frame));
    const states = [lightOf("feature", store).state];
    expect(heats()).toEqual([0, 0, 0]);
    store.learnActivations(1, [["0:9", [[3, 8]]]]);
    states.push(lightOf("feature", store).state);
    expect(heats()).toEqual([0, 0, 1]);
    expect(lightOf("feature", store).most).toBe("8.00");
    // No more than the peak, and yet news.
    store.learnActivations(1, [["0:9", [[1, 4]]]]);
    states.push(lightOf("feature", store).state);
    expect(heats()).toEqual([expect.closeTo(0.6), 0, 1]);
    expect(new Set(states).size).toBe(3);
  });
});

describe("lit by surprise", () => {
  it("has one scale for all runs, in nats", () => {
    const { heat, most } = lightOf("surprise", filled());
    expect(heat(frame(1, { logprob: 0 }))).toBe(0);
    expect(heat(frame(1, { logprob: -MOST_SURPRISE / 4 }))).toBeCloseTo(0.25);
    expect(heat(frame(1, { logprob: -MOST_SURPRISE }))).toBe(1);
    expect(heat(frame(1, { logprob: -40 }))).toBe(1);
    // The first token has none, and a rounding error is no light.
    expect(heat(frame(0, { logprob: null }))).toBe(0);
    expect(heat(frame(0, { logprob: 1e-7 }))).toBe(0);
    expect(most).toBe("6+ nats");
    expect(100 * Math.exp(-MOST_SURPRISE)).toBeCloseTo(0.25, 2);
  });
});

describe("lit by what is left unexplained", () => {
  it("is dark where all is explained, half bright where a token is marked", () => {
    const store = filled();
    const { heat, least, most, title } = lightOf("explained", store);
    expect([1, 0.6, 0.2, -3].map((value) => heat(explains(value)))).toEqual(
      [0, 0.5, 1, 1].map((value) => expect.closeTo(value)),
    );
    expect([least, most]).toEqual(["1", "≤ 0.20"]);
    expect(title).toContain("the middle of the 2 SAEs");
    expect(heat(explains(null))).toBe(0);
  });

  it("takes the selected feature's SAE, or else the middle one", () => {
    const store = filled();
    expect(explainedOf(explains(0.9, 0.3), store)).toBe(0.3);
    expect(explainedOf(explains(0.9, 0.3, 0.7), store)).toBe(0.7);
    expect(explainedOf(explains(0.9, 0.3, 0.2, null), store)).toBe(0.3);
    inspect(store, "1:5");
    expect(explainedOf(explains(0.9, 0.3), store)).toBe(0.3);
    expect(lightOf("explained", store).title).toContain("at layer 4");
    const before = lightOf("explained", store).state;
    inspect(store, "0:5");
    expect(explainedOf(explains(0.9, 0.3), store)).toBe(0.9);
    expect(lightOf("explained", store).state).not.toBe(before);
    // An earlier version's frames tell of one SAE only.
    inspect(store, "1:5");
    expect(explainedOf(explains(0.9), store)).toBe(0.9);
  });
});
