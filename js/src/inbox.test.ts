import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { FakeModel, rawFrame } from "./fixtures";
import { Store } from "./store";
import { Link } from "./wire";

/** Plays a kernel whose messages are numbered, behind a host that may drop what no request asked for. */
class Kernel extends FakeModel {
  count = 0;
  deaf = true;
  /** Whether polls are answered. */
  answers = true;
  #kept: { n: number; message: unknown; name: string; value: unknown }[] = [];
  #real: Record<string, unknown> = {};

  constructor() {
    super();
    this.traits._sent = 0;
  }

  /** The worker sends a message. */
  push(message: Record<string, unknown>, arrives = !this.deaf): void {
    this.count += 1;
    this.#kept.push({ n: this.count, message, name: "", value: null });
    if (arrives) this.tell({ ...message, sent: this.count });
  }

  /** The worker sets a trait. */
  set(name: string, value: unknown, arrives = !this.deaf): void {
    this.count += 1;
    this.#real[name] = value;
    const frame = value as { run?: number };
    const message = name === "step" ? { kind: "steps", run: frame.run, steps: [value] } : null;
    this.#kept.push({ n: this.count, message, name: message ? "" : name, value });
    if (arrives) this.#arrive(name, value);
  }

  #arrive(name: string, value: unknown): void {
    this.change(name, value);
    this.change("_sent", this.count);
  }

  override send(content: Record<string, unknown>): void {
    super.send(content);
    if (content.kind !== "poll" || !this.answers) return;
    const missed = this.#kept.filter(({ n }) => n > (content.seen as number));
    const last = this.count;
    for (const name of new Set(missed.map(({ name }) => name).filter(Boolean)))
      this.set(name, this.#real[name], true);
    const messages = missed.filter(({ message }) => message).map(({ n, message }) => [n, message]);
    this.tell({ kind: "missed", after: content.seen, last, more: false, messages });
  }
}

let kernel: Kernel;
let store: Store;
let link: Link;

beforeEach(() => {
  vi.useFakeTimers();
  kernel = new Kernel();
  store = new Store();
  link = new Link(kernel, store);
  link.start();
  kernel.push({ kind: "snapshot", run: 0, total: 0 }, true);
  kernel.sent = [];
});
afterEach(() => {
  link.dispose();
  vi.useRealTimers();
});

const frame = (step: number) => rawFrame(1, step, { features: [[1, 1]] });
const polls = () => kernel.asked("poll");

/** Writes so many tokens a second for so long. */
function write(from: number, count: number, pace: number): void {
  for (let step = from; step < from + count; step++) {
    kernel.set("step", frame(step));
    vi.advanceTimersByTime(pace);
  }
}

describe("where messages arrive", () => {
  beforeEach(() => {
    kernel.deaf = false;
  });

  it("never asks, neither while tokens come in nor at rest", () => {
    kernel.set("status", "running");
    write(0, 40, 200);
    kernel.push({ kind: "end", run: 1, total: 40, finish: "length" });
    kernel.set("status", "idle");
    vi.advanceTimersByTime(600_000);
    expect(polls()).toEqual([]);
    expect(store.frames.length).toBe(40);
  });

  it("wonders ever more rarely about a model that is slow", () => {
    kernel.set("status", "loading: a large one");
    vi.advanceTimersByTime(120_000);
    const slow = polls().length;
    expect(slow).toBeGreaterThan(2);
    expect(slow).toBeLessThan(12);
    kernel.set("status", "idle");
    vi.advanceTimersByTime(120_000);
    expect(polls().length).toBe(slow);
  });

  it("takes each message once, in whatever order they come", () => {
    const details = { kind: "feature", sae: 0, id: 1, label: "told" };
    const learn = vi.spyOn(store, "learn");
    kernel.tell({ ...details, sent: 3 });
    kernel.tell({ ...details, sent: 2 });
    kernel.tell({ ...details, sent: 3 });
    expect(learn).toHaveBeenCalledTimes(2);
    vi.advanceTimersByTime(10_000);
    expect(polls()).toEqual([]);
  });

  it("has one lost message again and thinks nothing of it", () => {
    write(0, 1, 200);
    kernel.set("step", frame(1), false);
    vi.advanceTimersByTime(200);
    write(2, 10, 200);
    expect(store.frames.length).toBe(12);
    vi.advanceTimersByTime(600_000);
    expect(polls().length).toBe(1);
  });
});

describe("where nothing arrives by itself", () => {
  it("shows a run while it is written, soon and whole", () => {
    kernel.set("status", "running", true);
    write(0, 60, 50);
    // Three seconds: one of silence, one more to be sure.
    expect(store.frames.length).toBeGreaterThan(50);
    write(60, 40, 50);
    expect(store.frames.length).toBeGreaterThan(96);
    kernel.push({ kind: "end", run: 1, total: 100, finish: "length" });
    kernel.set("status", "idle");
    vi.advanceTimersByTime(300);
    expect([store.frames.length, store.finish, kernel.traits.status]).toEqual([100, "length", "idle"]);
    expect(kernel.asked("pull")).toEqual([]);
  });

  it("asks ten times a second while there is news, and next to never at rest", () => {
    kernel.set("status", "running", true);
    write(0, 80, 50);
    const before = polls().length;
    write(80, 40, 50);
    expect(polls().length - before).toBeGreaterThan(15);
    expect(polls().length - before).toBeLessThan(22);
    kernel.set("status", "idle");
    vi.advanceTimersByTime(200_000);
    const rest = polls().length;
    vi.advanceTimersByTime(100_000);
    expect(polls().length - rest).toBeLessThanOrEqual(10);
    // What a timer of the user's sets is seen all the same.
    kernel.set("temperature", 1.5);
    vi.advanceTimersByTime(10_200);
    expect(kernel.traits.temperature).toBe(1.5);
  });

  it("gets answers that the worker gives", () => {
    link.ask(7, 0);
    kernel.push({ kind: "feature", sae: 0, id: 7, label: "late" });
    vi.advanceTimersByTime(1100);
    expect(store.details.get("0:7")?.label).toBe("late");
  });

  it("sees by what follows that something went before", () => {
    kernel.set("info", { model: "other" });
    kernel.set("status", "idle", true);
    vi.advanceTimersByTime(300);
    expect(kernel.traits.info).toEqual({ model: "other" });
  });

  it("waits for an answer while a cell runs", () => {
    kernel.answers = false;
    kernel.set("status", "running", true);
    vi.advanceTimersByTime(60_000);
    expect(polls().length).toBeLessThan(8);
    kernel.answers = true;
    write(0, 5, 50);
    vi.advanceTimersByTime(60_000);
    expect(store.frames.length).toBe(5);
  });

  it("goes on at once where there is more", () => {
    kernel.answers = false;
    kernel.set("status", "running", true);
    vi.advanceTimersByTime(1000);
    const part = (from: number, more: boolean) => ({
      kind: "missed",
      after: from + 2,
      last: from + 3,
      more,
      messages: [[from + 3, { kind: "steps", run: 1, steps: [frame(from)] }]],
    });
    kernel.tell(part(0, true));
    vi.advanceTimersByTime(1);
    expect(polls().map(({ seen }) => seen)).toEqual([2, 3]);
    kernel.tell(part(1, false));
    vi.advanceTimersByTime(1);
    expect(store.frames.length).toBe(2);
    expect(polls().length).toBe(2);
  });

  it("leaves alone what answers another page, which had seen more", () => {
    kernel.answers = false;
    kernel.set("status", "running", true);
    vi.advanceTimersByTime(1000);
    kernel.tell({ kind: "missed", after: 9, last: 12, more: false, messages: [] });
    kernel.tell({ kind: "missed", after: "x", last: null });
    vi.advanceTimersByTime(10);
    kernel.push({ kind: "steps", run: 1, steps: [frame(0)] }, true);
    expect(store.frames.length).toBe(1);
  });
});

describe("where nobody answers", () => {
  beforeEach(() => {
    kernel.answers = false;
    kernel.set("status", "running", true);
  });

  it("gives up after a while, and asks again when a hand or the host gives reason to", () => {
    vi.advanceTimersByTime(3_600_000);
    const asked = polls().length;
    expect(asked).toBeLessThan(10);
    vi.advanceTimersByTime(3_600_000);
    expect(polls().length).toBe(asked);
    link.send({ kind: "stop" });
    vi.advanceTimersByTime(1);
    expect(polls().length).toBe(asked + 1);
    vi.advanceTimersByTime(7_200_000);
    const given = polls().length;
    for (const callback of kernel.listeners.get("comm_live_update") ?? []) callback(undefined);
    expect(polls().length).toBe(given + 1);
  });

  it("waits for no long pause when a hand has asked for something", () => {
    vi.advanceTimersByTime(40_000);
    const asked = polls().length;
    link.send({ kind: "stop" });
    vi.advanceTimersByTime(5000);
    expect(polls().length).toBe(asked + 1);
  });

  it("asks nothing of a widget that is closed", () => {
    kernel.set("status", "closed", true);
    for (const callback of kernel.listeners.get("comm:close") ?? []) callback(undefined);
    link.send({ kind: "hello" });
    vi.advanceTimersByTime(600_000);
    expect(polls()).toEqual([]);
  });

  it("asks nothing once the view is gone", () => {
    kernel.tell({ kind: "missed", after: 2, last: 2, more: true, messages: [] });
    link.dispose();
    link.send({ kind: "stop" });
    vi.advanceTimersByTime(600_000);
    expect(polls()).toEqual([]);
  });
});
