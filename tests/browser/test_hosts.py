"""The same bundle in every host: the view shows, writes, draws, and what is set in it acts."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.browser.conftest import Watch, opened
from tests.browser.hosts import HOSTS, serve
from tests.browser.lab import PATH, View

ENDED = "root.querySelector('[data-axon=status]').dataset.state === 'idle'"


def length(view: View) -> int:
    return view.root.evaluate(f"root => {PATH}.length")


@pytest.mark.parametrize("name", HOSTS)
def test_it_works_in(name: str, browser: Browser, tmp_path: Path) -> None:
    host, watch = HOSTS[name], Watch()
    with serve(host, tmp_path) as address, opened(browser, watch, reduced_motion="reduce") as page:
        page.goto(address)
        if host.run:
            place, keys = host.run
            page.locator(place).first.click()
            page.keyboard.press(keys)
        view = View(page, page.locator(".axon-widget"))
        view.root.wait_for()
        view.status("idle")
        view.part("generate").click()
        view.tokens(31)
        view.status("idle")
        written = length(view)
        view.until("graph.axon.nodes().length > 15")
        assert view.picture().colours > 300
        # The next run is as long as the slider says: ten tokens at least.
        view.part("slider-max_tokens").press("Home")
        view.part("generate").click()
        view.until(f"{ENDED} && {PATH}.length === argument", written - 20)
    here = address.partition("//")[2].partition("/")[0]
    strangers = [url for url in watch.requests if f"//{here}/" not in url]
    assert [url for url in strangers if not url.startswith(host.strangers)] == []
    ours = ("axon", "widget.js", "uncaught")
    assert [line for line in watch.complaints if any(word in line for word in ours)] == []
