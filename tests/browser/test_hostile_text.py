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


# Two SAEs at one hook point are told apart by their names, so that these stand in titles too.
EVERYWHERE = f"""
from axon_widget.engine.features import FeatureReader
from axon_widget.labels import Label, Labels
evil = {EVIL!r}
wild = evil + " \\u202egnitirw \\n\\n " + 60 * "WIDE" + evil
class Strangers(Labels):
    source = wild
    def get(self, feature):
        return Label(f"{{feature}} {{wild}}", wild, fires_on=((wild, 1.0),), boosts=(wild,), suppresses=(wild,))
readers = [FeatureReader(held.readers[0].sae, name + evil, Strangers()) for name in ("one", "two")]
tracer = Tracer(held.model, held.vocabulary.tokenizer, readers, model_name=evil)
tracer.vocabulary.name = lambda token: f" {{token}} {{wild}}"
w = AxonWidget(tracer=tracer, max_tokens=12, seed=7, feature_k=8)
w.wait()
w.generate("Once upon a time")
w
"""


def test_the_new_places_show_markup_as_text_and_keep_their_shape(bench: Notebook, shot: Callable[..., None]) -> None:
    view = bench.view(EVERYWHERE)
    bench.execute("_ = w.wait()")
    view.shows(bench.python("w.trace.text"))
    width = view.root.bounding_box()["width"]

    def intact(name: str) -> None:
        assert view.flaws() == [], name
        assert view.root.locator("img, script, iframe, object, embed").count() == 0
        assert bench.page.evaluate("window.pwned") is None
        assert view.root.bounding_box()["width"] == width
        shot(f"hostile-{name}", view)

    def tells(part: str, place: int = 0) -> None:
        words = view.part(part).nth(place)
        words.wait_for()
        assert "<img" in (words.text_content() or "") + (words.get_attribute("title") or "")

    # Alternatives, and a branch with one of them put in.
    view.look(8)
    tells("alternative")
    view.part("alternative").nth(1).click()
    bench.until("len(w.branches) == 2 and w.trace.finish")
    view.shows(bench.python("w.trace.text"))
    view.status("idle")
    assert "<img" in (view.part("track").nth(1).get_attribute("title") or "")
    # Why: rows, targets, layers; and the legend of the hue.
    view.look(10)
    view.part("ask-why").click()
    view.until("root.querySelector('[data-axon=why-row]')")
    view.until("root.querySelector('[data-axon=why-progress]').textContent === ''")
    tells("why-row")
    tells("why-target", 1)
    view.part("why-target").nth(1).click()
    view.until("root.querySelector('[data-axon=why] h3').textContent.includes('<img')")
    view.part("why-row").first.wait_for()
    view.part("graph-bar-more").click()
    view.part("hue-effect").click()
    view.until("root.querySelector('[data-axon=legend-hue]').textContent.includes('<img')")
    view.at_rest()
    intact("why")
    # The layers: their titles in the legend, the graph, the profile and its tip.
    view.part("hue-layer").click()
    view.part("layout-layers").click()
    view.until("root.querySelector('[data-axon=legend-hue]').textContent.includes('layer 3')")
    view.at_rest()
    box = view.part("layers").bounding_box()
    assert box
    bench.page.mouse.move(box["x"] + 20, box["y"] + 5)
    view.part("tip").locator(".fits").wait_for()
    intact("layers")
    # An edge's tip.
    view.part("edges-similar").click()
    view.to_edge("similar")
    view.part("tip").get_by_text("decoder cosine").wait_for()
    tells("tip")
    assert view.part("tip").bounding_box()["width"] <= 300
    intact("edge")
    # The comparison.
    view.part("compare").first.click()
    view.part("compared").wait_for()
    tells("compared-row")
    view.at_rest()
    intact("compared")
    view.part("compare-close").click()
    # The steering list, and what the inspector says of a feature.
    bench.execute("w.steer({('one' + evil, 5): 0.5, ('two' + evil, 7): 0})")
    tells("steer-row")
    view.part("steer-row").first.locator(".name").click()
    view.part("feature-label").wait_for()
    tells("feature-label")
    intact("steering")
    bench.page.mouse.move(5, 5)
    view.token(3).hover()
    intact("token")
