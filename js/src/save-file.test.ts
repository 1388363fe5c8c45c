import { expect, it } from "vitest";
import { fileName } from "./save-file";

it("names a file after the model and the prompt", () => {
  expect(fileName("gpt2-small", "The capital of France is", "png")).toBe(
    "axon-gpt2-small-The-capital-of-France-is.png",
  );
  expect(fileName("m", "日本の首都は、", "csv")).toBe("axon-m-日本の首都は.csv");
});

it("takes nothing into a name that a file system, a shell or a reader could stumble over", () => {
  expect(fileName("org/../model", "<b>\u202egnp.exe\0 $(rm -rf ~) \ud800|*?\n", "html")).toBe(
    "axon-org-model-b-gnp-exe-rm-rf.html",
  );
  expect(fileName("", " … ", "json")).toBe("axon.json");
  const long = fileName("m", "𝔘word ".repeat(50), "webm");
  expect([...long].length).toBeLessThanOrEqual(65);
  expect(() => encodeURIComponent(long)).not.toThrow(); // no half of a character
  expect(long).not.toContain("-.");
});
