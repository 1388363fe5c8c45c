/** As much of the layout's library, which has no types of its own, as the tests use. */
declare module "d3-force-3d" {
  // biome-ignore lint/suspicious/noExplicitAny: its methods give each other back, whatever they are called with
  type Chained = any;
  export function forceSimulation(nodes: object[], dimensions: number): Chained;
  export function forceLink(): Chained;
  export function forceManyBody(): Chained;
}
