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
  let drawing = false;
  const write = async () => {
    if (drawing || !high) return;
    drawing = true;
    try {
      words = await snapshot(root, strip, screen.width / text.width, () => null);
    } finally {
      drawing = false;
    }
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
  let failed = "";
  const played = new Promise<void>((done) => {
    const end = (why: string) => {
      failed = why;
      done();
    };
    offs.push(
      player.onChange((what) => {
        if (what === "end") setTimeout(done, 1000 * LINGER);
        // A hand on the strip, or another run: what comes now is no replay of this one.
        if (what === "pause") end("The replay was taken over by hand, so the video was not finished.");
      }),
    );
    signal.addEventListener("abort", () => end("cancelled"));
    recorder.addEventListener("error", () => end("The browser broke off the recording."));
  });
  player.play({ from: steps[0], speed: Math.max(1, steps.length / (RATE * LONGEST)), loop: false });
  await write();
  recorder.start();
  // Where drawing takes long the replay must still get on.
  let frames: ReturnType<typeof setTimeout> | undefined;
  const beat = () => {
    const start = performance.now();
    draw();
    frames = setTimeout(beat, Math.max(1000 / FRAMES, 2 * (performance.now() - start)));
  };
  beat();
  offs.push(
    store.subscribe((change) => {
      if (change === "cursor" || change === "frames") requestAnimationFrame(() => void write());
    }),
  );
  await played;
  clearTimeout(frames);
  for (const off of offs) off();
  recorder.stop();
  await stopped;
  for (const track of recorder.stream.getTracks()) track.stop();
  if (failed) {
    player.pause();
    throw new Error(failed);
  }
  if (store.run === run) store.look(cursor);
  return new Blob(parts, { type: "video/webm" });
}
