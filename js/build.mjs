import { mkdir, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const out = resolve(here, "../axon_widget/static");
const unused = resolve(here, "stubs/unused.js");

await mkdir(out, { recursive: true });
await build({
  absWorkingDir: here,
  entryPoints: { widget: "src/index.ts" },
  outdir: out,
  bundle: true,
  format: "esm",
  target: "es2022",
  minify: true,
  legalComments: "eof",
  // The libraries look for a global three; a page's own copy must never be mixed with the bundled one. And each widget
  // loads the module anew, of which three would warn, if it could tell.
  define: { "window.THREE": "undefined", "window.__THREE__": "import.meta.three" },
  alias: {
    "three/webgpu": unused,
    "three/tsl": unused,
    "three/examples/jsm/controls/TrackballControls.js": unused,
    "three/examples/jsm/controls/FlyControls.js": unused,
    "three/examples/jsm/controls/DragControls.js": unused,
    "ngraph.graph": unused,
    "ngraph.forcelayout": unused,
    "float-tooltip": unused,
  },
});
await build({
  absWorkingDir: here,
  entryPoints: { widget: "src/widget.css" },
  outdir: out,
  minify: true,
  bundle: true,
});
for (const name of ["widget.js", "widget.css"]) {
  const { size } = await stat(resolve(out, name));
  console.log(`${name.padEnd(12)} ${(size / 1000).toFixed(0)} kB`);
}
