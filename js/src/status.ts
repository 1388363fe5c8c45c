/** What the person should know right now: state, loading progress, which model stands in, errors. */
import { button, el, short, write } from "./dom";
import { readInfo, text } from "./frame";
import type { Panel } from "./prompt";
import { SENTENCES } from "./state-word";
import { statsLine } from "./stats";
import type { Store } from "./store";
import { beyond, little } from "./token";
import type { Link } from "./wire";

export function statusPanel(link: Link, store: Store, live: boolean): Panel {
  const word = el("span", { class: "word" });
  const sentence = el("span", { class: "sentence" });
  const bar = el("i");
  const meter = el("span", { class: "meter", attrs: { "aria-hidden": "true" } }, bar);
  const state = el(
    "div",
    { class: "state", axon: "status" },
    el("span", { class: "lamp" }),
    word,
    sentence,
    meter,
  );
  const cares = el("div", { class: "cares" });
  const poor = care(
    "care-little",
    "On this token the features explain less than 60 % of the model's state: what they leave out may matter more",
  );
  const context = care(
    "care-context",
    "The SAE was trained on shorter texts: what its features mean this far into a text was never checked",
  );
  const steered = care("care-steered", "The model does not run as it would by itself");
  cares.append(poor, context, steered);
  const stats = statsLine(store);
  const line = el("div", { class: "state-line" }, state, cares, stats.element);
  const notice = el("div", { class: "notice", axon: "fallback" });
  const spoken = el("p", { class: "spoken", axon: "spoken", attrs: { role: "status" } });
  const message = el("span", { class: "message" });
  const again = el("button", {
    class: "text-button strong",
    axon: "reload",
    text: "Try again",
    title: "Load the model again",
    attrs: { type: "button" },
  });
  again.addEventListener("click", () => link.send({ kind: "reload" }));
  let dismissed = "";
  const error = el("div", { class: "error", axon: "error", attrs: { role: "alert" } }, message);
  const dismiss = button("dismiss", "close", "", "Dismiss this message", () => {
    dismissed = message.textContent ?? "";
    error.hidden = true;
  });
  error.append(again, dismiss);
  const element = el("div", { class: "notices" }, line, notice, error, spoken);

  const update = () => {
    const status = link.status();
    const fallback = readInfo(link.trait("info"))?.fallback ?? "";
    // The idle state repeats why another model is used: once is enough.
    const same =
      status.sentence !== "" &&
      (fallback.includes(status.sentence) || (status.word === "idle" && fallback !== ""));
    state.dataset.state = status.word;
    write(word, status.word);
    const wrong = text(link.trait("error"));
    const more = same || status.sentence === wrong ? "" : status.sentence || (SENTENCES[status.word] ?? "");
    write(sentence, more);
    // Read aloud once for each state: not each percent of a load.
    write(spoken, [status.word, more.replace(/\d[\d.,]* ?(%|[kMG]?B\b).*/, "")].filter(Boolean).join(": "));
    // What could not be loaded stays said until something is.
    const failed = status.word === "failed";
    again.hidden = !failed;
    dismiss.hidden = failed;
    const percent = /(\d+(?:\.\d+)?)\s*%/.exec(status.sentence)?.[1];
    meter.hidden = status.word !== "loading";
    meter.classList.toggle("unknown", percent === undefined);
    bar.style.width = percent === undefined ? "" : `${Math.min(Number(percent), 100)}%`;
    write(notice, fallback);
    notice.hidden = fallback === "";
    write(message, wrong);
    error.hidden = wrong === "" || (wrong === dismissed && !failed);
    if (!live) {
      state.dataset.state = "saved";
      write(word, "saved run");
      write(sentence, "to look at: there is no model behind it");
      write(spoken, "");
    }
    warn();
    stats.update();
  };
  const warn = () => {
    const frame = store.frame();
    const low = frame ? little(frame, store) : [];
    const only = low.length === 1 ? low[0] : undefined;
    const value = only === undefined ? null : (frame?.fits[only]?.explained ?? null);
    const whose = store.saes.length > 1 ? store.layerTitle(only ?? 0) : "the SAE";
    let words = low.length ? `${low.length} of ${store.saes.length} layers explain little here` : "";
    if (value !== null) words = `${whose} explains only ${short(value)} here`;
    say(poor, words);
    const limit = frame ? beyond(frame, store) : null;
    say(context, limit === null ? "" : `beyond the SAE's ${limit}-token training texts`);
    const count = frame?.steered.length ?? 0;
    const through = frame?.clean != null;
    const parts = [count ? `${count} steered` : "", through ? "read through the SAE" : ""].filter(Boolean);
    say(steered, parts.join(" · "));
  };
  const offs = [
    link.onTraits(["status", "info"], update),
    link.onTraits(["error"], () => {
      // The same error a second time is news again.
      dismissed = "";
      update();
    }),
  ];
  update();
  return {
    element,
    update,
    dispose() {
      for (const off of offs) off();
    },
  };
}

function care(axon: string, title: string): HTMLElement {
  return el("span", { class: "care-chip", axon, title });
}

function say(chip: HTMLElement, words: string): void {
  write(chip, words);
  chip.hidden = words === "";
}
