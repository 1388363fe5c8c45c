/** The model menu: every SAE that can be loaded, to be found by a few letters. */
import type { Catalog, Offer } from "./catalog";
import { button, el, oneLine, short, write } from "./dom";
import { readInfo } from "./frame";
import { picker } from "./picker";
import { popup } from "./popup";
import type { Panel } from "./prompt";
import { saeCard } from "./sae-card";
import type { Link } from "./wire";

/** `opener` is the button that opens it. */
export function modelMenu(link: Link, opener: HTMLElement): Panel {
  let asked = "";
  let catalog: Catalog | null = null;
  const leave = () => menu.leave();
  const offers = picker<Offer>({
    axon: "models",
    label: "Find a model or an SAE",
    placeholder: "Model, SAE, layer or hook",
    ask(text) {
      asked = text;
      link.browse(text, (answer) => {
        if (text !== asked) return;
        catalog = answer;
        offers.show(answer.offers);
        update();
      });
    },
    idOf: ({ model, name }) => JSON.stringify([model, name]),
    make: () =>
      el(
        "div",
        { class: "offer", axon: "models-row" },
        el("span", { class: "label", attrs: { dir: "auto" } }),
        el("span", { class: "marks" }),
        el("span", { class: "about", attrs: { dir: "auto" } }),
        el("span", { class: "refused" }),
      ),
    paint,
    choose(offer) {
      if (offer.refused) return;
      if (!offer.loaded) link.load(offer.model, offer.name || null);
      leave();
    },
    leave,
  });
  const close = button("models-close", "close", "", "Close (Esc)", leave);
  const cards = el("div", { class: "cards", axon: "models-cards" });
  const note = el("p", { class: "hint", axon: "models-note", attrs: { role: "status" } });
  const element = el(
    "div",
    { class: "models", attrs: { role: "dialog", "aria-label": "Choose a model" } },
    el("div", { class: "search-line" }, offers.field, close),
    cards,
    offers.list,
    note,
  );
  element.addEventListener("keydown", (event) => {
    event.stopPropagation();
    if (event.key === "Escape") leave();
  });
  const menu = popup(opener, element, {
    opened() {
      offers.field.focus({ preventScroll: true });
      offers.field.select();
      offers.ask();
      about();
    },
  });

  /** What is loaded stands above what could be. */
  const about = () => {
    const saes = (readInfo(link.trait("info"))?.saes ?? []).filter(({ card }) => card.length > 0);
    const shown = saes.map((sae) => {
      const card = saeCard(({ name }) => `About ${name}`);
      card.show(sae);
      return card.element;
    });
    cards.replaceChildren(...shown);
  };
  const update = () => write(note, catalog ? summary(catalog, asked) : "Looking through the catalog…");
  // What is loaded is marked.
  const off = link.onTraits(["info"], () => {
    if (element.hidden) return;
    offers.later();
    about();
  });
  update();
  return {
    element,
    update() {},
    dispose() {
      menu.dispose();
      off();
      offers.dispose();
    },
  };
}

function summary({ offers, total }: Catalog, asked: string): string {
  if (!offers.length) return asked ? `Nothing matches “${oneLine(asked, 60)}”.` : "There is nothing to load.";
  if (total > offers.length)
    return `${offers.length} of ${total.toLocaleString("en")} shown: type more to find the others.`;
  return asked ? `${total} found` : "";
}

function paint(row: HTMLElement, offer: Offer): void {
  const [name, marks, about, refused] = row.children;
  if (!name || !marks || !about || !refused) return;
  row.setAttribute("aria-disabled", String(offer.refused !== ""));
  row.classList.toggle("at", offer.loaded);
  write(name, oneLine(offer.name || offer.model, 120));
  const said = [
    offer.loaded ? "loaded" : "",
    offer.cached && !offer.loaded ? "on this machine" : "",
    offer.labelled ? "labels" : "",
  ];
  write(marks, said.filter(Boolean).join(" · "));
  const facts = [
    offer.name ? oneLine(offer.model, 60) : "",
    offer.layer === null ? "" : `layer ${offer.layer}`,
    oneLine(offer.hook, 80),
    offer.width === null ? "" : `${offer.width.toLocaleString("en")} features`,
    offer.l0 === null ? "" : `L0 ${offer.l0 >= 10 ? Math.round(offer.l0) : short(offer.l0)}`,
  ];
  write(about, facts.filter(Boolean).join(" · "));
  write(refused, oneLine(offer.refused, 300));
  row.title = [name.textContent, about.textContent, refused.textContent].filter(Boolean).join("\n");
}
