"""How it looks in little room and in both themes: nothing over anything else, nothing cut off, the graph in sight."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.browser.conftest import SIZE
from tests.browser.lab import Notebook, View
from tests.browser.test_layers import SIX

NARROW = 480


def why(bench: Notebook) -> View:
    view = bench.view('w = AxonWidget(model="embedded", max_tokens=30, seed=7)\nw.wait()\nw.generate()\nw')
    bench.execute("_ = w.wait()")
    view.look(20)
    view.part("ask-why").click()
    view.part("why-row").first.wait_for()
    view.until("root.querySelector('[data-axon=why-progress]').textContent === ''")
    view.part("graph-bar-more").click()
    view.part("hue-effect").click()
    return view


def steering(bench: Notebook) -> View:
    view = bench.view('w = AxonWidget(model="embedded", max_tokens=30, seed=7)\nw.wait()\nw')
    bench.execute("w.reconstruct = True\nw.steer({529: 1.2, 994: 0}, scale={2100: 2})\nw.generate()\n_ = w.wait()")
    view.shows(bench.python("w.trace.text"))
    view.part("steer-row").first.locator(".name").click()
    view.details()
    return view


def branches(bench: Notebook) -> View:
    view = bench.view('w = AxonWidget(model="embedded", max_tokens=30, seed=7)\nw.wait()\nw.generate()\nw')
    bench.execute("_ = w.wait()\nw.branch(14, seed=3)\n_ = w.wait()\nw.branch(22, ' big', seed=5)\n_ = w.wait()")
    view.shows(bench.python("w.trace.text"))
    view.part("compare").first.click()
    view.part("compared").wait_for()
    return view


def layers(bench: Notebook) -> View:
    bench.execute(SIX)
    view = bench.view("w = AxonWidget(tracer=held.six, max_tokens=30, seed=7)\nw.wait()\nw.generate()\nw")
    bench.execute("_ = w.wait()")
    view.shows(bench.python("w.trace.text"))
    view.part("graph-bar-more").click()
    view.part("layout-layers").click()
    view.part("hue-layer").click()
    view.until("graph.axon.edges().some(edge => edge.kind === 'similar')")
    return view


def search(bench: Notebook) -> View:
    view = bench.view('w = AxonWidget(model="embedded", max_tokens=30, seed=7)\nw.wait()\nw.generate()\nw')
    bench.execute("_ = w.wait()\nw.label_status = 'Labels: 34 % of Neuronpedia gpt2-small/8-res-jb'")
    view.shows(bench.python("w.trace.text"))
    view.part("search").fill("the")
    view.part("search-row").nth(9).wait_for()
    return view


@pytest.fixture
def usual(bench: Notebook) -> Iterator[None]:
    yield
    bench.page.set_viewport_size(SIZE)
    bench.command("apputils:change-theme", theme="JupyterLab Light")


def sound(view: View) -> None:
    """Nothing covers anything, and the graph is whole and in the middle."""
    nodes = view.at_rest()
    assert view.flaws() == []
    box = view.part("graph").bounding_box()
    assert box
    across = [(node["x"] - box["x"]) / box["width"] for node in nodes]
    down = [(node["y"] - box["y"]) / box["height"] for node in nodes]
    for places in (across, down):
        outside = [place for place in places if not 0 < place < 1]
        assert len(outside) <= 0.01 * len(places)
        assert 0.35 < (min(places) + max(places)) / 2 < 0.65
    # It fills the stage one way or the other.
    assert max(max(across) - min(across), max(down) - min(down)) > 0.6


@pytest.mark.usefixtures("usual")
@pytest.mark.parametrize("make", [why, steering, branches, layers, search])
def test_in_little_room_and_in_the_dark(
    bench: Notebook, shot: Callable[..., None], make: Callable[[Notebook], View]
) -> None:
    view = make(bench)
    name = make.__name__
    sound(view)
    shot(f"{name}-light", view)
    bench.page.set_viewport_size({"width": 640, "height": 1700})
    view.until("root.classList.contains('narrow')")
    width = view.root.bounding_box()["width"]
    bench.page.set_viewport_size({"width": round(640 - width + NARROW), "height": 1700})
    view.until("Math.abs(root.getBoundingClientRect().width - argument) < 2", NARROW)
    sound(view)
    shot(f"{name}-narrow", view)
    bench.page.set_viewport_size(SIZE)
    bench.command("apputils:change-theme", theme="JupyterLab Dark")
    view.until("root.dataset.theme === 'dark' && !root.classList.contains('narrow')")
    sound(view)
    shot(f"{name}-dark", view)
