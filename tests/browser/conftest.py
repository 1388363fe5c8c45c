"""One JupyterLab, one browser and one page for all tests; each test gets an empty notebook with a warm kernel."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Playwright, Request, sync_playwright

from tests.browser.lab import ROOT, SETUP, Lab, Notebook, View, start_lab

SCREENSHOTS = Path(__file__).parent / "screenshots"
FLAGS = [
    *("--headless=new", "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
]
DRAWING = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]
NO_DRAWING = ["--disable-gpu", "--disable-webgl", "--disable-3d-apis"]
# The software renderer's time goes with the pixels: most tests get along with few.
SIZE = {"width": 1200, "height": 900}
WIDE = {"width": 1440, "height": 1000}


@dataclass
class Watch:
    """What a page asks for and complains of."""

    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def over(self, page: Page) -> Watch:
        page.on("request", self._request)
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.complaints.append(f"uncaught: {error.stack or error}"))
        return self

    def _request(self, request: Request) -> None:
        if not request.url.startswith(("data:", "blob:", "about:")):
            self.requests.append(request.url)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.type}: {message.text}")


def chromium(playwright: Playwright, flags: list[str]) -> Browser:
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    assert path, f"no browser: install one of {', '.join(names)}"
    return playwright.chromium.launch(executable_path=path, args=[*FLAGS, *flags])


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="session")
def browser(playwright: Playwright) -> Iterator[Browser]:
    browser = chromium(playwright, DRAWING)
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def blind_browser(playwright: Playwright) -> Iterator[Browser]:
    """A browser without WebGL."""
    browser = chromium(playwright, NO_DRAWING)
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with start_lab(tmp_path_factory.mktemp("lab")) as lab:
        shutil.copy(ROOT / "notebooks" / "quickstart.ipynb", lab.folder)
        yield lab


@pytest.fixture(scope="session")
def watch() -> Watch:
    return Watch()


@pytest.fixture(scope="session")
def page(browser: Browser, watch: Watch) -> Iterator[Page]:
    # With less motion asked for the graph comes to rest: tests see the same picture twice and the machine has time.
    with opened(browser, watch, reduced_motion="reduce") as page:
        yield page


@contextmanager
def opened(browser: Browser, watch: Watch, **settings: Any) -> Iterator[Page]:
    """Open a page in a window of its own."""
    context = browser.new_context(**{"viewport": SIZE, **settings})
    page = context.new_page()
    page.set_default_timeout(120_000)  # for slow machines: what comes early is not waited for
    page.on("dialog", lambda dialog: dialog.accept())  # "leave this page?"
    watch.over(page)
    yield page
    context.close()


@pytest.fixture(scope="session")
def _bench(page: Page, lab: Lab) -> Notebook:
    notebook = Notebook(page, lab, "bench.ipynb").open()
    notebook.execute(SETUP)
    return notebook


@pytest.fixture(scope="session")
def saved_run(_bench: Notebook, lab: Lab) -> Path:
    """A run as a page of its own; from the middle on, a feature is steered."""
    _bench.execute(
        "made = AxonWidget(model='embedded')\nmade.wait()\n"
        "made.observe(lambda change: change.new.get('step') == 30 and made.steer({529: 1.5}), 'step')\n"
        "made.generate('Once upon a time, there was a little', max_tokens=60, seed=7)\n"
        "_ = made.wait()\nmade.to_html('saved-run.html')\nsaved = made.trace\nmade.close()"
    )
    return lab.folder / "saved-run.html"


@pytest.fixture
def bench(_bench: Notebook) -> Iterator[Notebook]:
    """An empty notebook, its kernel ready to make widgets."""
    yield _bench
    _bench.clear()


@pytest.fixture
def shot(page: Page) -> Callable[..., None]:
    """Save a screenshot of the page, or of one view."""

    def save(name: str, view: View | None = None, of: Page | None = None) -> None:
        SCREENSHOTS.mkdir(exist_ok=True)
        (view.root if view else of or page).screenshot(path=SCREENSHOTS / f"{name}.png")

    return save


@pytest.fixture(autouse=True)
def _quiet(watch: Watch, lab: Lab) -> Iterator[None]:
    """No test may make the page ask another host for anything, or complain."""
    before = len(watch.requests), len(watch.complaints)
    yield
    strangers = [url for url in watch.requests[before[0] :] if f"//{lab.host}/" not in url]
    assert strangers == []
    assert watch.complaints[before[1] :] == []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Function, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    if report.when == "call" and report.failed:
        pages = [arg if isinstance(arg, Page) else getattr(arg, "page", None) for arg in item.funcargs.values()]
        for place, page in enumerate({page for page in pages if isinstance(page, Page)}):
            SCREENSHOTS.mkdir(exist_ok=True)
            page.screenshot(path=SCREENSHOTS / f"failed-{item.name}{f'-{place}' if place else ''}.png")
    return report
