"""The same bundle in every host: the view shows, writes, draws, and what is set in it acts."""

from __future__ import annotations

import shutil
from pathlib import Path

import nbformat
import pytest
from IPython.display import IFrame
from nbconvert import HTMLExporter
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
            page.locator(host.run).click()
        view = View(page, page.locator(".axon-widget"))
        view.root.wait_for()
        view.status("idle")
        view.part("generate").click()
        view.tokens(31)
        view.status("idle")
        written = length(view)
        view.until("graph.axon.nodes().length > 15")
        assert view.picture().colours > 300
        # A press in a menu is one in it, also in a shadow root; one beside it closes it.
        view.part("save").click()
        with page.expect_download() as download:
            view.part("save-picture").click()
        assert download.value.suggested_filename.endswith(".png")
        view.part("open-models").click()
        view.part("save-menu").wait_for(state="hidden")
        view.part("models-row").first.wait_for()
        view.part("models-close").click()
        view.part("models").wait_for(state="hidden")
        # The next run is as long as the slider says: ten tokens at least.
        view.part("slider-max_tokens").press("Home")
        view.part("generate").click()
        view.until(f"{ENDED} && {PATH}.length === argument", written - 20)
    here = address.partition("//")[2].partition("/")[0]
    strangers = [url for url in watch.requests if f"//{here}/" not in url]
    assert [url for url in strangers if not url.startswith(host.strangers)] == []
    ours = ("axon", "widget.js", "blob:")  # a host has its own errors; the view's module comes from a blob
    assert [line for line in watch.complaints if any(word in line for word in ours)] == []


def test_a_page_made_by_nbconvert_shows_the_saved_run_in_a_frame(
    browser: Browser, saved_run: Path, tmp_path: Path
) -> None:
    shutil.copy(saved_run, tmp_path / "run.html")
    frame = IFrame("run.html", width="100%", height=700)
    shown = nbformat.v4.new_output("execute_result", {"text/html": frame._repr_html_()})
    cell = nbformat.v4.new_code_cell('IFrame("run.html", width="100%", height=700)', outputs=[shown])
    page_text, _ = HTMLExporter().from_notebook_node(nbformat.v4.new_notebook(cells=[cell]))
    (tmp_path / "notebook.html").write_text(page_text)
    watch = Watch()
    with opened(browser, watch, reduced_motion="reduce") as page:
        page.goto((tmp_path / "notebook.html").as_uri(), wait_until="commit")
        inside = page.frame_locator("iframe").locator(".axon-widget")
        inside.locator("[data-axon=strip] [data-step='59']").first.wait_for()
        assert inside.locator("[data-axon=graph]").evaluate("graph => graph.axon.nodes().length") > 15
    known = ("file://", "https://cdnjs.cloudflare.com/ajax/libs/", "https://cdn.jsdelivr.net/npm/mermaid")
    assert [url for url in watch.requests if not url.startswith(known)] == []
    assert [line for line in watch.complaints if line.startswith("uncaught")] == []
