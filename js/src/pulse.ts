/** Notices when Python no longer answers. */

/** In ms: how long a question may stay unanswered. A kernel that runs a cell, or imports torch, answers after that. */
const GRACE = 8000;
/** Where the host itself says that the connection came or went. */
const SHORT = 1500;

export class Pulse {
  /** Nobody answers. */
  lost = false;
  #changed: () => void;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** `changed` is called when `lost` has changed. */
  constructor(changed: () => void) {
    this.#changed = changed;
  }

  /** A question was asked. */
  asked(): void {
    this.#timer ??= this.#wait(GRACE);
  }

  /** Something was heard. */
  heard(): void {
    this.dispose();
    this.#turn(false);
  }

  /** The next answer should come soon. */
  doubt(): void {
    this.dispose();
    this.#timer = this.#wait(SHORT);
  }

  dispose(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #wait(grace: number): ReturnType<typeof setTimeout> {
    return setTimeout(() => this.#turn(true), grace);
  }

  #turn(lost: boolean): void {
    if (lost === this.lost) return;
    this.lost = lost;
    this.#changed();
  }
}
