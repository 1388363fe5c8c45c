/** Plays what is already there, token by token, by moving the store's cursor: no kernel is asked for anything. */
import type { Store } from "./store";

/** Tokens a second at speed 1. */
export const RATE = 6;
/** So many times that rate, or each token after the time that writing it took. */
export type Speed = number | "written";
/** "end": the last token is reached, "settings": speed or loop is another. */
export type Playing = "play" | "pause" | "end" | "settings";

/** In milliseconds: nobody waits longer for a token that was long in coming. */
const LONGEST = 10_000;
/** A timer that is later than this was asleep, and nothing is made up for. */
const LATEST = 1000;

export interface Play {
  /** The step to begin at; left out, the one looked at, or the first where that is the last. */
  from?: number;
  /** For this time only: the player's own settings stay. */
  speed?: Speed;
  loop?: boolean;
}

export class Player {
  #store: Store;
  #writing: () => boolean;
  #speed: Speed = 1;
  #loop = false;
  #now: { speed: Speed; loop: boolean } = { speed: 1, loop: false };
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** When the token looked at has been seen long enough. */
  #due = 0;
  #own = false;
  #off: () => void;
  #listeners = new Set<(what: Playing) => void>();

  /** `writing` tells whether the model writes at this moment. */
  constructor(store: Store, writing: () => boolean = () => false) {
    this.#store = store;
    this.#writing = writing;
    this.#off = store.subscribe((change) => {
      // A person who steps elsewhere takes over from the player.
      if (!this.#own && ["cursor", "run", "track"].includes(change)) this.pause();
    });
  }

  /** Tells `listener` when playing begins, pauses or is at its end; the result takes it away again. */
  onChange(listener: (what: Playing) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  get playing(): boolean {
    return this.#timer !== undefined;
  }

  /** Whether the look moves on by itself: it plays, or follows a model that writes. */
  get moving(): boolean {
    return this.playing || (this.#store.cursor === null && this.#writing());
  }

  get speed(): Speed {
    return this.#speed;
  }

  get loop(): boolean {
    return this.#loop;
  }

  /** Sets how to play from now on, also while it plays. */
  set(settings: { speed?: Speed; loop?: boolean }): void {
    this.#speed = settings.speed ?? this.#speed;
    this.#loop = settings.loop ?? this.#loop;
    this.#now = { ...this.#now, ...settings };
    if (this.playing && settings.speed !== undefined) this.#wait();
    this.#tell("settings");
  }

  /** Plays and pauses. While the look follows a model that writes it stays where it is, though the run goes on. */
  toggle(): void {
    if (this.playing) this.pause();
    else if (this.moving) this.#store.hold();
    else this.play();
  }

  play({ from, speed = this.#speed, loop = this.#loop }: Play = {}): void {
    const shown = this.#store.tokens();
    const [first, last] = [shown[0], shown.at(-1)];
    if (!first || !last || first === last) return;
    this.#now = { speed, loop };
    const atEnd = this.#store.frame()?.step === last.step;
    this.#move(() => {
      if (from !== undefined) this.#store.look(from);
      else if (atEnd) this.#store.look(first.step);
    });
    this.#wait();
    this.#tell("play");
  }

  pause(): void {
    if (this.playing) this.#stop("pause");
  }

  dispose(): void {
    this.pause();
    this.#off();
    this.#listeners.clear();
  }

  #stop(what: Playing): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#tell(what);
  }

  #wait(): void {
    this.#due = performance.now() + this.#pause();
    this.#rest();
  }

  #rest(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#step(), Math.max(this.#due - performance.now(), 0));
  }

  /** How long the token looked at is to stay, in milliseconds. */
  #pause(): number {
    const { speed } = this.#now;
    if (speed !== "written") return 1000 / (RATE * speed);
    const at = this.#store.frame()?.step ?? 0;
    const next = this.#store.tokens().find((frame) => frame.step > at);
    return Math.min(Math.max(next?.ms ?? 1000 / RATE, 0), LONGEST);
  }

  /** Moves on by a token, or by those whose time has come too: timers are late where much is drawn. */
  #step(): void {
    const now = performance.now();
    if (now - this.#due > LATEST) this.#due = now;
    do {
      this.#next();
      if (this.#store.cursor === null && !this.#now.loop) {
        this.#stop("end");
        return;
      }
      this.#due += this.#pause();
    } while (this.#due < now);
    this.#rest();
  }

  #next(): void {
    const over = this.#store.cursor === null;
    // At the end of a run that is played again and again it waits as long as at any token.
    if (over && this.#now.loop) this.#move(() => this.#store.look(0));
    else if (!over) this.#move(() => this.#store.move(1));
  }

  #move(move: () => void): void {
    this.#own = true;
    move();
    this.#own = false;
  }

  #tell(what: Playing): void {
    for (const listener of [...this.#listeners]) listener(what);
  }
}
