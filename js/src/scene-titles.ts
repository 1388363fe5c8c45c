/** The titles of the layers: text of constant size on screen, shortened where sheets stand close. */
import type { Scene } from "three";
import SpriteText from "three-spritetext";
import { layerTag } from "./dom";
import type { Box } from "./layout";
import { FONT, measure } from "./scene-labels";
import type { Point } from "./scene-sheets";
import type { Theme } from "./theme";

const SIZE = 11;

export interface Title {
  text: string;
  /** On screen, in pixels of the canvas. */
  x: number;
  y: number;
  place: Point;
  /** World units per pixel there. */
  unit: number;
  alpha: number;
}

export class Titles {
  #scene: Scene;
  #sprites: SpriteText[] = [];
  #theme: Theme = "dark";
  #ratio: number;

  constructor(scene: Scene, ratio: number) {
    this.#scene = scene;
    this.#ratio = ratio;
  }

  theme(theme: Theme): void {
    this.#theme = theme;
    for (const sprite of this.#sprites) this.#dress(sprite);
  }

  /** Draws them and gives the room they take. */
  draw(titles: Title[]): Box[] {
    while (this.#sprites.length < titles.length) this.#sprites.push(this.#create());
    for (const sprite of this.#sprites) sprite.visible = false;
    const words = fitting(titles);
    return titles.flatMap((title, i) => {
      const [sprite, word] = [this.#sprites[i], words[i] ?? ""];
      if (!sprite || !word) return [];
      const [wide, high] = [measure(word, SIZE) + 6, SIZE + 4];
      if (sprite.text !== word) sprite.text = word;
      sprite.position.set(title.place.x, title.place.y, title.place.z);
      sprite.scale.set(wide * title.unit, high * title.unit, 1);
      sprite.center.set(0.5, 1 + 4 / high);
      sprite.material.opacity = title.alpha;
      sprite.visible = true;
      const [left, top] = [title.x - wide / 2, title.y + 4];
      return [{ left, top, right: left + wide, bottom: top + high }];
    });
  }

  #create(): SpriteText {
    const sprite = new SpriteText("", SIZE);
    sprite.fontFace = FONT;
    sprite.fontWeight = "600";
    sprite.fontSize = SIZE * 2 * this.#ratio;
    sprite.padding = [3, 2];
    sprite.renderOrder = 9;
    sprite.material.depthTest = false;
    sprite.material.depthWrite = false;
    this.#dress(sprite);
    this.#scene.add(sprite);
    return sprite;
  }

  #dress(sprite: SpriteText): void {
    sprite.color = this.#theme === "dark" ? "#a3afbf" : "#566172";
  }
}

/** Whole titles where there is room, else without the word "layer", else only every second, third, … of them. */
function fitting(titles: Title[]): string[] {
  const free = (words: string[]) => {
    let right = Number.NEGATIVE_INFINITY;
    return [...titles.keys()]
      .filter((i) => words[i])
      .sort((p, q) => (titles[p]?.x ?? 0) - (titles[q]?.x ?? 0))
      .every((i) => {
        const half = measure(words[i] ?? "", SIZE) / 2 + 4;
        const fits = (titles[i]?.x ?? 0) - half >= right;
        right = (titles[i]?.x ?? 0) + half;
        return fits;
      });
  };
  const whole = titles.map(({ text }) => text);
  if (free(whole)) return whole;
  const short = whole.map((text) => layerTag(text));
  for (let every = 1; every < titles.length; every++) {
    const some = short.map((text, i) => (i % every ? "" : text));
    if (free(some)) return some;
  }
  return short.map((text, i) => (i ? "" : text));
}
