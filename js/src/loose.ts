/** Reading values of unknown shape: what does not fit gives null or nothing, never an error. */

export type Loose = Record<string, unknown>;

export function record(value: unknown): Loose | null {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Loose) : null;
}
export function list(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}
export function text(value: unknown): string {
  return typeof value === "string" ? value : value === null || value === undefined ? "" : String(value);
}
export function number(value: unknown): number | null {
  return typeof value === "number" && Number.isFinite(value) ? value : null;
}
export function whole(value: unknown): number | null {
  const n = number(value);
  return n !== null && Number.isInteger(n) && n >= 0 ? n : null;
}
