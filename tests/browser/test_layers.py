"""Several SAEs at once: layers in the graph, in the lists and under the strip."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise

import pytest

from tests.browser.lab import Notebook, View, overlapping, reads

SIX = """
saes = [f"embedded/blocks.{layer}.hook_resid_pre" for layer in (3, 0, 1, 2, 4, 5)]
if not hasattr(held, "six"):
    held.six = Tracer.load("embedded", saes)
"""
# Few features a token, so that the graph shows all of them.
MAKE = "w = AxonWidget(tracer=held.six, feature_k=5)\nw"
WRITE = "w.generate('Once upon a time', max_tokens=6, seed=7)\n_ = w.wait()"
LINKS = """[[f'{a}:{i}', f'{b}:{j}'] for keys in [w.graph.keys()] for near in [w.tracer.cosines(keys)]
    for p, (a, i) in enumerate(keys) for q, (b, j) in enumerate(keys) if b - a == 1 and near[p, q] >= 0.5]"""


@pytest.fixture
def view(bench: Notebook) -> View:
    bench.execute(SIX)
    view = bench.view(MAKE)
    bench.execute(WRITE)
    view.shows(bench.python("w.trace.text"))
    return view


def test_a_list_of_saes_is_read_in_one_pass(bench: Notebook) -> None:
    bench.execute(SIX)
    view = bench.view("w = AxonWidget(model='embedded', sae=saes[:3], feature_k=5)\nw")
    view.status("idle")
    view.part("generate").click()
    bench.until("w.trace.finish")
    view.shows(bench.python("w.trace.text"))
    assert bench.python("{len(s.fits) for s in w.trace if not s.special} == {3}")
    assert "3 SAEs, layers 0 to 3" in view.root.locator(".about").inner_text()
    view.until("new Set(graph.axon.nodes().map(node => node.sae)).size === 3")
    assert {(node["sae"], node["layer"]) for node in view.nodes()} == {(0, 0), (1, 1), (2, 3)}


def test_layers_side_by_side_with_a_hue_each_and_links_between_them(
    bench: Notebook, view: View, shot: Callable[..., None]
) -> None:
    view.part("graph-bar-more").click()
    view.part("layout-layers").click()
    view.until("graph.axon.edges().some(edge => edge.kind === 'similar')")
    nodes = view.at_rest()
    # In planes, in the order of depth: none reaches into the next.
    spans = [[node["x"] for node in nodes if node["sae"] == sae] for sae in range(6)]
    assert all(spans)
    assert all(max(left) < min(right) for left, right in pairwise(spans))
    assert {node["sae"]: node["layer"] for node in nodes} == {sae: sae for sae in range(6)}
    box = view.part("graph").bounding_box()
    assert box
    assert all(0 < node["x"] - box["x"] < box["width"] and 0 < node["y"] - box["y"] < box["height"] for node in nodes)
    names = view.name_boxes()
    assert len(names) >= 4
    assert overlapping(names) == []
    # Links: neighbouring layers' features that write the same, as Python has them.
    links = {frozenset((edge["a"], edge["b"])) for edge in view.edges() if edge["kind"] == "similar"}
    expected = {frozenset(pair) for pair in bench.python(LINKS)}
    assert len(expected) > 20
    assert links == expected
    # A hue for each, as the legend has it.
    view.part("hue-layer").click()
    view.until("root.querySelector('[data-axon=legend-hue]').textContent.includes('layer 0')")
    view.at_rest()
    frame = bench.python("[[f.sae, f.id] for f in w.trace[-1].features if f.activation >= w.activation_threshold]")
    firing = [node for node in view.nodes() if [node["sae"], node["id"]] in frame]
    colours = {node["sae"]: node["colour"] for node in firing}
    strongest = {node["sae"] for node in firing}
    legend = view.part("legend-hue").evaluate(
        """line => [...line.querySelectorAll(".swatch")].map(sign => "#" + sign.style.background.match(/\\d+/g)
            .map(part => Number(part).toString(16).padStart(2, "0")).join(""))"""
    )
    assert len(set(legend)) == 6
    assert {sae: colours[sae] for sae in strongest} == {sae: legend[sae] for sae in strongest}
    assert len(strongest) > 3
    assert view.flaws() == []
    shot("layers", view)
    # The tip of a link names both ends with their layers.
    edge = view.to_edge("similar")
    view.part("tip").locator(".tip-rows").get_by_text("decoder cosine").wait_for()
    layers = view.part("tip").locator(".tip-layer").all_inner_texts()
    assert [layer.strip() for layer in layers] == [f"layer {edge[end].split(':')[0]}" for end in "ab"]
    # And back.
    view.part("layout-force").click()
    view.until("graph.axon.edges().every(edge => edge.kind === 'together')")


def test_the_layer_profile_tells_pythons_numbers(bench: Notebook, view: View, shot: Callable[..., None]) -> None:
    profile = view.part("layers")
    shown = bench.python("[s.step for s in w.trace if not s.special]")

    def table(measure: str, step: int) -> dict[str, float]:
        rows = f"w.trace.to_pandas('layer').query('step == {step}')[['layer', '{measure}']]"
        return {f"layer {layer:.0f}": value for layer, value in bench.python(f"{rows}.values.tolist()")}

    def told() -> dict[str, str]:
        return dict(re.findall(r"(layer \d): ([\d.e-]*\d)", profile.get_attribute("aria-label") or ""))

    def agrees(measure: str, step: int) -> None:
        known, words = table(measure, step), told()
        assert words.keys() == known.keys()
        assert all(reads(words[title], value, 6e-4) for title, value in known.items()), (words, known)

    agrees("peak", shown[-1])
    # A click looks at the token of its column.
    box = profile.bounding_box()
    assert box
    column = min(16, box["width"] / len(shown))
    bench.page.mouse.click(box["x"] + 2.5 * column, box["y"] + 5)
    view.until("root.querySelector('[data-step][aria-selected=true]').dataset.step === argument", str(shown[2]))
    agrees("peak", shown[2])
    tip = view.part("tip").locator(".fits")
    tip.wait_for()
    cells = tip.locator("span").all_inner_texts()
    peaks, sums = table("peak", shown[2]), table("top5", shown[2])
    assert cells[:3] == ["", "peak", "top 5"]
    for title, peak, top5 in zip(cells[3::3], cells[4::3], cells[5::3], strict=True):
        assert reads(peak, peaks[title], 6e-4)
        assert reads(top5, sums[title], 6e-4)
    view.part("layers-measure").get_by_role("radio", name="top 5").click()
    view.until("root.querySelector('[data-axon=layers]').getAttribute('aria-label').includes('five strongest')")
    agrees("top5", shown[2])
    profile.focus()
    profile.press("ArrowRight")
    view.until("root.querySelector('[data-step][aria-selected=true]').dataset.step === argument", str(shown[3]))
    agrees("top5", shown[3])
    # The cells: each layer's strongest is its darkest.
    darkest = profile.evaluate(
        """(canvas, [count, column]) => {
            const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            const [wide, high] = [column * canvas.width / canvas.clientWidth, canvas.height / 6];
            return [...Array(6).keys()].map(row => {
                const light = [...Array(count).keys()].map(i => {
                    const at = 4 * (Math.floor((row + 0.4) * high) * canvas.width + Math.floor((i + 0.4) * wide));
                    return data[at] + data[at + 1] + data[at + 2];
                });
                return light.indexOf(Math.min(...light));
            });
        }""",
        [4, column],
    )
    for row, place in enumerate(darkest):
        sums = [table("top5", step)[f"layer {5 - row}"] for step in shown[:4]]
        assert place == sums.index(max(sums))
    assert view.flaws() == []
    shot("layer-profile", view)


def test_features_are_told_apart_by_their_layer(bench: Notebook, view: View, shot: Callable[..., None]) -> None:
    # The list, by layer.
    heads = view.part("firing").locator("h4").all_inner_texts()
    assert [head.split(" · ")[0] for head in heads] == [f"layer {n}" for n in range(6)]
    line = view.part("firing").locator(".group").nth(4).get_by_role("button").first
    key = line.get_attribute("data-value") or ""
    line.click()
    view.part("feature-label").wait_for()
    bench.until(f"[w.selected_sae, w.selected_feature] == [4, {key.split(':')[1]}]")
    assert re.search(rf"{key.split(':')[1]} · 4\b", view.part("feature-facts").inner_text())
    # Steered, it is this layer's, and the list says which.
    view.details()
    view.part("steer-mode").get_by_role("radio", name="off", exact=True).click()
    bench.until(f"[[s['sae'], s['id']] for s in w.steering] == [[4, {key.split(':')[1]}]]")
    assert view.part("steer-row").locator(".mode").inner_text() == "L4 · off"
    bench.execute(WRITE)
    view.shows(bench.python("w.trace.text"))
    view.until("graph.axon.nodes().some(node => node.steered)")
    assert [[n["sae"], n["id"]] for n in view.nodes() if n["steered"]] == [[4, int(key.split(":")[1])]]
    view.part("steer-clear").click()
    bench.until("w.steering == []")
    view.part("deselect").click()
    # Why: each layer has its own account of the token, and each is Python's.
    view.part("ask-why").click()
    view.part("why-row").first.wait_for()
    view.until("root.querySelector('[data-axon=why-progress]').textContent === ''")
    assert view.part("why-layer").all_inner_texts() == [str(layer) for layer in range(6)]
    assert view.part("why-layer").nth(5).get_attribute("aria-pressed") == "true"
    for sae in (5, 2):
        view.part("why-layer").nth(sae).click()
        columns = "[['id', 'direct', 'exact']].astype(float).values.tolist()"
        known = bench.python(f"[why[(why.sae == {sae}) & (why.part == 'feature')]{columns} for why in [w.why()]][0]")
        rows = view.part("why-row").evaluate_all(
            """rows => rows.filter(row => row.dataset.value).map(row =>
                [row.dataset.value, row.children[1].textContent, row.children[2].textContent])"""
        )
        assert len(rows) == min(len(known), 60)
        values = {f"{sae}:{number:.0f}": numbers for number, *numbers in known}
        for name, *texts in rows:
            assert all(reads(text, value) for text, value in zip(texts, values[name], strict=True)), (name, texts)
    assert view.flaws() == []
    shot("layers-why", view)
