"""JupyterLab with a notebook in it, and the widget's views, as a test drives them."""

from __future__ import annotations

import base64
import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import nbformat
from playwright.sync_api import Locator, Page

ROOT = Path(__file__).parents[2]
# A tracer that is held is not loaded again for each widget; the quickstart's tests see a first loading.
SETUP = """
from axon_widget import AxonWidget, Tracer
from tests.kernel.fake_tracer import FakeTracer
held = Tracer.load("embedded")
"""

# The tokens of the run looked at: those of a branch stand under those of what it grew from.
PATH = """[...root.querySelectorAll('[data-axon=strip] [data-step]:not(.aside)')]
    .sort((p, q) => p.dataset.step - q.dataset.step)"""


@dataclass
class Lab:
    """A running JupyterLab."""

    port: int
    token: str
    folder: Path

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def url(self, notebook: str) -> str:
        """Give the address of a notebook, in a workspace of its own: no tabs of others beside it."""
        workspace = notebook.partition(".")[0]
        return f"http://{self.host}/lab/workspaces/{workspace}/tree/{notebook}?token={self.token}"

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{self.host}/api?token={self.token}", timeout=5) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False


@contextmanager
def start_lab(folder: Path) -> Iterator[Lab]:
    """Start JupyterLab on a free port, with none of the user's own configuration."""
    root = folder / "root"
    root.mkdir()
    lab = Lab(free_port(), secrets.token_hex(16), root)
    own = {name: str(folder / name.lower()) for name in ("JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR")}
    # Or it asks, in every screenshot, whether it may fetch news.
    settings = Path(own["JUPYTERLAB_SETTINGS_DIR"]) / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text('{"fetchNews": "false"}')
    command = [
        *("jupyterlab", "--allow-root", "--no-browser", "--expose-app-in-browser"),
        *("--LabApp.news_url=None", "--LabApp.extension_manager=readonly", "--ServerApp.ip=127.0.0.1"),
        *(f"--ServerApp.port={lab.port}", "--ServerApp.port_retries=0", f"--IdentityProvider.token={lab.token}"),
        f"--ServerApp.root_dir={root}",
    ]
    with served(command, folder, lab.answers, cwd=root, **own):
        yield lab


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def served(command: list[str], folder: Path, answers: Callable[[], bool], *, cwd: Path, **own: str) -> Iterator[None]:
    """Run a module that serves until the end, once it answers. What is the user's own lies in `folder` instead."""
    names = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    kept = {name: str(folder / name.lower()) for name in (*names, "XDG_CONFIG_HOME", "XDG_STATE_HOME")}
    environment = {**os.environ, **kept, **own, "JUPYTER_PREFER_ENV_PATH": "1", "PYTHONPATH": str(ROOT)}
    log = folder / "server.log"
    with log.open("w") as file:
        process = [sys.executable, "-m", *command]
        server = subprocess.Popen(process, env=environment, cwd=cwd, stdout=file, stderr=file)
        try:
            deadline = time.monotonic() + 120
            while not answers():
                assert server.poll() is None, log.read_text()
                assert time.monotonic() < deadline, f"{command[0]} does not answer"
                time.sleep(0.1)
            yield
        finally:
            server.terminate()
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


class Notebook:
    """The notebook that is open in JupyterLab."""

    def __init__(self, page: Page, lab: Lab, name: str) -> None:
        self.page, self.lab, self.name = page, lab, name

    def open(self) -> Notebook:
        """Open it, alone, and wait for its kernel."""
        if not (self.lab.folder / self.name).exists():
            python = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
            nbformat.write(nbformat.v4.new_notebook(metadata=python), self.lab.folder / self.name)
        self.page.goto(self.lab.url(self.name))
        self.ready()
        self.page.evaluate("jupyterapp.shell.collapseLeft()")
        return self

    def ready(self) -> None:
        self.page.wait_for_function(
            """name => {
                const panel = window.jupyterapp?.shell.currentWidget;
                return panel?.context?.path === name && panel.context.isReady && panel.content.widgets.length > 0 &&
                    panel.sessionContext.isReady && panel.sessionContext.session?.kernel?.status === "idle";
            }""",
            arg=self.name,
        )

    def reload(self) -> None:
        """Reload the page; the kernel lives on."""
        self.command("docmanager:save")
        self.page.reload()
        self.ready()

    def command(self, name: str, **arguments: Any) -> None:
        """Run a command of JupyterLab's to its end."""
        self.page.evaluate(
            "([name, args]) => jupyterapp.commands.execute(name, args).then(() => null)", [name, arguments]
        )

    def python(self, expression: str) -> Any:
        """Give the value of an expression in the kernel, which must have a JSON form."""
        return json.loads(self.execute(f"import json as _json\nprint(_json.dumps({expression}))"))

    def until(self, expression: str, seconds: float = 120) -> None:
        """Wait until an expression in the kernel is true. Asks again and again: while code runs there, what the
        browser sends has to wait.
        """
        deadline = time.monotonic() + seconds
        while not self.python(f"bool({expression})"):
            assert time.monotonic() < deadline, f"{expression} did not become true"
            self.page.wait_for_timeout(50)

    def execute(self, code: str) -> str:
        """Run code in the kernel without a cell; give what it prints."""
        reply = self.page.evaluate(
            """async code => {
                const {kernel} = jupyterapp.shell.currentWidget.sessionContext.session;
                const future = kernel.requestExecute({code, store_history: false});
                let out = "";
                future.onIOPub = ({header, content}) => {
                    if (header.msg_type === "stream" && content.name === "stdout") out += content.text;
                };
                const {content} = await future.done;
                return {out, error: content.status === "ok" ? "" : `${content.ename}: ${content.evalue}`};
            }""",
            code,
        )
        assert not reply["error"], reply["error"]
        return reply["out"]

    def cell(self, code: str) -> Locator:
        """Put a cell at the end and run it; give the cell."""
        self.page.evaluate(
            """async code => {
                const notebook = jupyterapp.shell.currentWidget.content;
                notebook.activeCellIndex = notebook.widgets.length - 1;
                await jupyterapp.commands.execute("notebook:insert-cell-below");
                notebook.activeCell.model.sharedModel.setSource(code);
            }""",
            code,
        )
        return self.run_again()

    def run_again(self) -> Locator:
        """Run the last cell; give it."""
        index, error = self.page.evaluate(
            """async () => {
                const notebook = jupyterapp.shell.currentWidget.content;
                const index = notebook.activeCellIndex = notebook.widgets.length - 1;
                await jupyterapp.commands.execute("notebook:run-cell");
                const outputs = notebook.widgets[index].model.outputs.toJSON();
                const error = outputs.find(output => output.output_type === "error");
                return [index, error ? `${error.ename}: ${error.evalue}` : ""];
            }"""
        )
        assert not error, error
        return self.page.locator(f'.jp-Cell[data-windowed-list-index="{index}"]').first

    def view(self, code: str) -> View:
        """Put a cell at the end, run it, and give the view it shows."""
        view = View(self.page, self.cell(code).locator(".axon-widget"))
        view.root.wait_for()
        return view

    def clear(self) -> None:
        """Remove every cell, and close the widgets."""
        self.page.evaluate(
            """async () => {
                const notebook = jupyterapp.shell.currentWidget.content;
                const {commands} = jupyterapp;
                await commands.execute("notebook:select-all");
                await commands.execute("notebook:delete-cell");
            }"""
        )
        self.execute("import ipywidgets\nipywidgets.Widget.close_all()")
        self.page.wait_for_function("!document.querySelector('.axon-widget')")


class View:
    """A view of the widget, in a notebook or on a page of its own."""

    def __init__(self, page: Page, root: Locator) -> None:
        self.page, self.root = page, root

    def part(self, name: str) -> Locator:
        """Give what is marked `data-axon=name`."""
        return self.root.locator(f'[data-axon="{name}"]')

    def until(self, condition: str, argument: Any = None, seconds: float = 120) -> None:
        """Wait until a condition in JavaScript holds; `root` and `graph` are this view's, `argument` is given."""
        self.page.wait_for_function(
            f"([root, argument]) => {{ const graph = root.querySelector('[data-axon=graph]'); return {condition}; }}",
            arg=[self.root.element_handle(), argument],
            timeout=1000 * seconds,
        )

    def in_sight(self) -> None:
        """Scroll the graph into view: only what can be seen is drawn."""
        self.part("graph").scroll_into_view_if_needed()

    def nodes(self) -> list[dict[str, Any]]:
        """Give the graph's nodes with their place in the window."""
        return self.part("graph").evaluate("graph => graph.axon.nodes()")

    def edges(self) -> list[dict[str, Any]]:
        """Give the edges that are drawn, with both ends' places in the window."""
        return self.part("graph").evaluate("graph => graph.axon.edges()")

    def names(self) -> dict[str, str]:
        """Give the names that stand beside nodes, by SAE and number."""
        return dict(self.part("graph").evaluate("graph => graph.axon.names()"))

    def name_boxes(self) -> list[dict[str, float]]:
        """Give where these stand on the canvas."""
        return self.part("graph").evaluate("graph => graph.axon.nameBoxes()")

    def drawn(self) -> int:
        """Give how many pictures the graph has drawn."""
        return self.part("graph").evaluate("graph => graph.axon.drawn()")

    def tokens(self, count: int) -> None:
        """Wait until the strip holds so many tokens of the run looked at."""
        self.until(f"{PATH}.length >= argument", count)

    def text(self) -> str:
        """Give the text of the run looked at, as the strip has it."""
        return self.root.evaluate(f"root => {PATH}.map(token => token.textContent).join('')")

    def shows(self, text: str) -> None:
        """Wait until the text of the run looked at is exactly this."""
        self.until(f"{PATH}.map(token => token.textContent).join('') === argument", text)

    def token(self, step: int, run: int | None = None) -> Locator:
        """Give a token of the run looked at, or of another one of the tree."""
        run_or_path = ":not(.aside)" if run is None else f'[data-run="{run}"]'
        return self.part("strip").locator(f'[data-step="{step}"]{run_or_path}')

    def look(self, step: int) -> None:
        """Look at a token of the run looked at."""
        self.token(step).click()
        self.until("root.querySelector('[data-step][aria-selected=true]')?.dataset.step === argument", str(step))

    def flaws(self, inside: Locator | None = None) -> list[str]:
        """Say which texts lie over each other, are cut off without a sign of it, or stick out of the view, or of what
        is open over it.
        """
        return (inside or self.root).evaluate(FLAWS)

    def details(self) -> None:
        """Wait until the inspector has heard what is known about the feature."""
        self.until("root.querySelector('[data-axon=fires-on]').children.length > 0")
        self.until("!root.querySelector('[data-axon=feature-source]').textContent.startsWith('asking')")

    def status(self, word: str) -> None:
        """Wait until the status line says so."""
        self.until("root.querySelector('[data-axon=status]').dataset.state === argument", word)

    def at_rest(self) -> list[dict[str, Any]]:
        """Hold the pointer over the graph, which stops its turning, and wait until nothing has moved for a while."""
        self.in_sight()
        box = self.part("graph").bounding_box()
        assert box
        before, deadline = self.drawn(), time.monotonic() + 40
        # A pointer that lingers wakes the drawing, for one picture where nothing moves: what was asked for just before
        # is in the second one at the latest.
        while self.drawn() <= before + 1:
            assert time.monotonic() < deadline, "the graph is not drawn"
            # Two moves: a view that came up under a resting pointer has not seen it yet.
            self.page.mouse.move(box["x"] + 12, box["y"] + 12)
            self.page.mouse.move(box["x"] + 6, box["y"] + 6)
            self.page.wait_for_timeout(100)
        self.part("graph").evaluate("graph => { graph.dataset.testSame = ''; }")
        self.until(
            """(() => {
                const now = JSON.stringify([
                    graph.axon.nodes().map(({x, y}) => [Math.round(x), Math.round(y)]),
                    graph.axon.edges().map(({a, b, kind, bright}) => [a, b, kind, bright]),
                ]);
                const since = graph.dataset.testSame === now ? Number(graph.dataset.testSince) : performance.now();
                graph.dataset.testSame = now;
                graph.dataset.testSince = since;
                return graph.axon.nodes().length > 0 && performance.now() - since > 400;
            })()""",
            seconds=150,  # it settles frame by frame, and a slow machine draws few
        )
        return self.nodes()

    def to_edge(self, kind: str = "together") -> dict[str, Any]:
        """Put the pointer on an edge of this kind, where no node is near; give the edge."""
        nodes = self.at_rest()
        places = [
            (edge["x1"] + (edge["x2"] - edge["x1"]) * part, edge["y1"] + (edge["y2"] - edge["y1"]) * part, edge)
            for edge in self.edges()
            if edge["kind"] == kind
            for part in (0.3, 0.4, 0.5, 0.6, 0.7)
        ]
        x, y, edge = max(places, key=lambda place: min(distance(place[:2], node) for node in nodes))
        self.page.mouse.move(x - 1, y)
        self.page.mouse.move(x, y)
        return edge

    def free_spot(self) -> tuple[float, float]:
        """Give a place of the graph's with no node near it."""
        nodes, box = self.at_rest(), self.part("graph").bounding_box()
        assert box
        spots = [
            (box["x"] + box["width"] * i / 20, box["y"] + box["height"] * j / 20)
            for i in range(2, 19)
            for j in range(2, 17)
        ]
        return max(spots, key=lambda spot: min((distance(spot, node) for node in nodes), default=0))

    def lone_node(self) -> dict[str, float]:
        """Give the node that stands most apart from the others, well inside the graph."""
        nodes, box = self.at_rest(), self.part("graph").bounding_box()
        assert box
        inside = [
            node
            for node in nodes
            if box["x"] + 30 < node["x"] < box["x"] + box["width"] - 30
            and box["y"] + 30 < node["y"] < box["y"] + box["height"] - 60
        ]
        return max(
            inside,
            key=lambda node: min(distance((node["x"], node["y"]), other) for other in nodes if other is not node),
        )

    def picture(self) -> Picture:
        """Look at the graph's pixels as they are on the screen."""
        self.in_sight()
        png = base64.b64encode(self.part("graph").screenshot()).decode()
        found = self.page.evaluate(
            """async png => {
                const bytes = Uint8Array.from(atob(png), letter => letter.charCodeAt(0));
                const image = await createImageBitmap(new Blob([bytes], {type: "image/png"}));
                const canvas = new OffscreenCanvas(image.width, image.height);
                const context = canvas.getContext("2d");
                context.drawImage(image, 0, 0);
                const {data} = context.getImageData(0, 0, image.width, image.height);
                const colours = new Map();
                for (let i = 0; i < data.length; i += 4) {
                    const colour = (data[i] << 16) | (data[i + 1] << 8) | data[i + 2];
                    colours.set(colour, (colours.get(colour) ?? 0) + 1);
                }
                const most = Math.max(...colours.values());
                return {colours: colours.size, drawn: 1 - most / (data.length / 4)};
            }""",
            png,
        )
        return Picture(**found)


FLAWS = """root => {
    const found = [], texts = [], box = root.getBoundingClientRect();
    const seen = (element) => {
        const {left, top, right, bottom} = box;
        const part = {left, top, right, bottom};
        for (let e = element; e && e !== root; e = e.parentElement) {
            const style = getComputedStyle(e);
            if (style.visibility !== "visible" || style.display === "none" || style.opacity === "0") return null;
            if (style.overflowX === "visible" && style.overflowY === "visible") continue;
            const own = e.getBoundingClientRect();
            part.left = Math.max(part.left, own.left);
            part.top = Math.max(part.top, own.top);
            part.right = Math.min(part.right, own.right);
            part.bottom = Math.min(part.bottom, own.bottom);
        }
        return part;
    };
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const node = walker.currentNode, parent = node.parentElement;
        // What comes up over the rest for a while may cover it, and what is only spoken is not seen.
        const over = parent.closest(".tip, .field-trouble, .models, .spoken, script, style, textarea");
        if (!node.data.trim() || (over && over !== root && root.contains(over))) continue;
        const part = seen(parent);
        if (!part) continue;
        const range = document.createRange();
        range.selectNodeContents(node);
        for (const {left, top, right, bottom} of range.getClientRects()) {
            if (right > box.right + 1 || left < box.left - 1) {
                const scrolls = getComputedStyle(parent).textOverflow === "ellipsis" || part.right < box.right;
                if (!scrolls) found.push(`sticks out: ${node.data}`);
            }
            const rect = {
                left: Math.max(left, part.left), right: Math.min(right, part.right),
                top: Math.max(top, part.top), bottom: Math.min(bottom, part.bottom), text: node.data, node,
            };
            if (rect.right - rect.left > 1 && rect.bottom - rect.top > 3) texts.push(rect);
        }
        for (let e = parent; e !== root; e = e.parentElement) {
            const style = getComputedStyle(e), own = e.getBoundingClientRect(), inner = parent.getBoundingClientRect();
            if (style.overflowX === "auto" || style.overflowX === "scroll") break;
            if (style.overflowX !== "hidden" && style.overflowX !== "clip") continue;
            if (e === parent && style.textOverflow === "ellipsis") continue;
            if (e === parent ? e.clientWidth && e.scrollWidth > e.clientWidth + 1 : inner.right > own.right + 1)
                found.push(`cut off: ${node.data} in .${e.className}`);
            // In half of its height, too.
            if (e !== parent && inner.top < own.bottom - 3 && inner.bottom > own.bottom + 3)
                found.push(`cut in two: ${node.data} in .${e.className}`);
        }
    }
    texts.forEach((a, i) => {
        for (const b of texts.slice(i + 1)) {
            if (a.node === b.node) continue;
            const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
            const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
            if (wide > 2 && high > 4) found.push(`one over the other: ${a.text} | ${b.text}`);
        }
    });
    if (root.scrollWidth > root.clientWidth) found.push(`wider than the view: ${root.scrollWidth}`);
    return [...new Set(found)];
}"""


@dataclass
class Picture:
    """What a graph's pixels show: how many colours, and the share that differs from the background."""

    colours: int
    drawn: float


def overlapping(boxes: list[dict[str, float]]) -> list[tuple[dict[str, float], dict[str, float]]]:
    """Give the pairs of boxes that lie over each other."""
    return [
        (a, b)
        for a, b in combinations(boxes, 2)
        if min(a["right"], b["right"]) > max(a["left"], b["left"])
        and min(a["bottom"], b["bottom"]) > max(a["top"], b["top"])
    ]


def distance(spot: tuple[float, float], node: dict[str, Any]) -> float:
    return ((spot[0] - node["x"]) ** 2 + (spot[1] - node["y"]) ** 2) ** 0.5


SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")


def reads(text: str, value: float | None, slack: float = 6e-5) -> bool:
    """Say whether a number is what a text shows, rounded as the text is; "–" stands for none.

    Parameters
    ----------
    slack
        What it lost on its way to the view, where it came with five digits.
    """
    if value is None or text == "–":
        return value is None and text == "–"
    if text == "0":
        return abs(value) < 6e-4
    mantissa, ten, power = text.replace("−", "-").partition("10⁻")
    if ten:
        text = f"{mantissa.rstrip('·') or 1}e-{power.translate(SUPERSCRIPTS)}"
    digits, _, power = text.replace("−", "-").partition("e")
    places = len(digits.partition(".")[2]) - int(power or 0)
    return abs(float(f"{digits}e{power or 0}") - value) <= 0.5 * 10.0**-places * (1 + 1e-6) + slack
