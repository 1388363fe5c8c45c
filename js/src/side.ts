/** The right column: features, why this token, and what two runs differ in. */
import { comparePanel } from "./compare";
import { el, modified, write } from "./dom";
import { type Key, partsOf } from "./frame";
import { inspectorPanel } from "./inspector";
import type { Panel } from "./prompt";
import type { Store } from "./store";
import { whyPanel } from "./why";
import type { Link } from "./wire";

type Tab = "features" | "why" | "compare";

export interface Side extends Panel {
  /** Brings the question why to the front. */
  why(): void;
  /** Goes to the field to search in. */
  search(): void;
}

export function sidePanel(link: Link, store: Store, live: boolean): Side {
  let tab: Tab = "features";
  let comparing = false;
  /** What was chosen in a list that is to stay open. */
  let kept: Key | null = null;
  let selected = store.selectedKey;
  const choose = (key: Key) => {
    kept = key;
    link.select(partsOf(key).id, partsOf(key).sae);
    update();
  };
  const inspector = inspectorPanel(link, store, live);
  const why = whyPanel(link, store, choose);
  const compare = comparePanel(store, choose);
  const panels: Record<Tab, Panel> = { features: inspector, why, compare };
  const names: [Tab, string, string][] = [
    ["features", "Features", "What fires on the token looked at, or all about the selected feature"],
    ["why", "Why", "Why the model wrote this token"],
    ["compare", "Compare", "What two branches differ in"],
  ];
  const buttons = names.map(([name, word, title]) => {
    const one = el("button", {
      class: "tab",
      axon: `tab-${name}`,
      text: word,
      title,
      attrs: { type: "button", role: "tab" },
    });
    one.addEventListener("click", () => turn(name));
    return one;
  });
  const tabs = el(
    "div",
    { class: "tabs", attrs: { role: "tablist", "aria-label": "Right column" } },
    ...buttons,
  );
  const body = el("div", { class: "side-body" }, ...Object.values(panels).map((panel) => panel.element));
  const element = el("aside", { class: "side", attrs: { "aria-label": "Feature inspector" } }, tabs, body);

  const turn = (next: Tab) => {
    tab = next;
    why.open(tab === "why");
    body.scrollTop = 0;
    update();
  };

  const update = () => {
    const now = store.comparison !== null;
    if (now !== comparing) {
      comparing = now;
      if (now) tab = "compare";
      else if (tab === "compare") tab = "features";
      why.open(tab === "why");
    }
    const key = store.selectedKey;
    if (key !== selected) {
      selected = key;
      // Whoever picks a feature elsewhere wants to read about it; a list one goes through stays.
      if (key !== null && key !== kept && tab !== "features") return turn("features");
      if (tab === "features") body.scrollTop = 0;
    }
    names.forEach(([name], i) => {
      const one = buttons[i];
      if (!one) return;
      one.hidden = (name === "why" && !live) || (name === "compare" && !comparing);
      one.setAttribute("aria-selected", String(name === tab));
      one.tabIndex = name === tab ? 0 : -1;
      if (name === "features") write(one, key ? "Feature" : "Features");
    });
    for (const [name, panel] of Object.entries(panels)) panel.element.hidden = name !== tab;
    panels[tab].update();
  };
  tabs.addEventListener("keydown", (event) => {
    const by = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
    if (!by || modified(event)) return;
    const shown = buttons.filter((one) => !one.hidden);
    const at = shown.findIndex((one) => one.getAttribute("aria-selected") === "true");
    const next = shown[(at + by + shown.length) % shown.length];
    next?.click();
    next?.focus();
    event.preventDefault();
    event.stopPropagation();
  });

  return {
    element,
    update,
    why: () => turn("why"),
    search() {
      turn("features");
      element.querySelector<HTMLElement>(".search-field")?.focus();
    },
    dispose() {
      for (const panel of Object.values(panels)) panel.dispose?.();
    },
  };
}
