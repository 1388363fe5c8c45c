/** Asks why: quickly while the look moves, exactly once it rests. At most one question waits for its answer. */
import { showToken } from "./dom";
import { type Key, keyOf } from "./frame";
import { readStatus } from "./state-word";
import type { Effects, Store, Why } from "./store";
import type { Link } from "./wire";

/** The look rests when it has stood on one token for so long. */
const REST = 350;
/** After that long without any answer a question counts as lost. */
const LOST = 12_000;

export type Measure = "direct" | "exact";

interface Target {
  step: number;
  tokenId: number;
  token: string;
}

export class Asker {
  #link: Link;
  #store: Store;
  #on = false;
  #measure: Measure = "direct";
  /** Another token a person wants explained in place of the one that stands there. */
  #other: (Target & { run: number }) | null = null;
  #moved = { to: "", at: 0, before: Number.NEGATIVE_INFINITY };
  #asked: { name: string; step: number; tokenId: number; exact: boolean; at: number; done: number } | null =
    null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #lit: { why: Why | null; measure: Measure } = { why: null, measure: "direct" };
  #off: (() => void)[];

  constructor(link: Link, store: Store) {
    this.#link = link;
    this.#store = store;
    this.#off = [
      store.subscribe((change) => {
        if (change === "run" || change === "track") this.#asked = null;
        this.tick();
      }),
      link.onTraits(["status"], () => this.tick()),
    ];
  }

  dispose(): void {
    clearTimeout(this.#timer);
    for (const off of this.#off) off();
  }

  /** Someone looks at the answers. */
  turn(on: boolean): void {
    this.#on = on;
    this.tick();
  }

  measure(measure: Measure): void {
    this.#measure = measure;
    this.tick();
  }

  /** Another token to explain at the step looked at; null: the one that stands there. */
  aim(other: { tokenId: number; token: string } | null): void {
    const frame = this.#store.frame();
    this.#other =
      other && frame && other.tokenId !== frame.tokenId
        ? { ...other, step: frame.step, run: this.#store.run }
        : null;
    this.tick();
  }

  /** What is to be explained; null where nothing was read before the token. */
  target(): Target | null {
    const store = this.#store;
    const frame = store.frame();
    const before = frame ? store.frames[frame.step - 1] : undefined;
    if (!frame || !before || before.special || !before.fits.length || frame.tokenId < 0) return null;
    const other = this.#other;
    if (other && other.step === frame.step && other.run === store.run) return other;
    return { step: frame.step, tokenId: frame.tokenId, token: frame.token };
  }

  /** What is told of: the target, or while that runs ahead of all answers the newest token that has one. */
  shown(): Target | null {
    const store = this.#store;
    const target = this.target();
    if (!target || !this.following || store.why(target.step, target.tokenId)) return target;
    for (let step = target.step - 1; step > 0; step--) {
      const { tokenId, token } = store.frames[step] ?? {};
      if (tokenId === undefined || token === undefined) continue;
      if (store.why(step, tokenId)) return { step, tokenId, token };
    }
    return target;
  }

  answer(): Why | null {
    const shown = this.shown();
    return shown && this.#store.why(shown.step, shown.tokenId);
  }

  /** The newest token of a run that still writes. */
  get following(): boolean {
    const word = readStatus(this.#link.trait("status")).word;
    return this.#store.cursor === null && word === "running" && this.#store.finish === "";
  }

  tick(): void {
    const wanted = this.#on || this.#store.settings.hue === "effect";
    const target = this.target();
    const name = target ? `${this.#store.owner(target.step)} ${target.step} ${target.tokenId}` : "";
    const now = Date.now();
    if (name !== this.#moved.to) this.#moved = { to: name, at: now, before: this.#moved.at };
    if (wanted && target) this.#ask(target, name, now);
    this.#light(wanted, this.shown());
  }

  #ask(target: Target, name: string, now: number): void {
    this.#hear(now);
    const known = this.#store.why(target.step, target.tokenId);
    // A lone step is a pick; many in a row are someone on the way to a token.
    const picked = now - this.#moved.at >= REST || this.#moved.at - this.#moved.before > REST;
    const exact = picked && !this.following;
    if (known && (complete(known) || !exact)) {
      if (!complete(known) && !this.following) this.#later(REST);
      return;
    }
    const waiting = this.#asked;
    if (waiting) {
      const same = waiting.name === name;
      // Whoever has moved on waits for no exact answer; what is asked in passing waits its turn.
      const goes = same ? exact && !waiting.exact : exact || waiting.exact;
      if (!goes) {
        this.#later(same && exact ? LOST - (now - waiting.at) : REST);
        return;
      }
    }
    this.#asked = { name, step: target.step, tokenId: target.tokenId, exact, at: now, done: -1 };
    this.#link.askWhy(target.step, target.tokenId, exact);
    this.#later(exact ? LOST : REST);
  }

  /** Takes note of what has been answered so far. */
  #hear(now: number): void {
    const asked = this.#asked;
    if (!asked) return;
    const why = this.#store.why(asked.step, asked.tokenId);
    if (why && why.done > asked.done) Object.assign(asked, { at: now, done: why.done });
    const answered = why !== null && (complete(why) || !asked.exact);
    if (answered || now - asked.at > LOST) this.#asked = null;
  }

  #later(delay: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.tick(), delay + 10);
  }

  /** Gives the graph what it needs to colour by effect. */
  #light(wanted: boolean, target: Target | null): void {
    const why = target && this.#store.why(target.step, target.tokenId);
    if (!why || why.error) {
      // Another token's effects must not stand as this one's, save for the moment until these are there.
      if (!wanted || !target || why?.error) this.#put(null);
      return;
    }
    if (!wanted && !this.#store.effects) return;
    const measure = this.#measure === "exact" && why.done > 0 ? "exact" : "direct";
    if (this.#lit.why === why && this.#lit.measure === measure && this.#store.effects) return;
    this.#put(effectsOf(why, measure), why, measure);
  }

  #put(effects: Effects | null, why: Why | null = null, measure: Measure = "direct"): void {
    this.#lit = { why, measure };
    if (effects !== this.#store.effects) this.#store.light(effects);
  }
}

/** All exact values are there, or none will come. */
export function complete(why: Why): boolean {
  return why.error !== "" || (why.total > 0 && why.done >= why.total);
}

export function effectsOf(why: Why, measure: Measure): Effects {
  const values = new Map<Key, number>();
  let scale = 0;
  for (const { sae, features } of why.saes)
    for (const feature of features) {
      const value = feature[measure];
      if (value === null) continue;
      values.set(keyOf(sae, feature.id), value);
      scale = Math.max(scale, Math.abs(value));
    }
  return {
    run: why.run,
    step: why.step,
    of: `effect on “${showToken(why.token)}”`,
    exact: measure === "exact",
    values,
    scale,
  };
}
