"""How far the features can be trusted is told where they are shown."""

from __future__ import annotations

from collections.abc import Callable

from tests.browser.lab import Notebook, View, reads

EMBEDDED = 'w = AxonWidget(model="embedded", max_tokens=40, seed=7)\nw.wait()\nw.generate()\nw'
# Made for layer 3, and read at layer 1, an SAE explains little of most tokens.
POOR = """
import copy
from axon_widget.engine.features import FeatureReader
sae = copy.deepcopy(held.readers[0].sae)
sae.cfg.metadata.hook_name = "blocks.1.hook_resid_pre"
poor = Tracer(held.model, held.vocabulary.tokenizer, [FeatureReader(sae, "poor")], model_name="stories15M")
w = AxonWidget(tracer=poor, max_tokens=40, seed=7)
w.wait()
w.generate("Once upon a time")
w"""
SHOWN = "[[s.step, s.explained_variance, s.position] for s in w.trace if not s.special]"


def written(bench: Notebook, code: str) -> View:
    view = bench.view(code)
    bench.execute("_ = w.wait()")
    view.shows(bench.python("w.trace.text"))
    return view


def marked(view: View, name: str) -> list[int]:
    return view.root.evaluate(
        "(root, name) => [...root.querySelectorAll(`[data-axon=strip] .${name}`)].map(t => Number(t.dataset.step))",
        name,
    )


def test_tokens_of_which_little_is_explained_are_marked(bench: Notebook, shot: Callable[..., None]) -> None:
    view = written(bench, POOR)
    shown = bench.python(SHOWN)
    low = [step for step, explained, _ in shown if explained < 0.6]
    good = [step for step, explained, _ in shown if explained >= 0.6]
    assert low
    assert good
    assert marked(view, "little") == low
    values = {step: explained for step, explained, _ in shown}
    view.look(low[0])
    chip = view.part("care-little")
    chip.wait_for()
    words = chip.inner_text().split()
    assert words[:4] == ["the", "SAE", "explains", "only"]
    assert reads(words[4], values[low[0]], 6e-4)
    view.at_rest()
    view.token(low[0]).hover()
    view.part("tip").get_by_text("The features explain little of this token: read them with care.").wait_for()
    assert view.part("tip").locator(".fits .care").count() == 1
    assert view.flaws() == []
    shot("little-explained", view)
    view.look(good[-1])
    chip.wait_for(state="hidden")


def test_a_text_longer_than_what_the_sae_was_trained_on_is_marked(bench: Notebook, shot: Callable[..., None]) -> None:
    view = written(bench, "w = AxonWidget(tracer=FakeTracer(), max_tokens=60)\nw.wait()\nw.generate('a')\nw")
    context = bench.python("w.tracer.readers[0].context")
    beyond = [step for step, _, position in bench.python(SHOWN) if position >= context]
    assert len(beyond) == 60 - context
    assert marked(view, "beyond") == beyond
    chip = view.part("care-context")
    chip.wait_for()
    assert chip.inner_text() == f"beyond the SAE's {context}-token training texts"
    view.at_rest()
    view.token(beyond[0]).hover()
    view.part("tip").get_by_text(f"Beyond the {context} tokens of the SAE's training texts.").wait_for()
    assert view.flaws() == []
    shot("long-text", view)
    view.look(beyond[0] - 1)
    chip.wait_for(state="hidden")


def test_dense_features_are_marked_and_can_be_hidden(bench: Notebook, shot: Callable[..., None]) -> None:
    view = written(bench, EMBEDDED)
    keys = bench.python("[i for _, i in w.graph.keys()]")
    dense = set(bench.python("[i for _, i in w.graph.keys() if w.tracer.dense(i)]"))
    nodes = {node["id"] for node in view.at_rest()}
    assert nodes & dense
    assert nodes - dense
    assert nodes <= set(keys)
    assert view.part("legend-dense").is_visible()
    # Marked in the list, and in the reasons for a token.
    step, here = next(
        (step, [i for i in ids if i in dense])
        for step, ids in bench.python("[[s.step, [f.id for f in s.features[:15]]] for s in w.trace if s.step > 2]")
        if set(ids) & dense
    )
    view.look(step)
    rows = view.part("firing").locator(".row")

    def listed(of: str = "") -> list[int]:
        found = view.part("firing").locator(f".row{of}").evaluate_all("rows => rows.map(row => row.dataset.value)")
        return [int(key.split(":")[1]) for key in found]

    assert listed(".dense") == here
    every = rows.count()
    view.look(step + 1)
    view.part("ask-why").click()
    view.part("why-row").first.wait_for()
    reasons = bench.python(f"[int(i) for i in w.why(position={step + 1}, exact=False).id.dropna()]")
    assert set(reasons) & dense

    def told(of: str = "") -> set[int]:
        found = view.root.locator(f'[data-axon="why-row"]{of}').evaluate_all(
            "rows => rows.map(row => row.dataset.value)"
        )
        return {int(key.split(":")[1]) for key in found if key}

    assert told() == set(reasons)
    assert told(".dense") == set(reasons) & dense
    shot("dense", view)
    # Hidden, they are nowhere, and it says so.
    view.part("graph-bar-more").click()
    view.part("dense").click()
    view.root.locator('[data-axon="dense"][aria-pressed="false"]').wait_for()
    view.until("!root.querySelector('[data-axon=why-row].dense')")
    assert told() == set(reasons) - dense
    assert not {node["id"] for node in view.at_rest()} & dense
    assert view.part("legend-dense").count() == 0
    view.part("tab-features").click()
    view.look(step)
    view.part("inspector").get_by_text(f"{len(here)} dense feature").wait_for()
    assert not set(listed()) & dense
    assert len(listed()) == every - len(here)
    assert view.flaws() == []
    shot("dense-hidden", view)
    # Its selection shows one all the same.
    bench.execute(f"w.selected_feature = {here[0]}")
    view.part("feature-facts").locator(".dense").wait_for()
    view.until("graph.axon.nodes().some(node => node.id === argument)", here[0])
    view.part("deselect").click()
    view.part("dense").click()
    view.until("root.querySelector('[data-axon=firing] .dense')")
    assert {node["id"] for node in view.nodes()} & dense


def test_every_label_stands_with_where_it_comes_from(bench: Notebook) -> None:
    view = written(bench, EMBEDDED)
    source = bench.python("w.info['labels']")
    assert source
    node = view.lone_node()
    bench.page.mouse.move(node["x"], node["y"])
    line = view.part("tip").locator(".source-line")
    line.wait_for()
    assert source.startswith(line.inner_text().rstrip("…"))
    view.part("firing").get_by_role("button").first.click()
    view.details()
    assert view.part("feature-source").inner_text().startswith(source)
    score = bench.python("w.feature(w.selected_feature).score")
    told = "unscored" if score is None else f"{score:.2f} by balanced accuracy on held-out text, chance .5"
    assert told in view.part("feature-facts").inner_text()
