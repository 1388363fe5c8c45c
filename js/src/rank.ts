/** What fires on a token, in the order a person wants to see it. No DOM. */
import { complete, effectsOf } from "./asker";
import { type Frame, type Key, keyOf, partsOf, type Steered } from "./frame";
import type { Effects, Store } from "./store";

export type Order = "activation" | "share" | "effect" | "id" | "label";

export interface Line {
  key: Key;
  sae: number;
  id: number;
  activation: number;
  steered: Steered | null;
}

/** One SAE's features, or those that are pinned. */
export interface Group {
  /** null: pinned, of any SAE. */
  sae: number | null;
  lines: Line[];
}

/** The pinned features and then, SAE by SAE, the others that fire or are steered, each in order. */
export function groupsOf(frame: Frame | null, store: Store, order: Order): Group[] {
  const groups = new Map<number | null, Line[]>();
  const add = (sae: number | null, line: Line) => groups.set(sae, [...(groups.get(sae) ?? []), line]);
  const steered = new Map(frame?.steered.map((item) => [item.key, item]));
  const shown = new Map<Key, number>();
  for (const { sae, id, activation } of frame?.features ?? []) shown.set(keyOf(sae, id), activation);
  // What a person put in belongs here, though it may not have fired by itself.
  for (const [key, { before }] of steered) if (!shown.has(key)) shown.set(key, before);
  for (const key of store.pinned)
    add(null, {
      key,
      ...partsOf(key),
      activation: shown.get(key) ?? store.activation(frame, key),
      steered: steered.get(key) ?? null,
    });
  for (const [key, activation] of shown) {
    if (store.pinned.has(key) || (hidden(key, store) && !steered.has(key))) continue;
    const { sae, id } = partsOf(key);
    add(sae, { key, sae, id, activation, steered: steered.get(key) ?? null });
  }
  const effects = order === "effect" ? effectsAfter(frame, store) : null;
  return [...groups]
    .sort(([p], [q]) => (p ?? -1) - (q ?? -1))
    .map(([sae, lines]) => ({ sae, lines: ranked(lines, order, store, effects) }));
}

/** How many features that fire are not told of, since they are dense. */
export function hiddenIn(frame: Frame | null, store: Store): number {
  const keys = frame?.features.map(({ sae, id }) => keyOf(sae, id)) ?? [];
  return keys.filter((key) => hidden(key, store) && !store.pinned.has(key)).length;
}

function hidden(key: Key, store: Store): boolean {
  return !store.settings.dense && store.dense(key);
}

/** What a line is ranked by, null where that is not known. */
export function measureOf(line: Line, order: Order, store: Store, effects: Effects | null): number | null {
  if (order === "effect") return effects?.values.get(line.key) ?? null;
  if (order !== "share") return line.activation;
  const most = store.maximum(line.key);
  return most ? line.activation / most : null;
}

/** What is not known comes last; else the order is that of activation. */
function ranked(lines: Line[], order: Order, store: Store, effects: Effects | null): Line[] {
  const sorted = [...lines].sort((p, q) => q.activation - p.activation);
  if (order === "id") return sorted.sort((p, q) => p.sae - q.sae || p.id - q.id);
  if (order === "label")
    return sorted.sort((p, q) =>
      store.label(p.key).localeCompare(store.label(q.key), undefined, { numeric: true }),
    );
  const size = (line: Line) => Math.abs(measureOf(line, order, store, effects) ?? -1e-9);
  const known = (line: Line) => Number(measureOf(line, order, store, effects) !== null);
  return sorted.sort((p, q) => known(q) - known(p) || size(q) - size(p));
}

/** What each feature does for the token that follows, as far as that was asked: it acts on the next one. */
export function effectsAfter(frame: Frame | null, store: Store): Effects | null {
  const next = frame ? store.frames[frame.step + 1] : undefined;
  const why = next ? store.why(next.step, next.tokenId) : null;
  if (!why || why.error) return null;
  return effectsOf(why, why.total > 0 && complete(why) ? "exact" : "direct");
}
