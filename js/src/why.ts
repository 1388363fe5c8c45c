/** Why this token: every feature's part in it, with what the features leave unsaid. */
import type { Effect, WhySae } from "./answers";
import { Asker, complete, type Measure } from "./asker";
import { el, layerTag, likelihood, oneLine, pickable, rows, short, showToken, signed, write } from "./dom";
import type { Frame, Key } from "./frame";
import type { Panel } from "./prompt";
import { radios } from "./radios";
import type { Store } from "./store";
import { tokenField } from "./token-field";
import type { Link } from "./wire";

export interface WhyPanel extends Panel {
  /** Someone looks at it (or no longer does). */
  open(open: boolean): void;
}

interface Line extends Effect {
  /** null for what is no feature. */
  key: Key | null;
  name: string;
  title: string;
}

const MOST_ROWS = 60;
const MEANING: Record<Measure, string> = {
  direct: "direct: this feature's own push on the logit, later layers left out",
  exact: "exact: log-probability lost when it is taken out, later layers included",
};

export function whyPanel(link: Link, store: Store, choose: (key: Key) => void): WhyPanel {
  const asker = new Asker(link, store);
  let measure: Measure = "direct";
  let layer: number | null = null;

  const head = el("h3");
  const targets = el("div", {
    class: "chips targets",
    attrs: { role: "group", "aria-label": "Explain this token, or another in its place" },
  });
  const field = tokenField(link, "why-token", "Explain any other token in its place", (token) => {
    asker.aim(token);
    update();
  });
  const about = el("p", { class: "hint" });
  const layers = el("div", {
    class: "layer-choice",
    attrs: { role: "group", "aria-label": "Layer the features are read at" },
  });
  const trouble = el("p", { class: "why-error", axon: "why-error" });
  const measures = radios<Measure>(
    "why-sort",
    "Sort and colour by",
    [
      ["direct", "direct", MEANING.direct],
      ["exact", "exact", MEANING.exact],
    ],
    (chosen) => {
      measure = chosen;
      asker.measure(chosen);
      update();
    },
  );
  const progress = el("span", { class: "progress", axon: "why-progress" });
  const meaning = el("p", { class: "hint meaning" });
  const body = el("div", { class: "why-rows" });
  const restHead = el("h4", { text: "What the features leave out" });
  const rest = el("div", { class: "why-rows" });
  const result = el(
    "div",
    {},
    el(
      "div",
      { class: "why-sort" },
      el("span", { class: "term", text: "Features" }),
      progress,
      measures.element,
    ),
    meaning,
    body,
    restHead,
    rest,
  );
  const element = el(
    "section",
    { class: "why", axon: "why" },
    head,
    targets,
    field,
    about,
    layers,
    trouble,
    result,
  );

  const makeTarget = () => {
    const chip = el("button", { class: "chip mono pick", axon: "why-target", attrs: { type: "button" } });
    pickable(chip, (value) => {
      const [step, id] = value.split(" ").map(Number);
      const frame = store.frames[step ?? -1];
      if (!frame) return;
      // While the model writes, the newest token may be another one already.
      if (frame.step !== store.frame()?.step) store.look(frame.step);
      asker.aim(options(frame).find(({ tokenId }) => tokenId === id) ?? null);
      update();
    });
    return chip;
  };
  /** The token that stands there and those that could have. */
  const options = (frame: Frame) => {
    const own = frame.alternatives.find(({ tokenId }) => tokenId === frame.tokenId);
    const probability = own?.probability ?? (frame.logprob === null ? null : Math.exp(frame.logprob));
    const all: { token: string; tokenId: number; probability: number | null }[] = [
      { token: frame.token, tokenId: frame.tokenId, probability },
    ];
    for (const { token, tokenId, probability } of frame.alternatives)
      if (tokenId !== null && tokenId !== frame.tokenId) all.push({ token, tokenId, probability });
    return all;
  };

  const update = () => {
    const frame = store.frame();
    const target = asker.shown();
    const why = asker.answer();
    write(head, frame ? `Why “${showToken(target?.token ?? frame.token)}”` : "Why this token");
    const asked = target ? store.frames[target.step] : undefined;
    const all = asked ? options(asked) : [];
    if (target && !all.some(({ tokenId }) => tokenId === target.tokenId))
      all.push({ ...target, probability: why?.logprob == null ? null : Math.exp(why.logprob) });
    field.hidden = !target;
    const chips = rows(targets, all.length, makeTarget);
    all.forEach(({ token, tokenId, probability }, i) => {
      const chip = chips[i];
      if (!chip) return;
      write(
        chip,
        `${oneLine(showToken(token), 20)}${probability === null ? "" : ` ${likelihood(probability)}`}`,
      );
      chip.dataset.value = `${asked?.step} ${tokenId}`;
      chip.setAttribute("aria-pressed", String(tokenId === target?.tokenId));
      chip.title = i ? "why not this one?" : "the token that stands there";
    });
    write(about, sentence(target !== null, frame !== null, why));
    write(trouble, oneLine(why?.error ?? "", 600));
    trouble.hidden = !why?.error;
    const part = why ? pickLayer(why.saes) : null;
    result.hidden = !part;
    layers.hidden = (why?.saes.length ?? 0) < 2;
    if (!why || !part) return;
    const exact = why.total > 0;
    measures.show(measure);
    write(progress, exact && !complete(why) ? `exact ${why.done}/${why.total}` : "");
    write(meaning, MEANING[measure]);
    // Until they are there, exact values cannot sort.
    const by = measure === "exact" && why.done > 0 ? "exact" : "direct";
    const lines = part.features
      .filter(({ key }) => store.settings.dense || !store.dense(key))
      .map((feature): Line => {
        const name = oneLine(store.label(feature.key));
        const dense = store.dense(feature.key) ? " · dense" : "";
        const title = `${name} · id ${feature.id}, ${store.layerTitle(part.sae)} · activation ${short(feature.activation)}${dense}`;
        return { key: feature.key, name, title, direct: feature.direct, exact: feature.exact };
      })
      .sort((p, q) => Math.abs(q[by] ?? 0) - Math.abs(p[by] ?? 0))
      .slice(0, MOST_ROWS);
    lines.push(
      lineOf(
        "all features together",
        "all of this SAE's features, for the exact value taken out at once",
        part.all,
      ),
    );
    const others = otherLines(part);
    // The sums and what later layers write would leave no width for the features.
    const sizes = lines.filter(({ key }) => key !== null);
    const most = {
      direct: Math.max(...sizes.map((line) => Math.abs(line.direct ?? 0)), 1e-6),
      exact: Math.max(...sizes.map((line) => Math.abs(line.exact ?? 0)), 1e-6),
    };
    show(rows(body, lines.length, makeRow), lines, most);
    show(rows(rest, others.length, makeRow), others, most);
  };

  const pickLayer = (saes: WhySae[]): WhySae | null => {
    const wish = layer ?? store.selected?.sae ?? null;
    // The deepest leaves least to later layers.
    const part = saes.find(({ sae }) => sae === wish) ?? saes.at(-1) ?? null;
    const buttons = rows(layers, saes.length, () => {
      const one = el("button", { axon: "why-layer", attrs: { type: "button" } });
      pickable(one, (value) => {
        layer = Number(value);
        update();
      });
      return one;
    });
    saes.forEach(({ sae }, i) => {
      const one = buttons[i];
      if (!one) return;
      one.dataset.value = String(sae);
      one.title = store.layerTitle(sae);
      one.setAttribute("aria-pressed", String(sae === part?.sae));
      write(one, layerTag(store.layerTitle(sae)));
    });
    return part;
  };

  const makeRow = () => {
    const row = el(
      "button",
      { class: "why-row", axon: "why-row", attrs: { type: "button" } },
      el("span", { class: "label", attrs: { dir: "auto" } }),
      el("span", { class: "value" }),
      el("span", { class: "value" }),
      el("span", { class: "bars", attrs: { "aria-hidden": "true" } }, el("i"), el("i")),
    );
    pickable(row, (key) => {
      if (key) choose(key);
    });
    return row;
  };

  const show = (made: HTMLElement[], lines: Line[], most: Record<Measure, number>) => {
    lines.forEach((line, i) => {
      const row = made[i];
      const [name, direct, exact, bars] = row?.children ?? [];
      if (!row || !name || !direct || !exact || !bars) return;
      row.dataset.value = line.key ?? "";
      row.title = line.title;
      row.classList.toggle("plain", line.key === null);
      row.classList.toggle("at", line.key !== null && line.key === store.selectedKey);
      row.classList.toggle("dense", line.key !== null && store.dense(line.key));
      (row as HTMLButtonElement).disabled = line.key === null;
      write(name, line.name);
      for (const [cell, bar, kind] of [
        [direct, bars.children[0], "direct"],
        [exact, bars.children[1], "exact"],
      ] as const) {
        const value = line[kind];
        write(cell, value === null ? "–" : signed(value));
        cell.classList.toggle("up", value !== null && value > 0);
        cell.classList.toggle("down", value !== null && value < 0);
        if (!(bar instanceof HTMLElement)) continue;
        bar.classList.toggle("down", value !== null && value < 0);
        bar.style.width = `${100 * Math.min(Math.abs(value ?? 0) / most[kind], 1)}%`;
      }
    });
  };

  return {
    element,
    update,
    open: (open) => asker.turn(open),
    dispose: () => asker.dispose(),
  };

  function sentence(can: boolean, any: boolean, why: ReturnType<Asker["answer"]>): string {
    if (!any) return "Write something first: each token can then be asked about.";
    if (!can) return "Nothing was read before this token.";
    if (!why) return "asking…";
    const parts = [
      why.logprob === null ? "" : `probability ${likelihood(Math.exp(why.logprob))}`,
      why.logitDifference === null ? "" : `logit ${signed(why.logitDifference)} over the mean`,
    ];
    return parts.filter(Boolean).join(" · ");
  }
}

function lineOf(name: string, title: string, effect: Effect): Line {
  return { key: null, name, title, ...effect };
}

function otherLines(part: WhySae): Line[] {
  return [
    lineOf("SAE error", "what the SAE's reconstruction leaves out of the residual", part.error),
    lineOf("SAE bias", "what the SAE always writes, whatever fires", part.bias),
    part.wholeStream
      ? lineOf("later layers", "what the layers after this SAE write", part.rest)
      : lineOf("other layers", "what all else but the place this SAE reads writes", part.rest),
    lineOf(
      "norm and unembedding",
      "biases of the final norm and the unembedding, and soft-capping",
      part.final,
    ),
    lineOf("gap", "what is left when all parts are added up", part.gap),
  ];
}
