/** The text as tokens: lit by the selected feature, a way to look at any moment of the run and of its branches. */
import { button, el, icon, oneLine, write } from "./dom";
import type { Frame } from "./frame";
import type { Player } from "./player";
import type { Panel } from "./prompt";
import type { Store, Track } from "./store";
import type { Tip } from "./tip";
import { describe, markToken, tokenSpan } from "./token";
import type { Link } from "./wire";

const ENDINGS: Record<string, string> = {
  length: "max tokens reached",
  eos: "the model ended the text",
  context: "context is full",
  stopped: "stopped",
  error: "ended by an error",
};
/** The share of a row a branch may be pushed in, and the pixels its first line is to have. */
const MOST_INDENT = 0.7;
const LEAST_ROOM = 220;

interface Row {
  element: HTMLElement;
  letter: HTMLButtonElement;
  text: HTMLElement;
  fork: HTMLElement;
  ending: HTMLElement;
  compare: HTMLButtonElement;
  spans: Map<number, HTMLElement>;
}

export function tokensPanel(link: Link, store: Store, player: Player, tip: Tip, live: boolean): Panel {
  const strip = el("div", {
    class: "strip",
    axon: "strip",
    attrs: {
      tabindex: "0",
      role: "listbox",
      "aria-label": "Tokens: left and right arrow look at any of them, up and down at another branch",
    },
  });
  const replay = button("play", "play", "", "Replay token by token", () => player.toggle());
  const newest = button("newest", "end", "", "Go to the newest token (Esc)", () => store.look(null));
  const where = el("span", { class: "where", axon: "cursor" });
  const element = el(
    "div",
    { class: "lines" },
    el("div", { class: "transport" }, replay, newest, where),
    strip,
  );

  let tree = -1;
  let rows = new Map<number, Row>();
  let marked: HTMLElement | null = null;
  let scrolled = "";

  const makeRow = (track: Track): Row => {
    const letter = el("button", {
      class: "letter",
      axon: "track",
      attrs: { type: "button" },
    });
    letter.addEventListener("click", () => store.visit(track.run));
    const compare = el("button", {
      class: "versus",
      axon: "compare",
      text: "vs",
      attrs: { type: "button" },
    });
    compare.addEventListener("click", () => link.compare(store.run, track.run));
    const fork = el("span", { class: "fork", text: "↳ ", attrs: { "aria-hidden": "true" } });
    const ending = el("span", { class: "ending" });
    const text = el("div", { class: "track-text" }, fork, ending);
    const row = el(
      "div",
      { class: "track", attrs: { role: "group", "data-run": String(track.run) } },
      letter,
      compare,
      text,
    );
    strip.append(row);
    return { element: row, letter, text, fork, ending, compare, spans: new Map() };
  };

  const update = () => {
    const { tracks } = store;
    if (store.tree !== tree) {
      tree = store.tree;
      rows = new Map();
      marked = null;
      strip.replaceChildren();
    }
    strip.classList.toggle("many", tracks.length > 1);
    for (const track of tracks) {
      const row = rows.get(track.run) ?? makeRow(track);
      rows.set(track.run, row);
      fill(row, track);
    }
    if (!rows.size)
      strip.replaceChildren(el("span", { class: "ending", text: "The text appears here, token by token." }));
    light();
    if (tracks.length > 1) indent(tracks);
    mark();
    const shown = store.tokens().length;
    replay.disabled = shown < 2;
    newest.disabled = store.cursor === null;
    sign();
  };

  /** The run's own tokens: what is common with its parent stands there. */
  const fill = (row: Row, track: Track) => {
    const frames = track.frames.filter(
      (frame): frame is Frame => frame !== undefined && !frame.special && frame.step >= track.from,
    );
    if (row.spans.size > frames.length) {
      for (const span of row.spans.values()) span.remove();
      row.spans.clear();
    }
    frames.forEach((frame, place) => {
      if (row.spans.has(frame.step)) return;
      const span = tokenSpan(frame);
      if (frame.step === track.from && track.token !== null) span.classList.add("put");
      row.spans.set(frame.step, span);
      // A late frame takes its place among those that are there; before all stands the fork.
      row.text.insertBefore(span, row.text.children[place + 1] ?? row.ending);
    });
    for (const frame of frames) {
      const span = row.spans.get(frame.step);
      if (span) markToken(span, frame, store);
    }
    const looked = track.run === store.run;
    const name = store.title(track.run);
    const empty = track.parent === null && !frames.length;
    write(row.ending, empty ? "The text appears here, token by token." : (ENDINGS[track.finish] ?? ""));
    if (looked) row.ending.dataset.axon = "finish";
    else delete row.ending.dataset.axon;
    row.fork.hidden = track.parent === null;
    write(row.letter, name);
    row.letter.setAttribute("aria-pressed", String(looked));
    row.letter.title = story(track);
    row.letter.setAttribute("aria-label", `Branch ${name}: ${story(track)}`);
    row.element.setAttribute("aria-label", `branch ${name}`);
    row.element.classList.toggle("looked", looked);
    row.compare.style.visibility = live && !looked ? "" : "hidden";
    row.compare.title = `Compare ${store.title(store.run)} with ${name}`;
    row.compare.setAttribute("aria-label", row.compare.title);
  };

  const story = (track: Track): string => {
    if (track.parent === null) return "the first run";
    const parent = store.title(track.parent);
    const how = track.token === null ? "written anew" : `goes on with “${oneLine(track.token, 30)}”`;
    return `${how}, from token ${track.from} of ${parent}`;
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

  const light = () => {
    const key = store.selectedKey;
    const peak = key ? (store.node(key)?.peak ?? 0) : 0;
    for (const track of store.tracks)
      for (const [step, span] of rows.get(track.run)?.spans ?? []) {
        const share = key && peak > 0 ? store.activation(track.frames[step], key) / peak : 0;
        const heat = share > 0 ? Math.min(0.2 + 0.8 * share, 1).toFixed(3) : "0";
        if (span.dataset.heat === heat) continue;
        span.dataset.heat = heat;
        span.style.setProperty("--heat", heat);
      }
  };

  const mark = () => {
    const at = store.frame();
    strip.classList.toggle("past", store.cursor !== null);
    for (const [run, row] of rows)
      for (const [step, other] of row.spans) {
        const aside = rows.size > 1 && store.owner(step) !== run;
        other.classList.toggle("aside", aside);
        other.classList.toggle("later", !aside && at !== null && step > at.step);
      }
    const span = at ? (rows.get(at.run)?.spans.get(at.step) ?? null) : null;
    if (span !== marked) {
      marked?.removeAttribute("aria-selected");
      span?.setAttribute("aria-selected", "true");
      marked = span;
    }
    const frames = store.tokens();
    const place = at ? frames.indexOf(at) + 1 : 0;
    write(where, frames.length ? `${place} / ${frames.length}` : "");
    const end = at ? rows.get(at.run)?.ending : null;
    const aim = store.cursor === null && end?.textContent ? end : span;
    if (aim) scroll(aim, [at?.run, at?.step, store.cursor, strip.clientHeight, end?.textContent].join());
  };

  /** Only the strip itself scrolls: the notebook must stay where it is. */
  const scroll = (span: HTMLElement, state: string) => {
    if (state === scrolled) return;
    scrolled = state;
    const box = strip.getBoundingClientRect();
    const { top, bottom } = span.getBoundingClientRect();
    if (top < box.top + 8) strip.scrollTop += top - box.top - 10;
    else if (bottom > box.bottom - 6) strip.scrollTop += bottom - box.bottom + 10;
  };

  /** A branch begins under the token it goes on from. */
  const indent = (tracks: Track[]) => {
    for (const track of tracks) {
      const row = rows.get(track.run);
      if (!row || track.parent === null) continue;
      const before = rows.get(store.ownerIn(track.parent, track.from - 1))?.spans.get(track.from - 1);
      const boxes = before?.getClientRects();
      const box = boxes?.[boxes.length - 1];
      const own = row.text.getBoundingClientRect();
      const wish = box ? box.right - own.left : 0;
      const wide = Math.round(Math.max(Math.min(wish, MOST_INDENT * own.width, own.width - LEAST_ROOM), 0));
      row.text.style.textIndent = `${wide}px`;
    }
  };

  strip.addEventListener("click", (event) => {
    if (event.target instanceof Element && event.target.closest("button")) return;
    const place = placeOf(event.target);
    if (place) store.visit(place.run === store.owner(place.step) ? store.run : place.run, place.step);
    // Beside the text: back to following the run.
    else store.look(null);
  });
  strip.addEventListener("keydown", (event) => {
    if (event.target instanceof HTMLButtonElement && (event.key === " " || event.key === "Enter")) return;
    const actions: Record<string, () => void> = {
      ArrowLeft: () => store.move(-1),
      ArrowRight: () => store.move(1),
      Home: () => store.look(0),
      End: () => store.look(null),
      Escape: () => store.look(null),
      " ": () => player.toggle(),
    };
    if (rows.size > 1) Object.assign(actions, { ArrowUp: () => turn(-1), ArrowDown: () => turn(1) });
    const action = actions[event.key];
    if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    action();
  });
  const turn = (by: number) => {
    const { tracks } = store;
    const next = tracks[tracks.findIndex(({ run }) => run === store.run) + by];
    if (next) store.visit(next.run);
  };
  strip.addEventListener("pointerover", (event) => {
    const place = placeOf(event.target);
    const frame = place ? store.tracks.find(({ run }) => run === place.run)?.frames[place.step] : undefined;
    if (!frame || !(event.target instanceof Element)) return tip.hide();
    const box = (event.target.closest("[data-step]") ?? event.target).getClientRects()[0];
    if (box) tip.show(box.left, box.top - 8, ...describe(frame, store));
  });
  strip.addEventListener("pointerleave", () => tip.hide());
  const offPlayer = player.onChange(update);
  // Where a branch begins hangs on where the lines break.
  const sizes = new ResizeObserver(() => update());
  sizes.observe(strip);

  return {
    element,
    update,
    dispose() {
      sizes.disconnect();
      offPlayer();
    },
  };
}

function placeOf(target: EventTarget | null): { run: number; step: number } | null {
  const data = target instanceof Element ? target.closest<HTMLElement>("[data-step]")?.dataset : undefined;
  return data?.step === undefined ? null : { run: Number(data.run), step: Number(data.step) };
}
