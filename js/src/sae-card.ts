/** The card of an SAE, out of the way until somebody asks: what it is, and how good it was measured to be. */
import { el, oneLine, rows, write } from "./dom";
import type { SaeInfo } from "./frame";

export function saeCard(title: (sae: SaeInfo) => string) {
  const head = el("summary");
  const body = el("div", { class: "facts" });
  const element = el("details", { class: "other-names sae-card", axon: "sae-card" }, head, body);
  return {
    element,
    show(sae: SaeInfo | undefined) {
      const card = sae?.card ?? [];
      element.hidden = card.length === 0;
      write(head, sae ? oneLine(title(sae), 200) : "");
      const cells = rows(body, 2 * card.length, () => el("span"));
      card.flat().forEach((words, i) => {
        const cell = cells[i];
        if (!cell) return;
        cell.className = i % 2 ? "fact" : "term";
        write(cell, oneLine(words, 300));
      });
    },
  };
}
