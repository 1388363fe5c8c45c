/** Where a label comes from and what it is worth: a label is a guess, and never stands without that. */
import { type Details, type Other, safeUrl } from "./details";
import { el, oneLine, rows, short, write } from "./dom";
import type { Key } from "./frame";
import type { Selection, Store } from "./store";

export function sourceLine(details: Details | undefined, store: Store, sae: number): string {
  if (!details) return "asking for what is known about it…";
  const source = oneLine(details.source || store.saes[sae]?.labels || "", 2000);
  return source || "source of the label not reported";
}

export function explained(details: Details | undefined): string {
  const who = oneLine(details?.explainer ?? "", 80);
  const how = oneLine(details?.method ?? "", 80);
  return [who, how].filter(Boolean).join(" · ");
}

export function scored(score: number | null, by: string): string {
  if (score === null) return "unscored";
  return [short(score), oneLine(by, 60)].filter(Boolean).join(" by ");
}

/** What else it was called, out of the way until somebody asks. */
export function otherNames() {
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

/** The page Neuronpedia has of it, "" where there is none. */
export function pageOf(store: Store, details: Details | undefined, { sae, id }: Selection): string {
  if (details?.url) return details.url;
  const place = store.saes[sae]?.neuronpedia ?? "";
  return place ? safeUrl(`https://www.neuronpedia.org/${encodeURI(place)}/${id}`) : "";
}
