/** One feature told in full: its name and what that is worth, where it fires, what it does, what is like it. */
import { contextList, strongest } from "./contexts";
import { codeOf, copyButton } from "./copy";
import type { Details } from "./details";
import { button, el, layerTag, oneLine, percent, rows, short, showToken, write } from "./dom";
import { featureRows } from "./feature-rows";
import { pinButton, showPin, tagOf } from "./firing";
import { type Key, keyOf, partsOf, SIGNIFICANT } from "./frame";
import { explained, otherNames, pageOf, scored, sourceLine } from "./label-about";
import type { Panel } from "./prompt";
import { saeCard } from "./sae-card";
import { section } from "./section";
import { spark } from "./spark";
import { steerControl } from "./steer-control";
import type { Firing, Store } from "./store";
import type { Link } from "./wire";

const MOST_NEIGHBOURS = 12;
const MOST_TOKENS = 16;
/** A name of more characters is a text to read. */
const LONG = 80;

export function featurePanel(link: Link, store: Store, live: boolean, choose: (key: Key) => void): Panel {
  const label = el("h2", { class: "label", axon: "feature-label", attrs: { dir: "auto" } });
  const pin = pinButton(link, store);
  pin.tabIndex = 0;
  const close = button("deselect", "close", "", "Close (back to what fires now)", () => link.close());
  const source = el("p", { class: "source", axon: "feature-source" });
  for (const text of [label, source]) text.addEventListener("click", () => text.classList.toggle("whole"));
  const page = el("a", { class: "page", axon: "neuronpedia", text: "Neuronpedia ↗" });
  page.target = "_blank";
  page.rel = "noopener noreferrer";
  const copy = copyButton("copy-feature", "copy as Python", () =>
    store.selectedKey ? codeOf(store, [store.selectedKey]) : "",
  );
  const chart = spark(store, () => store.selectedKey);
  const facts = factTable();
  const others = otherNames();
  const steer = live ? steerControl(link, store) : null;
  const fired = contextList("fired", "Fired in this run", (step) => store.look(step));
  const examples = contextList("examples", "Examples where it was labelled");
  const firesOn = section("fires-on", "Fires on", "chips");
  const boosts = section("boosts", "Boosts", "chips");
  const suppresses = section("suppresses", "Suppresses", "chips");
  const together = featureRows("neighbours", "Fires together with", link, store, choose);
  const alike = featureRows("nearest", "Points the same way", link, store, choose);
  alike.head.title = "Nearest features by the cosine between decoder directions";
  const card = saeCard(() => "About this SAE");
  const element = el(
    "div",
    { class: "one" },
    el("div", { class: "one-head" }, label, pin, close),
    source,
    chart.element,
    ...(steer ? [steer.element] : []),
    facts.element,
    others.element,
    el("div", { class: "one-links" }, copy, page),
    fired.element,
    boosts.element,
    suppresses.element,
    together.element,
    alike.element,
    firesOn.element,
    examples.element,
    card.element,
  );

  const neighbours = (key: Key) => {
    const list = store
      .neighbours(key)
      .filter((other) => store.settings.dense || !store.dense(other.key))
      .slice(0, MOST_NEIGHBOURS);
    together.show(
      list.map(({ key, n, s }) => {
        const sure = s >= SIGNIFICANT;
        const doubt = sure ? "" : ": chance would do that too";
        const title = `together on ${n} tokens, q = ${quantity(s)}${doubt}`;
        return { key, value: `${n}× · q ${quantity(s)}`, title, sure };
      }),
    );
  };

  const nearest = (details: Details | undefined) =>
    alike.show(
      (details?.nearest ?? []).map(({ key, cosine }) => {
        const { sae, id } = partsOf(key);
        const title = `id ${id}, ${store.layerTitle(sae)} · decoder cosine ${short(cosine)}`;
        return { key, value: [tagOf(store, sae), short(cosine)].filter(Boolean).join(" · "), title };
      }),
    );

  return {
    element,
    update() {
      const { selected } = store;
      if (!selected) return;
      const key = keyOf(selected.sae, selected.id);
      const details = store.details.get(key);
      link.ask(selected.id, selected.sae);
      write(label, store.label(key));
      label.title = store.label(key);
      label.classList.toggle("long", store.label(key).length > LONG);
      showPin(pin, key, store, store.label(key));
      write(source, sourceLine(details, store, selected.sae));
      source.title = source.textContent ?? "";
      chart.update();
      const firings = store.firings(key);
      facts.show(key, details, store, firings);
      others.show(key, details?.others ?? []);
      const url = pageOf(store, details, selected);
      page.hidden = url === "";
      if (url) page.href = url;
      steer?.update();
      const any = firings.length > 0;
      fired.show(strongest(store, key));
      fired.element.hidden = store.tokens().length === 0;
      write(fired.head, any ? "Strongest in this run" : "Has not fired in this run");
      words(boosts, details?.boosts ?? []);
      words(suppresses, details?.suppresses ?? []);
      neighbours(key);
      nearest(details);
      words(firesOn, details?.firesOn ?? []);
      examples.show(details?.contexts ?? []);
      card.show(store.saes[selected.sae]);
    },
    dispose() {
      steer?.dispose?.();
    },
  };
}

/** Tokens as chips, with the activation on each where it is known. */
function words(part: ReturnType<typeof section>, all: (string | [string, number | null])[]): void {
  const tokens = all
    .slice(0, MOST_TOKENS)
    .map((one) => (typeof one === "string" ? ([one, null] as const) : one));
  part.element.hidden = tokens.length === 0;
  const chips = rows(part.body, tokens.length, () => el("span", { class: "chip mono" }));
  tokens.forEach(([token, activation], i) => {
    const chip = chips[i];
    if (!chip) return;
    write(chip, showToken(token));
    chip.title = activation === null ? "" : `activation ${short(activation)}`;
  });
}

/** The numbers: of this moment, of this run, and of the data that the label comes from. */
function factTable() {
  const element = el("div", { class: "facts", axon: "feature-facts" });
  const fact = (name: string, title: string) => {
    const value = el("span", { class: "fact" });
    element.append(el("span", { class: "term", text: name, title }), value);
    return value;
  };
  /** Shows a fact where it is known. */
  const tell = (value: HTMLElement, words: string) => {
    write(value, words);
    for (const cell of [value, value.previousElementSibling as HTMLElement]) cell.hidden = words === "";
  };
  const current = fact("now", "activation on the token looked at");
  const quantile = fact(
    "quantile",
    "the share of its activations in this run that are no larger than this one",
  );
  const peak = fact("peak", "strongest activation in this run");
  const known = fact("known maximum", "strongest activation in the data its label comes from");
  const often = fact(
    "firing rate",
    "share of all tokens of that data it fires on; dense: more than four times the mean feature",
  );
  const place = fact("id · layer", "the feature's number in its SAE, and the layer that reads");
  const explainer = fact("named by", "who or what wrote the label, and how");
  const score = fact(
    "label score",
    "how well the label predicts when the feature fires, and by which measure",
  );
  const fetched = fact("fetched", "the day its label was fetched");
  return {
    element,
    show(key: Key, details: Details | undefined, store: Store, firings: Firing[]) {
      const { sae, id } = partsOf(key);
      const frame = store.frame();
      const steered = frame?.steered.find((item) => item.key === key);
      const now = store.activation(frame, key) || steered?.before || 0;
      const amount = now > 0 ? short(now) : "";
      write(current, steered ? `${amount || "0"} → ${short(steered.after)}` : amount || "quiet");
      current.classList.toggle("steered", steered !== undefined);
      const below = firings.filter(({ activation }) => activation <= now).length;
      tell(
        quantile,
        now > 0 && firings.length > 1 ? `${short(below / firings.length)} of ${firings.length} here` : "",
      );
      const top = firings.reduce<Firing | null>(
        (best, one) => (best && best.activation >= one.activation ? best : one),
        null,
      );
      const token = oneLine(showToken(top?.token ?? ""), 24);
      write(peak, top ? `${short(top.activation)} on “${token}”` : "not fired yet");
      const maximum = store.maximum(key);
      write(known, maximum === null ? "not reported" : short(maximum));
      const dense = store.dense(key);
      const rate = details?.frequency == null ? "" : percent(details.frequency);
      write(often, [rate, dense ? "dense" : ""].filter(Boolean).join(" · ") || "not reported");
      often.classList.toggle("dense", dense);
      write(place, `${id} · ${layerTag(store.layerTitle(sae))}`);
      tell(explainer, explained(details));
      write(score, scored(details?.score ?? null, details?.scoredBy ?? ""));
      tell(fetched, details?.fetched ?? "");
    },
  };
}

/** q from s = -log10 q. */
function quantity(s: number): string {
  if (s <= 0.0005) return "1";
  const q = 10 ** -s;
  if (q >= 0.1) return q.toFixed(1).replace(/^0/, "");
  if (q >= 0.001) return q.toPrecision(1).replace(/^0/, "");
  return `10⁻${[...String(Math.round(s))].map((digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[Number(digit)]).join("")}`;
}
