/** The replay as a film: the graph with the text below it, recorded while the player plays. */
import { el } from "./dom";
import { type Player, RATE } from "./player";
import { snapshot } from "./snapshot";
import type { Store } from "./store";

const KINDS = ["video/webm;codecs=vp9", "video/webm;codecs=vp8", "video/webm"];
const FRAMES = 15;
/** Seconds that the film lasts at most, and those that the whole stands still at its end. */
const LONGEST = 30;
const LINGER = 1.2;
const WIDEST = 1280;
const BITS = 6_000_000;

export interface Filmed {
  root: HTMLElement;
  store: Store;
  player: Player;
  /** The graph as it is now. */
  graph(scale: number): HTMLCanvasElement | null;
  /** The text as it is now. */
  strip: HTMLElement;
}

/** Why no film can be made here; "" where it can. */
export function noFilm(): string {
  if (typeof MediaRecorder === "undefined" || !("captureStream" in HTMLCanvasElement.prototype))
    return "This browser cannot record video.";
  return KINDS.some((kind) => MediaRecorder.isTypeSupported(kind))
    ? ""
    : "This browser cannot record WebM video.";
}

/** Plays the run once and records it. `progress` hears how far it is; `signal` ends it with nothing made. */
export async function film(
  { root, store, player, graph, strip }: Filmed,
  progress: (share: number) => void,
  signal: AbortSignal,
): Promise<Blob> {
  const trouble = noFilm();
  if (trouble) throw new Error(trouble);
  const first = graph(1);
  if (!first) throw new Error("The graph cannot be drawn here, so there is nothing to film.");
  const kind = KINDS.find((one) => MediaRecorder.isTypeSupported(one)) as string;
  const steps = store.tokens().map((frame) => frame.step);
  if (steps.length < 2) throw new Error("There is nothing to replay yet.");
  const { run, cursor } = store;

  const screen = el("canvas");
  const text = strip.getBoundingClientRect();
  const scale = Math.min(2, WIDEST / first.width);
  // A collapsed strip has no size.
  const high = text.width > 0 ? Math.round((text.height * first.width * scale) / text.width) : 0;
  screen.width = 2 * Math.floor((first.width * scale) / 2);
  screen.height = 2 * Math.floor((first.height * scale + high) / 2);
  const context = screen.getContext("2d") as CanvasRenderingContext2D;
  const paper = getComputedStyle(root).backgroundColor;

  let words: HTMLCanvasElement | null = null;
  let drawing: Promise<void> | null = null;
  let stale = false;
  const rewrite = async () => {
    while (stale) {
      stale = false;
      words = await snapshot(root, strip, screen.width / text.width, () => null);
    }
  };
  /** Draws the text as it is now or, while an older one is drawn, once that is done. */
  const write = async () => {
    stale = high > 0;
    drawing ??= rewrite().finally(() => {
      drawing = null;
    });
    await drawing;
  };
  const draw = () => {
    context.fillStyle = paper;
    context.fillRect(0, 0, screen.width, screen.height);
    const picture = graph(scale);
    if (picture) context.drawImage(picture, 0, 0, screen.width, screen.height - high);
    if (words) context.drawImage(words, 0, screen.height - high);
    const at = steps.indexOf(store.frame()?.step ?? -1);
    progress((at + 1) / steps.length);
  };

  const recorder = new MediaRecorder(screen.captureStream(FRAMES), {
    mimeType: kind,
    videoBitsPerSecond: BITS,
  });
  const parts: Blob[] = [];
  recorder.addEventListener("dataavailable", ({ data }) => parts.push(data));
  const stopped = new Promise((done) => recorder.addEventListener("stop", done, { once: true }));
  const offs: (() => void)[] = [];
  let taken = false;
  let over = false;
  const played = new Promise<void>((done, fail) => {
    const end = (why: string) => fail(new Error(`${why}, so the video was not finished.`));
    // The view shows a token at its next frame.
    const follow = (then = () => {}) => requestAnimationFrame(() => write().then(then, fail));
    offs.push(
      player.onChange((what) => {
        if (what === "end") follow(() => setTimeout(done, 1000 * LINGER));
        // A hand on the strip, or another run: what comes now is no replay of this one.
        taken ||= what === "pause";
        if (what === "pause") end("The replay was taken over by hand");
        if (what === "settings") end("Speed or loop was changed");
      }),
      store.subscribe((change) => {
        if (change === "cursor" || change === "frames") follow();
      }),
    );
    // Hidden pages draw nothing.
    const look = () => document.hidden && end("The page was hidden");
    document.addEventListener("visibilitychange", look);
    offs.push(() => document.removeEventListener("visibilitychange", look));
    signal.addEventListener("abort", () => end("It was cancelled"));
    recorder.addEventListener("error", () => end("The browser broke off the recording"));
    // Where drawing takes long the replay must still get on.
    let frames: ReturnType<typeof setTimeout> | undefined;
    offs.push(() => clearTimeout(frames));
    const beat = () => {
      const start = performance.now();
      try {
        draw();
      } catch (error) {
        fail(error);
      }
      frames = setTimeout(beat, Math.max(1000 / FRAMES, 2 * (performance.now() - start)));
    };
    const begin = () => {
      if (over) return;
      recorder.start();
      beat();
    };
    player.play({ from: steps[0], speed: Math.max(1, steps.length / (RATE * LONGEST)), loop: false });
    write().then(begin).catch(fail);
  });
  try {
    await played;
  } finally {
    over = true;
    for (const off of offs) off();
    player.pause();
    if (recorder.state !== "inactive") {
      recorder.stop();
      await stopped;
    }
    for (const track of recorder.stream.getTracks()) track.stop();
    if (store.run === run && !taken) store.look(cursor);
  }
  return new Blob(parts, { type: "video/webm" });
}
