"""A person acts while the model writes, and Python follows."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.browser.lab import Notebook, View

EMBEDDED = 'w = AxonWidget(model="embedded", max_tokens=200, seed=7)\nw'
# Writes for 50 seconds, if nobody stops it.
SLOW = "w = AxonWidget(tracer=FakeTracer(pace=0.1), max_tokens=500)\nw"


def begin(view: View) -> None:
    view.status("idle")
    view.part("generate").click()
    view.tokens(12)


def test_stop(bench: Notebook, shot: Callable[..., None]) -> None:
    view = bench.view(EMBEDDED)
    begin(view)
    assert view.part("generate").is_disabled()
    view.part("stop").click()
    view.status("idle")
    shot("stopped", view)
    finish, length, status = bench.python("[w.trace.finish, len(w.trace), w.status]")
    assert finish == "stopped"
    assert status == "idle"
    assert length < 200
    view.until("root.querySelector('[data-axon=finish]').textContent === 'stopped'")
    assert view.part("stop").is_disabled()
    assert view.part("generate").is_enabled()
    # Nothing comes after the stop, and the strip holds all that was written.
    assert view.text() == bench.python("w.trace.text")


def test_the_graph_grows_while_it_writes(bench: Notebook) -> None:
    view = bench.view(SLOW)
    begin(view)
    nodes, drawn = len(view.nodes()), view.drawn()
    view.until("graph.axon.nodes().length > argument", nodes)
    view.until("graph.axon.drawn() > argument", drawn + 3)
    # The space bar holds the look, though the run goes on, and plays on from there; Escape follows the run again.
    moment = "root.querySelector('[data-axon=cursor]').textContent"
    view.part("strip").press("Space")
    view.until(f"{moment}.split(' / ')[0] !== {moment}.split(' / ')[1]")
    at, total = view.part("cursor").inner_text().split(" / ")
    view.until(f"parseInt({moment}.split(' / ')[1]) > argument", int(total) + 3)  # several may come at once
    assert view.part("cursor").inner_text().split(" / ")[0] == at
    view.part("strip").press("Space")
    view.until(f"parseInt({moment}) > argument", int(at))
    view.part("strip").press("Escape")
    view.until(f"{moment}.split(' / ')[0] === {moment}.split(' / ')[1]")
    assert view.part("play").get_attribute("aria-label") == "Stay at this token while the model writes on"
    assert bench.python("w.status") == "running"


@pytest.mark.parametrize("way", ["keys", "pointer"])
def test_a_slider_acts_on_the_next_step(bench: Notebook, way: str) -> None:
    view = bench.view(SLOW)
    begin(view)
    # Says with which setting and how many features each step was shown.
    bench.execute("seen = []\nw.observe(lambda c: seen.append([w.feature_k, len(c.new['features'])]), 'step')")
    slider = view.part("slider-feature_k")
    if way == "keys":
        slider.focus()
        for _ in range(9):
            slider.press("ArrowRight", delay=60)  # as fast as a person: Python's answers come in between
    else:
        box = slider.bounding_box()
        assert box
        middle = box["y"] + box["height"] / 2
        share = (float(slider.input_value()) - 5) / 25
        view.page.mouse.move(box["x"] + 7 + share * (box["width"] - 14), middle)
        view.page.mouse.down()
        view.page.mouse.move(box["x"] + 0.96 * (box["width"] - 14) + 7, middle, steps=5)
        view.page.mouse.up()
    wanted = 24 if way == "keys" else 29
    assert int(slider.input_value()) == pytest.approx(wanted, abs=0 if way == "keys" else 1)
    wanted = int(slider.input_value())
    bench.until(f"sum(setting == {wanted} for setting, _ in seen) > 3")
    assert bench.python("w.status") == "running"
    seen = bench.python("seen")
    first = next(i for i, (setting, _) in enumerate(seen) if setting == wanted)
    # One step may have been under way when the setting came.
    assert {count for _, count in seen[first + 1 :]} == {wanted}
    assert seen[0] == [15, 15]
    # A slider's arrow keys are its own: the notebook has not moved, and the view shows the value.
    assert slider.get_attribute("aria-valuetext") == str(wanted)


def test_python_moves_the_sliders(bench: Notebook) -> None:
    view = bench.view(SLOW)
    begin(view)
    bench.execute("w.temperature = 1.55")
    view.until("root.querySelector('[data-axon=slider-temperature]').value === '1.55'")


def test_enter_generates(bench: Notebook) -> None:
    view = bench.view(EMBEDDED)
    view.status("idle")
    prompt = view.part("prompt")
    prompt.fill("A dog named")
    cells = bench.page.locator(".jp-Cell").count()
    prompt.press("Enter")
    view.tokens(6)
    assert view.text().startswith("A dog named")
    assert bench.python("w.prompt") == "A dog named"
    # The notebook's own Enter and letters did nothing.
    assert bench.page.locator(".jp-Cell").count() == cells
    view.part("stop").click()
    view.status("idle")
    # Shift-Enter makes a line, here as everywhere; and it does not run the cell.
    prompt.press("Shift+Enter")
    prompt.press_sequentially("a b d d")
    assert prompt.input_value() == "A dog named\na b d d"
    assert bench.page.locator(".jp-Cell").count() == cells


def test_reset_clears_everything(bench: Notebook) -> None:
    view = bench.view(SLOW)
    begin(view)
    view.part("reset").click()
    view.until("root.querySelectorAll('[data-axon=strip] [data-step]').length === 0")
    view.until("graph.axon.nodes().length === 0")
    view.status("idle")
    assert bench.python("[len(w.trace), w.text]") == [0, ""]
    view.part("generate").click()
    view.tokens(3)


def test_empty_prompt_shows_an_error_that_goes_away(bench: Notebook, shot: Callable[..., None]) -> None:
    view = bench.view(EMBEDDED)
    view.status("idle")
    view.part("prompt").fill("   ")
    view.part("generate").click()
    error = view.part("error")
    error.wait_for()
    assert "prompt is empty" in error.inner_text()
    assert "prompt is empty" in bench.python("w.error")
    shot("error", view)
    error.get_by_role("button").click()
    error.wait_for(state="hidden")
    # The same again is news again.
    view.part("generate").click()
    error.wait_for()
    view.part("prompt").fill("A cat")
    view.part("generate").click()
    error.wait_for(state="hidden")
    view.tokens(3)
