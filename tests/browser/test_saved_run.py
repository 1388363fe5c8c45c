"""The page that holds a run: opened from a file, with no kernel and no network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.browser.conftest import WIDE, Watch, opened
from tests.browser.lab import Notebook, View
from tests.browser.test_layers import SIX

# The software renderer's time goes with the pixels.
SMALL = {"width": 1000, "height": 720}


@contextmanager
def shown(browser: Browser, path: Path, watch: Watch) -> Iterator[View]:
    """Open the page, and see that it asks nobody for anything."""
    with opened(browser, watch, color_scheme="dark", viewport=SMALL, reduced_motion="reduce") as page:
        page.goto(path.as_uri())
        view = View(page, page.locator(".axon-widget"))
        view.root.wait_for()
        yield view
    assert set(watch.requests) == {path.as_uri()}


@pytest.fixture
def own_watch() -> Watch:
    return Watch()


@pytest.fixture
def view(browser: Browser, saved_run: Path, own_watch: Watch) -> Iterator[View]:
    with shown(browser, saved_run, own_watch) as view:
        yield view
    assert own_watch.complaints == []


@pytest.fixture
def blind_view(blind_browser: Browser, saved_run: Path, own_watch: Watch) -> Iterator[View]:
    with shown(blind_browser, saved_run, own_watch) as view:
        yield view
    assert [line for line in own_watch.complaints if line.startswith("uncaught")] == []


def at(view: View, place: int) -> None:
    view.until("root.querySelector('[data-axon=cursor]').textContent.startsWith(`${argument} / `)", place)


def beyond(view: View, place: int) -> None:
    """Wait until it has come to a token or further: of those it plays, none need be seen."""
    view.until("parseInt(root.querySelector('[data-axon=cursor]').textContent) >= argument", place)


def test_it_draws_the_whole_run(view: View, shot: Callable[..., None]) -> None:
    view.page.set_viewport_size(WIDE)
    view.tokens(60)
    assert view.text().startswith("Once upon a time, there was a little")
    view.at_rest()
    assert view.picture().colours > 300
    assert "stories15M" in view.part("model").inner_text()
    shot("saved-run", of=view.page)


def test_arrow_keys_step(view: View) -> None:
    view.tokens(60)
    total = view.root.locator("[data-axon=strip] [data-step]").count()
    at(view, total)
    whole = len(view.nodes())
    view.part("strip").focus()
    view.page.keyboard.press("ArrowLeft")
    at(view, total - 1)
    view.page.keyboard.press("Home")
    at(view, 1)
    view.until("graph.axon.nodes().length < argument", whole)
    view.page.keyboard.press("ArrowRight")
    at(view, 2)
    view.page.keyboard.press("End")
    at(view, total)
    view.until("graph.axon.nodes().length === argument", whole)


def test_it_plays(view: View) -> None:
    view.tokens(60)
    view.part("play").click()
    view.until("parseInt(root.querySelector('[data-axon=cursor]').textContent) < 20")
    beyond(view, 5)
    view.part("play").click()
    assert view.part("play").get_attribute("aria-label") == "Replay token by token"
    place = view.part("cursor").inner_text()
    # It has stopped: longer than two of its beats nothing moves.
    view.page.wait_for_timeout(500)
    assert view.part("cursor").inner_text() == place


def test_features_tell_all_and_what_needs_a_kernel_is_absent(view: View) -> None:
    view.tokens(60)
    view.part("firing").get_by_role("button").first.click()
    view.part("feature-label").wait_for()
    view.details()
    for name in (
        *("generate", "stop", "reset", "steering", "steer", "steer-slider", "reconstruct"),
        *("act", "branch-here", "alternative", "ask-why", "why-row"),
    ):
        assert view.part(name).count() == 0, name
    assert view.part("tab-why").is_hidden()
    # The sliders that are left need no kernel.
    sliders = view.root.get_by_role("slider")
    names = {slider.get_attribute("data-axon") for slider in sliders.all()}
    assert names == {"edges-least", "spark", "scrubber"}


def test_what_was_steered_is_marked(view: View, bench: Notebook, shot: Callable[..., None]) -> None:
    view.tokens(60)
    steered = view.root.evaluate("root => [...root.querySelectorAll('.token.steered')].map(t => +t.dataset.step)")
    assert steered == bench.python("[s.step for s in saved if s.steered]")
    assert 10 < len(steered) < 60
    last = steered[-1]
    view.at_rest()
    assert [node["id"] for node in view.nodes() if node["steered"]] == [529]
    assert view.part("legend-steered").is_visible()
    assert view.part("care-steered").inner_text() == "1 steered"
    shot("saved-steered", of=view.page)
    view.token(last).hover()
    view.part("tip").get_by_text("steered:").wait_for()
    # Before, it was not.
    view.look(20)
    view.until("!graph.axon.nodes().some(node => node.steered)")
    assert view.part("care-steered").is_hidden()


def test_edges_of_all_kinds_and_their_threshold(view: View, shot: Callable[..., None]) -> None:
    view.tokens(60)
    view.at_rest()
    significant = view.edges()
    assert significant
    assert all(edge["bright"] and edge["kind"] == "together" for edge in significant)
    view.part("edges-all").click()
    view.until("graph.axon.edges().some(edge => !edge.bright)")
    view.at_rest()
    every = len(view.edges())
    assert every > len(significant)
    slider = view.part("edges-least")
    slider.focus()
    slider.press("End")
    view.until("graph.axon.edges().length < argument", every)
    view.part("edges-similar").click()
    view.part("graph-bar").get_by_text("≥ .50").wait_for()
    view.until("graph.axon.edges().every(edge => edge.kind === 'similar')")  # an SAE may have none that are so near
    few = len(view.edges())
    slider.press("Home")
    view.until("graph.axon.edges().length > argument", few)
    view.at_rest()
    shot("saved-similar", of=view.page)
    # What the page holds of an edge is told, and nobody is asked for more.
    view.to_edge("similar")
    view.part("tip").get_by_text("decoder cosine").wait_for()
    view.part("edges-significant").click()
    view.part("graph-bar").get_by_text("≥ 10").wait_for()
    slider.press("Home")
    view.until("graph.axon.edges().length === argument", len(significant))
    view.to_edge()
    view.part("tip").get_by_text("together").wait_for()
    view.part("tip").get_by_text("q, shifted in time").wait_for()


def test_layers_are_laid_out_without_a_kernel(
    browser: Browser, own_watch: Watch, bench: Notebook, shot: Callable[..., None]
) -> None:
    bench.execute(
        f"{SIX}\nw = AxonWidget(tracer=held.six, feature_k=5)\nw.wait()\n"
        "w.generate('Once upon a time', max_tokens=6, seed=7)\n_ = w.wait()\nw.to_html('saved-layers.html')"
    )
    with shown(browser, bench.lab.folder / "saved-layers.html", own_watch) as view:
        view.tokens(10)
        view.part("graph-bar-more").click()
        view.part("layout-layers").click()
        view.part("hue-layer").click()
        view.until("graph.axon.edges().some(edge => edge.kind === 'similar')")
        nodes = view.at_rest()
        spans = [[node["x"] for node in nodes if node["sae"] == sae] for sae in range(6)]
        assert all(max(left) < min(right) for left, right in pairwise(spans))
        assert "layer 5" in (view.part("layers").get_attribute("aria-label") or "")
        assert view.flaws() == []
        shot("saved-layers", of=view.page)
    assert own_watch.complaints == []


def test_without_webgl_it_says_so_and_the_rest_works(blind_view: View, shot: Callable[..., None]) -> None:
    view = blind_view
    view.tokens(60)
    view.part("graph").get_by_text("no WebGL").wait_for()
    view.part("strip").focus()
    view.page.keyboard.press("Home")
    at(view, 1)
    view.part("firing").get_by_role("button").first.click()
    view.part("feature-label").wait_for()
    shot("no-webgl", of=view.page)
