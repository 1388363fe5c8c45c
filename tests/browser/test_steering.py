"""Steering: from the inspector and from the list, before and while the model writes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.browser.lab import Notebook, View, reads

PROMPT = "Once upon a time, there was a little girl"
MAKE = 'w = AxonWidget(model="embedded", max_tokens=25, seed=7)\nw'
# Some twenty tokens a second: time to act while it writes.
SLOWLY = "import time\nw.observe(lambda change: time.sleep(0.05), 'step')"
LISTED = "[[s['sae'], s['id'], s['value'], s['scale']] for s in w.steering]"


def written(bench: Notebook, code: str = MAKE) -> View:
    view = bench.view(code)
    bench.execute(f"w.generate({PROMPT!r})\n_ = w.wait()")
    view.shows(bench.python("w.trace.text"))
    return view


def select(view: View, place: int = 0) -> int:
    """Select a feature from the list of those that fire; give its number."""
    line = view.part("firing").locator(".row").nth(place)
    feature = int((line.get_attribute("data-value") or "").split(":")[1])
    line.click()
    view.part("feature-label").wait_for()
    view.details()
    return feature


def mode(view: View, word: str) -> None:
    view.part("steer-mode").get_by_role("radio", name=word, exact=True).click()


def write(bench: Notebook, view: View) -> None:
    """Write another run by the button."""
    runs = bench.python("id(w.trace)")
    view.part("generate").click()
    bench.until(f"id(w.trace) != {runs} and w.trace.finish")
    view.shows(bench.python("w.trace.text"))
    view.status("idle")


def move(view: View, part: str, share: float) -> float:
    """Draw a slider by hand to this share of its length; give its value."""
    slider = view.part(part)
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    assert box
    middle = box["y"] + box["height"] / 2
    at, least, most = slider.evaluate("slider => [slider.value, slider.min, slider.max].map(Number)")
    start = box["x"] + 7 + (at - least) / (most - least) * (box["width"] - 14)
    view.page.mouse.move(start, middle)
    view.page.mouse.down()
    view.page.mouse.move(box["x"] + 7 + share * (box["width"] - 14), middle, steps=5)
    view.page.mouse.up()
    return float(slider.input_value())


def test_a_feature_is_set_scaled_and_switched_off(bench: Notebook, shot: Callable[..., None]) -> None:
    view = written(bench)
    feature = select(view)
    assert view.part("steer").get_by_text("as it is").is_visible()
    assert view.part("steer-remove").first.is_hidden()
    mode(view, "off")
    bench.until(f"{LISTED} == [[0, {feature}, 0.0, False]]")
    mode(view, "scale")
    bench.until(f"{LISTED} == [[0, {feature}, 2.0, True]]")
    mode(view, "set")
    most = bench.python(f"w.feature({feature}).max_activation")
    bench.until(f"abs(w.steering[0]['value'] - {most}) < 0.01 and not w.steering[0]['scale']")
    value = move(view, "steer-slider", 0.5)
    assert value == pytest.approx(1.5 * most, rel=0.1)
    bench.until(f"{LISTED} == [[0, {feature}, {value}, False]]")
    assert reads(view.part("steer").locator("output").inner_text(), value)
    # The next run is steered on every token of it, and says so.
    write(bench, view)
    steered = f"[[(c.sae, c.id) for c in s.steered] == [(0, {feature})] for s in w.trace if not s.special]"
    assert all(bench.python(steered))
    assert bench.python(f"{{round(s.steered[0].after, 4) for s in w.trace if not s.special}} == {{round({value}, 4)}}")
    view.until("graph.axon.nodes().some(node => node.steered)")
    assert [node["id"] for node in view.nodes() if node["steered"]] == [feature]
    assert view.part("legend-steered").is_visible()
    assert view.part("care-steered").inner_text() == "1 steered"
    assert view.part("strip").locator("[data-step]:not(.steered)").count() == 0
    view.token(12).hover()
    view.part("tip").get_by_text("steered:").wait_for()
    # The inspector tells the activation as read and as run with.
    before = bench.python("w.trace[-1].steered[0].before")
    told = view.part("feature-facts").locator(".steered").inner_text().split(" → ")
    assert reads(told[0], before)
    assert reads(told[1], value)
    view.at_rest()
    assert view.flaws() == []
    shot("steered", view)
    view.part("steer").get_by_role("button", name="remove").click()
    bench.until("w.steering == []")
    write(bench, view)
    assert bench.python("[s.steered for s in w.trace if s.steered]") == []
    view.until("!graph.axon.nodes().some(node => node.steered)")
    assert view.part("care-steered").is_hidden()


def test_while_it_writes_the_very_next_tokens_are_steered(bench: Notebook) -> None:
    view = written(bench)
    feature = select(view)
    bench.execute(SLOWLY + "\nw.max_tokens = 150")
    view.part("generate").click()
    bench.until("not w.trace.finish and len(w.trace) > 14")  # beyond the prompt, which is read at once
    mode(view, "off")
    bench.until("w.steering")
    begun = bench.python("len(w.trace)")
    bench.until(f"len(w.trace) > {begun} + 3")
    value = move(view, "steer-slider", 0.8)
    bench.until(f"{LISTED} == [[0, {feature}, {value}, False]]")
    set_at = bench.python("len(w.trace)")
    bench.until(f"len(w.trace) > {set_at} + 3")
    assert bench.python("w.status") == "running"
    view.part("steer-clear").click()
    bench.until("w.steering == []")
    cleared = bench.python("len(w.trace)")
    bench.until(f"len(w.trace) > {cleared} + 3")
    view.part("stop").click()
    bench.execute("_ = w.wait()")
    after = bench.python("[s.steered[0].after if s.steered else None for s in w.trace]")
    assert after[:10] == [None] * 10
    assert after[begun + 1] == 0.0  # one token may have been under way
    assert after[set_at + 1] == pytest.approx(value)
    assert after[cleared + 1 :] == [None] * len(after[cleared + 1 :])
    # The trace tells from which token on what was in force; in the strip the tokens are marked.
    changes = bench.python("[[step, [[c.id, c.value] for c in s.features]] for step, s in w.trace.steering.items()]")
    assert changes[0][1] == [[feature, 0.0]]
    assert changes[-1][1] == []
    view.shows(bench.python("w.trace.text"))
    marked = view.root.evaluate("root => [...root.querySelectorAll('.token.steered')].map(t => Number(t.dataset.step))")
    assert marked == [step for step, value in enumerate(after) if value is not None]


def test_the_list_holds_them_mutes_them_for_one_run_and_clears_them(bench: Notebook, shot: Callable[..., None]) -> None:
    view = written(bench)
    first, second = bench.python("[f.id for f in w.trace[12].features[:2]]")
    bench.execute(f"w.steer({{{first}: 0.0}}, scale={{{second}: 2.5}})")
    rows = view.part("steer-row")
    rows.nth(1).wait_for()
    assert rows.count() == 2
    labels = bench.python(f"[w.feature(i).text for i in ({first}, {second})]")
    for row, label, words in zip(rows.all(), labels, (["off", "0"], ["scale", "× 2.50"]), strict=True):
        row.scroll_into_view_if_needed()
        assert row.locator(".name").inner_text() == label
        assert [row.locator(".mode").inner_text(), row.locator(".value").inner_text()] == words
    # A slider of the list.
    slider = view.part("steer-row-slider").nth(1)
    slider.focus()
    slider.press("ArrowLeft")
    bench.until("w.steering[1]['value'] == 2.45 and w.steering[1]['scale']")
    # Its name selects the feature.
    rows.nth(1).locator(".name").click()
    bench.until(f"w.selected_feature == {second}")
    view.part("deselect").click()
    # Muted for one run, which is as if nothing was steered.
    plain = bench.python("w.trace.text")
    view.part("steer-mute").click()
    bench.until("w.steering_muted")
    view.part("steer-mute").scroll_into_view_if_needed()
    shot("steering-muted", view)
    write(bench, view)
    assert bench.python("w.trace.text") == plain
    assert bench.python("[w.steering_muted, len(w.steering)]") == [False, 2]
    assert view.part("steer-mute").get_attribute("aria-pressed") == "false"
    # In force again, both of them.
    write(bench, view)
    assert bench.python("{len(s.steered) for s in w.trace if not s.special} == {2}")
    scaled = bench.python(f"[[c.before, c.after] for s in w.trace for c in s.steered if c.id == {second}]")
    assert any(before > 0 for before, _ in scaled)
    assert all(after == pytest.approx(2.45 * before, rel=1e-4) for before, after in scaled)
    # Hold takes a mute back.
    view.part("steer-mute").click()
    bench.until("w.steering_muted")
    view.part("steer-hold").click()
    bench.until("not w.steering_muted")
    write(bench, view)
    assert bench.python("{len(s.steered) for s in w.trace if not s.special} == {2}")
    view.at_rest()
    assert {node["id"] for node in view.nodes() if node["steered"]} == {first, second}
    view.part("steer-clear").scroll_into_view_if_needed()
    assert view.flaws() == []
    shot("steering-list", view)
    # One is removed by its cross, the rest by Clear.
    rows.nth(0).locator('[data-axon="steer-remove"]').click()
    bench.until(f"{LISTED} == [[0, {second}, 2.45, True]]")
    view.part("steer-clear").click()
    bench.until("w.steering == []")
    view.until("!root.querySelector('[data-axon=steer-row]')")
    assert view.part("steer-clear").is_hidden()


def test_what_is_steered_has_its_name_though_it_never_fires(bench: Notebook) -> None:
    view = written(bench)
    fired = bench.python("sorted({f.id for s in w.trace for f in s.features})")
    feature = bench.python(f"next(i for i in range(2000) if i not in {fired} and w.feature(i).text)")
    bench.execute(f"w.steer({{{feature}: 0.5}})\nw.generate()\n_ = w.wait()")
    view.shows(bench.python("w.trace.text"))
    label = bench.python(f"w.feature({feature}).text")
    view.until("graph.axon.nodes().some(node => node.steered)")
    # Selected, it is in front.
    bench.execute(f"w.selected_feature = {feature}")
    view.part("feature-label").wait_for()
    [node] = [node for node in view.at_rest() if node["steered"]]
    assert node["id"] == feature
    bench.page.mouse.move(node["x"], node["y"])
    view.part("tip").get_by_text(label, exact=True).wait_for()
    # A run without it frames what there is, though it stays selected.
    bench.execute("w.unsteer()\nw.generate()\n_ = w.wait()")
    view.shows(bench.python("w.trace.text"))
    box = view.part("graph").bounding_box()
    assert box
    nodes = view.at_rest()
    inside = [n for n in nodes if 0 < n["x"] - box["x"] < box["width"] and 0 < n["y"] - box["y"] < box["height"]]
    assert len(inside) >= 0.97 * len(nodes)


def test_the_model_is_read_through_the_sae_and_what_that_costs_is_told(
    bench: Notebook, shot: Callable[..., None]
) -> None:
    view = written(bench)
    cost = view.part("cost")
    assert cost.is_hidden()
    view.part("reconstruct").check()
    bench.until("w.reconstruct")
    assert "as the next run is written" in cost.inner_text()
    write(bench, view)
    assert bench.python("all(s.clean_logprob is not None for s in w.trace[2:])")
    assert view.part("care-steered").inner_text() == "read through the SAE"

    def mean(generated: bool) -> float:
        gaps = f"[s.clean_logprob - s.logprob for s in w.trace if s.generated is {generated} and s.logprob is not None]"
        return bench.python(f"sum({gaps}) / len({gaps})")

    words = cost.inner_text().split("; ")
    assert words[0].startswith("costs ")
    assert words[0].endswith(" nats a token of the prompt")
    assert reads(words[0].split()[1], mean(False))
    likelier = mean(True)
    assert words[1].startswith("what it writes is ")
    assert words[1].endswith(f"{'likelier' if likelier > 0 else 'less likely'} to the plain model")
    assert reads(words[1].split()[4], abs(likelier))
    view.token(14).hover()
    view.part("tip").get_by_text("the plain model: probability").wait_for()
    cost.scroll_into_view_if_needed()
    view.at_rest()
    assert view.flaws() == []
    shot("reconstruct", view)
    view.part("reconstruct").uncheck()
    bench.until("not w.reconstruct")
    # What the run on show cost is still told; the next one costs nothing.
    assert cost.is_visible()
    write(bench, view)
    assert bench.python("[s.clean_logprob for s in w.trace if s.clean_logprob is not None]") == []
    assert cost.is_hidden()


def test_python_steers_and_the_view_follows(bench: Notebook) -> None:
    view = written(bench)
    feature = select(view)
    bench.execute(f"w.steer({{{feature}: 0.25}})")
    view.until("root.querySelector('[data-axon=steer-slider]').value === '0.25'")
    pressed = view.part("steer-mode").locator("[aria-checked=true]")
    assert pressed.inner_text() == "set"
    bench.execute(f"w.steer(scale={{{feature}: -1.5}})")
    view.until("root.querySelector('[data-axon=steer-slider]').value === '-1.5'")
    assert pressed.inner_text() == "scale"
    bench.execute("w.unsteer()")
    view.until("!root.querySelector('[data-axon=steer-row]')")
    assert pressed.count() == 0
    bench.execute("w.reconstruct = True")
    view.until("root.querySelector('[data-axon=reconstruct]').checked")
