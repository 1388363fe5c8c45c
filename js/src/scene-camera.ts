/** Where the camera is: keeps the graph framed while it grows, flies to a node, leaves a person's view alone. */
import { type PerspectiveCamera, Spherical, Vector3 } from "three";
import type { OrbitControls } from "three/examples/jsm/controls/OrbitControls.js";

export interface Bounds {
  centre: Vector3;
  radius: number;
  /** From how far away all of it can be seen, looked at from where the camera is now. */
  distance: number;
}

/** Of the stage, what the graph may fill. */
const FILL = 0.88;

const UP = new Vector3(0, 1, 0);
/** The pace for who asked for less motion. */
const BRISK = 0.1;
/** Radians per second of the idle turn. */
const TURN = 0.07;

export class Rig {
  #camera: PerspectiveCamera;
  #controls: OrbitControls;
  /** "auto" frames the graph, "focus" stays by a node, "free" is the person's own view. */
  #mode: "auto" | "focus" | "free" = "auto";
  #before: { mode: "auto" | "free"; offset: Vector3; target: Vector3 } | null = null;
  #goal: { target: Vector3; distance: number } | null = null;
  #placed = false;
  #turn = 0;
  #pace = 0.9;
  /** From where the graph is to be looked at, until it is. */
  #side: Vector3 | null = null;
  /** The graph has a front: all of it stays in view, also what a selected node is tied to. */
  #flat = false;

  constructor(camera: PerspectiveCamera, controls: OrbitControls) {
    this.#camera = camera;
    this.#controls = controls;
    camera.position.set(0, 40, 240);
  }

  /** The person moved the camera: it is theirs until Fit or a new run. */
  release(): void {
    this.#mode = "free";
    this.#side = null;
    this.#goal = null;
    this.#before = null;
  }

  /** Goes around and over what is looked at, and nearer to it. */
  turn(round: number, over: number, nearer: number): void {
    this.release();
    const { target } = this.#controls;
    const at = new Spherical().setFromVector3(this.#camera.position.clone().sub(target));
    at.theta += round;
    at.phi += over;
    at.radius /= nearer;
    this.#camera.position.setFromSpherical(at.makeSafe()).add(target);
  }

  fit(): void {
    this.#mode = "auto";
    this.#before = null;
    this.#pace = 0.3;
  }

  /** Frames the graph: as seen from its front, where it has one. */
  face(front: Vector3 | null): void {
    this.fit();
    this.#side = front;
    this.#flat = front !== null;
  }

  restart(): void {
    this.fit();
    this.#placed = false;
  }

  focus(): void {
    if (this.#mode !== "focus")
      this.#before = {
        mode: this.#mode,
        offset: this.#camera.position.clone().sub(this.#controls.target),
        target: this.#controls.target.clone(),
      };
    this.#mode = "focus";
    this.#pace = 0.35;
  }

  back(): void {
    if (this.#mode !== "focus") return;
    this.#mode = this.#before?.mode ?? "auto";
    if (this.#before?.mode === "free")
      this.#goal = { target: this.#before.target, distance: this.#before.offset.length() };
    this.#before = null;
  }

  /** Moves on by `dt` seconds (`brisk`: without any long flight); true while it still moves. */
  tick(dt: number, bounds: Bounds | null, node: Vector3 | null, turning: boolean, brisk: boolean): boolean {
    if (!bounds) return false;
    let goal = this.#goal;
    let way: Vector3 | null = null;
    // What is selected may not be in the run: then there is nothing to stay by.
    if (this.#mode === "auto" || (this.#mode === "focus" && (this.#flat || !node))) {
      goal = { target: bounds.centre, distance: bounds.distance };
      way = this.#side;
    } else if (node && this.#mode === "focus") {
      goal = { target: node, distance: Math.min(Math.max(0.55 * bounds.distance, 70), 200) };
      // Looked at from outside, so that the rest of the graph lies behind it.
      const out = node.clone().sub(bounds.centre);
      if (out.length() > 4) way = out;
    }
    const { target } = this.#controls;
    const offset = this.#camera.position.clone().sub(target);
    let moving = false;
    if (goal) {
      const distance = offset.length();
      // What grew out of sight comes back quickly; there is no hurry the other way.
      const hurry = goal.distance > 1.02 * distance ? Math.min(this.#pace, 0.25) : this.#pace;
      const pace = brisk ? BRISK : hurry;
      const share = this.#placed ? 1 - Math.exp(-dt / pace) : 1;
      const gap = target.distanceTo(goal.target) + Math.abs(goal.distance - distance);
      moving = gap > 0.4;
      target.lerp(goal.target, share);
      if (way) {
        swing(offset, way, share);
        const askew = offset.angleTo(way) > 0.01;
        moving ||= askew;
        if (way === this.#side && !askew) this.#side = null;
      }
      offset.setLength(distance + (goal.distance - distance) * share);
      if (this.#goal && !moving) this.#goal = null;
      // After a quick fit or flight, go back to following the growth gently.
      if (!moving && this.#mode === "auto") this.#pace = 0.9;
      this.#placed = true;
    }
    const wish = turning && this.#mode !== "focus" ? TURN : 0;
    this.#turn += (wish - this.#turn) * (1 - Math.exp(-dt / (wish ? 1.2 : 0.12)));
    if (Math.abs(this.#turn) < 1e-4) this.#turn = 0;
    if (this.#turn) offset.applyAxisAngle(UP, this.#turn * dt);
    this.#camera.position.copy(target).add(offset);
    return moving || this.#turn !== 0;
  }

  /** How far the camera must be to see a body whole that is at `offset` from where it looks. */
  reach(offset: Vector3, radius: number): number {
    const upright = FILL * Math.tan((this.#camera.fov * Math.PI) / 360);
    const seen = offset.clone().applyQuaternion(this.#camera.quaternion.clone().invert());
    const tall = (Math.abs(seen.y) + radius) / upright;
    const wide = (Math.abs(seen.x) + radius) / (upright * this.#camera.aspect);
    return Math.max(tall, wide) + seen.z;
  }
}

/** Turns `offset` towards a direction around the upright axis and up or down: never through the middle. */
function swing(offset: Vector3, way: Vector3, share: number): void {
  const from = new Spherical().setFromVector3(offset);
  const to = new Spherical().setFromVector3(way);
  const round = Math.atan2(Math.sin(to.theta - from.theta), Math.cos(to.theta - from.theta));
  from.theta += round * share;
  from.phi += (to.phi - from.phi) * share;
  offset.setFromSpherical(from.makeSafe());
}
