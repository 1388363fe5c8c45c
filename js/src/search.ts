/** Finds features by their labels, by number, or by a token: those that fired on it, and those that push it. */
import type { Found } from "./catalog";
import { button, el, oneLine, short, showToken, write } from "./dom";
import { tagOf } from "./firing";
import { type Key, keyOf, partsOf } from "./frame";
import { text } from "./loose";
import { picker } from "./picker";
import type { Panel } from "./prompt";
import type { Store } from "./store";
import type { Link } from "./wire";

export interface SearchPanel extends Panel {
  /** What was found stands in place of the features. */
  open(): boolean;
}

/** A feature, and why it was found: for its label or number, since it fired so strongly on a token, or pushes it. */
interface Hit {
  key: Key;
  why: "label" | "fired" | "boosts";
  activation: number;
}

const MOST_FIRED = 5;

/** All that a search found, what its labels say first. */
function hitsOf({ rows, boosting }: Found, fired: Hit[]): Hit[] {
  const hit =
    (why: Hit["why"]) =>
    ([key]: [Key, string]) => ({ key, why, activation: 0 });
  return [...rows.map(hit("label")), ...fired, ...boosting.map(hit("boosts"))];
}

/** What fired most on the tokens of the run that are this text, upper and lower case alike. */
export function firedOn(store: Store, asked: string): Hit[] {
  const word = asked.trim().toLowerCase();
  const most = new Map<Key, number>();
  for (const frame of word ? store.tokens() : [])
    if (frame.token.trim().toLowerCase() === word)
      for (const { sae, id, activation } of frame.features) {
        const key = keyOf(sae, id);
        if (store.settings.dense || !store.dense(key))
          most.set(key, Math.max(most.get(key) ?? 0, activation));
      }
  return [...most]
    .sort(([, p], [, q]) => q - p)
    .slice(0, MOST_FIRED)
    .map(([key, activation]) => ({ key, why: "fired", activation }));
}

/** `turned` is called when it opens or closes. */
export function searchPanel(link: Link, store: Store, live: boolean, turned: () => void): SearchPanel {
  let open = false;
  let selected = store.selectedKey;
  let sought = "";
  let found: Found | null = null;
  let hits: Hit[] = [];
  const turn = (wide: boolean) => {
    open = wide;
    if (!open) results.show([]);
    turned();
  };
  const results = picker<Hit>({
    axon: "search",
    label: live ? "Search all features" : "Search this run's features",
    placeholder: live ? "Search: label, id or token" : "Search this run: label, id or token",
    ask(asked) {
      if (asked !== sought) found = null;
      sought = asked;
      turn(asked !== "");
      if (asked)
        link.search(asked, (answer) => {
          if (!open || asked !== sought) return;
          found = answer;
          hits = hitsOf(answer, firedOn(store, asked));
          results.show(hits);
          update();
        });
    },
    idOf: ({ key, why }) => (why === "label" ? key : `${why} ${key}`),
    make: () =>
      el(
        "div",
        { class: "row", axon: "search-row" },
        el("span", { class: "label", attrs: { dir: "auto" } }),
        el("span", { class: "value" }),
      ),
    paint(row, { key, why, activation }) {
      const [name, value] = row.children;
      const { sae, id } = partsOf(key);
      const words = oneLine(store.label(key));
      const fired = store.node(key) !== null;
      row.classList.toggle("quiet", !fired);
      row.title = `${words} · id ${id}, ${store.layerTitle(sae)}${fired ? "" : " · has not fired in this run"}`;
      if (name) write(name, words);
      const reason =
        why === "fired" ? `fires ${short(activation)}` : why === "boosts" ? "boosts it" : `#${id}`;
      if (value) write(value, [tagOf(store, sae), reason].filter(Boolean).join(" · "));
    },
    choose({ key }) {
      const { sae, id } = partsOf(key);
      selected = key;
      link.select(id, sae);
      turn(false);
    },
    leave() {
      results.field.value = "";
      turn(false);
    },
  });
  const { field, list } = results;
  const clear = button("search-clear", "close", "", "Clear the search", () => {
    field.value = "";
    turn(false);
    field.focus();
  });
  const note = el("p", { class: "hint", axon: "search-note", attrs: { role: "status" } });
  const labels = el("p", { class: "hint", axon: "label-status" });
  field.addEventListener("click", () => {
    if (!open && field.value) results.ask();
  });
  const element = el(
    "div",
    { class: "search", attrs: { role: "search" } },
    el("div", { class: "search-line" }, field, clear),
    labels,
    note,
    list,
  );

  const update = () => {
    const key: Key | null = store.selectedKey;
    if (key !== selected) {
      selected = key;
      // Who picks a feature elsewhere wants to read about that.
      if (key !== null && open) return turn(false);
    }
    const status = oneLine(text(link.trait("label_status")), 300);
    write(labels, status);
    labels.title = status;
    labels.hidden = status === "";
    clear.hidden = field.value === "";
    list.hidden = !open || !found || !hits.length;
    note.hidden = !open;
    if (!open) return;
    write(note, found ? summary(found, sought) : "searching…");
    results.paint();
  };

  const summary = ({ rows, more, token, boosting }: Found, asked: string) => {
    const dim = hits.some(({ key }) => !store.node(key)) ? " Dim: not fired in this run." : "";
    const fired = hits.filter(({ why }) => why === "fired").length;
    const others = [
      fired ? `${fired} that fired most on “${oneLine(asked, 30)}”` : "",
      boosting.length ? `${boosting.length} that boost “${showToken(oneLine(token, 30))}”` : "",
    ].filter(Boolean);
    const below = others.length ? ` ${rows.length ? "Below" : "Here"}: ${others.join(", ")}.` : "";
    if (more) return `The first ${rows.length} labels: more words find fewer.${below}${dim}`;
    if (rows.length) return `${rows.length} ${rows.length === 1 ? "feature" : "features"}.${below}${dim}`;
    const labelled = store.saes.length === 0 || store.saes.some((sae) => sae.labels !== "");
    if (!labelled && !below) return "There are no labels to search: a feature is found by its number.";
    return `No label ${live ? "" : "of this run "}holds “${oneLine(asked, 60)}”.${below}${dim}`;
  };

  // Labels that have come in meanwhile may be what is looked for.
  const off = link.onTraits(["label_status", "info"], () => (open ? results.later() : update()));
  return {
    element,
    update,
    open: () => open,
    dispose() {
      off();
      results.dispose();
    },
  };
}
