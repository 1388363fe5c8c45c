"""Branches: other ends to a run, side by side."""

from __future__ import annotations

import json
from collections.abc import Callable

from tests.browser.conftest import SIZE
from tests.browser.lab import Notebook, View, reads

PROMPT = "Once upon a time, there was a little girl"
# Few features a token, so that the graph shows all of them.
MAKE = 'w = AxonWidget(model="embedded", max_tokens=15, seed=7, feature_k=6)\nw'
SLOW = "w = AxonWidget(tracer=FakeTracer(pace=0.05), max_tokens=400)\nw"
# The features that a run shows, and the texts of the runs' own tokens.
SHOWN = """sorted({{f.id for s in w.branches[{place}] if not s.special
    for f in s.features[:w.feature_k] if f.activation >= w.activation_threshold}})"""
OWN = "[''.join(s.token for s in b[b.fork or 0:]) for b in w.branches]"
ROWS = """[...root.querySelectorAll('[data-axon=strip] [role=row]')].map(
    row => [...row.querySelectorAll('[data-step]')].map(token => token.textContent).join(''))"""


def written(bench: Notebook, code: str = MAKE) -> View:
    view = bench.view(code)
    bench.execute(f"w.generate({PROMPT!r})\n_ = w.wait()")
    view.shows(bench.python("w.trace.text"))
    return view


def branched(bench: Notebook, view: View, count: int) -> None:
    """Wait until there are so many runs, and the view shows the newest to its end."""
    bench.until(f"len(w.branches) == {count} and w.trace.finish")
    view.shows(bench.python("w.trace.text"))
    view.status("idle")


def shows_run(bench: Notebook, view: View, place: int) -> None:
    """The strip and the graph show this run of the tree, and its letter is lit."""
    view.shows(bench.python(f"w.branches[{place}].text"))
    expected = bench.python(SHOWN.format(place=place))
    view.until(
        "JSON.stringify(graph.axon.nodes().map(n => n.id).sort((p, q) => p - q)) === argument", compact(expected)
    )
    assert [track.get_attribute("aria-pressed") for track in view.part("track").all()] == [
        "true" if i == place else "false" for i in range(view.part("track").count())
    ]


def compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def test_going_on_from_a_token_with_another_and_from_a_branch_makes_tracks(
    bench: Notebook, shot: Callable[..., None]
) -> None:
    view = written(bench)
    assert view.part("track").first.is_hidden()
    view.look(14)
    bench.execute("w.seed = 3")
    view.part("branch-here").click()
    branched(bench, view, 2)
    assert bench.python("[w.trace.fork, w.trace.put_in, w.trace.parent is w.branches[0]]") == [15, None, True]
    # With another token, in the branch.
    view.look(18)
    others = bench.python(
        "[[a.token, a.token_id] for a in w.trace[18].alternatives if a.token_id != w.trace[18].token_id]"
    )
    chips = view.part("alternative")
    assert chips.count() == len(others)
    for chip, (token, _) in zip(chips.all_inner_texts(), others, strict=True):
        assert chip.startswith("·" + token[1:] if token.startswith(" ") else token)
    chips.nth(1).click()
    branched(bench, view, 3)
    token, token_id = others[1]
    assert bench.python("[w.trace.fork, w.trace.put_in, w.trace[18].token_id]") == [18, token, token_id]
    assert bench.python("w.trace.parent is w.branches[1]")
    # Each track shows its own tokens, and what was put in stands out.
    view.until(f"JSON.stringify({ROWS}) === argument", compact(bench.python(OWN)))
    assert view.part("strip").locator(".put").all_text_contents() == [token]
    assert view.part("track").all_inner_texts() == ["A", "B", "C"]
    titles = [track.get_attribute("title") for track in view.part("track").all()]
    assert titles[:2] == ["the first run", "written anew, from token 15 of A"]
    assert titles[2] == f"goes on with “{token.strip()}”, from token 18 of B"
    view.at_rest()
    assert view.flaws() == []
    shot("branches", view)
    # From one to another: by its letter, by one of its tokens, by the keys.
    shows_run(bench, view, 2)
    view.part("track").nth(0).click()
    shows_run(bench, view, 0)
    runs = [int(token.get_attribute("data-run") or 0) for token in view.part("strip").locator(".put").all()]
    view.token(20, runs[0]).click()
    shows_run_at(bench, view, 2, 20)
    view.part("strip").focus()
    bench.page.keyboard.press("ArrowUp")
    shows_run(bench, view, 1)
    bench.page.keyboard.press("ArrowUp")
    shows_run(bench, view, 0)
    bench.page.keyboard.press("ArrowDown")
    shows_run(bench, view, 1)
    # What is common is the parent's: a click there does not leave the branch.
    view.token(10).click()
    view.until("root.querySelector('[data-step][aria-selected=true]').dataset.step === '10'")
    assert view.text() == bench.python("w.branches[1].text")


def shows_run_at(bench: Notebook, view: View, place: int, step: int) -> None:
    view.shows(bench.python(f"w.branches[{place}].text"))
    view.until("root.querySelector('[data-step][aria-selected=true]').dataset.step === argument", str(step))


def test_two_branches_are_compared_as_python_compares_them(bench: Notebook, shot: Callable[..., None]) -> None:
    view = written(bench)
    bench.execute("w.branch(14, seed=3)\n_ = w.wait()")
    branched(bench, view, 2)
    before = {node["id"]: node["colour"] for node in view.nodes()}
    view.part("compare").first.click()
    view.part("compared").wait_for()
    rows = json.loads(bench.python("w.branches[1].compare(w.branches[0]).head(120).to_json(orient='records')"))
    assert len(rows) > 50
    known = {row["id"]: row for row in rows}
    shown = view.root.evaluate(
        """root => [...root.querySelectorAll("[data-axon=compared-row]")].map(row => [
            Number(row.dataset.value.split(":")[1]), row.children[1].textContent,
            row.closest(".group").querySelector("h4").textContent, row.children[0].textContent])"""
    )
    assert {feature for feature, *_ in shown} == set(known)
    for feature, means, group, label in shown:
        row = known[feature]
        for text, mean in zip(means.split(" | "), (row["mean_a"], row["mean_b"]), strict=True):
            assert mean == 0 if text == "–" else reads(text, mean), (feature, means, row)
        stronger = "A" if row["mean_b"] > row["mean_a"] else "B"
        assert group == (f"only in {'B' if row['only'] == 'a' else 'A'}" if row["only"] else f"stronger in {stronger}")
        name = row["label"] or f"feature {feature}"
        assert label == (name if len(name) <= 60 else f"{name[:59]}…")
    # Colours: orange for B, which was looked at, blue for A; what is in A only is there to be seen too.
    view.until("root.querySelector('[data-axon=legend]').textContent.includes('only A')")
    colours = {node["id"]: node["colour"] for node in view.at_rest()}
    for feature in (f for f, row in known.items() if row["only"] and f in colours):
        red, _, blue = (int(colours[feature][i : i + 2], 16) for i in (1, 3, 5))
        assert (red > blue) == (known[feature]["only"] == "a")
    assert set(colours) - set(before)
    assert view.flaws() == []
    shot("compared", view)
    # A line selects; the list stays.
    view.part("compared-row").first.click()
    bench.until(f"w.selected_feature == {shown[0][0]}")
    assert view.part("compared").is_visible()
    # A cross leaves.
    view.part("compare-close").click()
    view.part("compared").wait_for(state="hidden")
    assert view.part("tab-compare").is_hidden()
    view.until("!root.querySelector('[data-axon=legend]').textContent.includes('only A')")
    assert {node["id"] for node in view.nodes()} == set(before)


def test_a_reload_brings_the_tree_back(bench: Notebook) -> None:
    view = written(bench)
    bench.execute("w.branch(14, seed=3)\n_ = w.wait()\nw.branch(18, ' big', seed=5)\n_ = w.wait()")
    branched(bench, view, 3)
    bench.reload()
    again = View(bench.page, bench.page.locator(".axon-widget"))
    again.root.wait_for()
    again.until(f"JSON.stringify({ROWS}) === argument", compact(bench.python(OWN)))
    again.in_sight()
    for place in (2, 1, 0):
        again.part("track").nth(place).click()
        shows_run(bench, again, place)
    # It is still a tree to grow.
    again.look(5)
    again.part("branch-here").click()
    branched(bench, again, 4)
    assert bench.python("[w.trace.fork, w.trace.parent is w.branches[0]]") == [6, True]


def test_a_branch_begins_under_the_token_it_goes_on_from_at_any_width(bench: Notebook) -> None:
    view = written(bench)
    bench.execute("w.branch(17, seed=3)\n_ = w.wait()")
    branched(bench, view, 2)
    # From the fork's sign to the end of the token before it, of which the line may be another now.
    gap = """(() => {
        const [token] = root.querySelectorAll('[data-step="17"]'), rects = token.getClientRects();
        const sign = root.querySelectorAll('.fork')[1].getBoundingClientRect();
        return sign.left - rects[rects.length - 1].right;
    })()"""
    indents = []
    try:
        for width in (SIZE["width"], 600, SIZE["width"]):
            bench.page.set_viewport_size({**SIZE, "width": width})
            view.until(f"Math.abs({gap}) < 4")
            indents.append(view.root.evaluate("root => root.querySelectorAll('.track-text')[1].style.textIndent"))
    finally:
        bench.page.set_viewport_size(SIZE)
    assert indents[0] == indents[2]


def test_what_is_no_token_is_refused_and_any_other_is_put_in(bench: Notebook, shot: Callable[..., None]) -> None:
    view = written(bench)
    view.look(14)
    graph = view.part("graph").bounding_box()
    field = view.part("branch-token")
    field.fill("no such thing")
    field.press("Enter")
    trouble = view.part("act").locator(".field-trouble")
    trouble.get_by_text("is not one token").wait_for()
    assert view.part("graph").bounding_box() == graph
    assert view.flaws() == []
    shot("no-such-token", view)
    assert bench.python("len(w.branches)") == 1
    cells = bench.page.locator(".jp-Cell").count()
    field.fill("dog")
    assert trouble.inner_text() == ""
    field.press("Enter")
    branched(bench, view, 2)
    assert bench.python("[w.trace.put_in, w.trace[14].token, w.trace.fork]") == [" dog", " dog", 14]
    assert view.part("strip").locator(".put").all_text_contents() == [" dog"]
    assert field.input_value() == ""
    assert bench.page.locator(".jp-Cell").count() == cells


def test_a_branch_is_steered_alone(bench: Notebook) -> None:
    view = written(bench)
    feature = bench.python("w.trace[14].features[0].id")
    bench.execute(f"w.selected_feature = {feature}")
    view.part("feature-label").wait_for()
    view.part("steer-mode").get_by_role("radio", name="off", exact=True).click()
    bench.until("w.steering")
    view.look(14)
    view.part("branch-here").click()
    branched(bench, view, 2)
    own = "[[s.step for s in b if s.steered] for b in w.branches]"
    first, second = bench.python(own)
    assert first == []
    assert set(second) >= set(range(15, bench.python("len(w.trace)")))
    view.until("graph.axon.nodes().some(node => node.steered)")
    view.part("track").first.click()
    view.until("!graph.axon.nodes().some(node => node.steered)")


def test_while_it_writes_no_other_branch_is_offered(bench: Notebook) -> None:
    view = bench.view(SLOW)
    view.status("idle")
    view.part("generate").click()
    view.tokens(12)
    # The newest token changes all the time: nothing to hit. A token that is looked at stays.
    assert view.part("branch-here").is_hidden()
    assert view.part("alternative").count() == 0
    view.look(5)
    assert view.part("branch-here").is_disabled()
    assert view.part("alternative").first.is_disabled()
    view.part("stop").click()
    view.status("idle")
    assert view.part("branch-here").is_enabled()
    # A branch is stopped as the first run is; both are there.
    view.part("alternative").first.click()
    view.until("root.querySelectorAll('[data-axon=track]').length === 2")
    view.status("running")
    view.tokens(10)
    view.part("stop").click()
    view.status("idle")
    finishes, put = bench.python("[[b.finish for b in w.branches], w.trace.put_in]")
    assert finishes == ["stopped", "stopped"]
    assert view.part("strip").locator(".put").all_text_contents() == [put]
    view.until(f"JSON.stringify({ROWS}) === argument", compact(bench.python(OWN)))
    # A new text is a new tree.
    view.part("generate").click()
    view.until("root.querySelectorAll('[data-axon=track]').length === 1")
    view.tokens(3)
    assert len(bench.python("[b.fork for b in w.branches]")) == 1
