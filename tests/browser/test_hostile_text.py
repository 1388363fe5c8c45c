"""Labels and tokens are text from strangers."""

from __future__ import annotations

from collections.abc import Callable

from tests.browser.lab import Notebook

EVIL = "<img src=x onerror=window.pwned=1><script>window.pwned=1</script>"
MAKE = f"""
evil = {EVIL!r}
tracer = FakeTracer(label=lambda id: f"{{id}} {{evil}}", token=lambda n: f" {{n}} {{evil}}")
w = AxonWidget(tracer=tracer, max_tokens=20)
w
"""


def test_markup_is_shown_as_text_and_nothing_runs(bench: Notebook, shot: Callable[..., None]) -> None:
    view = bench.view(MAKE)
    view.status("idle")
    view.part("prompt").fill(EVIL)
    view.part("generate").click()
    view.tokens(20)
    view.status("idle")
    assert view.text() == bench.python("w.trace.text")
    assert EVIL in view.text()
    # Everywhere a label or a token is shown: strip, tip over a token, list, tip over a node, inspector, error.
    token = view.part("strip").locator("[data-step]").first
    token.hover()
    node = view.lone_node()
    bench.page.mouse.move(node["x"], node["y"])
    bench.page.mouse.click(node["x"], node["y"])
    view.part("feature-label").wait_for()
    view.until("root.querySelector('[data-axon=feature-label]').textContent.includes('<img src=x')")
    view.details()
    bench.execute("w.error = evil")
    view.part("error").wait_for()
    assert EVIL in view.part("error").inner_text()
    shot("hostile", view)
    assert view.root.locator("img, script, iframe, object, embed").count() == 0
    assert bench.page.evaluate("window.pwned") is None
