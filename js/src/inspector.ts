/** One feature told in full; with none selected, what fires on the token looked at. */

import { chosenLine } from "./chosen";
import { type Details, type Other, safeUrl } from "./details";
import { button, el, layerTag, oneLine, percent, pickable, rows, short, showToken, write } from "./dom";
import { firingList } from "./firing";
import { type Key, keyOf, partsOf, SIGNIFICANT } from "./frame";
import type { Panel } from "./prompt";
import { searchPanel } from "./search";
import { steerControl } from "./steer-control";
import type { Store } from "./store";
import type { Link } from "./wire";

const MOST_NEIGHBOURS = 12;
const MOST_FIRINGS = 60;

export function inspectorPanel(link: Link, store: Store, live: boolean): Panel {
  const choose = (key: Key) => link.select(partsOf(key).id, partsOf(key).sae);
  const chosen = chosenLine(link, store);
  const now = firingList(link, store, live, choose);
  const one = oneFeature(link, store, live, choose);
  const search = searchPanel(link, store, live, () => update());
  const element = el(
    "section",
    { class: "inspector", axon: "inspector" },
    search.element,
    chosen.element,
    now.element,
    one.element,
  );
  const update = () => {
    search.update();
    chosen.update();
    const key = store.selectedKey;
    now.element.hidden = search.open() || key !== null;
    one.element.hidden = search.open() || key === null;
    if (!search.open()) (key ? one : now).update();
  };
  return {
    element,
    update,
    dispose() {
      search.dispose?.();
      one.dispose?.();
    },
  };
}

function oneFeature(link: Link, store: Store, live: boolean, choose: (key: Key) => void): Panel {
  const label = el("h2", { class: "label", axon: "feature-label", attrs: { dir: "auto" } });
  const close = button("deselect", "close", "", "Close (back to what fires now)", () => link.select(null));
  const source = el("p", { class: "source", axon: "feature-source" });
  source.addEventListener("click", () => source.classList.toggle("whole"));
  const facts = el("div", { class: "facts", axon: "feature-facts" });
  const fact = (name: string, title: string) => {
    const value = el("span", { class: "fact" });
    const term = el("span", { class: "term", text: name, title });
    facts.append(term, value);
    return value;
  };
  /** Shows a fact where it is known. */
  const tell = (value: HTMLElement, words: string) => {
    write(value, words);
    for (const cell of [value, value.previousElementSibling as HTMLElement]) cell.hidden = words === "";
  };
  const explainer = fact("named by", "who or what wrote the label, and how");
  const score = fact(
    "label score",
    "how well the label predicts when the feature fires, and by which measure",
  );
  const fetched = fact("fetched", "the day its label was fetched");
  const id = fact("id · layer", "the feature's number in the dictionary and the layer it reads");
  const current = fact("now", "activation on the token looked at");
  const peak = fact("peak", "strongest activation in this run");
  const known = fact("known maximum", "strongest activation in the data its label comes from");
  const often = fact(
    "firing rate",
    "share of all tokens of that data it fires on; dense: more than four times the mean feature",
  );
  const page = el("a", { class: "page", axon: "neuronpedia", text: "Neuronpedia page ↗" });
  page.target = "_blank";
  page.rel = "noopener noreferrer";
  const others = otherNames();
  const steer = live ? steerControl(link, store) : null;
  const section = (axon: string, title: string) => {
    const body = el("div", { class: "chips", axon });
    const element = el("section", {}, el("h3", { text: title }), body);
    return { element, body, head: element.firstElementChild as HTMLElement };
  };
  const firesOn = section("fires-on", "Fires on");
  const boosts = section("boosts", "Boosts");
  const suppresses = section("suppresses", "Suppresses");
  const fired = section("fired", "Fired in this run");
  const together = section("neighbours", "Fires together with");
  together.body.className = "list";
  const element = el(
    "div",
    { class: "one" },
    el("div", { class: "one-head" }, label, close),
    source,
    ...(steer ? [steer.element] : []),
    facts,
    others.element,
    page,
    fired.element,
    together.element,
    firesOn.element,
    boosts.element,
    suppresses.element,
  );

  const words = (part: ReturnType<typeof section>, tokens: [string, number | null][]) => {
    part.element.hidden = tokens.length === 0;
    const chips = rows(part.body, tokens.length, () => el("span", { class: "chip mono" }));
    tokens.forEach(([token, activation], i) => {
      const chip = chips[i];
      if (!chip) return;
      write(chip, showToken(token));
      chip.title = activation === null ? "" : `activation ${short(activation)}`;
    });
  };

  const firings = (key: Key) => {
    const all = store.firings(key);
    const list = all.slice(-MOST_FIRINGS);
    const node = store.node(key);
    const tokens = store.tokens().length;
    fired.element.hidden = tokens === 0;
    write(
      fired.head,
      all.length ? `Fired in this run: ${all.length} of ${tokens} tokens` : "Has not fired in this run",
    );
    const chips = rows(fired.body, list.length, () => {
      const chip = el("button", { class: "chip mono lit", attrs: { type: "button" } });
      pickable(chip, (step) => store.look(Number(step)));
      return chip;
    });
    const at = store.frame()?.step;
    list.forEach(({ step, token, activation }, i) => {
      const chip = chips[i];
      if (!chip) return;
      write(chip, showToken(token));
      chip.dataset.value = String(step);
      chip.title = `token ${step}: activation ${short(activation)}`;
      chip.style.setProperty("--heat", String(node?.peak ? activation / node.peak : 0));
      chip.classList.toggle("at", step === at);
    });
  };

  const neighbours = (key: Key) => {
    const list = store
      .neighbours(key)
      .filter((other) => store.settings.dense || !store.dense(other.key))
      .slice(0, MOST_NEIGHBOURS);
    together.element.hidden = list.length === 0;
    const lines = rows(together.body, list.length, () => {
      const row = el(
        "button",
        { class: "row", attrs: { type: "button" } },
        el("span", { class: "label", attrs: { dir: "auto" } }),
        el("span", { class: "value" }),
      );
      pickable(row, choose);
      return row;
    });
    list.forEach((other, i) => {
      const row = lines[i];
      if (!row) return;
      const sure = other.s >= SIGNIFICANT;
      row.dataset.value = other.key;
      row.classList.toggle("sure", sure);
      row.classList.toggle("dense", store.dense(other.key));
      row.title = `together on ${other.n} tokens, q = ${quantity(other.s)}${sure ? "" : ": chance would do that too"}`;
      const [name, value] = row.children;
      if (name) write(name, oneLine(other.label));
      if (value) write(value, `${other.n}× · q ${quantity(other.s)}`);
    });
  };

  return {
    element,
    update() {
      const selected = store.selected;
      if (!selected) return;
      const key = keyOf(selected.sae, selected.id);
      const details = store.details.get(key);
      link.ask(selected.id, selected.sae);
      write(label, store.label(key));
      write(source, sourceLine(details, store, selected.sae));
      source.title = source.textContent ?? "";
      tell(explainer, explained(details));
      write(score, scored(details?.score ?? null, details?.scoredBy ?? ""));
      tell(fetched, details?.fetched ?? "");
      others.show(key, details?.others ?? []);
      write(id, `${selected.id} · ${layerTag(store.layerTitle(selected.sae))}`);
      const frame = store.frame();
      const activation = store.activation(frame, key);
      const steered = frame?.steered.find((item) => item.key === key);
      const now = activation || steered?.before || 0;
      write(
        current,
        steered
          ? `${now > 0 ? short(now) : "0"} → ${short(steered.after)}`
          : activation > 0
            ? short(activation)
            : "quiet",
      );
      current.classList.toggle("steered", steered !== undefined);
      const node = store.node(key);
      write(
        peak,
        node && node.count > 0
          ? `${short(node.peak)} on “${oneLine(showToken(store.frames[node.peakStep]?.token ?? ""), 24)}”`
          : "not fired yet",
      );
      write(known, details?.maximum == null ? "not reported" : short(details.maximum));
      const dense = store.dense(key);
      write(
        often,
        [details?.frequency == null ? "" : percent(details.frequency), dense ? "dense" : ""]
          .filter(Boolean)
          .join(" · ") || "not reported",
      );
      often.classList.toggle("dense", dense);
      const url = pageOf(store, details, selected);
      page.hidden = url === "";
      if (url) page.href = url;
      steer?.update();
      words(firesOn, details?.firesOn.slice(0, 16) ?? []);
      words(boosts, details?.boosts.slice(0, 16).map((token): [string, null] => [token, null]) ?? []);
      words(suppresses, details?.suppresses.slice(0, 16).map((token): [string, null] => [token, null]) ?? []);
      firings(key);
      neighbours(key);
    },
    dispose() {
      steer?.dispose?.();
    },
  };
}

/** A label is a guess: it never stands without where it comes from. */
function sourceLine(details: Details | undefined, store: Store, sae: number): string {
  if (!details) return "asking for what is known about it…";
  const source = oneLine(details.source || store.saes[sae]?.labels || "", 2000);
  return source || "source of the label not reported";
}

function explained(details: Details | undefined): string {
  const who = oneLine(details?.explainer ?? "", 80);
  const how = oneLine(details?.method ?? "", 80);
  return [who, how].filter(Boolean).join(" · ");
}

function scored(score: number | null, by: string): string {
  if (score === null) return "unscored";
  return [short(score), oneLine(by, 60)].filter(Boolean).join(" by ");
}

/** What else it was called, out of the way until somebody asks. */
function otherNames() {
  const head = el("summary");
  const body = el("div", { class: "others" });
  const element = el("details", { class: "other-names", axon: "others" }, head, body);
  let of: Key | null = null;
  return {
    element,
    show(key: Key, others: Other[]) {
      if (key !== of) element.open = false;
      of = key;
      element.hidden = others.length === 0;
      write(head, `${others.length} other ${others.length === 1 ? "explanation" : "explanations"}`);
      const lines = rows(body, others.length, () =>
        el("div", {}, el("p", { attrs: { dir: "auto" } }), el("p", { class: "quiet" })),
      );
      others.forEach((other, i) => {
        const [name, about] = lines[i]?.children ?? [];
        if (name) write(name, oneLine(other.text, 500));
        if (about)
          write(about, [oneLine(other.explainer, 80), scored(other.score, "")].filter(Boolean).join(" · "));
      });
    },
  };
}

function pageOf(
  store: Store,
  details: Details | undefined,
  { sae, id }: { sae: number; id: number },
): string {
  if (details?.url) return details.url;
  const place = store.saes[sae]?.neuronpedia ?? "";
  return place ? safeUrl(`https://www.neuronpedia.org/${encodeURI(place)}/${id}`) : "";
}

/** q from s = -log10 q. */
export function quantity(s: number): string {
  if (s <= 0.0005) return "1";
  const q = 10 ** -s;
  if (q >= 0.1) return q.toFixed(1).replace(/^0/, "");
  if (q >= 0.001) return q.toPrecision(1).replace(/^0/, "");
  return `10⁻${[...String(Math.round(s))].map((digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[Number(digit)]).join("")}`;
}
