"""Sliders in cells: what a front end gets of them, and that the next token follows them."""

from __future__ import annotations

from pathlib import Path

from tests.kernel.front_end import FrontEnd, run_notebook

WIDGET = "w = AxonWidget(tracer=FakeTracer(pace=0.02), max_tokens=500)"
HELD = (
    "[len(__import__('ipywidgets').widgets.widget._instances), "
    "sum(len(kinds.get('change', [])) for kinds in w._trait_notifiers.values())]"
)


def test_a_slider_in_a_cell_and_the_trait_are_one(kernel: FrontEnd) -> None:
    model = kernel.loaded(WIDGET)
    kernel.run("c = w.controls()\nc")
    slider = kernel.models[kernel.ask("c.sliders['feature_k'].model_id")]
    kernel.run("w.feature_k = 7")
    kernel.until(lambda: slider.state["value"] == 7)
    # A hand on the slider, as the browser tells of it, while the model writes: the very next token follows.
    kernel.run("w.generate('x')")
    kernel.until(lambda: len(model.steps()) > 5)
    data = {"method": "update", "state": {"value": 12}, "buffer_paths": []}
    message = kernel.client.session.msg("comm_msg", {"comm_id": slider.id, "data": data})
    kernel.client.shell_channel.send(message)
    kernel.until(lambda: model.state["feature_k"] == 12)
    told = len(model.steps())
    kernel.until(lambda: len(model.steps()) > told + 2)
    assert [len(frame["features"]) for frame in model.steps()[told + 1 :][:1]] == [12]
    assert {len(frame["features"]) for frame in model.steps()[:told]} <= {7, 12}
    kernel.run("w.stop()\n_ = w.wait()")


def test_it_can_be_linked_observed_and_interacted_with_like_any_widget(kernel: FrontEnd) -> None:
    kernel.loaded(WIDGET)
    made = kernel.run(
        "import ipywidgets as ip\n"
        "mine, seen = ip.FloatSlider(min=0, max=2), []\n"
        "tie = ip.link((w, 'temperature'), (mine, 'value'))\n"
        "one_way = ip.dlink((w, 'max_tokens'), (ip.IntText(), 'value'))\n"
        "js = ip.jslink((w, 'top_p'), (ip.FloatSlider(), 'value'))\n"
        "w.observe(lambda change: seen.append(change.new), 'temperature')\n"
        "mine.value = 1.5\n"
        "w.temperature = 0.5\n"
        "w.max_tokens = 99\n"
        "shown = ip.interactive(lambda t, k: (t, k), t=w.controls().sliders['temperature'], k=(0, 5))\n"
        "shown.update()"
    )
    assert not made.failed, made.error
    assert kernel.ask("[mine.value, seen, one_way.target[0].value, shown.result[0]]") == [0.5, [1.5, 0.5], 99, 0.5]
    kernel.run("shown.children[0].value = 1.25")
    assert kernel.ask("[w.temperature, mine.value, shown.result[0]]") == [1.25] * 3
    link = kernel.models[kernel.ask("js.model_id")].state
    assert link["source"] == [f"IPY_MODEL_{kernel.ask('w.model_id')}", "top_p"]


def test_a_cell_that_runs_again_and_again_leaves_nothing_behind(kernel: FrontEnd) -> None:
    kernel.loaded(WIDGET)
    kernel.run("c = w.controls('temperature', 'top_k')\nc", cell="sliders")
    before = kernel.ask(HELD)
    for _ in range(40):
        kernel.run("c = w.controls('temperature', 'top_k')\nc", cell="sliders")
    assert kernel.ask(HELD) == before
    kernel.run("c.sliders['temperature'].value = 1.75")
    assert kernel.ask("w.temperature") == 1.75
    # Those of another cell stay.
    kernel.run("d = w.controls('temperature')\nd", cell="others")
    kernel.run("w.temperature = 0.25")
    assert kernel.ask("[c.sliders['temperature'].value, d.sliders['temperature'].value]") == [0.25, 0.25]
    kernel.run("c.close()\nd.close()\nw.close()")
    assert kernel.ask(HELD)[0] < before[0]


def test_the_sliders_notebook(tmp_path: Path) -> None:
    _, cells = run_notebook("sliders.ipynb", tmp_path)
    # The notebook's own assertion compares the trace with what its hand did; here, that it is still there.
    [moved] = [cell for cell in cells if "assert" in cell.source]
    assert "trace.changes" in moved.source
    assert "temperature 1.4 from token" in "".join(output.get("text", "") for output in moved.outputs)
