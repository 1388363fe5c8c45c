/** Small runs for the tests. */
import type { Callback } from "./wire";

export interface Spec {
  features?: [id: number, activation: number, label?: string, sae?: number][];
  edges?: [number, number, number, number][];
  token?: string;
  special?: boolean;
  ms?: number;
  explained?: number;
  steered?: [sae: number, id: number, before: number, after: number][];
  clean?: number;
}

export function rawFrame(run: number, step: number, spec: Spec = {}): Record<string, unknown> {
  return {
    run,
    step,
    position: step,
    token: spec.token ?? ` t${step}`,
    token_id: step,
    generated: step > 1,
    special: spec.special ?? false,
    logprob: step ? -0.5 : null,
    ...(spec.clean === undefined ? {} : { clean_logprob: spec.clean }),
    alternatives: [
      [" a", 0.6, 11],
      [" the", 0.2, 12],
    ],
    features: (spec.features ?? []).map(([id, activation, label, sae = 0]) => ({
      id,
      activation,
      layer: 3 + sae,
      sae,
      label: label ?? `label ${id}`,
    })),
    edges: spec.edges ?? [],
    fits: spec.special ? [] : [[spec.explained ?? 0.9, 0.95, 20, 0.5, 4, 9]],
    steered: spec.steered ?? [],
    l0: 20,
    explained_variance: spec.explained ?? 0.9,
    ms: spec.ms ?? 50,
  };
}

export class FakeModel {
  traits: Record<string, unknown> = {
    step: {},
    _selection: {},
    status: "idle",
    info: {
      model: "m",
      sae: "s",
      layer: 3,
      saes: [
        { name: "s", hook: "h3", layer: 3, title: "layer 3", context: 4 },
        { name: "s", hook: "h4", layer: 4, title: "layer 4", context: 4 },
      ],
    },
  };
  sent: Record<string, unknown>[] = [];
  listeners = new Map<string, Set<Callback>>();

  get(name: string): unknown {
    return this.traits[name];
  }
  on(name: string, callback: Callback): void {
    const callbacks = this.listeners.get(name) ?? new Set();
    this.listeners.set(name, callbacks.add(callback));
  }
  off(name: string, callback: Callback): void {
    this.listeners.get(name)?.delete(callback);
  }
  send(content: Record<string, unknown>): void {
    this.sent.push(content);
  }
  tell(message: unknown): void {
    for (const callback of this.listeners.get("msg:custom") ?? []) callback(message);
  }
  change(name: string, value: unknown): void {
    this.traits[name] = value;
    for (const callback of this.listeners.get(`change:${name}`) ?? []) callback(undefined);
  }
  /** Selects in Python: features as [sae, id], of which the last is inspected. */
  select(...features: [sae: number, id: number][]): void {
    const before = this.traits._selection as Record<string, unknown>;
    this.change("_selection", { ...before, features, inspected: features.at(-1) ?? null });
  }
  asked(kind: string): Record<string, unknown>[] {
    return this.sent.filter((message) => message.kind === kind);
  }
}
