/** A run saved to a page: a local stand-in answers the messages that need no kernel. */
import { list, number, record, text } from "./loose";
import type { Port } from "./wire";

const CHUNK = 100;
const MOST_FOUND = 60;
const MOST_BOOSTING = 5;

export class SavedModel implements Port {
  #traits: Record<string, unknown>;
  #saved: Record<string, unknown>;
  #listeners = new Map<string, Set<(message: unknown) => void>>();

  constructor(data: unknown) {
    this.#saved = record(data) ?? {};
    this.#traits = {
      ...record(this.#saved.traits),
      info: this.#saved.info,
      status: "idle",
      error: "",
      step: {},
      _selection: {},
    };
  }

  get(name: string): unknown {
    return this.#traits[name];
  }

  on(name: string, callback: (message: unknown) => void): void {
    const callbacks = this.#listeners.get(name) ?? new Set();
    callbacks.add(callback);
    this.#listeners.set(name, callbacks);
  }

  off(name: string, callback: (message: unknown) => void): void {
    this.#listeners.get(name)?.delete(callback);
  }

  send(content: Record<string, unknown>): void {
    switch (content.kind) {
      case "hello":
        this.#steps(0, true);
        break;
      case "pull":
        this.#steps(number(content.from) ?? 0, false);
        break;
      case "select": {
        const key = content.id === null ? null : [content.sae, content.id];
        this.#mark({ features: key ? [key] : [], inspected: key });
        break;
      }
      case "choose":
        this.#mark({ features: content.features, inspected: content.inspected });
        break;
      case "pin":
        this.#mark({ pinned: content.features });
        break;
      case "feature":
        for (const details of this.#features())
          if (details.id === content.id && (details.sae ?? 0) === content.sae)
            this.#tell("msg:custom", { ...details, kind: "feature" });
        break;
      case "activations":
        this.#tell("msg:custom", { kind: "activations", run: content.run, rows: this.#saved.activations });
        break;
      case "maxima": {
        const known = this.#features().map((one) => [one.sae ?? 0, one.id, one.max_activation]);
        this.#tell("msg:custom", { kind: "maxima", maxima: known });
        break;
      }
      case "search":
        this.#find(text(content.text));
        break;
    }
  }

  #mark(marks: Record<string, unknown>): void {
    this.#traits._selection = { ...record(this.#traits._selection), ...marks };
    this.#tell("change:_selection", undefined);
  }

  #features(): Record<string, unknown>[] {
    return list(this.#saved.features)
      .map(record)
      .filter((saved) => saved !== null);
  }

  /** Features of the run by all words of their labels, or by their number. */
  #find(asked: string): void {
    const words = asked.toLowerCase().split(/\s+/);
    const id = asked.replace(/^#/, "");
    const rows = this.#features()
      .filter((one) => {
        const label = text(one.label).toLowerCase();
        return id === String(one.id) || words.every((word) => label.includes(word));
      })
      .map((one) => [one.sae ?? 0, one.id, one.label]);
    const more = rows.length > MOST_FOUND;
    const word = asked.trim();
    const boosting = this.#features()
      .filter(({ boosts }) => list(boosts).some((token) => text(token).trim() === word))
      .map((one) => [one.sae ?? 0, one.id, one.label])
      .slice(0, MOST_BOOSTING);
    const found = { rows: rows.slice(0, MOST_FOUND), more, token: boosting.length ? word : "", boosting };
    this.#tell("msg:custom", { kind: "found", text: asked, ...found });
  }

  #steps(from: number, greet: boolean): void {
    const { steps: saved, runs, finish, edges, similar, places } = this.#saved;
    const steps = list(saved);
    const run = number(this.#saved.run) ?? 1;
    if (greet)
      this.#tell("msg:custom", {
        kind: "snapshot",
        run,
        total: steps.length,
        runs,
        finish,
        edges,
        similar,
        places,
      });
    for (let at = from; at < steps.length; at += CHUNK)
      this.#tell("msg:custom", { kind: "steps", run, steps: steps.slice(at, at + CHUNK) });
  }

  #tell(name: string, message: unknown): void {
    for (const callback of [...(this.#listeners.get(name) ?? [])]) callback(message);
  }
}
