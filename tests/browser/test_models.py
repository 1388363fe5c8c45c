"""The model menu: every SAE there is, found by a few letters and loaded in place of the one before."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.browser.conftest import SIZE
from tests.browser.lab import Notebook, View

MAKE = """
w = AxonWidget(tracer=FakeTracer(), max_tokens=20)
w.generate("Once upon a time")
w
"""
# Loading is in the test's hands: how far it is, and how it ends.
LOADING = """
import threading
from axon_widget import catalog
asked, go_on, made = [], threading.Event(), []
def stand_in(model, sae=None, *, progress=lambda sentence: None, **others):
    asked.append((model, sae))
    progress("config.json of gpt2: 40 % of 548 MB")
    assert go_on.wait(60)
    go_on.clear()
    if not made:
        raise ConnectionError("The Hugging Face hub does not answer: is there a network?")
    return made.pop()
Tracer.load, loads = stand_in, Tracer.load
"""


@pytest.fixture
def view(bench: Notebook) -> View:
    view = bench.view(MAKE)
    bench.execute("_ = w.wait()")
    view.shows(bench.python("w.trace.text"))
    return view


@pytest.fixture
def _loading(bench: Notebook) -> Iterator[None]:
    bench.execute(LOADING)
    yield
    bench.execute("go_on.set()\nTracer.load = loads")


@pytest.fixture
def _usual(bench: Notebook) -> Iterator[None]:
    yield
    bench.page.set_viewport_size(SIZE)
    bench.command("apputils:change-theme", theme="JupyterLab Light")


def find(view: View, text: str) -> None:
    """Open the menu and wait for what it finds."""
    if view.part("models").is_hidden():
        view.part("open-models").click()
    view.part("models").fill(text)
    view.until(
        """(() => {
            const rows = [...root.querySelectorAll('[data-axon=models-row]')];
            return rows.length && rows.every(row => argument.split(' ').every(word => row.textContent.includes(word)));
        })()""",
        text,
    )


def test_it_lists_the_catalog(view: View, bench: Notebook, shot: Callable[..., None]) -> None:
    opener = view.part("open-models")
    opener.click()
    rows = view.part("models-row")
    rows.first.wait_for()
    bench.execute("from axon_widget import catalog")
    total = bench.python("catalog.search('')[1]")
    assert view.part("models-note").inner_text() == f"60 of {total:,} shown: type more to find the others."
    assert opener.get_attribute("aria-expanded") == "true"
    menu = view.root.locator(".models")
    assert menu.get_attribute("role") == "dialog"
    assert view.flaws(menu) == []
    shot("models", view)
    find(view, "gemma-scope-2b-pt-res")
    found = bench.python("catalog.search('gemma-scope-2b-pt-res')[1]")
    view.part("models-note").get_by_text(f"60 of {found} shown").wait_for()
    # All that the catalog says of one stands in its row.
    find(view, "gemma-scope-2b-pt-res-canonical/layer_16/width_16k")
    assert rows.inner_text().splitlines() == [
        "gemma-scope-2b-pt-res-canonical/layer_16/width_16k/canonical",
        "labels",
        "gemma-2-2b · layer 16 · blocks.16.hook_resid_post · 16,384 features",
    ]
    assert view.part("models-note").inner_text() == "1 found"
    # The embedded one is on this machine. What cannot be traced says why, and choosing it does nothing.
    find(view, "embedded")
    assert "on this machine" in rows.first.inner_text()
    find(view, "gemma-scope-2b-pt-transcoders")
    refused = view.root.locator("[data-axon=models-row][aria-disabled=true]").first
    reason = bench.python("catalog.refusal(catalog.search('gemma-scope-2b-pt-transcoders')[0][0])")
    assert len(reason) > 20
    assert reason in refused.inner_text()
    refused.click(force=True)
    assert view.part("models").is_visible()
    assert bench.python("w.status") == "idle"
    view.part("models").fill("no such thing")
    view.part("models-note").get_by_text("Nothing matches “no such thing”.").wait_for()
    assert rows.count() == 0


def test_the_keyboard_opens_moves_and_closes(view: View, bench: Notebook) -> None:
    cells = bench.page.locator(".jp-Cell").count()
    opener, field, rows = view.part("open-models"), view.part("models"), view.part("models-row")
    opener.focus()
    bench.page.keyboard.press("Enter")
    rows.first.wait_for()
    assert field.evaluate("field => field === document.activeElement")
    # Nothing was looked for: nothing is chosen yet.
    assert view.root.locator("[data-axon=models-row][aria-selected=true]").count() == 0
    for _ in range(30):
        bench.page.keyboard.press("ArrowDown")
    at = rows.nth(29)
    assert at.get_attribute("aria-selected") == "true"
    assert field.get_attribute("aria-activedescendant") == at.get_attribute("id")
    box, own = view.part("models-list").bounding_box(), at.bounding_box()
    assert box
    assert own
    assert box["y"] - 1 <= own["y"]
    assert own["y"] + own["height"] <= box["y"] + box["height"] + 1
    bench.page.keyboard.press("Escape")
    field.wait_for(state="hidden")
    assert opener.evaluate("opener => opener === document.activeElement")
    assert opener.get_attribute("aria-expanded") == "false"
    # So does a click anywhere else.
    opener.click()
    field.wait_for()
    view.part("prompt").click()
    field.wait_for(state="hidden")
    assert bench.page.locator(".jp-Cell").count() == cells


@pytest.mark.usefixtures("_loading")
def test_a_model_takes_the_place_of_the_one_before(view: View, bench: Notebook, shot: Callable[..., None]) -> None:
    before = {(node["sae"], node["id"]) for node in view.at_rest()}
    find(view, "gpt2-small-res-jb/blocks.8")
    bench.page.keyboard.press("Enter")
    view.part("models").wait_for(state="hidden")
    view.status("loading")
    view.part("status").get_by_text("40 % of 548 MB").wait_for()
    assert bench.python("asked") == [["gpt2-small", "gpt2-small-res-jb/blocks.8.hook_resid_pre"]]
    # What was there stays while it loads, and where it fails.
    assert {(node["sae"], node["id"]) for node in view.nodes()} == before
    shot("models-loading", view)
    bench.execute("go_on.set()")
    view.part("error").get_by_text("The Hugging Face hub does not answer").wait_for()
    view.status("idle")
    assert {(node["sae"], node["id"]) for node in view.nodes()} == before
    assert view.part("model").inner_text() == "fake"
    shot("models-failed", view)
    view.part("generate").click()
    bench.until("len(w.trace) == 20 and w.status == 'idle'")
    # Where it succeeds, nothing of the old one stays.
    bench.execute("other = FakeTracer(label='other {}'.format)\nother.model_name = 'another'\nmade.append(other)")
    find(view, "gpt2-small-res-jb/blocks.9")
    bench.page.keyboard.press("Enter")
    bench.execute("go_on.set()")
    view.until("root.querySelector('[data-axon=model]').textContent === 'another'")
    view.until("graph.axon.nodes().length === 0")
    assert view.part("error").is_hidden()
    view.part("generate").click()
    bench.until("len(w.trace) == 20 and w.status == 'idle'")
    view.shows(bench.python("w.trace.text"))
    assert "feature number" not in view.part("firing").inner_text()
    assert "other" in view.part("firing").inner_text()


def test_the_embedded_model_comes_in_place_of_another(view: View, bench: Notebook, shot: Callable[..., None]) -> None:
    find(view, "embedded")
    view.part("models-row").first.click()
    view.until("root.querySelector('[data-axon=model]').textContent.includes('stories15M')", seconds=90)
    view.status("idle")
    view.part("prompt").fill("Once upon a time")
    view.part("generate").click()
    bench.until("len(w.trace) >= 20 and w.status == 'idle'")
    view.shows(bench.python("w.trace.text"))
    # It is the one that is marked now, and choosing it again does nothing.
    find(view, "embedded")
    view.until("root.querySelector('[data-axon=models-row]').textContent.includes('loaded')")
    shot("models-embedded", view)
    kept = bench.python("id(w.tracer)")
    bench.page.keyboard.press("Enter")
    view.part("models").wait_for(state="hidden")
    assert bench.python("(id(w.tracer), w.status)") == [kept, "idle"]


HOSTILE = """
from axon_widget import catalog
evil = "<img src=x onerror=window.pwned=1>" + "\\u202egnitirw\\x00\\n" + 3000 * "W"
some = catalog.search("gpt2-small-res-jb")[0]
wild = [e._replace(release=evil, model=evil, hook=evil, architecture=a) for e in some for a in ("transcoder", "")]
catalog.search, searches = (lambda text, limit=60, **others: (wild[:limit], 10**9)), catalog.search
"""


@pytest.mark.usefixtures("_usual")
def test_strangers_names_stay_text_and_in_shape(view: View, bench: Notebook, shot: Callable[..., None]) -> None:
    bench.execute(HOSTILE)
    try:
        for width, theme in ((1200, "Light"), (560, "Dark")):
            bench.page.set_viewport_size({"width": width, "height": 1500})
            bench.command("apputils:change-theme", theme=f"JupyterLab {theme}")
            view.part("open-models").click()
            view.part("models-row").nth(3).wait_for()
            menu = view.root.locator(".models")
            box, own = view.root.bounding_box(), menu.bounding_box()
            assert box
            assert own
            assert box["x"] <= own["x"]
            assert own["x"] + own["width"] <= box["x"] + box["width"]
            assert view.flaws(menu) == []
            sizes = menu.evaluate(
                "m => [...m.querySelectorAll('*')].map(e => parseFloat(getComputedStyle(e).fontSize))"
            )
            assert min(sizes) >= 11
            shot(f"models-hostile-{theme.lower()}", view)
            bench.page.keyboard.press("Escape")
        assert view.root.locator("img, script, iframe, object, embed").count() == 0
        assert bench.page.evaluate("window.pwned") is None
    finally:
        bench.execute("catalog.search = searches")
