"""The graph itself, in a page that holds a long run: its pictures, its layouts and how it is drawn."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from axon_widget import Tracer
from axon_widget.export import to_html
from tests.browser.conftest import Watch, opened
from tests.browser.lab import View, overlapping

# How light each pixel of a picture of the graph is, and of the same picture drawn at half its size.
PICTURE = """([root, scale]) => {
    const taken = root.querySelector("[data-axon=graph]").axon.picture(scale);
    const {width, height} = taken;
    const light = image => {
        const canvas = new OffscreenCanvas(width, height);
        const context = canvas.getContext("2d", {willReadFrequently: true});
        context.drawImage(image, 0, 0, width, height);
        const {data} = context.getImageData(0, 0, width, height);
        return {data, at: i => (data[4 * i] + data[4 * i + 1] + data[4 * i + 2]) / 3};
    };
    const half = new OffscreenCanvas(width / 2, height / 2);
    half.getContext("2d").drawImage(taken, 0, 0, width / 2, height / 2);
    const [whole, blurred] = [light(taken), light(half)];
    let [drawn, sharp, letters] = [0, 0, 0];
    for (let i = 0; i < width * height; i++) {
        if (Math.abs(whole.at(i) - whole.at(0)) > 8) drawn++;
        if (Math.abs(whole.at(i) - blurred.at(i)) > 24) sharp++;
        if (whole.at(i) > 220) letters++;
    }
    return {
        ...{width, height, back: [...whole.data.slice(0, 4)], letters: letters / (width * height)},
        ...{drawn: drawn / (width * height), sharp: sharp / (width * height)},
    };
}"""


@pytest.fixture(scope="module")
def long_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tracer = Tracer.load("embedded")
    trace = tracer.run("Once upon a time, there was a little", max_tokens=200, seed=7)
    made = threading.Semaphore(0)
    while tracer.maps.ask(made.release):
        assert made.acquire(timeout=120)
    return to_html(trace, tmp_path_factory.mktemp("graph") / "run.html", tracer)


@pytest.fixture
def view(browser: Browser, long_run: Path) -> Iterator[View]:
    watch = Watch()
    settings: dict[str, Any] = {"viewport": {"width": 1000, "height": 720}, "color_scheme": "dark"}
    with opened(browser, watch, reduced_motion="reduce", **settings) as page:
        page.goto(long_run.as_uri())
        view = View(page, page.locator(".axon-widget"))
        view.root.wait_for()
        yield view
    assert watch.complaints == []


def picture(view: View, scale: float) -> dict[str, Any]:
    return view.page.evaluate(PICTURE, [view.root.element_handle(), scale])


def test_picture_is_sharp_and_is_taken_in_the_dark_too(view: View) -> None:
    view.tokens(100)
    view.at_rest()
    box = view.part("graph").bounding_box()
    assert box
    before, drawn = view.picture(), view.drawn()
    once, twice = picture(view, 1), picture(view, 2)
    for scale, taken in ((1, once), (2, twice)):
        assert (taken["width"], taken["height"]) == (scale * int(box["width"]), scale * int(box["height"]))
        assert taken["back"] == [0x0E, 0x12, 0x17, 255]
    # The same graph, its names included, in more pixels: what is lost at half its size was not there before.
    assert once["drawn"] == pytest.approx(twice["drawn"], rel=0.15)
    assert once["drawn"] > 0.03
    assert min(once["letters"], twice["letters"]) > 0.003
    assert twice["sharp"] > 0.003
    assert view.picture() == before, "the screen shows what it showed before"
    assert view.drawn() == drawn
    # Out of sight nothing is drawn: a picture shows all the same what would be seen by now.
    view.root.evaluate("root => { root.style.marginTop = '3000px'; }")
    view.page.wait_for_timeout(300)
    hidden = view.drawn()
    nodes = len(view.nodes())
    view.token(10).evaluate("token => token.click()")  # without scrolling there
    view.until("graph.axon.nodes().length < argument", nodes)
    unseen = picture(view, 1)
    assert view.drawn() == hidden
    view.root.evaluate("root => { root.style.marginTop = ''; }")
    view.at_rest()
    seen = picture(view, 1)
    assert (unseen["drawn"], unseen["letters"]) == pytest.approx((seen["drawn"], seen["letters"]), rel=0.1)
    assert seen["drawn"] != once["drawn"]


def rest_under(view: View, layout: str) -> list[dict[str, float]]:
    """Lay the graph out, and give where names stand once it rests."""
    view.part(f"layout-{layout}").click()
    view.at_rest()
    return view.name_boxes()


def test_names_never_overlap_and_marked_nodes_stay(view: View) -> None:
    view.tokens(100)
    view.part("graph-bar-more").click()
    view.part("keep").evaluate(
        "slider => { slider.value = 1000; slider.dispatchEvent(new Event('input', {bubbles: true})); }"
    )
    view.until("graph.axon.nodes().length > 400")
    for width in (1000, 480):
        view.page.set_viewport_size({"width": width, "height": 720})
        for layout in ("force", "map"):
            boxes = rest_under(view, layout)
            size = view.part("graph").bounding_box()
            assert size
            assert 4 <= len(boxes) <= 12
            assert overlapping(boxes) == [], (width, layout)
            assert all(box["left"] >= 0 and box["right"] <= size["width"] for box in boxes)
    # Clicks beside others add to what is selected; of all others few stay.
    nodes = sorted(view.nodes(), key=lambda node: node["activation"])
    first, second = view.lone_node(), nodes[0]
    view.page.mouse.click(first["x"], first["y"])
    view.part("feature-label").wait_for()
    view.part("keep").evaluate(
        "slider => { slider.value = 20; slider.dispatchEvent(new Event('input', {bubbles: true})); }"
    )
    view.until("graph.axon.nodes().length === 20")
    kept = {node["id"] for node in view.nodes()}
    assert first["id"] in kept
    assert second["id"] not in kept
    view.at_rest()
    near = [node for node in view.nodes() if node["id"] != first["id"]]
    other = max(
        near,
        key=lambda node: min(
            abs(node["x"] - o["x"]) + abs(node["y"] - o["y"]) for o in [*near, first] if o["id"] != node["id"]
        ),
    )
    view.page.keyboard.down("Shift")
    view.page.mouse.click(other["x"], other["y"])
    view.page.keyboard.up("Shift")
    view.until("graph.axon.rings().length === 2")
    assert set(view.part("graph").evaluate("graph => graph.axon.rings()")) == {
        f"{node['sae']}:{node['id']}" for node in (first, other)
    }
