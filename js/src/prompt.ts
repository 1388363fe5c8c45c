/** The header: what is loaded, the prompt and its buttons. */
import { button, el, icon, layerTag, write } from "./dom";
import { readInfo, text } from "./frame";
import { modelMenu } from "./models";
import type { Link } from "./wire";

export interface Panel {
  element: HTMLElement;
  update(): void;
  dispose?(): void;
}

export interface PromptActions {
  fit(): void;
  /** What stands at the header's end, and what opens below it. */
  tools: HTMLElement[];
  menus: HTMLElement[];
}

export function promptPanel(link: Link, live: boolean, actions: PromptActions): Panel {
  const name = el("span", { class: "model", axon: "model" });
  const rest = el("span", { class: "about" });
  const title = live
    ? el(
        "button",
        { class: "title", axon: "open-models", attrs: { type: "button", "aria-haspopup": "dialog" } },
        el("span", { class: "which" }, name, icon("more")),
        rest,
      )
    : el("div", { class: "title" }, name, rest);
  const field = el("textarea", {
    class: "prompt",
    axon: "prompt",
    attrs: {
      rows: "1",
      placeholder: "Write the beginning of a text…",
      "aria-label": "Prompt",
      spellcheck: "false",
    },
  });
  let edited = false;
  const fitHeight = () => {
    field.style.height = "0";
    field.style.height = `${Math.min(field.scrollHeight + 2, 84)}px`;
  };
  const follow = () => {
    if (edited) return;
    field.value = text(link.trait("prompt"));
    fitHeight();
  };
  const start = () => {
    if (generate.disabled) return;
    edited = false;
    link.send({ kind: "generate", prompt: field.value });
  };
  const generate = button("generate", "play", "Generate", "Generate (Enter)", start);
  generate.classList.add("primary");
  const stop = button("stop", "stop", "Stop", "Stop after the current token", () => {
    link.send({ kind: "stop" });
    stop.disabled = true;
  });
  const reset = button("reset", "reset", "Reset", "Reset: clear the graph and the text", () => {
    link.send({ kind: "reset" });
    actions.fit();
  });
  const fit = button("fit", "fit", "", "Fit the graph into view", actions.fit);

  field.addEventListener("input", () => {
    edited = true;
    fitHeight();
  });
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    start();
  });

  const row = el("div", { class: "ask" });
  if (live) row.append(field, el("div", { class: "buttons" }, generate, stop, reset));
  else row.append(savedPrompt(link));
  const menu = live ? modelMenu(link, title) : null;
  const tools = el("div", { class: "buttons tools" }, fit, ...actions.tools);
  const element = el("header", { class: "header" }, title, row, tools, ...actions.menus);
  if (menu) element.append(menu.element);

  const state = () => {
    const { word } = link.status();
    const busy = word === "running" || word === "stopping";
    generate.disabled = busy || word === "closed";
    stop.disabled = !(word === "running" || word === "loading");
    reset.disabled = word === "closed";
    if (title instanceof HTMLButtonElement) title.disabled = word === "closed";
    // Space for the longest model name is short: the parts drop away from the right, the title tells all.
    const info = readInfo(link.trait("info"));
    const device = info?.device || text(link.trait("device"));
    write(name, info?.model ?? "axon");
    const saes = info?.saes ?? [];
    const ends = [saes[0], saes.at(-1)].map((sae) => layerTag(sae?.title ?? ""));
    const what = saes.length > 1 ? `${saes.length} SAEs, layers ${ends.join(" to ")}` : info?.sae;
    write(rest, [what, device].filter(Boolean).join(" · "));
    const all = saes.map((sae) => [sae.name, sae.hook].filter(Boolean).join(" at "));
    const known = info ? [info.model, ...all, device] : [];
    title.title = [...known, live ? "Click to load another model" : ""].filter(Boolean).join("\n");
  };
  const offs = [
    link.onTraits(["status", "info", "device"], state),
    link.onTraits(["prompt"], () => {
      // Python's word is newer than an old edit, but never pulls the text from under someone typing.
      if (!field.matches(":focus")) edited = false;
      follow();
    }),
  ];
  state();
  follow();
  const sizes = new ResizeObserver(fitHeight);
  sizes.observe(row);

  return {
    element,
    update() {},
    dispose() {
      sizes.disconnect();
      menu?.dispose?.();
      for (const off of offs) off();
    },
  };
}

function savedPrompt(link: Link): HTMLElement {
  return el("div", {
    class: "prompt saved",
    axon: "prompt",
    text: text(link.trait("prompt")),
    title: "the prompt",
  });
}
