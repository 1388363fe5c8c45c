"""Looking at one feature: by its node, by a line of the list, from Python."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

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
    contexts = bench.python(f"w.feature({node['id']}).contexts")
    examples = view.part("examples").locator(".context")
    assert examples.count() == len(contexts) > 1
    for i, context in enumerate(contexts):
        peak = max(context, key=lambda pair: pair[1])[0]
        assert (examples.nth(i).locator("mark").text_content() or "").strip() == peak.strip().replace("\n", "↵")
    # What is known of its SAE stands under it, and in the model menu.
    card = bench.python("w.info['saes'][0]['card']")
    assert ["features", f"{bench.python('w.tracer.readers[0].d_sae'):,} over 288 dimensions"] in card
    view.part("sae-card").locator("summary").click()
    told = view.part("sae-card").locator(".facts > *").all_inner_texts()
    assert told == [words for row in card for words in row]
    view.part("sae-card").locator("summary").click()
    view.part("open-models").click()
    assert view.part("models-cards").locator("summary").all_inner_texts() == [f"About {bench.python('w.info')['sae']}"]
    assert view.part("models-cards").locator(".facts > *").all_text_contents() == told
    view.part("models-close").click()
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


def test_lists_sort_pin_and_select_with_python(bench: Notebook, shot: Callable[..., None]) -> None:
    view = written(bench)
    rows = view.part("firing").locator(".row")

    def keys() -> list[int]:
        found = rows.evaluate_all("rows => rows.map(row => row.dataset.value)")
        return [int(key.split(":")[1]) for key in found]

    def shown() -> list[str]:
        return view.part("firing").locator(".row .value").all_inner_texts()

    told = bench.python("[[f.id, f.activation, w.feature(f.id).max_activation] for f in w.trace[-1].features[:15]]")
    assert keys() == [i for i, *_ in told]
    order = view.part("firing-order")
    order.get_by_role("radio", name="share").click()
    view.until("!root.querySelector('[data-axon=firing] .value').textContent.includes('–')")
    shares = {i: activation / most for i, activation, most in told}
    assert keys() == sorted(shares, key=lambda i: -shares[i])
    assert [float(text.split()[0]) for text in shown()] == [pytest.approx(100 * shares[i], abs=0.51) for i in keys()]
    # The arrow keys choose the order, and move from line to line.
    bench.page.keyboard.press("ArrowRight")
    view.until("root.querySelector('[data-axon=firing-order] [aria-checked=true]').textContent === 'effect'")
    bench.page.keyboard.press("ArrowRight")
    assert keys() == sorted(i for i, *_ in told)
    view.look(10)
    order.get_by_role("radio", name="effect").click()
    view.until("!root.querySelector('[data-axon=firing] .value').textContent.includes('–')")
    exact = bench.python("w.why(position=11, exact=False).dropna(subset='id')[['id', 'direct']].values.tolist()")
    effects = {int(i): value for i, value in exact}
    assert all(reads(text.replace("+", ""), effects[i]) for i, text in zip(keys(), shown(), strict=True))
    assert keys() == sorted(keys(), key=lambda i: -abs(effects[i]))
    # One pinned by its key stands on top, here and in Python, and stays when another token is looked at.
    order.get_by_role("radio", name="activation").click()
    rows.nth(2).focus()
    pinned = keys()[2]
    bench.page.keyboard.press("p")
    bench.until(f"w.pinned == [{pinned}]")
    assert keys()[0] == pinned
    # Whoever pinned it goes with it: the same key unpins the same feature.
    for now in ([], [pinned]):
        bench.page.keyboard.press("p")
        bench.until(f"w.pinned == {now}")
    view.look(3)
    assert keys()[0] == pinned
    # Several are selected beside each other without leaving the list; Python has them, and a table is filtered by them.
    several = keys()[3:5]
    for place in (3, 4):
        rows.nth(place).click(modifiers=["Control"])
    bench.until(f"w.selected == {several}")
    view.part("chosen").get_by_text("2 selected").wait_for()
    assert bench.python("sorted(set((t := w.trace.to_pandas())[t.id.isin(w.selected)].id))") == sorted(several)
    shot("several-selected", view)
    bench.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    view.part("chosen-copy").click()
    view.part("chosen-copy").get_by_text("copied").wait_for()
    assert bench.page.evaluate("navigator.clipboard.readText()") == f"w.selected = {several}"
    view.part("chosen-clear").click()
    bench.until("w.selected == []")
    # The other way: a filter of the table lights lines and nodes, and opens nothing.
    bench.execute("t = w.trace.to_pandas(); w.selected = t[(t.step == 3) & (t.activation > t.activation.median())]")
    lit = bench.python("w.selected")
    view.until("root.querySelectorAll('[data-axon=firing] [aria-pressed=true].row').length > 1")
    pressed = view.part("firing").locator('.row[aria-pressed="true"]').evaluate_all("a => a.map(b => b.dataset.value)")
    assert {int(key.split(":")[1]) for key in pressed} == set(lit) & set(keys())
    assert view.part("feature-label").is_hidden()
    bench.page.keyboard.press("Escape")
    bench.until("w.selected == []")
    # A click reads about one, and copies how Python reads about it; the chart goes to any token.
    rows.nth(1).click()
    view.part("copy-feature").click()
    feature = bench.python("w.selected_feature")
    for there in ("in", "not in"):
        bench.page.keyboard.press("p")
        bench.until(f"{feature} {there} w.pinned")
    view.part("copy-feature").get_by_text("copied").wait_for()
    assert bench.page.evaluate("navigator.clipboard.readText()") == f"w.feature({feature})"
    view.part("spark").focus()
    bench.page.keyboard.press("Home")
    view.until("root.querySelector('[data-axon=cursor]').textContent.startsWith('1 / ')")
    token = bench.python("next(s.token for s in w.trace if not s.special)")
    assert token.strip() in (view.part("spark").get_attribute("aria-valuetext") or "")
    view.part("fired").locator(".context").first.click()
    strongest = bench.python(f"max((f.activation, -s.step) for s in w.trace for f in s.features if f.id == {feature})")
    view.until("root.querySelector('[data-step][aria-selected=true]')?.dataset.step === argument", str(-strongest[1]))
    # What is folded stays so for the next feature.
    view.part("boosts").locator("..").locator("summary").click()
    assert view.part("boosts").is_hidden()
    view.part("nearest").locator(".row").first.click()
    bench.until(f"w.selected_feature != {feature}")
    view.details()
    assert view.part("boosts").is_hidden()
    view.part("boosts").locator("..").locator("summary").click()
    assert not view.flaws(view.root.locator(".side"))
    # A token finds what fired on it, and what pushes it.
    field = view.part("search")
    field.fill(token.strip())
    view.part("search-note").get_by_text(re.compile("that boost")).wait_for()
    found = view.part("search-list").inner_text()
    assert "boosts it" in found
    assert "fires" in found


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
