"""The same bundle in every host: the view shows, writes, draws, and what is set in it acts."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.browser.conftest import Watch, opened
from tests.browser.hosts import HOSTS, serve
from tests.browser.lab import PATH, View

STRIP = f"{PATH}.length"


@pytest.mark.parametrize("name", HOSTS)
def test_it_works_in(name: str, browser: Browser, tmp_path: Path) -> None:
    host, watch = HOSTS[name], Watch()
    with serve(host, tmp_path) as address, opened(browser, watch, reduced_motion="reduce") as page:
        page.goto(address)
        if name == "notebook":
            page.locator(".jp-Notebook .jp-Cell").first.click()
            page.keyboard.press("Shift+Enter")
        view = View(page, page.locator(".axon-widget"))
        view.root.wait_for()
        view.status("idle")
        page.screenshot(path=f"/tmp/h/h6/host-{name.replace(' ', '-')}.png")
        print(watch)
        view.part("generate").click()
        view.until("root.querySelector('[data-axon=finish]').textContent.length > 0")
        written = view.root.evaluate(f"root => {STRIP}")
        assert written > 30
        view.until("graph.axon.nodes().length > 15")
        # The next run is as long as the slider says.
        view.part("slider-max_tokens").press("Home")
        view.part("generate").click()
        view.until(f"{STRIP} === argument", written - 29)
        page.screenshot(path=f"/tmp/h/h6/host2-{name.replace(' ', '-')}.png")
        print(watch)
    here = address.partition("//")[2].partition("/")[0]
    strangers = [url for url in watch.requests if f"//{here}/" not in url and not url.startswith(host.strangers)]
    assert strangers == []
    assert watch.complaints == []
