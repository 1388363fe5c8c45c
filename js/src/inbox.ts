/**
 * What Python sends is numbered. What does not arrive by itself is asked for: some hosts drop what a kernel sends while
 * none of their requests is being handled, and there the view has to ask all the time.
 */
import { list, number, whole } from "./loose";

type Message = Record<string, unknown>;
type Receive = (content: unknown) => void;

/** A trait's value may arrive a little after a message that was sent later. */
const OVERTAKEN = 250;
/** While something is expected, silence gets suspicious after this long, and then ever less so. */
const SILENCE = { least: 1000, most: 30_000 };
/** Where nothing arrives by itself: how often to ask, while there is news, while there may be, and at rest. */
const NEWS = 100;
const BUSY = 500;
const REST = 10_000;
/** An answer takes as long as a running cell does; it can also be lost. Who waits longest waits for nobody. */
const UNANSWERED = { least: 5000, most: 600_000 };
/** One loss may be an accident, two so close are a habit of the host's. */
const HABIT = 10_000;

export class Inbox {
  #poll: (seen: number) => void;
  #busy: () => boolean;
  #receive: Receive;
  /** All up to this number has arrived; null where nothing is numbered. */
  #seen: number | null = null;
  #ahead = new Set<number>();
  #pulling = false;
  #expecting = false;
  #news = 0;
  #loss = Number.NEGATIVE_INFINITY;
  #answered = 0;
  #asked: { at: number; patience: number } | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /**
   * `poll` asks Python for all that came after a number, `busy` tells whether it is at work, and `receive` takes what
   * did not arrive by itself.
   */
  constructor(poll: (seen: number) => void, busy: () => boolean, receive: Receive) {
    this.#poll = poll;
    this.#busy = busy;
    this.#receive = receive;
  }

  /** Begins with what the model held. */
  start(seen: unknown): void {
    this.#seen = whole(seen);
    this.#heard();
  }

  /** Asks no more: nobody is there, or nobody wants to know. */
  dispose(): void {
    this.#seen = null;
    this.#plan();
  }

  /** The view has said something: word of that should come soon. */
  expect(): void {
    this.#expecting = true;
    this.#heard();
  }

  /** Asks at once. */
  check(): void {
    this.#asked = null;
    this.#ask();
  }

  /** Notes that something arrived; false where it had arrived before. */
  take(sent: unknown): boolean {
    const n = whole(sent);
    if (n !== null && this.#seen !== null) {
      if (n <= this.#seen || this.#ahead.has(n)) return false;
      this.#ahead.add(n);
      this.#advance();
    }
    this.#expecting = false;
    this.#heard();
    return true;
  }

  /** Hears an answer, once what was sent before it has settled. */
  answer(message: Message): void {
    setTimeout(() => this.#answer(message), 0);
  }

  #answer(message: Message): void {
    const [after, last] = [whole(message.after), whole(message.last)];
    // Another page asks too, and has maybe missed less.
    if (after === null || last === null || this.#seen === null || after > this.#seen) return;
    this.#asked = null;
    this.#answered = Date.now();
    this.#expecting = false;
    for (const item of list(message.messages)) {
      const [n, content] = list(item);
      if (this.#missing(number(n))) this.#receive(content);
    }
    let lost = false;
    for (let n = this.#seen + 1; n <= last; n++) {
      if (this.#ahead.has(n)) continue;
      this.#ahead.add(n);
      lost = true;
    }
    this.#advance();
    if (lost) this.#lose();
    if (message.more === true) this.#ask();
    else this.#plan();
  }

  #missing(n: number | null): boolean {
    return n !== null && this.#seen !== null && n > this.#seen && !this.#ahead.has(n);
  }

  #advance(): void {
    while (this.#seen !== null && this.#ahead.delete(this.#seen + 1)) this.#seen += 1;
  }

  #lose(): void {
    this.#news = Date.now();
    this.#pulling ||= this.#news - this.#loss < HABIT;
    this.#loss = this.#news;
  }

  /** Something is going on: who had given up waiting for an answer waits again. */
  #heard(): void {
    this.#news = Date.now();
    if (this.#asked) this.#asked.patience = UNANSWERED.least;
    this.#plan();
  }

  #plan(): void {
    clearTimeout(this.#timer);
    const due = this.#due();
    if (due === null) return;
    this.#timer = setTimeout(() => this.#ask(), Math.max(0, due - Date.now()));
  }

  /** When to ask next; null where nothing is expected. */
  #due(): number | null {
    if (this.#seen === null) return null;
    if (this.#asked) {
      const { at, patience } = this.#asked;
      return patience > UNANSWERED.most ? null : at + patience;
    }
    const last = Math.max(this.#news, this.#answered);
    const silence = last - this.#news;
    const busy = this.#busy();
    if (this.#pulling) return last + Math.min(Math.max(silence / 10, NEWS), busy ? BUSY : REST);
    if (this.#ahead.size) return last + OVERTAKEN;
    if (busy || this.#expecting) return last + Math.min(Math.max(silence, SILENCE.least), SILENCE.most);
    return null;
  }

  #ask(): void {
    if (this.#seen === null) return;
    const patience = this.#asked ? 2 * this.#asked.patience : UNANSWERED.least;
    this.#asked = { at: Date.now(), patience };
    this.#poll(this.#seen);
    this.#plan();
  }
}
