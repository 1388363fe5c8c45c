/** The light of the whole run at a glance, over the scrubber: a bar for each token, or for a few of them. */
import type { Frame } from "./frame";
import type { Light } from "./lit";

/** With more bars than this none is wide enough to be seen. */
const MOST_BARS = 400;

export interface Profile {
  element: SVGSVGElement;
  update(frames: Frame[], light: Light): void;
}

export function profile(): Profile {
  const space = "http://www.w3.org/2000/svg";
  const element = document.createElementNS(space, "svg");
  element.setAttribute("class", "profile");
  element.setAttribute("aria-hidden", "true");
  element.setAttribute("preserveAspectRatio", "none");
  const path = document.createElementNS(space, "path");
  element.append(path);
  let drawn = "";
  return {
    element,
    update(frames, light) {
      const state = `${light.state} ${frames.length} ${frames.at(-1)?.run} ${frames[0]?.run}`;
      if (state === drawn) return;
      drawn = state;
      // The first and the last bar stand where the scrubber's ends are.
      element.setAttribute("viewBox", `0 0 ${Math.max(frames.length - 1, 1)} 1`);
      path.setAttribute("d", bars(frames.map((frame) => light.heat(frame))));
    },
  };
}

/** Bars from the line at 1 upwards, each around its place; of a few that share one the highest counts. */
export function bars(heats: number[]): string {
  const each = Math.ceil(heats.length / MOST_BARS);
  const parts: string[] = [];
  for (let from = 0; from < heats.length; from += each) {
    const group = heats.slice(from, from + each);
    const high = Math.max(...group);
    if (high <= 0) continue;
    parts.push(`M${from - 0.4} 1V${(1 - high).toFixed(3)}H${from + group.length - 0.6}V1z`);
  }
  return parts.join("");
}
