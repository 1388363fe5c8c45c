"""The page that holds a run: opened from a file, with no kernel and no network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.browser.conftest import WIDE, Watch, opened
from tests.browser.lab import View


@contextmanager
def shown(browser: Browser, path: Path, watch: Watch) -> Iterator[View]:
    """Open the page, and see that it asks nobody for anything."""
    with opened(browser, watch, color_scheme="dark", viewport=WIDE) as page:
        page.goto(path.as_uri())
        view = View(page, page.locator(".axon-widget"))
        view.root.wait_for()
        yield view
    assert watch.requests == [path.as_uri()]


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


def test_it_draws_the_whole_run(view: View, shot: Callable[..., None]) -> None:
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
    at(view, 2)
    at(view, 5)
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
    for name in ("generate", "stop", "reset", "slider-temperature"):
        assert view.part(name).count() == 0
    assert view.root.get_by_role("slider").count() == 0


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
