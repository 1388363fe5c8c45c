/** The menu that saves what is seen, and what lies behind it, to files. */
import { button, el, write } from "./dom";
import { film, noFilm } from "./film";
import { readInfo, text } from "./frame";
import type { GraphPanel } from "./graph";
import type { Player } from "./player";
import { popup } from "./popup";
import { download, fileName, png } from "./save-file";
import { snapshot } from "./snapshot";
import type { Store } from "./store";
import type { Link } from "./wire";

/** Pixels for each of the page's. */
const SHARP = 2;
/** Python answers once the cell that runs is done; after so long the person is told what it waits for. */
const SLOW = 3000;

export interface SaveMenu {
  button: HTMLButtonElement;
  element: HTMLElement;
  /** Closes it; false where it was closed. */
  leave(): boolean;
  dispose(): void;
}

interface Kind {
  name: string;
  title: string;
  about: string;
  ending: string;
  make(signal: AbortSignal): Promise<Blob>;
}

export function saveMenu(
  link: Link,
  store: Store,
  player: Player,
  graph: GraphPanel,
  root: HTMLElement,
  live: boolean,
): SaveMenu {
  let work: AbortController | null = null;
  const picture = () => {
    const drawn = graph.picture(SHARP);
    if (!drawn) throw new Error("The graph cannot be drawn here: “Picture with panels” has all the rest.");
    return drawn;
  };
  const writing = () =>
    ["running", "stopping"].includes(link.status().word) ? "Once the model has stopped writing." : "";
  const strip = () => root.querySelector<HTMLElement>("[data-axon=strip]") as HTMLElement;
  const kinds: Kind[] = [
    {
      name: "picture",
      title: "Picture",
      about: "the graph as it is now (PNG)",
      ending: "png",
      make: async () => png(picture()),
    },
    {
      name: "panels",
      title: "Picture with panels",
      about: "the whole view as it is now (PNG)",
      ending: "png",
      make: async () => {
        menu.hidden = true;
        try {
          const inGraph = (canvas: HTMLCanvasElement) =>
            graph.element.contains(canvas) ? graph.picture(SHARP) : null;
          return await png(await snapshot(root, root, SHARP, inGraph));
        } finally {
          menu.hidden = false;
        }
      },
    },
    {
      name: "video",
      title: "Replay as video",
      about: "the graph and the text, token by token (WebM)",
      ending: "webm",
      make: (signal) => {
        const seen = { root, store, player, strip: strip(), graph: (scale: number) => graph.picture(scale) };
        return film(seen, (share) => say(`Recording ${Math.round(100 * share)} %`), signal);
      },
    },
    {
      name: "page",
      title: "Page",
      about: "this view with the run in it, for any browser (HTML)",
      ending: "html",
      make: async (signal) =>
        new Blob([live ? await ask("html", signal) : thisPage()], { type: "text/html" }),
    },
  ];
  if (live)
    kinds.push(
      {
        name: "json",
        title: "Data",
        about: "the whole trace, to be read again (JSON)",
        ending: "json",
        make: async (signal) => new Blob([await ask("json", signal)], { type: "application/json" }),
      },
      {
        name: "csv",
        title: "Table",
        about: "a row for each feature on each token (CSV)",
        ending: "csv",
        make: async (signal) => new Blob([await ask("csv", signal)], { type: "text/csv" }),
      },
    );

  const ask = (what: string, signal: AbortSignal) =>
    new Promise<string>((done, fail) => {
      const slow = setTimeout(() => say("Waiting for the kernel: it may be busy with a cell."), SLOW);
      signal.addEventListener("abort", () => {
        clearTimeout(slow);
        off();
        fail(new Error("cancelled"));
      });
      const off = link.askExport(what, (content, error) => {
        clearTimeout(slow);
        if (error) fail(new Error(error));
        else done(content);
      });
    });

  const said = el("span", { axon: "save-said", attrs: { role: "status" } });
  const cancel = el("button", {
    class: "button",
    axon: "save-cancel",
    text: "Cancel",
    attrs: { type: "button" },
  });
  cancel.addEventListener("click", () => work?.abort());
  const items = kinds.map((kind) => {
    const item = el(
      "button",
      { class: "save-item", axon: `save-${kind.name}`, attrs: { type: "button" } },
      el("span", { class: "save-title", text: kind.title }),
      el("span", { class: "save-about", text: kind.about }),
    );
    item.addEventListener("click", () => void save(kind, item));
    return item;
  });
  const foot = el("div", { class: "save-foot" }, said, cancel);
  const menu = el(
    "div",
    { class: "save-menu", axon: "save-menu", attrs: { role: "dialog", "aria-label": "Save" } },
    ...items,
    foot,
  );
  const opener = button("save", "save", "", "Save pictures, video and data");
  opener.setAttribute("aria-haspopup", "dialog");

  const say = (words: string, trouble = false) => {
    write(said, words);
    foot.classList.toggle("trouble", trouble);
    foot.hidden = words === "";
  };
  const refresh = () => {
    const empty = store.tokens().length === 0;
    for (const [place, { name }] of kinds.entries()) {
      const item = items[place];
      const why = name === "video" ? noFilm() || writing() : "";
      if (!item) continue;
      item.disabled = work !== null || empty || why !== "";
      write(item.lastElementChild as Element, why || (kinds[place]?.about ?? ""));
    }
    cancel.hidden = work === null;
    if (empty && !work) say("There is nothing to save yet: write something first.");
  };
  const { leave, dispose } = popup(opener, menu, {
    opened() {
      if (!work) say("");
      refresh();
      const first = work ? cancel : items.find((item) => !item.disabled);
      first?.focus({ preventScroll: true });
    },
    stays: () => work !== null,
  });
  const save = async (kind: Kind, item: HTMLElement) => {
    if (work) return;
    const mine = new AbortController();
    work = mine;
    say("Saving…");
    refresh();
    cancel.focus({ preventScroll: true });
    try {
      const content = await kind.make(mine.signal);
      if (mine.signal.aborted) return;
      const name = fileName(
        readInfo(link.trait("info"))?.model ?? "",
        text(link.trait("prompt")),
        kind.ending,
      );
      download(content, name);
      say(`Saved as ${name}`);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      if (mine.signal.aborted) say("Cancelled: nothing was saved.");
      else say(why || "The browser could not draw the picture.", true);
    } finally {
      // Back to where it began, unless somebody has gone elsewhere meanwhile.
      const here = menu.matches(":focus-within") || root.matches(":focus");
      work = null;
      refresh();
      if (here && !menu.hidden) item.focus({ preventScroll: true });
    }
  };
  menu.addEventListener("keydown", (event) => {
    const at = items.indexOf(event.target as HTMLButtonElement);
    const enabled = items.filter((item) => !item.disabled);
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!by || at < 0) return;
    const next = enabled.indexOf(items[at] as HTMLButtonElement) + by + enabled.length;
    enabled[next % enabled.length]?.focus();
    event.preventDefault();
    event.stopPropagation();
  });
  const offStatus = link.onTraits(["status"], () => refresh());
  say("");

  return {
    button: opener,
    element: menu,
    leave,
    dispose() {
      work?.abort();
      offStatus();
      dispose();
    },
  };
}

/** A saved page saves itself, as it was before anything was drawn in it. */
function thisPage(): string {
  const page = document.documentElement.cloneNode(true) as HTMLElement;
  page.querySelector("#axon")?.replaceChildren();
  return `<!doctype html>\n${page.outerHTML}`;
}
