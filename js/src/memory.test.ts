import { afterEach, expect, test, vi } from "vitest";
import { recall, remember } from "./memory";

afterEach(() => vi.unstubAllGlobals());

test("what was remembered is recalled, each name by itself", () => {
  const kept = new Map<string, string>();
  vi.stubGlobal("localStorage", {
    getItem: (name: string) => kept.get(name) ?? null,
    setItem: (name: string, value: string) => kept.set(name, value),
  });
  expect(recall("side")).toBe(null);
  remember("side", 320);
  remember("collapsed", ["side"]);
  expect(recall("side")).toBe(320);
  expect(recall("collapsed")).toEqual(["side"]);
  expect([...kept.keys()].every((name) => name.startsWith("axon-widget "))).toBe(true);
});

test("a frame without storage, and storage with rubbish in it, recall nothing", () => {
  const refuse = () => {
    throw new DOMException("The operation is insecure.", "SecurityError");
  };
  vi.stubGlobal("localStorage", { getItem: refuse, setItem: refuse });
  remember("side", 320);
  expect(recall("side")).toBe(null);
  vi.stubGlobal("localStorage", { getItem: () => "{not json" });
  expect(recall("side")).toBe(null);
});
