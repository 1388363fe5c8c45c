/** The text as tokens: lit by the selected feature, a way to look at any moment of the run. */
import { button, el, icon, percent, short, showToken, write } from "./dom";
import type { Frame } from "./frame";
import type { Player } from "./player";
import type { Panel } from "./prompt";
import type { Store } from "./store";
import type { Tip } from "./tip";

const ENDINGS: Record<string, string> = {
  length: "max tokens reached",
  eos: "the model ended the text",
  context: "context is full",
  stopped: "stopped",
  error: "ended by an error",
};

export function tokensPanel(store: Store, player: Player, tip: Tip): Panel {
  const strip = el("div", {
    class: "strip",
    axon: "strip",
    attrs: {
      tabindex: "0",
      role: "listbox",
      "aria-label": "Tokens: left and right arrow look at any of them",
    },
  });
  const replay = button("play", "play", "", "Replay token by token", () => player.toggle());
  const newest = button("newest", "end", "", "Go to the newest token (Esc)", () => store.look(null));
  const where = el("span", { class: "where", axon: "cursor" });
  const ending = el("span", { class: "ending", axon: "finish" });
  const element = el(
    "footer",
    { class: "tokens" },
    el("div", { class: "transport" }, replay, newest, where),
    strip,
  );

  let run = -1;
  const spans = new Map<number, HTMLElement>();
  let marked: HTMLElement | null = null;
  let count = 0;

  const update = () => {
    const frames = store.tokens();
    if (store.run !== run || frames.length < count) {
      run = store.run;
      spans.clear();
      strip.replaceChildren();
    }
    count = frames.length;
    frames.forEach((frame, place) => {
      if (spans.has(frame.step)) return;
      const span = tokenSpan(frame);
      spans.set(frame.step, span);
      // A late frame takes its place among those that are there.
      strip.insertBefore(span, strip.children[place] ?? null);
    });
    if (strip.lastChild !== ending) strip.append(ending);
    write(ending, frames.length ? (ENDINGS[store.finish] ?? "") : "The text appears here, token by token.");
    light(frames);
    mark(frames);
    replay.disabled = frames.length < 2;
    newest.disabled = store.cursor === null;
    sign();
  };

  let playing = false;
  const sign = () => {
    if (player.playing === playing) return;
    playing = player.playing;
    const title = playing ? "Pause" : "Replay token by token";
    replay.replaceChildren(icon(playing ? "pause" : "play"));
    replay.setAttribute("aria-label", title);
    replay.title = title;
  };

  const light = (frames: Frame[]) => {
    const key = store.selectedKey;
    const peak = key ? (store.node(key)?.peak ?? 0) : 0;
    for (const frame of frames) {
      const share = key && peak > 0 ? store.activation(frame, key) / peak : 0;
      const span = spans.get(frame.step);
      if (!span) continue;
      const heat = share > 0 ? (0.2 + 0.8 * share).toFixed(3) : "0";
      if (span.dataset.heat === heat) continue;
      span.dataset.heat = heat;
      span.style.setProperty("--heat", heat);
    }
  };

  const mark = (frames: Frame[]) => {
    const at = store.frame();
    const span = at ? (spans.get(at.step) ?? null) : null;
    strip.classList.toggle("past", store.cursor !== null);
    for (const [step, other] of spans) other.classList.toggle("later", at !== null && step > at.step);
    if (span !== marked) {
      marked?.removeAttribute("aria-selected");
      span?.setAttribute("aria-selected", "true");
      marked = span;
    }
    // Only the strip itself scrolls: the notebook must stay where it is.
    if (span) {
      const [top, bottom] = [
        span.offsetTop - strip.offsetTop,
        span.offsetTop - strip.offsetTop + span.offsetHeight,
      ];
      if (store.cursor === null) strip.scrollTop = strip.scrollHeight;
      else if (top < strip.scrollTop) strip.scrollTop = top - 4;
      else if (bottom > strip.scrollTop + strip.clientHeight)
        strip.scrollTop = bottom - strip.clientHeight + 4;
    }
    const place = at ? frames.indexOf(at) + 1 : 0;
    write(where, frames.length ? `${place} / ${frames.length}` : "");
  };

  strip.addEventListener("click", (event) => {
    const step = stepOf(event.target);
    if (step !== null) store.look(step);
    // Beside the text: back to following the run.
    else if (event.target === strip || event.target === ending) store.look(null);
  });
  strip.addEventListener("keydown", (event) => {
    const actions: Record<string, () => void> = {
      ArrowLeft: () => store.move(-1),
      ArrowRight: () => store.move(1),
      Home: () => store.look(0),
      End: () => store.look(null),
      Escape: () => store.look(null),
      " ": () => player.toggle(),
    };
    const action = actions[event.key];
    if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    action();
  });
  strip.addEventListener("pointerover", (event) => {
    const step = stepOf(event.target);
    const frame = step === null ? undefined : store.frames[step];
    if (!frame || !(event.target instanceof Element)) return tip.hide();
    const box = (event.target.closest("[data-step]") ?? event.target).getClientRects()[0];
    if (box) tip.show(box.left, box.top - 8, ...describe(frame));
  });
  strip.addEventListener("pointerleave", () => tip.hide());
  player.onChange = update;

  return { element, update };
}

function stepOf(target: EventTarget | null): number | null {
  const step =
    target instanceof Element ? target.closest<HTMLElement>("[data-step]")?.dataset.step : undefined;
  return step === undefined ? null : Number(step);
}

/** The token's own characters, so that the strip's text is the text; signs for the invisible come from CSS. */
function tokenSpan(frame: Frame): HTMLElement {
  const span = el("span", {
    class: frame.generated ? "token" : "token given",
    attrs: { role: "option", "data-step": String(frame.step) },
  });
  for (const piece of frame.token.split(/(\n|^ +| +$)/).filter(Boolean)) {
    if (piece === "\n") span.append(el("span", { class: "newline", text: piece }));
    else if (piece.trim() === "") span.append(el("span", { class: "space", text: piece }));
    else span.append(piece);
  }
  return span;
}

function describe(frame: Frame): Node[] {
  const nodes: Node[] = [
    el(
      "div",
      { class: "tip-head" },
      el("b", { class: "mono", text: showToken(frame.token) }),
      el("span", { text: `${frame.generated ? "written" : "prompt"} · position ${frame.position}` }),
    ),
  ];
  if (frame.logprob !== null)
    nodes.push(
      el("div", {
        class: "tip-line",
        text: `probability ${percent(Math.exp(frame.logprob))} · log ${short(frame.logprob)}`,
      }),
    );
  if (frame.alternatives.length) {
    nodes.push(el("div", { class: "tip-line quiet", text: "likeliest at this place" }));
    for (const [token, probability] of frame.alternatives) {
      const row = el(
        "div",
        { class: token === frame.token ? "alternative chosen" : "alternative" },
        el("span", { class: "mono", text: showToken(token) }),
        el("span", { class: "bar" }),
        el("span", { class: "value", text: percent(probability) }),
      );
      row.style.setProperty("--share", String(Math.min(Math.max(probability, 0), 1)));
      nodes.push(row);
    }
  }
  return nodes;
}
