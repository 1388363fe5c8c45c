/** The conversation with Python: traits are only read, every action is a message, gaps are asked for again. */
import { type Frame, keyOf, list, number, readDetails, readFrame, readPairs, record, text } from "./frame";
import type { Change, Store } from "./store";

/** As much of a widget model as the view uses; a replay page brings its own. */
export interface Port {
  get(name: string): unknown;
  on(name: string, callback: (message: unknown) => void): void;
  off(name: string, callback: (message: unknown) => void): void;
  send(content: Record<string, unknown>): void;
}

const SET_INTERVAL = 100;
/** Frames may still be on their way when a gap is seen; unanswered, the view asks ever less often. */
const PULL_DELAYS = [150, 400, 1000, 2000, 4000, 8000, 15000];
const ASK_AGAIN = 5000;
/** A selection echoed by Python while newer ones are on their way must not undo them. */
const ECHO_WAIT = 2000;

export class Link {
  #model: Port;
  #store: Store;
  #off: (() => void)[] = [];
  #pull: ReturnType<typeof setTimeout> | undefined;
  #tries = 0;
  #waiting: { run: number; from: number } | null = null;
  #sets = new Map<string, { timer: ReturnType<typeof setTimeout>; value: number; sent: number }>();
  #asked = new Map<string, number>();
  #echoes: { id: number | null; at: number }[] = [];
  #sae = "";

  constructor(model: Port, store: Store) {
    this.#model = model;
    this.#store = store;
  }

  start(): void {
    this.#sae = this.#saeName();
    this.#listen("msg:custom", (message) => this.receive(message));
    this.#listen("change:step", () => this.#take([this.#model.get("step")]));
    this.#listen("change:selected_feature", () => this.#follow());
    this.#listen("change:info", () => {
      if (this.#saeName() === this.#sae) return;
      this.#sae = this.#saeName();
      this.#asked.clear();
      this.#store.forgetDetails();
    });
    this.#off.push(this.#store.subscribe((change) => this.#watch(change)));
    this.#take([this.#model.get("step")]);
    this.#follow();
    this.send({ kind: "hello" });
  }

  dispose(): void {
    for (const off of this.#off.splice(0)) off();
    clearTimeout(this.#pull);
    for (const entry of this.#sets.values()) clearTimeout(entry.timer);
    this.#sets.clear();
  }

  trait(name: string): unknown {
    return this.#model.get(name);
  }

  /** Runs `callback` whenever one of the traits changes; the result ends that. */
  onTraits(names: string[], callback: () => void): () => void {
    for (const name of names) this.#model.on(`change:${name}`, callback);
    return () => {
      for (const name of names) this.#model.off(`change:${name}`, callback);
    };
  }

  send(content: Record<string, unknown>): void {
    try {
      this.#model.send(content);
    } catch (error) {
      // A page whose kernel is gone keeps showing what it has.
      console.warn("axon-widget: message not sent", error);
    }
  }

  /** Sends a slider's value at most ten times a second; the last value always goes out. */
  set(name: string, value: number): void {
    const entry = this.#sets.get(name);
    if (entry) {
      entry.value = value;
      return;
    }
    this.send({ kind: "set", name, value });
    const timer = setTimeout(() => this.#flushSet(name), SET_INTERVAL);
    this.#sets.set(name, { timer, value, sent: value });
  }

  #flushSet(name: string): void {
    const entry = this.#sets.get(name);
    if (!entry) return;
    if (entry.value === entry.sent) {
      this.#sets.delete(name);
      return;
    }
    this.send({ kind: "set", name, value: entry.value });
    entry.sent = entry.value;
    entry.timer = setTimeout(() => this.#flushSet(name), SET_INTERVAL);
  }

  select(id: number | null, layer = 0): void {
    this.#store.select(id === null ? null : { id, layer });
    this.#echoes.push({ id, at: Date.now() });
    this.send({ kind: "select", id });
  }

  /** Asks for a feature's details once, and again only if no answer came for a while. */
  ask(id: number, layer: number): void {
    const key = keyOf(layer, id);
    const asked = this.#asked.get(key) ?? Number.NEGATIVE_INFINITY;
    if (this.#store.details.has(key) || Date.now() - asked < ASK_AGAIN) return;
    this.#asked.set(key, Date.now());
    this.send({ kind: "feature", id, layer });
  }

  receive(content: unknown): void {
    const message = record(content);
    if (!message) return;
    const run = number(message.run);
    switch (message.kind) {
      case "snapshot":
      case "end":
        if (run !== null)
          this.#store.end(run, text(message.finish), number(message.total) ?? 0, readPairs(message.edges));
        break;
      case "steps":
        this.#take(list(message.steps));
        break;
      case "reset":
        if (run !== null && run >= this.#store.run) this.#store.clear(run);
        break;
      case "feature": {
        const details = readDetails(message);
        if (details) this.#store.learn(details);
        break;
      }
    }
  }

  #listen(name: string, callback: (message: unknown) => void): void {
    this.#model.on(name, callback);
    this.#off.push(() => this.#model.off(name, callback));
  }

  #take(values: unknown[]): void {
    const frames = values.map(readFrame).filter((frame): frame is Frame => frame !== null);
    if (frames.length) this.#store.ingest(frames);
  }

  #follow(): void {
    const id = number(this.#model.get("selected_feature"));
    const now = Date.now();
    this.#echoes = this.#echoes.filter((echo) => now - echo.at < ECHO_WAIT);
    const place = this.#echoes.findIndex((echo) => echo.id === id);
    if (place >= 0) {
      this.#echoes.splice(0, place + 1);
      if (this.#echoes.length) return;
    }
    if (id === null) {
      this.#store.select(null);
      return;
    }
    const layer = this.#store.selected?.id === id ? this.#store.selected.layer : this.#store.layerOf(id);
    this.#store.select({ id, layer: layer ?? number(record(this.#model.get("info"))?.layer) ?? 0 });
  }

  #watch(change: Change): void {
    if (change !== "frames" && change !== "end" && change !== "run") return;
    const from = this.#store.missing();
    const { run } = this.#store;
    if (from === null) {
      clearTimeout(this.#pull);
      this.#pull = undefined;
      this.#waiting = null;
      this.#tries = 0;
      return;
    }
    // Progress since the last question: the answer is coming in, so patience starts anew.
    if (this.#waiting && (this.#waiting.run !== run || this.#waiting.from !== from)) this.#tries = 0;
    this.#waiting = { run, from };
    if (this.#pull === undefined) this.#schedulePull();
  }

  #schedulePull(): void {
    const delay = PULL_DELAYS[this.#tries];
    if (delay === undefined) return;
    this.#pull = setTimeout(() => {
      this.#pull = undefined;
      const from = this.#store.missing();
      if (from === null) return;
      this.#tries += 1;
      this.send({ kind: "pull", run: this.#store.run, from });
      this.#schedulePull();
    }, delay);
  }

  #saeName(): string {
    const info = record(this.#model.get("info"));
    return `${text(info?.model)} ${text(info?.sae)}`;
  }
}
