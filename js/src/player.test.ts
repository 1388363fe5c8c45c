import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { rawFrame } from "./fixtures";
import { type Frame, readFrame } from "./frame";
import { Player, type Playing, RATE } from "./player";
import { Store } from "./store";

const TIMES = [0, 5, 40, 300, 20_000, 80];

function frames(from: number, to: number): Frame[] {
  return Array.from({ length: to - from }, (_, i) =>
    readFrame(rawFrame(1, from + i, { special: from + i === 0, ms: TIMES[from + i] ?? 50 })),
  ).filter((frame): frame is Frame => frame !== null);
}

function played(writing = false) {
  const store = new Store();
  store.ingest(frames(0, TIMES.length));
  const state = { writing };
  const player = new Player(store, () => state.writing);
  const told: Playing[] = [];
  player.onChange((what) => told.push(what));
  const at = () => store.frame()?.step;
  const tick = (tokens = 1, speed = 1) => vi.advanceTimersByTime((1000 * tokens) / (RATE * speed) + 1);
  return { store, player, told, at, tick, state };
}

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe("playing", () => {
  it("begins at the first token that is shown and ends at the last", () => {
    const { store, player, told, at, tick } = played();
    player.play();
    expect(at()).toBe(1);
    for (const step of [2, 3, 4]) {
      tick();
      expect(at()).toBe(step);
    }
    expect(told).toEqual(["play"]);
    tick();
    expect(at()).toBe(5);
    expect(store.cursor).toBeNull();
    expect(player.playing).toBe(false);
    expect(told).toEqual(["play", "end"]);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("goes on from the token looked at, or from where it is told to", () => {
    const { store, player, at, tick } = played();
    store.look(3);
    player.play();
    expect(at()).toBe(3);
    tick();
    expect(at()).toBe(4);
    player.play({ from: 2 });
    expect(at()).toBe(2);
    tick();
    expect(at()).toBe(3);
    expect(vi.getTimerCount()).toBe(1);
  });

  it("begins anew at the last token, also where the look was held there", () => {
    const { store, player, at } = played();
    store.hold();
    expect(store.cursor).toBe(5);
    player.play();
    expect(at()).toBe(1);
  });

  it("plays nothing where there is nothing to play", () => {
    const store = new Store();
    const player = new Player(store);
    player.play();
    store.ingest(frames(0, 2));
    player.play();
    expect(player.playing).toBe(false);
  });

  it.each([0.5, 2, 4])("at %s times its rate", (speed) => {
    const { player, at, tick } = played();
    player.set({ speed });
    player.play();
    tick(0.9, speed);
    expect(at()).toBe(1);
    tick(0.1, speed);
    expect(at()).toBe(2);
  });

  it("lets each token wait as long as writing it took, but not for ever", () => {
    const { player, at } = played();
    player.play({ speed: "written" });
    vi.advanceTimersByTime(39);
    expect(at()).toBe(1);
    vi.advanceTimersByTime(1);
    expect(at()).toBe(2);
    vi.advanceTimersByTime(299);
    expect(at()).toBe(2);
    vi.advanceTimersByTime(1);
    expect(at()).toBe(3);
    vi.advanceTimersByTime(9999);
    expect(at()).toBe(3);
    vi.advanceTimersByTime(1);
    expect(at()).toBe(4);
  });

  it("makes up for a timer that is late, but not for one that was asleep", () => {
    const { player, at, tick } = played();
    const real = performance.now.bind(performance);
    let late = 0;
    vi.spyOn(performance, "now").mockImplementation(() => real() + late);
    player.play();
    // Two tokens and a half late: those two come with it, and the next one earlier by the half.
    late = 2500 / RATE;
    tick();
    expect(at()).toBe(4);
    tick(0.5);
    expect(at()).toBe(5);
    player.play();
    late += 60_000;
    tick();
    expect(at()).toBe(2);
    tick(0.9);
    expect(at()).toBe(2);
    vi.restoreAllMocks();
  });

  it("takes another speed at once", () => {
    const { player, at, tick, told } = played();
    player.set({ speed: 0.5 });
    player.play();
    tick(1);
    expect(at()).toBe(1);
    player.set({ speed: 4 });
    tick(1, 4);
    expect(at()).toBe(2);
    expect(told).toEqual(["settings", "play", "settings"]);
  });

  it("uses a speed it is given for this time only", () => {
    const { player, at, tick } = played();
    player.play({ speed: 4, loop: true });
    tick(1, 4);
    expect(at()).toBe(2);
    expect([player.speed, player.loop]).toEqual([1, false]);
    player.pause();
    player.play({ from: 1 });
    tick(1, 4);
    expect(at()).toBe(1);
  });

  it("plays again and again, the last token as long as any", () => {
    const { player, at, tick, told } = played();
    player.set({ loop: true });
    player.play({ from: 4 });
    tick();
    expect(at()).toBe(5);
    tick(0.9);
    expect(at()).toBe(5);
    tick(0.1);
    expect(at()).toBe(1);
    tick(4);
    tick();
    expect(at()).toBe(1);
    expect(told).toEqual(["settings", "play"]);
    player.set({ loop: false });
    tick(5);
    expect(told.at(-1)).toBe("end");
  });

  it("gives way to a person, to another branch and to another run", () => {
    const { store, player, at, tick, told } = played();
    player.play();
    store.look(3);
    tick(2);
    expect(at()).toBe(3);
    expect(told).toEqual(["play", "pause"]);
    player.play();
    store.branch({ run: 2, parent: 1, from: 3, total: 3, finish: "", token: null, edges: [] });
    expect(player.playing).toBe(false);
    store.visit(1);
    player.play();
    store.clear(3);
    expect(player.playing).toBe(false);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("tells all who listen, and leaves nothing behind", () => {
    const { player, told } = played();
    const others: Playing[] = [];
    const off = player.onChange((what) => others.push(what));
    player.play();
    off();
    player.dispose();
    expect(told).toEqual(["play", "pause"]);
    expect(others).toEqual(["play"]);
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe("while the model writes", () => {
  it("stays at the token looked at, though the run goes on", () => {
    const { store, player, at } = played(true);
    expect(player.moving).toBe(true);
    player.toggle();
    expect(player.moving).toBe(false);
    store.ingest(frames(6, 9));
    expect(at()).toBe(5);
    expect(store.moment().step).toBe(5);
    store.look(null);
    expect(at()).toBe(8);
    expect(player.moving).toBe(true);
  });

  it("plays on from there, and follows where it has caught up", () => {
    const { store, player, at, tick, told } = played(true);
    player.toggle();
    store.ingest(frames(6, 8));
    player.toggle();
    expect(at()).toBe(5);
    tick();
    expect(at()).toBe(6);
    tick();
    expect(store.cursor).toBeNull();
    expect(told).toEqual(["play", "end"]);
    expect(player.moving).toBe(true);
    store.ingest(frames(8, 9));
    expect(at()).toBe(8);
  });

  it("moves no more once the run has ended", () => {
    const { player, state, at } = played(true);
    state.writing = false;
    expect(player.moving).toBe(false);
    player.toggle();
    expect(player.playing).toBe(true);
    expect(at()).toBe(1);
  });
});
