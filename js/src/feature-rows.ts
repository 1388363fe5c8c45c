/** A list of other features, each with a number that says what it has to do with this one. */
import { el, oneLine, rows, write } from "./dom";
import type { Key } from "./frame";
import { pickFeature } from "./pick";
import { roving } from "./roving";
import { type Section, section } from "./section";
import type { Store } from "./store";
import type { Link } from "./wire";

export interface FeatureRow {
  key: Key;
  value: string;
  title: string;
  /** It is no chance. */
  sure?: boolean;
}

export interface FeatureRows extends Section {
  show(list: FeatureRow[]): void;
}

export function featureRows(
  axon: string,
  title: string,
  link: Link,
  store: Store,
  choose: (key: Key) => void,
): FeatureRows {
  const part = section(axon, title, "list");
  const reach = roving(part.body, () => [...part.body.children] as HTMLElement[]);
  return {
    ...part,
    show(list) {
      part.element.hidden = list.length === 0;
      const lines = rows(part.body, list.length, () => {
        const row = el(
          "button",
          { class: "row", attrs: { type: "button" } },
          el("span", { class: "label", attrs: { dir: "auto" } }),
          el("span", { class: "value" }),
        );
        pickFeature(row, link, choose);
        return row;
      });
      list.forEach(({ key, value, title, sure }, i) => {
        const row = lines[i];
        const [name, number] = row?.children ?? [];
        if (!row || !name || !number) return;
        const label = oneLine(store.label(key));
        row.dataset.value = key;
        row.classList.toggle("sure", sure === true);
        row.classList.toggle("dense", store.dense(key));
        row.setAttribute("aria-pressed", String(store.chosen.has(key)));
        row.title = `${label} · ${title}`;
        write(name, label);
        write(number, value);
      });
      reach();
    },
  };
}
