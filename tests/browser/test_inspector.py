"""Looking at one feature: by its node, by a line of the list, from Python."""

from __future__ import annotations

import re
from collections.abc import Callable

from tests.browser.lab import Notebook, View, reads

PROMPT = "Once upon a time, there was a little girl"


def written(bench: Notebook) -> View:
    view = bench.view('w = AxonWidget(model="embedded")\nw')
    bench.execute(f"w.generate({PROMPT!r}, max_tokens=25, seed=7)\n_ = w.wait()")
    view.shows(bench.python("w.trace.text"))
    return view


def shown_id(view: View) -> int:
    """Give the id of the feature in the inspector."""
    found = re.search(r"(\d+) · 3\b", view.part("feature-facts").inner_text())
    assert found
    return int(found[1])


def check_firings(view: View, bench: Notebook, feature: int) -> None:
    """Hold what is told of a feature's firings against the trace."""
    fired = dict(bench.python(f"[(s.step, f.activation) for s in w.trace for f in s.features if f.id == {feature}]"))
    assert f"fires on {len(fired)} of " in view.part("spark").locator("..").inner_text()
    first = view.part("fired").locator(".context").first
    assert int(first.get_attribute("data-value") or "") == max(fired, key=lambda step: fired[step])
    token = bench.python(f"w.trace[{max(fired, key=lambda step: fired[step])}].token")
    assert first.locator("mark").inner_text().strip() == token.strip()


def test_click_on_a_node_and_beside_it(bench: Notebook, shot: Callable[..., None]) -> None:
    view = written(bench)
    node = view.lone_node()
    bench.page.mouse.move(node["x"], node["y"])
    tip = view.root.get_by_text(re.compile(rf"peak .* id {node['id']}\b"))
    tip.wait_for()
    shot("hover", view)
    bench.page.mouse.click(node["x"], node["y"])
    view.part("feature-label").wait_for()
    assert shown_id(view) == node["id"]
    bench.until(f"w.selected_feature == {node['id']}")
    # Details come from Python.
    view.details()
    known = bench.python(f"[vars(w.feature({node['id']}))[name] for name in ('text', 'source', 'fires_on', 'boosts')]")
    assert view.part("feature-label").inner_text() == known[0]
    assert view.part("feature-source").inner_text().startswith(known[1])
    assert view.part("fires-on").locator(".chip").count() == min(len(known[2]), 16)
    assert view.part("boosts").locator(".chip").count() == min(len(known[3]), 16)
    check_firings(view, bench, node["id"])
    near = view.part("nearest").locator(".row")
    told = [[row.get_attribute("data-value"), row.locator(".value").inner_text()] for row in near.all()]
    assert len(told) == 8
    exact = bench.python(
        f"(lambda W, i: [[f'0:{{j}}', float((W[i] @ W[j]) / (W[i].norm() * W[j].norm()))] for j in"
        " (W @ W[i] / W.norm(dim=1)).argsort(descending=True).tolist()[1:9]])"
        f"(w.tracer.readers[0].sae.W_dec.detach().double(), {node['id']})"
    )
    assert [key for key, _ in told] == [key for key, _ in exact]
    assert all(reads(shown, value, 6e-4) for (_, shown), (_, value) in zip(told, exact, strict=True))
    # The camera has flown to it.
    view.at_rest()
    box, [there] = view.part("graph").bounding_box(), [n for n in view.nodes() if n["id"] == node["id"]]
    assert box
    assert abs(there["x"] - box["x"] - box["width"] / 2) < 12
    assert abs(there["y"] - box["y"] - box["height"] / 2) < 12
    shot("inspector", view)
    # A click on nothing goes back.
    bench.page.mouse.click(*view.free_spot())
    view.part("feature-label").wait_for(state="hidden")
    bench.until("w.selected_feature is None")


def test_a_line_of_the_list_and_the_way_back(bench: Notebook) -> None:
    view = written(bench)
    line = view.part("firing").get_by_role("button").first
    key = line.get_attribute("data-value")
    line.click()
    view.part("feature-label").wait_for()
    assert key == f"0:{shown_id(view)}"
    bench.until(f"w.selected_feature == {shown_id(view)}")
    view.part("deselect").click()
    view.part("feature-label").wait_for(state="hidden")
    bench.until("w.selected_feature is None")


def test_python_selects(bench: Notebook) -> None:
    view = written(bench)
    feature = bench.python("w.trace[5].features[0].id")
    bench.execute(f"w.selected_feature = {feature}")
    view.part("feature-label").wait_for()
    assert shown_id(view) == feature
    # The tokens it fires on are lit.
    view.until("root.querySelector('[data-axon=strip] [data-step=\"5\"]').style.getPropertyValue('--heat') > 0.2")
    bench.execute("w.selected_feature = None")
    view.part("feature-label").wait_for(state="hidden")


def test_fit_brings_every_node_into_view(bench: Notebook) -> None:
    view = written(bench)
    view.at_rest()
    box = view.part("graph").bounding_box()
    assert box

    def inside() -> int:
        return sum(
            box["x"] < node["x"] < box["x"] + box["width"] and box["y"] < node["y"] < box["y"] + box["height"]
            for node in view.nodes()
        )

    # Zoom in as far as it goes: the wheel is the graph's once it was clicked.
    bench.page.mouse.click(*view.free_spot())
    for _ in range(30):
        bench.page.mouse.wheel(0, -400)
    view.at_rest()
    before = inside()
    assert before < 0.9 * len(view.nodes())
    view.part("fit").click()
    view.at_rest()
    assert inside() >= 0.97 * len(view.nodes())


def test_the_wheel_is_the_notebooks_until_the_graph_is_clicked(bench: Notebook) -> None:
    view = written(bench)
    bench.cell("print('\\n' * 100)")
    view.at_rest()
    before = view.part("graph").bounding_box()
    bench.page.mouse.wheel(0, 150)
    bench.page.wait_for_function(
        "([element, y]) => element.getBoundingClientRect().y < y - 50",
        arg=[view.part("graph").element_handle(), before and before["y"]],
    )


def test_looking_back_through_the_tokens(bench: Notebook) -> None:
    view = written(bench)
    view.part("strip").locator('[data-step="4"]').click()
    token = bench.python("w.trace[4].token")
    view.until("root.querySelector('[data-axon=inspector] h3').textContent.includes(argument)", token.strip())
    assert view.part("cursor").inner_text().startswith("4 / ")
    earlier = len(view.nodes())
    cells = bench.page.locator(".jp-Cell").count()
    bench.page.keyboard.press("ArrowRight")
    view.until("root.querySelector('[data-axon=cursor]').textContent.startsWith('5 / ')")
    bench.page.keyboard.press("End")
    view.until("graph.axon.nodes().length > argument", earlier)
    assert bench.page.locator(".jp-Cell").count() == cells
