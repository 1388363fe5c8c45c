/** How things stand: a word, and a sentence behind it. */
import { text } from "./loose";

export interface Status {
  word: string;
  sentence: string;
}

/** Of the status trait. */
export function readStatus(value: unknown): Status {
  const status = text(value);
  const colon = status.indexOf(":");
  return colon < 0
    ? { word: status.trim() || "idle", sentence: "" }
    : { word: status.slice(0, colon).trim(), sentence: status.slice(colon + 1).trim() };
}

/** What the view finds out by itself. */
export const SILENT: Status = {
  word: "no answer",
  sentence: "the kernel is busy with another cell, or gone; what is here can be looked at and replayed",
};

/** Said of a state that comes without a sentence of its own. */
export const SENTENCES: Record<string, string> = {
  closed: "run its cell again for a new one; what is here can be looked at and replayed",
  stopping: "after the token it works on",
};
