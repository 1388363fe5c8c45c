/** The graph as a picture of its own: drawn once more, as sharp as it is asked for. */
import type { WebGLRenderer } from "three";

/** Larger surfaces are not to be had everywhere. */
const MOST = 8192;

/** Draws at `scale` pixels for each of the page's, then again as it was, so that the screen shows nothing of it. */
export function photograph(
  renderer: WebGLRenderer,
  { width, height }: { width: number; height: number },
  scale: number,
  draw: (ratio: number) => void,
): HTMLCanvasElement {
  const sharp = Math.min(Math.max(scale, 0.1), MOST / Math.max(width, height));
  const usual = renderer.getPixelRatio();
  const at = (ratio: number) => {
    renderer.setPixelRatio(ratio);
    draw(ratio);
  };
  at(sharp);
  const canvas = document.createElement("canvas");
  canvas.width = renderer.domElement.width;
  canvas.height = renderer.domElement.height;
  canvas.getContext("2d")?.drawImage(renderer.domElement, 0, 0);
  at(usual);
  return canvas;
}
