"""Views come and go: reload, a second view, a cell that runs again and again, themes."""

from __future__ import annotations

from collections.abc import Callable

from tests.browser.conftest import SIZE, Watch
from tests.browser.lab import Notebook, View

MAKE = 'w = AxonWidget(model="embedded")\nw'
PROMPT = "Once upon a time, there was a little girl"


def write(bench: Notebook, view: View) -> str:
    bench.execute(f"w.generate({PROMPT!r}, max_tokens=30, seed=7)\n_ = w.wait()")
    text = bench.python("w.trace.text")
    view.until(
        "[...root.querySelectorAll('[data-axon=strip] [data-step]')].map(e => e.textContent).join('') === argument",
        text,
    )
    return text


def test_reload_finds_the_whole_run(bench: Notebook, shot: Callable[..., None]) -> None:
    view = bench.view(MAKE)
    text = write(bench, view)
    nodes = {node["id"] for node in view.nodes()}
    bench.reload()
    again = View(bench.page, bench.page.locator(".axon-widget"))
    again.root.wait_for()
    again.until("root.querySelectorAll('[data-axon=strip] [data-step]').length > 30")
    assert again.text() == text
    again.until("graph.axon.nodes().length === argument", len(nodes))
    assert {node["id"] for node in again.nodes()} == nodes
    again.at_rest()
    assert again.picture().colours > 300
    shot("reloaded", again)
    # The kernel is still at its service.
    again.part("generate").click()
    again.status("running")
    again.status("idle")
    assert bench.python("w.trace.finish") == "length"


def test_reload_while_it_writes_leaves_no_gap(bench: Notebook) -> None:
    view = bench.view("w = AxonWidget(tracer=FakeTracer(pace=0.05), max_tokens=500)\nw")
    view.status("idle")
    view.part("generate").click()
    view.tokens(20)
    bench.reload()
    again = View(bench.page, bench.page.locator(".axon-widget"))
    again.root.wait_for()
    again.tokens(30)
    assert bench.python("w.status") == "running"
    again.part("stop").click()
    again.status("idle")
    written = bench.python("w.trace.text")
    again.until(
        "[...root.querySelectorAll('[data-axon=strip] [data-step]')].map(e => e.textContent).join('') === argument",
        written,
    )


def test_second_view_shows_the_whole_run_and_the_same_selection(bench: Notebook) -> None:
    first = bench.view(MAKE)
    text = write(bench, first)
    feature = bench.python("w.trace[5].features[0].id")
    bench.execute(f"w.selected_feature = {feature}")
    first.part("feature-label").wait_for()
    second = bench.view("w")
    assert second.text() == text
    second.part("feature-label").wait_for()
    second.in_sight()
    second.until("graph.axon.nodes().length > 0 && graph.axon.drawn() > 0")
    second.at_rest()
    assert second.picture().colours > 300
    # What is done in one is seen in the other.
    second.part("deselect").click()
    first.part("feature-label").wait_for(state="hidden")


def test_running_the_cell_24_times_loses_no_context(bench: Notebook, watch: Watch) -> None:
    before = len(watch.complaints)
    bench.page.evaluate(
        """() => {
            window.testLost = 0;
            document.addEventListener("webglcontextlost", () => window.testLost++, true);
        }"""
    )
    view = bench.view("w = AxonWidget(tracer=FakeTracer(), max_tokens=30)\nw")
    for _ in range(24):
        view.until("graph.axon.drawn() > 0")
        # Watched on the canvas itself too: the event of one that was taken away does not reach the document.
        bench.page.evaluate(
            """() => document.querySelector("[data-axon=graph] canvas").addEventListener(
                "webglcontextlost", ({target}) => { if (target.isConnected) window.testLost++; })"""
        )
        old = view.root.element_handle()
        view = View(bench.page, bench.run_again().locator(".axon-widget"))
        bench.page.wait_for_function("old => !old.isConnected", arg=old)
        view.root.wait_for()
    view.until("graph.axon.drawn() > 0")
    view.status("idle")
    write(bench, view)
    view.at_rest()
    assert view.picture().colours > 300
    assert bench.page.evaluate("window.testLost") == 0
    assert (
        bench.page.locator("[data-axon=graph] canvas").evaluate(
            "c => (c.getContext('webgl2') ?? c.getContext('webgl')).isContextLost()"
        )
        is False
    )
    assert [line for line in watch.complaints[before:] if "WebGL" in line] == []
    workers = "sum(thread.name == 'axon-widget' for thread in __import__('threading').enumerate())"
    assert bench.python(workers) == 1


def test_follows_the_theme(bench: Notebook, shot: Callable[..., None]) -> None:
    view = bench.view(MAKE)
    write(bench, view)
    try:
        for theme in ("Dark", "Light"):
            bench.command("apputils:change-theme", theme=f"JupyterLab {theme}")
            name = theme.lower()
            view.until("root.dataset.theme === argument", name)
            view.at_rest()
            brightness = view.root.evaluate(
                "root => getComputedStyle(root).backgroundColor.match(/\\d+/g).slice(0, 3)"
                ".reduce((a, b) => a + +b, 0) / 3"
            )
            assert (brightness > 200) == (name == "light")
            assert (brightness < 50) == (name == "dark")
            assert view.picture().colours > 300
            shot(f"theme-{name}", view)
            shot(f"theme-{name}-in-jupyterlab")
    finally:
        bench.command("apputils:change-theme", theme="JupyterLab Light")


def test_in_half_the_width(bench: Notebook, shot: Callable[..., None]) -> None:
    view = bench.view(MAKE)
    write(bench, view)
    bench.page.set_viewport_size({"width": 640, "height": 1000})
    try:
        view.at_rest()
        shot("narrow", view)
        sideways = view.root.evaluate("root => root.scrollWidth - root.clientWidth")
        assert sideways <= 0
    finally:
        bench.page.set_viewport_size(SIZE)
    view.until("root.getBoundingClientRect().width > 800")
    view.at_rest()
    assert view.picture().colours > 300


def test_every_control_has_a_name(bench: Notebook) -> None:
    view = bench.view(MAKE)
    write(bench, view)

    def nameless() -> list[str]:
        return view.root.evaluate(
            """root => [...root.querySelectorAll("button, input, textarea, a[href], [role=listbox], [tabindex]")]
                .filter(e => !(e.ariaLabel || e.labels?.[0]?.textContent.trim() || e.textContent.trim()))
                .map(e => e.outerHTML.slice(0, 120))"""
        )

    def sliders() -> list[str | None]:
        return [slider.get_attribute("data-axon") for slider in view.root.get_by_role("slider").all()]

    assert nameless() == []
    for name in ("Generate", "Stop", "Reset", "Fit"):
        assert view.root.get_by_role("button", name=name).first.is_visible()
    assert view.root.get_by_role("textbox", name="Prompt").is_visible()
    assert view.root.get_by_role("slider", name="Temperature").is_visible()
    settings = [
        "temperature",
        "top_k",
        "top_p",
        "repetition_penalty",
        "max_tokens",
        "feature_k",
        "activation_threshold",
    ]
    assert sliders() == [*(f"slider-{name}" for name in settings), "edges-least", "scrubber"]
    # With all that can be open: a steered feature, its reasons, branches and their comparison.
    feature = bench.python("w.trace[5].features[0].id")
    bench.execute(f"w.branch(20)\n_ = w.wait()\nw.steer({{{feature}: 0}})\nw.selected_feature = {feature}")
    view.part("steer-row").wait_for()
    view.part("feature-label").wait_for()
    among = ["steer-row-slider", "edges-least", "spark", "steer-slider", "scrubber"]
    assert sliders() == [*(f"slider-{name}" for name in settings), *among]
    assert nameless() == []
    view.part("ask-why").click()
    view.part("why-row").first.wait_for()
    assert nameless() == []
    view.part("compare").first.click()
    view.part("compared-row").first.wait_for()
    assert nameless() == []
    for name in ("Go on from here", "Why this token?", "Mute one run", "Clear", "Leave the comparison"):
        assert view.root.get_by_role("button", name=name).first.is_visible()
    assert [tab.inner_text() for tab in view.root.get_by_role("tab").all()] == ["Feature", "Why", "Compare"]
