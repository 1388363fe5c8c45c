// Parts of 3d-force-graph's dependencies that this view never reaches: the WebGPU renderer, the second layout
// engine, the other camera controls and the HTML tooltip. Standing in for them halves the bundle.
export class WebGPURenderer {}
export class TrackballControls {}
export class FlyControls {}
export class DragControls {}

export default class Unused {
  content() {}
}
