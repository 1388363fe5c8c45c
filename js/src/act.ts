/** What can be done at the token looked at: go on from here, put another token in, ask why. */
import { el, likelihood, oneLine, pickable, rows, showToken, write } from "./dom";
import type { Panel } from "./prompt";
import type { Store } from "./store";
import { tokenField } from "./token-field";
import type { Link } from "./wire";

/** What one waits for in a state in which nothing new can be begun. */
const WAITS: Record<string, string> = {
  running: "Once the model has stopped writing",
  stopping: "Once the model has stopped writing",
  loading: "Once the model is loaded",
  failed: "Once a model is loaded",
  "no answer": "Once the kernel answers",
};

export function actPanel(link: Link, store: Store, askWhy: () => void): Panel {
  const here = el("button", {
    class: "text-button strong",
    axon: "branch-here",
    text: "Go on from here",
    attrs: { type: "button" },
  });
  here.addEventListener("click", () => {
    const frame = store.frame();
    if (frame) link.branch(frame.step, null);
  });
  const why = el("button", {
    class: "text-button strong",
    axon: "ask-why",
    text: "Why this token?",
    title: "Which features made the model choose it",
    attrs: { type: "button" },
  });
  why.addEventListener("click", askWhy);
  const word = el("span", { class: "term", text: "or with" });
  const chips = el("div", {
    class: "chips",
    attrs: { role: "group", "aria-label": "Go on with another token in its place" },
  });
  const field = tokenField(
    link,
    "branch-token",
    "Put any other token in its place and go on",
    ({ tokenId }) => {
      const frame = store.frame();
      if (frame) link.branch(frame.step, tokenId);
    },
  );
  const note = el("span", { class: "note" });
  const element = el(
    "div",
    { class: "act", axon: "act", attrs: { role: "group", "aria-label": "The token looked at" } },
    here,
    word,
    chips,
    field,
    note,
    why,
  );
  const makeChip = () => {
    const chip = el("button", { class: "chip mono pick", axon: "alternative", attrs: { type: "button" } });
    pickable(chip, (value) => {
      const [step, id] = value.split(" ").map(Number);
      if (step !== undefined && id !== undefined) link.branch(step, id);
    });
    return chip;
  };
  const update = () => {
    const frame = store.frame();
    const { word: state } = link.status();
    const busy = state !== "idle";
    // Chips that change with every token could not be hit anyway.
    const following = (state === "running" || state === "stopping") && store.cursor === null;
    const others =
      frame && !following
        ? frame.alternatives
            .filter(({ tokenId }) => tokenId !== null && tokenId !== frame.tokenId)
            .slice(0, 5)
        : [];
    const closed = state === "closed";
    element.classList.toggle("empty", !frame);
    here.disabled = busy || !frame;
    here.title = WAITS[state] ?? "Write on after this token, as a new branch";
    here.hidden = following;
    word.hidden = field.hidden = following || !frame || closed;
    why.disabled = !frame || closed;
    write(note, following && frame ? "Click a token to go on from there with another, or to ask why." : "");
    const made = rows(chips, others.length, makeChip);
    others.forEach(({ token, tokenId, probability }, i) => {
      const chip = made[i];
      if (!chip || !frame) return;
      write(chip, `${showToken(token, 18)} ${likelihood(probability)}`);
      chip.dataset.value = `${frame.step} ${tokenId}`;
      chip.disabled = busy;
      chip.title = `Put “${oneLine(token, 40)}” in place of “${oneLine(frame.token, 40)}” and go on, as a new branch`;
    });
  };
  const off = link.onTraits(["status"], update);
  return { element, update, dispose: off };
}
