"""Sliders in cells, as a hand moves them in JupyterLab."""

from __future__ import annotations

from collections.abc import Callable

from tests.browser.lab import Notebook


def test_sliders_in_a_cell_move_the_widget_and_follow_it(bench: Notebook, shot: Callable[..., None]) -> None:
    bench.view("w = AxonWidget(tracer=FakeTracer())\nw")
    cell = bench.cell(
        "import ipywidgets\nlinked = ipywidgets.FloatSlider(min=0, max=1, description='linked')\n"
        "js = ipywidgets.jslink((w, 'top_p'), (linked, 'value'))\nc = w.controls('temperature', 'top_k')\n"
        "ipywidgets.VBox([c, linked])"
    )
    temperature, top_k, top_p = (cell.locator(".noUi-handle").nth(i) for i in range(3))
    temperature.focus()
    temperature.press("ArrowRight")
    bench.until("w.temperature == 0.81")
    bench.execute("w.top_k = 7")
    bench.page.wait_for_function("handle => Number(handle.ariaValueNow) === 7", arg=top_k.element_handle())
    # A link between the browser's models needs no kernel to move the other, and the kernel hears of it.
    top_p.focus()
    top_p.press("ArrowLeft")
    bench.until("w.top_p == linked.value == 0.8")
    cell.get_by_role("button", name="Anti-repetition").click()
    bench.until("(w.temperature, w.top_k, w.repetition_penalty) == (0.9, 40, 1.3)")
    shot("controls")
