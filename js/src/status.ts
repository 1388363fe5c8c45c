/** What the person should know right now: state, loading progress, which model stands in, errors. */
import { button, el, write } from "./dom";
import { readInfo, text } from "./frame";
import { type Panel, readStatus } from "./prompt";
import type { Link } from "./wire";

export function statusPanel(link: Link): Panel {
  const word = el("span", { class: "word" });
  const sentence = el("span", { class: "sentence" });
  const bar = el("i");
  const meter = el("span", { class: "meter", attrs: { "aria-hidden": "true" } }, bar);
  const state = el(
    "div",
    { class: "state", axon: "status", attrs: { role: "status" } },
    el("span", { class: "lamp" }),
    word,
    sentence,
    meter,
  );
  const notice = el("div", { class: "notice", axon: "fallback" });
  const message = el("span", { class: "message" });
  let dismissed = "";
  const error = el("div", { class: "error", axon: "error", attrs: { role: "alert" } }, message);
  error.append(
    button("dismiss", "close", "", "Dismiss this message", () => {
      dismissed = message.textContent ?? "";
      error.hidden = true;
    }),
  );
  const element = el("div", { class: "notices" }, state, notice, error);

  const update = () => {
    const status = readStatus(link.trait("status"));
    const fallback = readInfo(link.trait("info"))?.fallback ?? "";
    // The idle state repeats why another model is used: once is enough.
    const same =
      status.sentence !== "" &&
      (fallback.includes(status.sentence) || (status.word === "idle" && fallback !== ""));
    state.dataset.state = status.word;
    write(word, status.word);
    write(sentence, same ? "" : status.sentence);
    const percent = /(\d+(?:\.\d+)?)\s*%/.exec(status.sentence)?.[1];
    meter.hidden = status.word !== "loading";
    meter.classList.toggle("unknown", percent === undefined);
    bar.style.width = percent === undefined ? "" : `${Math.min(Number(percent), 100)}%`;
    write(notice, fallback);
    notice.hidden = fallback === "";
    const wrong = text(link.trait("error"));
    write(message, wrong);
    error.hidden = wrong === "" || wrong === dismissed;
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
