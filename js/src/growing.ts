/** A question about all nodes of a run: asked again when there are more of them, but not all the time. */

export class Growing {
  #interval: number;
  #of = "";
  #nodes = 0;
  #at = Number.NEGATIVE_INFINITY;
  #later: ReturnType<typeof setTimeout> | undefined;

  constructor(interval: number) {
    this.#interval = interval;
  }

  /** Call it as often as you like: `ask` is called where it is due, `again` when it will be. */
  ask(of: string, nodes: number, ask: () => void, again: () => void): void {
    if (!nodes || (this.#of === of && nodes <= this.#nodes)) return;
    const wait = this.#interval - (Date.now() - this.#at);
    if (wait > 0) {
      this.#later ??= setTimeout(() => {
        this.#later = undefined;
        again();
      }, wait);
      return;
    }
    this.#of = of;
    this.#nodes = nodes;
    this.#at = Date.now();
    ask();
  }

  dispose(): void {
    clearTimeout(this.#later);
  }
}
