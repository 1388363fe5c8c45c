import { describe, expect, it, vi } from "vitest";
import { FakeModel, rawFrame } from "./fixtures";
import { SavedModel } from "./replay";
import { Store } from "./store";
import { Link } from "./wire";

function opened(model: FakeModel | SavedModel): { store: Store; link: Link } {
  const store = new Store();
  const link = new Link(model, store);
  link.start();
  return { store, link };
}

describe("places on the map", () => {
  it("are asked for again when nodes were added, and kept when more come in", () => {
    vi.useFakeTimers();
    const model = new FakeModel();
    const { store, link } = opened(model);
    link.askPlaces();
    expect(model.asked("map")).toEqual([]);
    model.tell({ kind: "steps", run: 1, steps: [rawFrame(1, 1, { features: [[8, 1]] })] });
    link.askPlaces();
    link.askPlaces();
    expect(model.asked("map")).toMatchObject([{ kind: "map", run: 1 }]);
    const heard: string[] = [];
    store.subscribe((change) => heard.push(change));
    model.tell({ kind: "map", run: 1, places: [[0, 8, 0.5, -0.25]], making: true, trouble: "" });
    expect(heard).toEqual(["map"]);
    model.tell({ kind: "steps", run: 1, steps: [rawFrame(1, 2, { features: [[9, 1]] })] });
    link.askPlaces();
    vi.advanceTimersByTime(1100);
    expect(model.asked("map").length).toBe(2);
    const wrong = [[0, "x", 1, 1], [0, 3, null, 1], "none", [0, -1, 0, 0]];
    model.tell({ kind: "map", run: 1, places: [[0, 9, 7, -7], ...wrong], making: false, trouble: 5 });
    expect(store.places.making).toBe(false);
    expect([...store.places.at]).toEqual([
      ["0:8", [0.5, -0.25]],
      ["0:9", [1, -1]],
    ]);
    link.dispose();
    vi.useRealTimers();
  });

  it("come with a saved run", () => {
    const steps = [rawFrame(1, 0, { features: [[7, 1]] })];
    const { store } = opened(
      new SavedModel({ info: { model: "m" }, run: 1, steps, places: [[0, 7, 0.1, 0.2]], features: [] }),
    );
    expect([...store.places.at]).toEqual([["0:7", [0.1, 0.2]]]);
    expect(opened(new SavedModel({ run: 1, steps, features: [] })).store.places.at.size).toBe(0);
  });
});
