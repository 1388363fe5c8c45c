/** The text as tokens: lit by what one chooses, a way to look at any moment of the run and of its branches. */
import { el, modified, oneLine, write } from "./dom";
import type { Frame } from "./frame";
import { litBar } from "./lit-bar";
import type { Player } from "./player";
import type { Panel } from "./prompt";
import type { Store, Track } from "./store";
import type { Tip } from "./tip";
import { markToken } from "./token";
import { type Cell, TokenRow } from "./token-row";
import { describe } from "./token-tip";
import { transportPanel } from "./transport";
import type { Link } from "./wire";

const ENDINGS: Record<string, string> = {
  length: "max tokens reached",
  eos: "the model ended the text",
  context: "context is full",
  stopped: "stopped",
  error: "ended by an error",
};
const EMPTY = "The text appears here, token by token.";
/** The share of a row a branch may be pushed in, and the pixels its first line is to have. */
const MOST_INDENT = 0.7;
const LEAST_ROOM = 220;

export function tokensPanel(link: Link, store: Store, player: Player, tip: Tip, live: boolean): Panel {
  const strip = el("div", {
    class: "strip",
    axon: "strip",
    attrs: {
      tabindex: "0",
      role: "grid",
      "aria-label": "Tokens: left and right arrow look at any of them, up and down at another branch",
    },
  });
  const lit = litBar(store, () => update());
  const transport = transportPanel(store, player, lit.light);
  const element = el(
    "div",
    { class: "lines" },
    el("div", { class: "lines-bar" }, transport.element, lit.element),
    strip,
  );
  // One token at a time is the one looked at: its mark moves, so that no other needs a name.
  const here = `axon-token-${Math.random().toString(36).slice(2)}`;

  let tree = -1;
  let rows = new Map<number, TokenRow>();
  let marked: HTMLElement | null = null;
  let scrolled = "";
  let lightState = "";
  let markState: unknown[] = [];
  let indented = "";
  let size = { width: 0, height: 0 };

  const makeRow = (track: Track): TokenRow => {
    const row = new TokenRow(track.run);
    row.letter.addEventListener("click", () => store.visit(track.run));
    row.compare.addEventListener("click", () => link.compare(store.run, track.run));
    rows.set(track.run, row);
    strip.append(row.element);
    return row;
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
    const fresh: Cell[] = [];
    for (const track of tracks) {
      const row = rows.get(track.run) ?? makeRow(track);
      fresh.push(...row.fill(track));
      name(row, track);
    }
    if (!rows.size) strip.replaceChildren(el("span", { class: "ending", text: EMPTY }));
    light(fresh);
    doubt(fresh);
    indent(tracks);
    mark();
    transport.update();
    lit.update();
    tell();
    // A grid of nothing is none.
    strip.setAttribute("role", rows.size ? "grid" : "group");
  };

  const name = (row: TokenRow, track: Track) => {
    const looked = track.run === store.run;
    const title = store.title(track.run);
    const empty = track.parent === null && !row.cells.size;
    const state = [looked, title, story(track), track.finish, empty, store.title(store.run)].join();
    if (row.state === state) return;
    row.state = state;
    write(row.ending, empty ? EMPTY : (ENDINGS[track.finish] ?? ""));
    if (looked) row.ending.dataset.axon = "finish";
    else delete row.ending.dataset.axon;
    row.fork.hidden = track.parent === null;
    write(row.letter, title);
    row.letter.setAttribute("aria-pressed", String(looked));
    row.letter.title = story(track);
    row.letter.setAttribute("aria-label", `Branch ${title}: ${story(track)}`);
    row.element.setAttribute("aria-label", `branch ${title}`);
    row.element.classList.toggle("looked", looked);
    row.compare.style.visibility = live && !looked ? "" : "hidden";
    row.compare.title = `Compare ${store.title(store.run)} with ${title}`;
    row.compare.setAttribute("aria-label", row.compare.title);
  };

  const story = (track: Track): string => {
    if (track.parent === null) return "the first run";
    const parent = store.title(track.parent);
    const how = track.token === null ? "written anew" : `goes on with “${oneLine(track.token, 30)}”`;
    return `${how}, from token ${track.from} of ${parent}`;
  };

  const cells = (): Cell[] => [...rows.values()].flatMap((row) => [...row.cells.values()]);

  const light = (fresh: Cell[]) => {
    const { by, state, heat } = lit.light();
    element.dataset.lit = by;
    for (const cell of state === lightState ? fresh : cells()) {
      const amount = heat(cell.frame).toFixed(3);
      if (cell.heat === amount) continue;
      cell.heat = amount;
      cell.span.style.setProperty("--heat", amount);
    }
    lightState = state;
  };

  const doubt = (fresh: Cell[]) => {
    const state = [store.saes, store.selected?.sae];
    const same = state.every((one, place) => one === markState[place]);
    for (const { span, frame } of same ? fresh : cells()) markToken(span, frame, store);
    markState = state;
  };

  const mark = () => {
    const at = store.frame();
    // What the run looked at shares with others belongs to it up to where it left them.
    const ends = new Map<number, number>();
    let end = Number.POSITIVE_INFINITY;
    for (let track = store.tracks.find(({ run }) => run === store.run); track; ) {
      ends.set(track.run, end);
      end = Math.min(end, track.from);
      const { parent } = track;
      track = parent === null ? undefined : store.tracks.find(({ run }) => run === parent);
    }
    for (const [run, row] of rows) {
      row.mark("aside", ends.get(run) ?? 0);
      row.mark("later", store.cursor === null ? Number.POSITIVE_INFINITY : store.cursor + 1);
    }
    const span = at ? (rows.get(at.run)?.cells.get(at.step)?.span ?? null) : null;
    if (span !== marked) {
      marked?.removeAttribute("aria-selected");
      marked?.removeAttribute("id");
      span?.setAttribute("aria-selected", "true");
      if (span) span.id = here;
      marked = span;
      if (span) strip.setAttribute("aria-activedescendant", here);
      else strip.removeAttribute("aria-activedescendant");
    }
    const ending = at ? rows.get(at.run)?.ending : null;
    const aim = store.cursor === null && ending?.textContent ? ending : span;
    if (aim) scroll(aim, [at?.run, at?.step, store.cursor, size.height, ending?.textContent].join());
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
    const forks = tracks.flatMap(({ run, parent, from }) => {
      const row = parent === null ? undefined : rows.get(store.ownerIn(parent, from - 1));
      const before = row?.cells.get(from - 1);
      return row && before ? [{ run, row, before }] : [];
    });
    // Tokens before a fork stay where they are until the lines break elsewhere.
    const state = [size.width, ...forks.map(({ run, row }) => `${run} ${row.cells.size}`)].join();
    if (state === indented) return;
    indented = state;
    for (const { run, before } of forks) {
      const text = rows.get(run)?.text;
      if (!text) continue;
      const boxes = before.span.getClientRects();
      const own = text.getBoundingClientRect();
      const wish = (boxes[boxes.length - 1]?.right ?? own.left) - own.left;
      const wide = Math.round(Math.max(Math.min(wish, MOST_INDENT * own.width, own.width - LEAST_ROOM), 0));
      text.style.textIndent = `${wide}px`;
    }
  };

  // What is said of a token: of the one under the pointer, or, by keys, of the one looked at
  let byKeys = false;
  let told: HTMLElement | null = null;

  const tellOf = (span: HTMLElement | null) => {
    const frame = span ? frameOf(span) : undefined;
    if (!span || !frame) {
      if (told) tip.hide();
      told = null;
      return;
    }
    // Of a long token the part that can be seen must stay free.
    const [box, own] = [strip.getBoundingClientRect(), span.getBoundingClientRect()];
    const [top, bottom] = [Math.max(own.top, box.top), Math.min(own.bottom, box.bottom)];
    if (top >= bottom) return tellOf(null);
    told = span;
    const left = span.getClientRects()[0]?.left ?? own.left;
    tip.beside({ left, right: own.right, top, bottom }, ...describe(frame, store));
  };

  const tell = () => {
    if (byKeys) tellOf(player.moving ? null : marked);
    else if (told && !told.isConnected) tellOf(null);
  };

  const frameOf = (span: HTMLElement): Frame | undefined => {
    const place = placeOf(span);
    return place ? rows.get(place.run)?.cells.get(place.step)?.frame : undefined;
  };

  strip.addEventListener("pointerover", (event) => {
    byKeys = false;
    tellOf(spanOf(event.target));
  });
  strip.addEventListener("pointerleave", () => {
    byKeys = false;
    tellOf(null);
  });
  strip.addEventListener("focus", () => {
    byKeys = strip.matches(":focus-visible");
    tell();
  });
  strip.addEventListener("blur", () => {
    byKeys = false;
    tellOf(null);
  });
  strip.addEventListener("scroll", () => tellOf(told));

  strip.addEventListener("click", (event) => {
    if (event.target instanceof Element && event.target.closest("button")) return;
    const place = placeOf(spanOf(event.target));
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
      " ": () => player.toggle(),
    };
    if (store.cursor !== null || told)
      actions.Escape = () => {
        tellOf(null);
        store.look(null);
      };
    if (rows.size > 1) Object.assign(actions, { ArrowUp: () => turn(-1), ArrowDown: () => turn(1) });
    const action = actions[event.key];
    if (!action || modified(event)) return;
    event.preventDefault();
    event.stopPropagation();
    byKeys = event.key !== "Escape" && event.key !== " ";
    action();
    tell();
  });
  const turn = (by: number) => {
    const { tracks } = store;
    const at = tracks.findIndex(({ run }) => run === store.run);
    const next = tracks[(at + by + tracks.length) % tracks.length];
    if (next) store.visit(next.run);
  };

  // Where a branch begins hangs on where the lines break.
  const sizes = new ResizeObserver(() => {
    size = { width: strip.clientWidth, height: strip.clientHeight };
    update();
  });
  sizes.observe(strip);

  return {
    element,
    update,
    dispose() {
      sizes.disconnect();
      transport.dispose?.();
    },
  };
}

function spanOf(target: EventTarget | null): HTMLElement | null {
  return target instanceof Element ? target.closest<HTMLElement>("[data-step]") : null;
}

function placeOf(span: HTMLElement | null): { run: number; step: number } | null {
  return span ? { run: Number(span.dataset.run), step: Number(span.dataset.step) } : null;
}
