"""How fast the graph is drawn beside the library's own objects: `python -m tests.benchmarks.frames`.

One page of one browser (Chromium with software WebGL) draws the same graph two ways by turns, at the same places and
the same size, while the camera goes around it: as the view draws it, names and all, and as 3d-force-graph does by
itself, a sphere for each node and a line for each edge, without its pointer handling. Needs Node.js and Chromium, as
the tests do.
"""

import argparse
import statistics
import subprocess
import tempfile
from pathlib import Path

import psutil
from playwright.sync_api import Page, sync_playwright

from tests.browser.conftest import DRAWING, chromium

JS = Path(__file__).parents[2] / "js"
WARM = 3  # frames that are drawn before the clock runs
UNCAPPED = ["--disable-frame-rate-limit", "--disable-gpu-vsync"]


def busy() -> float:
    """Give the seconds that the browser's processes have worked so far: they do not depend on who else works."""
    times = [child.cpu_times() for child in psutil.Process().children(recursive=True) if "chrom" in child.name()]
    return sum(time.user + time.system for time in times)


def pace(page: Page, way: int, seconds: float) -> tuple[float, float]:
    """Give milliseconds a frame, and how many of them on all cores the browser worked."""
    before = busy()
    frames, taken = page.evaluate("([way, seconds]) => pace(way, seconds)", [way, seconds])
    return taken / frames, 1000 * (busy() - before) / (frames + WARM)


def report(rounds: list[tuple[float, ...]]) -> None:
    for row in [*rounds, [statistics.median(column) for column in zip(*rounds, strict=True)]]:
        ours, work, theirs, their_work = row
        print(
            f"  here {ours:7.1f} ({work:6.1f})   default objects {theirs:7.1f} ({their_work:6.1f})"
            f"   {theirs / ours:5.1f} x ({their_work / work:.1f} x)" + ("" if row in rounds else "   medians")
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--edges", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0, help="for each way in each round")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        bundle = Path(folder) / "frames.js"
        command = ["node_modules/.bin/esbuild", "src/frames.bench.ts", "--bundle", "--minify", f"--outfile={bundle}"]
        subprocess.run([*command, "--log-level=error"], cwd=JS, check=True)
        browser = chromium(playwright, [*DRAWING, *UNCAPPED])
        page = browser.new_page(viewport={"width": 940, "height": 640})
        page.on("pageerror", lambda error: print("in the page:", error))
        page.set_content("<!doctype html><style>body { margin: 0; } [hidden] { display: none; }</style>")
        page.add_script_tag(path=bundle)
        nodes, edges = page.evaluate("given => prepare(...given)", [given.nodes, given.edges])
        print(f"{nodes} nodes, {edges} edges, 900 x 600 pixels; ms a frame (and ms of work on all cores)")
        report([(*pace(page, 0, given.seconds), *pace(page, 1, given.seconds)) for _ in range(given.rounds)])
        browser.close()


if __name__ == "__main__":
    main()
