/** The conversation with Python: traits are only read, every action is a message, gaps are asked for again. */
import { pairKey, readCompared, readEdgeNumbers, readPlaces, readSimilar, readWhy } from "./answers";
import { type Catalog, type Found, readCatalog, readFound, readNames } from "./catalog";
import { readActivations, readDetails, readMaxima } from "./details";
import {
  type Frame,
  type Key,
  keyOf,
  list,
  number,
  partsOf,
  type RunInfo,
  readFrame,
  readInfo,
  readMarks,
  readPairs,
  readRun,
  readSteering,
  record,
  type Steer,
  text,
} from "./frame";
import { Gaps } from "./gaps";
import { Growing } from "./growing";
import { Inbox } from "./inbox";
import { Pulse } from "./pulse";
import { Questions } from "./questions";
import { readStatus, SILENT, type Status } from "./state-word";
import type { Marks, Store } from "./store";
import { Throttle } from "./throttle";

/** Hears of a trait's change, or of a message. */
export type Callback = (message: unknown) => void;

/** As much of a widget model as the view uses; a replay page brings its own. */
export interface Port {
  get(name: string): unknown;
  on(name: string, callback: Callback): void;
  off(name: string, callback: Callback): void;
  send(content: Record<string, unknown>): void;
}

type Message = Record<string, unknown>;

const ASK_AGAIN = 5000;
/** What goes for all nodes is asked again at most this often while they come in. */
const ASK_INTERVAL = 1000;
/** Whatever threshold is drawn at: moving that shall neither wait for an answer nor move a node. */
const LEAST_COSINE = 0.3;
/** States in which something is still to come. */
const AT_WORK = /^(loading|running|stopping)\b/;
/** A selection echoed by Python while newer ones are on their way must not undo them. */
const ECHO_WAIT = 2000;

/** Which token a text is, or why it is none. */
export interface FoundToken {
  tokenId: number | null;
  token: string;
  error: string;
}

export class Link {
  #model: Port;
  #store: Store;
  #off: (() => void)[] = [];
  #gaps: Gaps;
  #inbox: Inbox;
  #throttle = new Throttle((message) => this.send(message));
  #asked = new Map<string, number>();
  #measured = new Map<Key, number>();
  #watched = new Set<string>();
  #echoes: { told: string; at: number }[] = [];
  #sae = "";
  /** Features whose details were told before they got another name. */
  #outdated = new Set<Key>();
  #pulse = new Pulse(() => this.#stand());
  /** Who wants to know how things stand. */
  #standing = new Set<() => void>();
  #questions = new Questions((message) => this.send(message));
  #similar = new Growing(ASK_INTERVAL);
  #places = new Growing(ASK_INTERVAL);
  #edges = new Map<string, string>();

  constructor(model: Port, store: Store) {
    this.#model = model;
    this.#store = store;
    this.#gaps = new Gaps(store, (gap) => this.send({ kind: "pull", ...gap }));
    this.#inbox = new Inbox(
      (seen) => {
        this.#pulse.asked();
        this.#say({ kind: "poll", seen });
      },
      () => AT_WORK.test(text(this.trait("status"))),
      (content) => this.#hear(content),
    );
  }

  start(): void {
    this.#know();
    this.#inbox.start(this.#model.get("_sent"));
    this.#listen("change:status", () => this.#closed());
    this.#closed();
    this.#listen("change:_sent", () => {
      if (this.#inbox.take(this.#model.get("_sent"))) this.#pulse.heard();
    });
    this.#listen("msg:custom", (message) => this.receive(message));
    this.#listen("change:step", () => this.#take([this.#model.get("step")]));
    this.#listen("change:_selection", () => this.#follow());
    this.#listen("change:info", () => this.#know());
    this.#listen("change:steering", () => this.#name());
    // As ipywidgets says it.
    for (const name of ["comm_live_update", "comm:close"])
      this.#listen(name, () => {
        this.#pulse.doubt();
        this.#inbox.check();
      });
    this.#off.push(this.#store.subscribe((change) => this.#gaps.watch(change)));
    this.#take([this.#model.get("step")]);
    this.#follow();
    this.send({ kind: "hello" });
  }

  dispose(): void {
    for (const off of this.#off.splice(0)) off();
    this.#similar.dispose();
    this.#places.dispose();
    this.#gaps.dispose();
    this.#inbox.dispose();
    this.#pulse.dispose();
    this.#throttle.dispose();
  }

  trait(name: string): unknown {
    return this.#model.get(name);
  }

  /** Runs `callback` whenever one of the traits changes; the result ends that. */
  onTraits(names: string[], callback: () => void): () => void {
    for (const name of names) this.#model.on(`change:${name}`, callback);
    if (names.includes("status")) this.#standing.add(callback);
    return () => {
      this.#standing.delete(callback);
      for (const name of names) this.#model.off(`change:${name}`, callback);
    };
  }

  /** The status trait, as far as somebody still answers for it. */
  status(): Status {
    const status = readStatus(this.trait("status"));
    return this.#pulse.lost && status.word !== "closed" ? SILENT : status;
  }

  /** Who is closed answers nothing. */
  #closed(): void {
    if (this.status().word === "closed") this.#inbox.dispose();
  }

  #stand(): void {
    for (const callback of [...this.#standing]) callback();
  }

  send(content: Message): void {
    this.#inbox.expect();
    this.#say(content);
  }

  #say(content: Message): void {
    try {
      this.#model.send(content);
    } catch (error) {
      // A page whose kernel is gone keeps showing what it has.
      console.warn("axon-widget: message not sent", error);
    }
  }

  set(name: string, value: number | boolean): void {
    this.#throttle.send(name, { kind: "set", name, value });
  }

  /** Selects a feature alone and inspects it, or (null) none. */
  select(id: number | null, sae = 0): void {
    const key = id === null ? null : keyOf(sae, id);
    this.#mark({ chosen: key === null ? [] : [key], inspected: key });
    this.send({ kind: "select", sae, id });
  }

  /** Selects features and inspects one of them: if nothing else is said, the last. */
  choose(keys: Key[], inspected: Key | null = keys.at(-1) ?? null): void {
    this.#mark({ chosen: keys, inspected });
    this.send({ kind: "choose", features: keys.map(pairOf), inspected: inspected && pairOf(inspected) });
  }

  /** Adds a feature to those that are selected, or takes it away. What is read about changes only if something is. */
  toggle(key: Key): void {
    const { chosen, inspected } = this.#store.marks;
    const others = chosen.filter((other) => other !== key);
    const keys = others.length < chosen.length ? others : [...others, key];
    this.choose(keys, inspected === null ? null : (keys.at(-1) ?? null));
  }

  /** Goes back from what is read about. Several that are selected stay so; one alone does not. */
  close(): void {
    const { chosen, inspected } = this.#store.marks;
    if (inspected !== null && chosen.length > 1) this.choose(chosen, null);
    else this.select(null);
  }

  pin(key: Key, on: boolean): void {
    const others = [...this.#store.pinned].filter((other) => other !== key);
    const pinned = on ? [...others, key] : others;
    this.#mark({ pinned });
    this.send({ kind: "pin", features: pinned.map(pairOf) });
  }

  #mark(marks: Partial<Marks>): void {
    const whole = { ...this.#store.marks, ...marks };
    this.#store.mark(whole);
    this.#echoes.push({ told: JSON.stringify(whole), at: Date.now() });
  }

  /** Asks for a feature's details once, and again only if no answer came for a while or it was named since. */
  ask(id: number, sae: number): void {
    const key = keyOf(sae, id);
    const asked = this.#asked.get(key) ?? Number.NEGATIVE_INFINITY;
    const known = this.#store.details.has(key) && !this.#outdated.has(key);
    if (known || Date.now() - asked < ASK_AGAIN) return;
    this.#asked.set(key, Date.now());
    this.send({ kind: "feature", sae, id });
  }

  /** Follows features, and no others: where they fired so far is asked for; from now on every frame tells of them. */
  watch(keys: Iterable<Key>): void {
    const { run } = this.#store;
    const before = this.#watched;
    this.#watched = new Set([...keys].map((key) => `${run} ${key}`));
    const fresh = [...keys].filter((key) => !before.has(`${run} ${key}`));
    if (fresh.length && run >= 0) this.send({ kind: "activations", run, features: fresh.map(pairOf) });
  }

  /** Asks how strongly features are known to fire; for those that nobody knew again after a while. */
  askMaxima(keys: Key[]): void {
    const now = Date.now();
    const due = (key: Key) => now - (this.#measured.get(key) ?? Number.NEGATIVE_INFINITY) >= ASK_AGAIN;
    const asked = keys.filter((key) => this.#store.maximum(key) === null && due(key));
    if (!asked.length) return;
    for (const key of asked) this.#measured.set(key, now);
    this.send({ kind: "maxima", features: asked.map(pairOf) });
  }

  // Steering

  steering(): Steer[] {
    return readSteering(this.trait("steering"));
  }

  /** Sets or scales a feature from the next token on; null takes it out of the list. */
  steer(sae: number, id: number, value: number | null, scale: boolean): void {
    this.#throttle.send(`steer ${keyOf(sae, id)}`, { kind: "steer", sae, id, value, scale });
  }

  preset(action: "clear" | "mute" | "hold"): void {
    this.send({ kind: "steering", action });
  }

  // Branches

  /** Goes on after `step`, or (`tokenId`) with another token in place of the one at `step`. */
  branch(step: number, tokenId: number | null): void {
    // A branch is no longer what it grew from at its first own step, and not yet itself before it.
    this.send({ kind: "branch", run: this.#store.owner(step), step, token_id: tokenId });
  }

  compare(a: number, b: number): void {
    this.send({ kind: "compare", a, b });
  }

  // Questions

  askWhy(step: number, tokenId: number | null, exact: boolean): void {
    this.send({ kind: "why", run: this.#store.owner(step), step, token_id: tokenId, exact });
  }

  /** Asks for the quick part of it, again only if no answer came for a while. */
  askWhyOnce(step: number, tokenId: number): void {
    const name = `why ${this.#store.owner(step)} ${step} ${tokenId}`;
    if (Date.now() - (this.#asked.get(name) ?? Number.NEGATIVE_INFINITY) < ASK_AGAIN) return;
    this.#asked.set(name, Date.now());
    this.askWhy(step, tokenId, false);
  }

  /** Asks which token a text is. */
  findToken(asked: string, answer: (found: FoundToken) => void): void {
    this.#questions.ask("token", asked, (message) =>
      answer({
        tokenId: number(message.token_id),
        token: text(message.token),
        error: text(message.error),
      }),
    );
  }

  /** Asks which features' labels hold a text. */
  search(asked: string, answer: (found: Found) => void): void {
    this.#questions.ask("search", asked, (message) => {
      const found = readFound(message);
      for (const [key, name] of [...found.rows, ...found.boosting]) this.#store.names.take(key, name);
      answer(found);
    });
  }

  /** Asks for the run looked at as "html", "json" or "csv"; the result takes that back. */
  askExport(what: string, answer: (content: string, error: string) => void): () => void {
    const heard = (message: Message) => answer(text(message.content), text(message.error));
    return this.#questions.ask("export", what, heard, { run: this.#store.run });
  }

  // Models

  /** Asks which SAEs can be loaded; for an empty text, which are worth a first look. */
  browse(asked: string, answer: (catalog: Catalog) => void): void {
    this.#questions.ask("catalog", asked, (message) => answer(readCatalog(message)));
  }

  /** Loads another model in place of this one. */
  load(model: string, sae: string | null): void {
    this.send({ kind: "load", model, sae });
  }

  /** Asks which nodes are alike, again when nodes were added; call it as often as you like. */
  askSimilar(): void {
    const { run } = this.#store;
    const nodes = this.#store.moment().nodes.size;
    const ask = () => this.send({ kind: "similar", run, least: LEAST_COSINE });
    this.#similar.ask(`${run}`, nodes, ask, () => this.askSimilar());
  }

  /** Asks where nodes lie on the maps of their SAEs, again when nodes were added; call it as often as you like. */
  askPlaces(): void {
    const { run } = this.#store;
    const nodes = this.#store.moment().nodes.size;
    const ask = () => this.send({ kind: "map", run });
    this.#places.ask(`${this.#sae} ${run}`, nodes, ask, () => this.askPlaces());
  }

  /** Asks for all that is known of an edge, again when the run has grown since. */
  askEdge(a: Key, b: Key): void {
    const { run, frames } = this.#store;
    const key = pairKey(a, b);
    const state = `${run} ${frames.length}`;
    if (this.#edges.get(key) === state) return;
    this.#edges.set(key, state);
    const [from, to] = [partsOf(a), partsOf(b)];
    this.send({ kind: "edge", run, a: [from.sae, from.id], b: [to.sae, to.id] });
  }

  // What Python says

  receive(content: unknown): void {
    this.#pulse.heard();
    const message = record(content);
    if (message?.kind === "missed") this.#inbox.answer(message);
    else if (this.#inbox.take(message?.sent)) this.#hear(message);
  }

  #hear(content: unknown): void {
    const message = record(content);
    if (!message) return;
    const run = number(message.run);
    switch (message.kind) {
      case "snapshot":
        this.#plant(message);
        break;
      case "end":
        if (run !== null)
          this.#store.end(run, text(message.finish), number(message.total) ?? 0, readPairs(message.edges));
        break;
      case "branch": {
        const info = readRun(message);
        // What it grows from was missed: ask for everything.
        if (info && info.parent !== null && !this.#store.branch(info)) this.send({ kind: "hello" });
        break;
      }
      case "steps":
        this.#take(list(message.steps));
        break;
      case "reset":
        if (run !== null && run >= this.#store.tree) this.#store.clear(run);
        break;
      case "feature": {
        const details = readDetails(message);
        if (!details) break;
        this.#outdated.delete(keyOf(details.sae, details.id));
        this.#store.learn(details);
        break;
      }
      case "activations":
        if (run !== null) this.#store.learnActivations(run, readActivations(message.rows));
        break;
      case "maxima":
        this.#store.learnMaxima(readMaxima(message.maxima));
        break;
      case "labels":
        this.#rename(readNames(message.labels));
        break;
      case "why": {
        const why = readWhy(message);
        if (why) this.#store.explain(why);
        break;
      }
      case "token":
      case "found":
      case "catalog":
      case "export":
        this.#questions.hear(message);
        break;
      case "edge": {
        const numbers = readEdgeNumbers(message);
        if (numbers) this.#store.measure(numbers);
        break;
      }
      case "map":
        this.#store.place(readPlaces(message));
        break;
      case "similar":
        if (run !== null) this.#store.resemble(run, readSimilar(message.edges));
        break;
      case "comparison": {
        const compared = readCompared(message);
        if (compared) this.#store.compare(compared);
        break;
      }
    }
  }

  #plant(message: Message): void {
    const newest = number(message.run);
    if (newest === null) return;
    const runs = list(message.runs)
      .map(readRun)
      .filter((info): info is RunInfo => info !== null);
    // A saved page of an earlier version knows one run only.
    const alone = readRun({ ...message, parent: null });
    this.#store.plant(runs.length || !alone ? runs : [alone], newest);
    if (message.places) this.#store.place(readPlaces(message));
    if (message.similar) this.#store.resemble(newest, readSimilar(message.similar));
  }

  #listen(name: string, callback: Callback): void {
    this.#model.on(name, callback);
    this.#off.push(() => this.#model.off(name, callback));
  }

  #take(values: unknown[]): void {
    const frames = values.map(readFrame).filter((frame): frame is Frame => frame !== null);
    if (frames.length) this.#store.ingest(frames);
  }

  /** Follows what is loaded. */
  #know(): void {
    const info = readInfo(this.#model.get("info"));
    const saes = info?.saes ?? [];
    const name = [info?.model, ...saes.map((sae) => `${sae.name} ${sae.hook}`)].join();
    const other = name !== this.#sae;
    this.#sae = name;
    if (other) {
      this.#asked.clear();
      this.#measured.clear();
      this.#outdated.clear();
      this.#store.forgetDetails();
    }
    this.#store.know(saes);
    this.#name();
  }

  #name(): void {
    for (const { key, label } of this.steering()) this.#store.names.read(key, label);
  }

  #rename(names: [Key, string][]): void {
    for (const [key] of names) {
      this.#outdated.add(key);
      this.#asked.delete(key);
    }
    this.#store.rename(names);
  }

  #follow(): void {
    const marks = readMarks(this.#model.get("_selection"));
    const told = JSON.stringify(marks);
    const now = Date.now();
    this.#echoes = this.#echoes.filter((echo) => now - echo.at < ECHO_WAIT);
    const place = this.#echoes.findIndex((echo) => echo.told === told);
    this.#echoes.splice(0, place + 1);
    if (place >= 0 && this.#echoes.length) return;
    this.#store.mark(marks);
  }
}

function pairOf(key: Key): [sae: number, id: number] {
  const { sae, id } = partsOf(key);
  return [sae, id];
}
