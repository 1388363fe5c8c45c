/** What fires on the token looked at: what is pinned first, then SAE by SAE, in the order that is asked for. */
import {
  button,
  el,
  layerTag,
  modified,
  oneLine,
  percent,
  rows,
  short,
  showToken,
  signed,
  write,
} from "./dom";
import { type Frame, type Key, LITTLE } from "./frame";
import { pickFeature } from "./pick";
import type { Panel } from "./prompt";
import { radios } from "./radios";
import { effectsAfter, type Group, groupsOf, hiddenIn, type Line, measureOf, type Order } from "./rank";
import { roving } from "./roving";
import type { Effects, Store } from "./store";
import type { Link } from "./wire";

const ORDERS: [Order, string, string][] = [
  ["activation", "activation", "strongest first"],
  ["share", "share", "activation as a share of the feature's known maximum, largest first"],
  ["effect", "effect", "what each does for the next token, largest first"],
  ["id", "id", "by number"],
  ["label", "label", "by label"],
];

export function firingList(link: Link, store: Store, live: boolean, choose: (key: Key) => void): Panel {
  let order: Order = "activation";
  let pinned = store.pinned;
  // Without a kernel nobody can say what a feature does.
  const orders = ORDERS.filter(([by]) => live || by !== "effect");
  const head = el("h3");
  const choice = radios("firing-order", "Order of the features", orders, (chosen) => {
    order = chosen;
    update();
  });
  const hint = el("p", { class: "hint", axon: "firing-hint" });
  const body = el("div", { class: "groups", axon: "firing" });
  const element = el("div", { class: "now" }, head, choice.element, hint, body);
  const reach = roving(body, () => [...body.querySelectorAll<HTMLElement>(".row")]);
  body.addEventListener("keydown", (event) => {
    const key = (event.target as HTMLElement).dataset.value;
    if (event.key !== "p" || !key || modified(event)) return;
    event.stopPropagation();
    link.pin(key, !store.pinned.has(key));
  });

  const makeLine = () => {
    const row = el(
      "button",
      { class: "row", attrs: { type: "button" } },
      el("span", { class: "label", attrs: { dir: "auto" } }),
      el("span", { class: "value" }),
      el("span", { class: "bar" }),
    );
    pickFeature(row, link, choose);
    return el("div", { class: "line" }, row, pinButton(link, store));
  };

  const show = (part: HTMLElement, line: Line, most: number, effects: Effects | null) => {
    const [row, pin] = part.children as unknown as [HTMLElement, HTMLElement];
    const label = oneLine(store.label(line.key));
    const dense = store.dense(line.key);
    const chosen = store.chosen.has(line.key);
    row.dataset.value = line.key;
    row.title = [
      `${label} · id ${line.id}, ${store.layerTitle(line.sae)}`,
      dense ? "dense: fires on so many tokens that it tells little of any" : "",
      line.steered ? `steered from ${short(line.steered.before)} to ${short(line.steered.after)}` : "",
      order === "share" ? shareTitle(line, store) : "",
    ]
      .filter(Boolean)
      .join(" · ");
    row.classList.toggle("dense", dense);
    row.classList.toggle("steered", line.steered !== null);
    row.classList.toggle("still", line.activation === 0 && !line.steered);
    row.setAttribute("aria-pressed", String(chosen));
    const measure = measureOf(line, order, store, effects);
    row.style.setProperty("--share", String(Math.min(Math.abs(measure ?? 0) / most, 1)));
    row.classList.toggle("against", order === "effect" && (measure ?? 0) < 0);
    const [name, value] = row.children;
    if (name) write(name, label);
    if (value) write(value, shown(line, measure));
    showPin(pin, line.key, store, label);
  };

  const shown = (line: Line, measure: number | null): string => {
    if (order === "share") return measure === null ? "–" : percent(measure);
    if (order === "effect") return measure === null ? "–" : signed(measure);
    if (order === "id") return `${tagOf(store, line.sae)} #${line.id}`.trim();
    return amount(line);
  };

  const update = () => {
    const frame = store.frame();
    write(head, frame ? `Fires on “${showToken(frame.token)}”` : "Features");
    const groups = groupsOf(frame, store, order);
    const effects = order === "effect" ? effectsAfter(frame, store) : null;
    ask(frame, groups);
    choice.show(order);
    choice.element.hidden = !groups.length;
    write(hint, sentence(frame, effects));
    const held = body.querySelector<HTMLElement>(".row:focus")?.dataset.value;
    const many = store.saes.length > 1 || groups.some(({ sae }) => sae === null);
    const parts = rows(body, groups.length, () =>
      el("div", { class: "group" }, el("h4"), el("div", { class: "list" })),
    );
    groups.forEach(({ sae, lines }, i) => {
      const [title, list] = parts[i]?.children ?? [];
      if (!(title instanceof HTMLElement) || !(list instanceof HTMLElement)) return;
      title.hidden = !many;
      const fit = sae === null ? undefined : frame?.fits[sae];
      title.classList.toggle("little", fit?.explained != null && fit.explained < LITTLE);
      write(title, sae === null ? "Pinned" : titleOf(store, sae, fit));
      const sizes = lines.map((line) => Math.abs(measureOf(line, order, store, effects) ?? 0));
      // Shares are of one whole, whatever else is in the list.
      const most = order === "share" ? 1 : Math.max(...sizes, 1e-9);
      const made = rows(list, lines.length, makeLine);
      lines.forEach((line, at) => {
        const part = made[at];
        if (part) show(part, line, most, effects);
      });
    });
    // Whoever pins a line goes with it.
    if (held !== undefined && pinned !== store.pinned)
      [...body.querySelectorAll<HTMLElement>(".row")]
        .find(({ dataset }) => dataset.value === held)
        ?.focus({ preventScroll: true });
    pinned = store.pinned;
    reach();
  };

  /** Asks for what is to be shown and not known. */
  const ask = (frame: Frame | null, groups: Group[]) => {
    // What does not fire is in no frame with its name.
    for (const { key, id, sae } of groups.flatMap(({ lines }) => lines))
      if (!store.names.has(key)) link.ask(id, sae);
    if (order === "share") link.askMaxima(groups.flatMap(({ lines }) => lines.map(({ key }) => key)));
    const next = frame && store.frames[frame.step + 1];
    if (order === "effect" && next && !store.why(next.step, next.tokenId))
      link.askWhyOnce(next.step, next.tokenId);
  };

  const sentence = (frame: Frame | null, effects: Effects | null): string => {
    if (!frame) return "What fires on a token stands here once something is written.";
    const parts: string[] = [];
    const hidden = hiddenIn(frame, store);
    const shown = frame.features.length - hidden;
    // With several SAEs each group says how many there are.
    if (frame.l0 !== null && store.saes.length < 2 && shown)
      parts.push(`The ${shown} strongest of ${Math.round(frame.l0)} that fire.`);
    if (order === "effect") parts.push(effectSentence(frame, store, effects));
    if (hidden) parts.push(`${hidden} dense ${hidden === 1 ? "feature is" : "features are"} hidden.`);
    return parts.join(" ") || "Click a node or a line to read about it.";
  };

  return { element, update };
}

function effectSentence(frame: Frame, store: Store, effects: Effects | null): string {
  const next = store.frames[frame.step + 1];
  if (!next) return "What they do is known once the next token stands.";
  const token = `“${showToken(next.token)}”`;
  if (!effects) return `Asking what they do for ${token}…`;
  return effects.exact
    ? `What ${token} loses without each (nats).`
    : `What each adds to the logit of ${token}, later layers left out.`;
}

function shareTitle(line: Line, store: Store): string {
  const most = store.maximum(line.key);
  return most === null
    ? "its maximum is not known"
    : `${short(line.activation)} of at most ${short(most)} in the data of its label`;
}

function titleOf(store: Store, sae: number, fit: Frame["fits"][number] | undefined): string {
  return [
    store.layerTitle(sae),
    fit?.explained == null ? "" : `explained ${short(fit.explained)}`,
    fit?.l0 == null ? "" : `L0 ${Math.round(fit.l0)}`,
  ]
    .filter(Boolean)
    .join(" · ");
}

function amount({ activation, steered }: Line): string {
  const now = activation > 0 ? short(activation) : "";
  return steered ? `${now || "0"} → ${short(steered.after)}` : now || "quiet";
}

/** Keeps a feature in sight, or lets it go. */
export function pinButton(link: Link, store: Store): HTMLButtonElement {
  const pin: HTMLButtonElement = button("pin", "pin", "", "Pin: keep it in sight", () => {
    const key = pin.dataset.value;
    if (key) link.pin(key, !store.pinned.has(key));
  });
  pin.classList.add("pin");
  pin.tabIndex = -1;
  return pin;
}

export function showPin(pin: HTMLElement, key: Key, store: Store, label: string): void {
  const on = store.pinned.has(key);
  pin.dataset.value = key;
  pin.setAttribute("aria-pressed", String(on));
  pin.setAttribute("aria-label", `Pin ${oneLine(label, 60)}`);
  pin.title = on ? "Unpin (p)" : "Pin: keep it in sight (p)";
}

/** The layer of a feature beside its name, where there is more than one: "L3". */
export function tagOf(store: Store, sae: number): string {
  if (store.saes.length < 2) return "";
  const tag = layerTag(store.layerTitle(sae));
  return /^\d/.test(tag) ? `L${tag}` : tag;
}
