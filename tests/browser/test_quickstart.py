"""The quickstart in JupyterLab, as a reader runs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser

from tests.browser.conftest import WIDE, Watch, opened
from tests.browser.lab import Lab, Notebook, View


@pytest.fixture(scope="module")
def quickstart(browser: Browser, lab: Lab, watch: Watch) -> Iterator[Notebook]:
    """The quickstart, every cell run."""
    with opened(browser, watch, viewport=WIDE) as page:
        notebook = Notebook(page, lab, "quickstart.ipynb").open()
        notebook.command("notebook:run-all-cells")
        yield notebook
        notebook.command("kernelmenu:shutdown")


@pytest.fixture
def view(quickstart: Notebook) -> View:
    return View(quickstart.page, quickstart.page.locator(".axon-widget"))


def test_quickstart_fills_its_view(quickstart: Notebook, view: View, shot: Callable[..., None]) -> None:
    # The widget is all that its cell shows: no warnings, no progress bars of others.
    assert not quickstart.page.locator(".jp-RenderedText[data-mime-type*=stderr]").count()
    assert quickstart.page.locator(".widget-hprogress").count() == 0
    view.status("idle")
    # The run, and under it the branch that is written last.
    first, second = quickstart.python("[branch.text for branch in w.branches]")
    assert quickstart.python("len(w.branches[0])") > 60
    view.shows(second)
    assert view.part("track").count() == 2
    view.part("track").first.click()
    view.shows(first)
    assert view.part("model").inner_text() == "stories15M"
    stats = view.part("stats").inner_text()
    assert "–" not in stats
    assert "tok/s" in stats
    view.at_rest()
    picture = view.picture()
    assert picture.colours > 300
    assert 0.01 < picture.drawn < 0.8
    shot("quickstart", view)
    shot("quickstart-in-jupyterlab", of=view.page)
