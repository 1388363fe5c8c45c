/** Moves through the run: play, pause, speed, loop, and a scrubber that one can drag. */
import { button, el, icon, showToken, write } from "./dom";
import type { Frame } from "./frame";
import type { Light } from "./lit";
import { recall, remember } from "./memory";
import { type Player, RATE, type Speed } from "./player";
import { profile } from "./profile";
import type { Panel } from "./prompt";
import type { Store } from "./store";

const SPEEDS: [Speed, string][] = [
  [0.5, "½×"],
  [1, "1×"],
  [2, "2×"],
  [4, "4×"],
  ["written", "as written"],
];

export function transportPanel(store: Store, player: Player, light: () => Light): Panel {
  const play = button("play", "play", "", "", () => player.toggle());
  const newest = button("newest", "end", "", "Go to the newest token (Esc)", () => store.look(null));
  const loop = button("loop", "loop", "", "Play again and again", () => {
    player.set({ loop: !player.loop });
    remember("loop", player.loop);
  });
  const where = el("span", { class: "where", axon: "cursor" });
  const scrubber = el("input", {
    axon: "scrubber",
    class: "scrubber",
    attrs: { type: "range", min: "0", step: "1", "aria-label": "Token looked at" },
  });
  const heat = profile();
  const speed = el("select", {
    class: "speed",
    axon: "speed",
    title: `Speed: 1× is ${RATE} tokens a second; as written: each token after the time it took the model`,
    attrs: { "aria-label": "Speed" },
  });
  SPEEDS.forEach(([, word], place) => {
    speed.append(el("option", { text: word, attrs: { value: String(place) } }));
  });
  speed.addEventListener("change", () => {
    const [chosen] = SPEEDS[Number(speed.value)] ?? [];
    if (chosen === undefined) return;
    player.set({ speed: chosen });
    remember("speed", chosen);
  });
  const known = SPEEDS.find(([one]) => one === recall("speed"))?.[0];
  player.set({ speed: known ?? 1, loop: recall("loop") === true });

  // While a hand is on it the run may grow: what it has under its fingers stays.
  let held: Frame[] | null = null;
  let shown: Frame[] = [];
  scrubber.addEventListener("pointerdown", () => {
    held = shown;
  });
  for (const name of ["pointerup", "pointercancel", "blur"] as const)
    scrubber.addEventListener(name, () => {
      held = null;
      update();
    });
  scrubber.addEventListener("input", () => {
    const frame = shown[Number(scrubber.value)];
    if (frame) store.look(frame.step);
  });
  scrubber.addEventListener("keydown", (event) => {
    if (event.key !== " ") return;
    event.preventDefault();
    player.toggle();
  });

  let drawn = "";
  const update = () => {
    shown = held ?? store.tokens();
    const at = store.frame();
    heat.update(shown, light());
    const place = at ? shown.indexOf(at) : -1;
    // As it follows the run it is at the end, though a hand holds fewer tokens.
    const value = place < 0 ? shown.length - 1 : place;
    const title = player.playing
      ? "Pause"
      : player.moving
        ? "Stay at this token while the model writes on"
        : "Replay token by token";
    const pace = SPEEDS.findIndex(([one]) => one === player.speed);
    const state = [shown.length, value, at?.run, at?.step, store.cursor, title, pace, player.loop].join();
    if (state === drawn) return;
    drawn = state;
    write(where, shown.length ? `${value + 1} / ${shown.length}` : "");
    scrubber.max = String(Math.max(shown.length - 1, 0));
    scrubber.value = String(value);
    scrubber.disabled = play.disabled = shown.length < 2;
    scrubber.style.setProperty("--share", String(value / Math.max(shown.length - 1, 1)));
    scrubber.setAttribute(
      "aria-valuetext",
      at ? `${value + 1} of ${shown.length}: ${showToken(at.token, 40)}` : "no token yet",
    );
    newest.disabled = store.cursor === null;
    if (play.ariaLabel !== title) {
      play.replaceChildren(icon(player.moving ? "pause" : "play"));
      play.ariaLabel = title;
      play.title = `${title} (Space)`;
    }
    loop.setAttribute("aria-pressed", String(player.loop));
    speed.value = String(pace);
  };
  const off = player.onChange(update);
  const track = el("div", { class: "scrub" }, scrubber);
  track.prepend(heat.element);
  const element = el("div", { class: "transport" }, play, newest, track, where, speed, loop);
  return { element, update, dispose: off };
}
