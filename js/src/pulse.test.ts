import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { FakeModel } from "./fixtures";
import { Store } from "./store";
import { Link } from "./wire";

let model: FakeModel;
let link: Link;
let words: string[];

beforeEach(() => {
  vi.useFakeTimers();
  model = new FakeModel();
  model.traits._sent = 0;
  link = new Link(model, new Store());
  words = [];
  link.onTraits(["status"], () => words.push(link.status().word));
  link.start();
});
afterEach(() => {
  link.dispose();
  vi.useRealTimers();
});
const answer = () => {
  model.tell({ kind: "missed", after: 0, last: 0, messages: [] });
  vi.advanceTimersByTime(1);
};

test("who answers when asked is there, however little there is to say", () => {
  for (let i = 0; i < 30; i++) {
    vi.advanceTimersByTime(7000);
    answer();
  }
  expect(model.asked("poll").length).toBeGreaterThan(0);
  expect(words).toEqual([]);
});

test("the view says that nobody answers, and takes it back", () => {
  model.change("status", "running");
  vi.advanceTimersByTime(8000);
  expect(words).toEqual(["running"]);
  vi.advanceTimersByTime(2000);
  expect(words).toEqual(["running", "no answer"]);
  // A cell that took long has ended.
  answer();
  expect(words).toEqual(["running", "no answer", "running"]);
});

test("who writes is there, though no question is answered", () => {
  model.change("status", "running");
  vi.advanceTimersByTime(2000);
  expect(model.asked("poll").length).toBeGreaterThan(0);
  for (let sent = 1; sent <= 30; sent++) {
    vi.advanceTimersByTime(1000);
    model.change("step", {});
    model.change("_sent", sent);
  }
  expect(words).toEqual(["running"]);
  // The same number again is no news.
  for (let again = 0; again < 30; again++) {
    vi.advanceTimersByTime(1000);
    model.change("_sent", 30);
  }
  expect(words).toEqual(["running", "no answer"]);
});

test("a host that reports a change of the connection is believed after a short test", () => {
  answer();
  const polls = model.asked("poll").length;
  const report = () => {
    for (const callback of model.listeners.get("comm_live_update") ?? []) callback(undefined);
  };
  report();
  expect(model.asked("poll")).toHaveLength(polls + 1);
  answer();
  vi.advanceTimersByTime(60_000);
  expect(words).toEqual([]);
  report();
  vi.advanceTimersByTime(1600);
  expect(words).toEqual(["no answer"]);
});

test("what has said good-bye is not missing", () => {
  model.change("status", "closed");
  vi.advanceTimersByTime(60_000);
  expect(link.status().word).toBe("closed");
});
