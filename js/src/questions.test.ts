import { expect, test } from "vitest";
import { Questions } from "./questions";

function asker() {
  const sent: Record<string, unknown>[] = [];
  const heard: string[] = [];
  const questions = new Questions((message) => sent.push(message));
  const ask = (run: number, who: string) =>
    questions.ask("export", "json", ({ content }) => heard.push(`${who}: ${content}`), { run });
  const tell = (run: number) => questions.hear({ kind: "export", text: "json", run, content: `run ${run}` });
  return { questions, sent, heard, ask, tell };
}

test("an answer about one run is none about another", () => {
  const { sent, heard, ask, tell } = asker();
  ask(1, "first");
  ask(2, "second");
  expect(sent).toEqual([1, 2].map((run) => ({ kind: "export", text: "json", run })));
  tell(2);
  expect(heard).toEqual(["second: run 2"]);
  tell(1);
  tell(1);
  expect(heard).toEqual(["second: run 2", "first: run 1"]);
});

test("who no longer waits hears nothing, and others still do", () => {
  const { heard, ask, tell } = asker();
  const off = ask(1, "gone");
  ask(1, "there");
  off();
  tell(1);
  off();
  tell(1);
  expect(heard).toEqual(["there: run 1"]);
});

test("a question that is about no run is answered by its text alone", () => {
  const { questions, heard } = asker();
  questions.ask("token", "Paris", ({ token }) => heard.push(`${token}`));
  questions.hear({ kind: "token", text: "London", token: " London" });
  questions.hear({ kind: "token", text: "Paris", token: " Paris" });
  expect(heard).toEqual([" Paris"]);
});
