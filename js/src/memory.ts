/** What a person has set up stays so in this browser, on every page and for every widget. */

const PREFIX = "axon-widget ";

/** What was remembered under a name, null where nothing was: it may be anything, so read it like a stranger's. */
export function recall(name: string): unknown {
  try {
    return JSON.parse(localStorage.getItem(PREFIX + name) ?? "null");
  } catch {
    // Sandboxed frames have no storage, and may not even ask for it.
    return null;
  }
}

export function remember(name: string, value: unknown): void {
  try {
    localStorage.setItem(PREFIX + name, JSON.stringify(value));
  } catch {
    // It holds as long as the page does.
  }
}
