"""The README's pictures, made anew: `make screenshots`. No test: look at them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser

from tests.browser.conftest import WIDE, Watch, opened
from tests.browser.lab import ROOT, SETUP, Lab, Notebook, View
from tests.browser.test_layers import SIX

FOLDER = ROOT / "notebooks" / "pictures"
COLOURS = 200  # few enough for a small file, enough for what glows
EMBEDDED = 'w = AxonWidget(model="embedded", max_tokens=60, seed=7)\nw.wait()\n'
PROMPT = "w.prompt = 'Once upon a time, there was a little'\n"


@pytest.fixture(scope="module")
def dark(browser: Browser, lab: Lab, watch: Watch) -> Iterator[Notebook]:
    """A wide notebook in the dark."""
    with opened(browser, watch, viewport=WIDE, reduced_motion="reduce") as page:
        notebook = Notebook(page, lab, "pictures.ipynb").open()
        notebook.command("apputils:change-theme", theme="JupyterLab Dark")
        notebook.execute(SETUP)
        yield notebook
        notebook.command("apputils:change-theme", theme="JupyterLab Light")
        notebook.command("kernelmenu:shutdown")


@pytest.fixture
def desk(dark: Notebook) -> Iterator[Notebook]:
    yield dark
    dark.clear()


def written(desk: Notebook, then: str = "") -> View:
    view = desk.view(f"{EMBEDDED}{PROMPT}w.generate()\nw")
    desk.execute(f"_ = w.wait()\n{then}")
    view.shows(desk.python("w.trace.text"))
    return view


def idle(desk: Notebook) -> View:
    view = desk.view(f"{EMBEDDED}w")
    view.status("idle")
    return view


def writing(desk: Notebook) -> View:
    view = desk.view(f"{EMBEDDED}{PROMPT}w.generate(max_tokens=500)\nw")
    view.tokens(60)
    return view


def inspector(desk: Notebook) -> View:
    view = written(desk)
    view.look(32)
    desk.execute("w.selected_feature = w.trace[32].features[0].id")
    view.details()
    view.at_rest()
    return view


def why(desk: Notebook) -> View:
    view = written(desk)
    view.look(32)
    view.part("ask-why").click()
    view.part("why-row").first.wait_for()
    view.until("root.querySelector('[data-axon=why-progress]').textContent === ''")
    view.part("graph-bar-more").or_(view.part("hue-effect")).first.click()
    view.part("hue-effect").click()
    view.at_rest()
    return view


def steering(desk: Notebook) -> View:
    steer = "first, second, *_ = [f.id for f in w.trace[20].features]\nw.steer({first: 0.0}, scale={second: 2.0})"
    view = written(desk, f"{steer}\nw.branch(20)\n_ = w.wait()")
    view.part("steer-row").first.locator(".name").click()
    view.details()
    view.at_rest()
    return view


def branches(desk: Notebook) -> View:
    view = written(desk, "w.branch(20, seed=3)\n_ = w.wait()\nw.branch(34, ' big', seed=5)\n_ = w.wait()")
    view.part("compare").first.click()
    view.part("compared").wait_for()
    view.at_rest()
    return view


def layers(desk: Notebook) -> View:
    desk.execute(SIX)
    view = desk.view("w = AxonWidget(tracer=held.six, max_tokens=40, seed=7)\nw.wait()\nw.generate()\nw")
    desk.execute("_ = w.wait()")
    view.shows(desk.python("w.trace.text"))
    more = view.part("graph-bar-more")
    if more.is_visible():
        more.click()
    view.part("layout-layers").click()
    view.part("hue-layer").click()
    view.until("graph.axon.edges().some(edge => edge.kind === 'similar')")
    view.at_rest()
    return view


def light(desk: Notebook) -> View:
    view = written(desk)
    desk.command("apputils:change-theme", theme="JupyterLab Light")
    view.until("root.dataset.theme === 'light'")
    view.at_rest()
    return view


def narrow(desk: Notebook) -> View:
    view = written(desk)
    desk.page.set_viewport_size({"width": 640, "height": 1700})
    view.until("root.getBoundingClientRect().width < 640")
    width = view.root.bounding_box()["width"]
    desk.page.set_viewport_size({"width": round(640 - width + 480), "height": 1700})
    view.until("Math.abs(root.getBoundingClientRect().width - 480) < 2")
    view.at_rest()
    return view


@pytest.mark.parametrize("make", [idle, writing, inspector, why, steering, branches, layers, light, narrow])
def test_picture(desk: Notebook, make: Callable[[Notebook], View]) -> None:
    view = make(desk)
    save(FOLDER / f"{make.__name__}.png", view)
    desk.execute("w.stop()")
    desk.page.set_viewport_size(WIDE)
    desk.command("apputils:change-theme", theme="JupyterLab Dark")


def save(path: Path, view: View) -> None:
    path.parent.mkdir(exist_ok=True)
    view.root.screenshot(path=path)
    with Image.open(path) as picture:
        picture.convert("RGB").quantize(COLOURS).save(path, optimize=True)
