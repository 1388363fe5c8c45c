/** The edges of the view that a hand may move: its own, the right column's and the text's. */
import { divider } from "./divider";

/** What is left to the graph at least. */
const GRAPH = { width: 240, height: 180 };

export function edges(root: HTMLElement, side: HTMLElement, text: HTMLElement): void {
  const put = (name: string) => (pixels: number | null) => {
    if (pixels === null) root.style.removeProperty(name);
    else root.style.setProperty(name, `${pixels}px`);
  };
  const stage = () => root.querySelector(".graph")?.getBoundingClientRect() ?? { width: 0, height: 0 };
  const width = () => side.getBoundingClientRect().width;
  side.append(
    divider({
      name: "side",
      label: "Width of the features",
      grows: "left",
      size: width,
      least: 220,
      most: () => width() + stage().width - GRAPH.width,
      set: put("--side-width"),
    }),
  );
  const strip = () => text.querySelector(".strip")?.getBoundingClientRect().height ?? 0;
  text.append(
    divider({
      name: "text",
      label: "Height of the tokens",
      grows: "up",
      size: strip,
      least: 48,
      most: () => strip() + stage().height - GRAPH.height,
      set: put("--text-height"),
    }),
  );
  root.append(
    divider({
      name: "height",
      label: "Height of the view",
      grows: "down",
      size: () => root.getBoundingClientRect().height,
      least: 420,
      most: () => 2000,
      set: put("--height"),
    }),
  );
}
