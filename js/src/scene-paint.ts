/** Draws all nodes in one call and all edges in another: glowing discs and ribbons of constant pixel width. */
import {
  BufferAttribute,
  BufferGeometry,
  CustomBlending,
  DoubleSide,
  DynamicDrawUsage,
  type IUniform,
  Mesh,
  OneFactor,
  OneMinusSrcAlphaFactor,
  Points,
  type Scene,
  ShaderMaterial,
  Vector2,
  Vector3,
} from "three";
import { HUES, hex, type Tint } from "./scene-hue";
import type { Theme } from "./theme";

export interface Palette {
  back: string;
  /** A selected edge. */
  hot: string;
  ring: string;
  /** The ring of what a person steers: in no hue any node's own colour. */
  steer: string;
  bright: string;
  faint: string;
  /** An edge between directions that are alike. */
  alike: string;
  /** How much a halo covers (1) rather than adds light (0). */
  cover: number;
}

export const PALETTES: Record<Theme, Palette> = {
  dark: {
    back: hex(HUES.dark.back),
    hot: hex(HUES.dark.hot),
    ring: "#ffffff",
    steer: "#ff8fd6",
    bright: "#8fc7e8",
    faint: "#7f92ab",
    alike: "#b57bff",
    cover: 0.12,
  },
  light: {
    back: hex(HUES.light.back),
    hot: hex(HUES.light.hot),
    ring: "#1b2430",
    steer: "#b0147c",
    bright: "#2c74a8",
    faint: "#7d8897",
    alike: "#7a3fe0",
    cover: 1,
  },
};

/** For who asked for more contrast. */
export const STARK: Record<Theme, Palette> = {
  dark: { ...PALETTES.dark, bright: "#d6ecfa", faint: "#c3ccd8", alike: "#ddd0ff" },
  light: { ...PALETTES.light, ring: "#000000", bright: "#0c4a78", faint: "#3d4754", alike: "#42279a" },
};

export type Rgb = Vector3;

export function rgb(hex: string): Vector3 {
  const value = Number.parseInt(hex.slice(1), 16);
  return new Vector3((value >> 16) & 255, (value >> 8) & 255, value & 255).divideScalar(255);
}

/** A node right before the camera must not fill the picture. */
export const MOST_PIXELS = 20;

const NODE_VERTEX = /* glsl */ `
#define MOST_PIXELS ${MOST_PIXELS.toFixed(1)}
attribute vec4 look; // radius, heat, alpha, ring
attribute vec3 tint;
attribute vec2 sign; // steered, dense
uniform float pixels; uniform float least; uniform vec2 span;
varying vec3 base; varying vec4 v; varying vec2 marks; varying float core; varying float halo; varying float far;
varying float orbit;
void main() {
  vec4 at = modelViewMatrix * vec4(position, 1.0);
  v = look; base = tint; marks = sign;
  core = clamp(look.x * pixels / max(-at.z, 1.0), least, MOST_PIXELS * least);
  orbit = max(1.3, 1.0 + 3.5 * least / core);
  halo = max(1.2 + 2.2 * look.y, look.w > 0.0 ? 2.0 : 0.0);
  if (sign.x > 0.0) halo = max(halo, orbit + (look.w > 0.0 ? 4.5 : 2.0) * least / core);
  far = clamp((-at.z - span.x) / max(span.y - span.x, 1.0), 0.0, 1.0);
  gl_Position = projectionMatrix * at;
  gl_PointSize = 2.0 * core * halo + 2.0;
}`;

const NODE_FRAGMENT = /* glsl */ `
uniform vec3 back; uniform vec3 ring; uniform vec3 steer; uniform float cover; uniform float least;
varying vec3 base; varying vec4 v; varying vec2 marks; varying float core; varying float halo; varying float far;
varying float orbit;
void main() {
  vec2 p = (gl_PointCoord * 2.0 - 1.0) * (halo + 1.0 / core);
  float d = length(p);
  float soft = 1.0 / core;
  float heat = clamp(v.y, 0.0, 1.0);
  float fog = far * (1.0 - heat) * 0.62;
  vec3 own = mix(mix(base, back, 0.2 * (1.0 - cover) + 0.06), base, smoothstep(0.0, 0.55, heat + 0.25));
  float dome = sqrt(max(0.0, 1.0 - d * d));
  float shine = pow(max(0.0, dot(vec3(p.x, -p.y, dome), vec3(-0.36, 0.48, 0.8))), 18.0);
  vec3 colour = own * (0.68 + 0.32 * dome) + shine * (0.1 + 0.14 * heat);
  colour = mix(colour, back, max(fog, 0.72 * marks.y * (1.0 - smoothstep(0.36 - soft, 0.36 + soft, d))));
  float disc = 1.0 - smoothstep(1.0 - soft, 1.0 + soft * 0.4, d);
  float glow = clamp(1.0 - (d - 1.0) / max(halo - 1.0, 0.01), 0.0, 1.0);
  glow = glow * glow * heat * 0.55 * (1.0 - 0.4 * far) * (1.0 - disc);
  // A ring of dashes: told from the selection's by its shape too.
  float dash = smoothstep(0.1, 0.2, abs(fract(atan(p.y, p.x) * 1.2732396) - 0.5));
  float steered = marks.x * dash * (1.0 - smoothstep(0.5, 1.4, abs(d - orbit) * core / least));
  float chosen = marks.x > 0.0 ? max(1.55, orbit + 3.0 * least / core) : 1.55;
  float band = v.w * (1.0 - smoothstep(0.06, 0.06 + soft * 1.5, abs(d - chosen)));
  vec4 paint = vec4(own * glow, glow * cover);
  paint = mix(paint, vec4(colour, 1.0), disc);
  paint = mix(paint, vec4(steer, 1.0), steered);
  paint = mix(paint, vec4(ring, 1.0), band);
  paint *= v.z;
  if (paint.a + paint.r + paint.g + paint.b < 0.004) discard;
  gl_FragColor = paint;
}`;

const EDGE_VERTEX = /* glsl */ `
attribute vec3 other; attribute vec3 line; // side seen from this end, width, place across the ribbon
attribute vec4 tint;
uniform vec2 view; uniform vec2 span; uniform float least;
varying vec4 vTint; varying float across; varying float wide;
void main() {
  vec4 at = modelViewMatrix * vec4(position, 1.0);
  vec4 here = projectionMatrix * at;
  vec4 there = projectionMatrix * modelViewMatrix * vec4(other, 1.0);
  vec2 way = (there.xy / there.w - here.xy / here.w) * view;
  float size = length(way);
  vec2 normal = size > 0.0001 ? vec2(-way.y, way.x) / size : vec2(0.0);
  wide = line.y * least + 1.0;
  here.xy += normal * line.x * wide / view * here.w;
  float far = clamp((-at.z - span.x) / max(span.y - span.x, 1.0), 0.0, 1.0);
  vTint = vec4(tint.rgb, tint.a * (1.0 - 0.55 * far));
  across = line.z;
  gl_Position = here;
}`;

const EDGE_FRAGMENT = /* glsl */ `
varying vec4 vTint; varying float across; varying float wide;
void main() {
  float a = vTint.a * clamp((1.0 - abs(across)) * wide, 0.0, 1.0);
  gl_FragColor = vec4(vTint.rgb * a, a);
}`;

type Uniforms = Record<string, IUniform>;

function material(vertexShader: string, fragmentShader: string, uniforms: Uniforms): ShaderMaterial {
  return new ShaderMaterial({
    vertexShader,
    fragmentShader,
    uniforms,
    transparent: true,
    side: DoubleSide,
    depthTest: false,
    depthWrite: false,
    blending: CustomBlending,
    blendSrc: OneFactor,
    blendDst: OneMinusSrcAlphaFactor,
    premultipliedAlpha: true,
  });
}

class Columns {
  geometry = new BufferGeometry();
  #widths: Record<string, number>;
  #capacity = 0;
  #grow: (capacity: number) => void;
  arrays: Record<string, Float32Array> = {};

  constructor(widths: Record<string, number>, grow: (capacity: number) => void = () => {}) {
    this.#widths = widths;
    this.#grow = grow;
  }

  room(count: number): void {
    if (count <= this.#capacity) return;
    this.#capacity = Math.max(256, 2 ** Math.ceil(Math.log2(count)));
    this.geometry.dispose();
    for (const [name, width] of Object.entries(this.#widths)) {
      const array = new Float32Array(this.#capacity * width);
      this.arrays[name] = array;
      this.geometry.setAttribute(name, new BufferAttribute(array, width).setUsage(DynamicDrawUsage));
    }
    this.#grow(this.#capacity);
  }

  commit(): void {
    for (const attribute of Object.values(this.geometry.attributes))
      if (attribute instanceof BufferAttribute) attribute.needsUpdate = true;
  }
}

export interface Dot {
  key: string;
  x: number;
  y: number;
  z: number;
  radius: number;
  heat: number;
  alpha: number;
  ring: number;
  tint: Tint;
  steered: boolean;
  dense: boolean;
}

export interface Ribbon {
  from: { x: number; y: number; z: number };
  to: { x: number; y: number; z: number };
  width: number;
  colour: Rgb;
  alpha: number;
}

export class Painter {
  #shared: Uniforms = {
    span: { value: new Vector2(0, 1) },
    least: { value: 1 },
    pixels: { value: 1 },
    view: { value: new Vector2(1, 1) },
    back: { value: new Vector3() },
    ring: { value: new Vector3() },
    steer: { value: new Vector3() },
    cover: { value: 0 },
  };
  #dots = new Columns({ position: 3, look: 4, tint: 3, sign: 2 });
  #lines = new Columns({ position: 3, other: 3, line: 3, tint: 4 }, (capacity) => this.#index(capacity));

  constructor(scene: Scene) {
    const edges = new Mesh(this.#lines.geometry, material(EDGE_VERTEX, EDGE_FRAGMENT, this.#shared));
    const nodes = new Points(this.#dots.geometry, material(NODE_VERTEX, NODE_FRAGMENT, this.#shared));
    [edges, nodes].forEach((object, order) => {
      object.frustumCulled = false;
      object.renderOrder = order + 1;
      scene.add(object);
    });
    this.#dots.room(1);
    this.#lines.room(1);
  }

  palette(palette: Palette): void {
    for (const name of ["back", "ring", "steer"] as const) this.#set(name, rgb(palette[name]));
    this.#set("cover", palette.cover);
  }

  /** Sizes in device pixels; near and far bound the depth over which things sink into the background. */
  view(width: number, height: number, ratio: number, fov: number, near: number, far: number): void {
    this.#set("view", new Vector2(width * ratio, height * ratio));
    this.#set("pixels", (height * ratio) / (2 * Math.tan((fov * Math.PI) / 360)));
    this.#set("least", ratio);
    this.#set("span", new Vector2(near, far));
  }

  /** Dots must come sorted from far to near. */
  dots(dots: Dot[]): void {
    this.#dots.room(dots.length);
    const { position, look, tint, sign } = this.#dots.arrays;
    dots.forEach((dot, i) => {
      position?.set([dot.x, dot.y, dot.z], 3 * i);
      look?.set([dot.radius, dot.heat, dot.alpha, dot.ring], 4 * i);
      tint?.set(dot.tint, 3 * i);
      sign?.set([dot.steered ? 1 : 0, dot.dense ? 1 : 0], 2 * i);
    });
    this.#dots.geometry.setDrawRange(0, dots.length);
    this.#dots.commit();
  }

  ribbons(ribbons: Ribbon[]): void {
    this.#lines.room(4 * ribbons.length);
    const { position, other, line, tint } = this.#lines.arrays;
    ribbons.forEach(({ from, to, width, colour, alpha }, i) => {
      for (let corner = 0; corner < 4; corner++) {
        const at = 4 * i + corner;
        const [here, there] = corner < 2 ? [from, to] : [to, from];
        position?.set([here.x, here.y, here.z], 3 * at);
        other?.set([there.x, there.y, there.z], 3 * at);
        // Seen from either end "left" is the other side.
        line?.set([corner % 2 ? 1 : -1, width, corner === 1 || corner === 2 ? 1 : -1], 3 * at);
        tint?.set([colour.x, colour.y, colour.z, alpha], 4 * at);
      }
    });
    this.#lines.geometry.setDrawRange(0, 6 * ribbons.length);
    this.#lines.commit();
  }

  #set(name: string, value: number | Vector2 | Vector3): void {
    const uniform = this.#shared[name];
    if (uniform) uniform.value = value;
  }

  #index(capacity: number): void {
    const index: number[] = [];
    for (let at = 0; at + 3 < capacity; at += 4) index.push(at, at + 1, at + 2, at, at + 2, at + 3);
    this.#lines.geometry.setIndex(index);
  }
}
