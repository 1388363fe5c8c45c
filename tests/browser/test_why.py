"""Why this token: asked in the view, answered as Python answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.browser.lab import Notebook, View, reads

PROMPT = "Once upon a time, there was a little girl"
MAKE = 'w = AxonWidget(model="embedded")\nw'
STEP = 20
# Ablations wait until they are let through.
HOLD = """
import threading
from axon_widget.engine import attribution
through, real = threading.Event(), attribution.ablate
def held_back(*asked):
    through.wait(60)
    yield from real(*asked)
attribution.ablate = held_back
"""
LET_GO = "through.set()\nattribution.ablate = real"
# The parts beside the features, as the view and the table call them.
PARTS = {
    "all features together": ["all features"],
    "SAE error": ["error"],
    "SAE bias": ["bias"],
    "later layers": ["later layers"],
    "norm and unembedding": ["final biases", "soft cap"],
    "gap": ["gap"],
}


def written(bench: Notebook) -> View:
    view = bench.view(MAKE)
    bench.execute(f"w.generate({PROMPT!r}, max_tokens=25, seed=7)\n_ = w.wait()")
    view.shows(bench.python("w.trace.text"))
    return view


def ask(view: View, step: int) -> None:
    view.look(step)
    view.part("ask-why").click()
    view.part("why-row").first.wait_for()


def whole(view: View) -> None:
    """Wait until all exact values are there."""
    view.until("root.querySelector('[data-axon=why-progress]').textContent === ''")
    view.until("![...root.querySelectorAll('[data-axon=why-row]')][0].textContent.includes('–')")


def told(view: View) -> list[list[str]]:
    """Give the rows: the feature's id or the part's name, direct, exact."""
    return view.root.evaluate(
        """root => [...root.querySelectorAll("[data-axon=why-row]")].map(row => {
            const [name, ...values] = [...row.children].map(cell => cell.textContent);
            return [row.dataset.value?.split(":")[1] ?? name, values[0], values[1]].map((v, i) => v || name);
        })"""
    )


def table(bench: Notebook, asked: str) -> dict[str, dict[str, Any]]:
    """Give Python's answer: a row by the feature's id or the part's name."""
    rows = json.loads(bench.python(f"w.why({asked}).to_json(orient='records')"))
    return {str(row["id"] if row["part"] == "feature" else row["part"]): row for row in rows}


def agree(rows: list[list[str]], known: dict[str, dict[str, Any]], *, exact: bool) -> None:
    """The view tells of every feature and every part what Python tells of them."""
    features = {name for name, row in known.items() if row["part"] == "feature"}
    assert {name for name, _, _ in rows} == features | set(PARTS)
    for name, *shown in rows:
        for kind, text in zip(("direct", "exact"), shown, strict=True):
            values = [known[part][kind] for part in PARTS.get(name, [name])]
            found = [value for value in values if value is not None]
            if kind == "exact" and not exact:
                assert text == "–"
            else:
                assert reads(text, sum(found) if found else None), (name, kind, text, found)


def by(rows: list[list[str]], column: int) -> list[float]:
    """Give the sizes of the features' values in the order they are listed."""
    return [abs(number(row[column])) for row in rows if row[0].isdecimal()]


def number(text: str) -> float:
    return float(text.replace("−", "-"))


@pytest.fixture
def held_back(bench: Notebook) -> Iterator[None]:
    bench.execute(HOLD)
    yield
    bench.execute(LET_GO)


@pytest.mark.usefixtures("held_back")
def test_direct_effects_come_at_once_and_exact_ones_after_and_both_are_pythons(
    bench: Notebook, shot: Callable[..., None]
) -> None:
    view = written(bench)
    ask(view, STEP)
    known = table(bench, f"position={STEP}")
    token = bench.python(f"w.trace[{STEP}].token")
    assert view.part("why").locator("h3").inner_text() == f"Why “{token.replace(' ', '·', 1)}”"
    agree(told(view), known, exact=False)
    assert view.part("why-progress").inner_text().startswith("exact 0/")
    bench.execute("through.set()")
    whole(view)
    rows = told(view)
    agree(rows, known, exact=True)
    assert len(known) > 15
    assert by(rows, 1) == sorted(by(rows, 1), reverse=True)
    # Sorted by the exact ones they stand in another order.
    view.part("why-sort").get_by_role("radio", name="exact").click()
    again = told(view)
    assert sorted(again) == sorted(rows)
    assert again != rows
    assert by(again, 2) == sorted(by(again, 2), reverse=True)
    assert view.flaws() == []
    shot("why", view)


def test_why_not_another_token(bench: Notebook, shot: Callable[..., None]) -> None:
    view = written(bench)
    ask(view, STEP)
    whole(view)
    other = bench.python(f"[a for a in w.trace[{STEP}].alternatives if a.token_id != w.trace[{STEP}].token_id][1]")
    target = view.part("why-target").get_by_text(other[0].strip(), exact=False)
    target.click()
    view.until("root.querySelector('[data-axon=why] h3').textContent.includes(argument)", other[0].strip())
    view.part("why-row").first.wait_for()
    whole(view)
    assert target.get_attribute("aria-pressed") == "true"
    agree(told(view), table(bench, f"{other[1]}, {STEP}"), exact=True)
    # A feature picked from the list is told of; the list stays.
    row = view.part("why-row").first
    feature = int((row.get_attribute("data-value") or "").split(":")[1])
    row.click()
    bench.until(f"w.selected_feature == {feature}")
    assert row.is_visible()
    view.part("tab-features").click()
    view.part("feature-label").wait_for()
    shot("why-another", view)


def test_the_graph_is_coloured_by_the_effect(bench: Notebook, shot: Callable[..., None]) -> None:
    view = written(bench)
    view.look(STEP)
    before = {node["id"]: node["colour"] for node in view.at_rest()}
    view.part("ask-why").click()
    view.part("why-row").first.wait_for()
    whole(view)
    view.part("graph-bar-more").click()
    view.part("hue-effect").click()
    view.until("root.querySelector('[data-axon=legend]').textContent.includes('effect on')")
    token = bench.python(f"w.trace[{STEP}].token").replace(" ", "·", 1)
    assert f"effect on “{token}”, direct" in view.part("legend-hue").inner_text()
    effects = {int(n): row["direct"] for n, row in table(bench, f"position={STEP}").items() if n.isdecimal()}
    after = {node["id"]: node["colour"] for node in view.at_rest()}
    assert after.keys() == before.keys()
    lit = {feature for feature in after if feature in effects}
    assert len(lit) > 5
    # Orange where it pushes up, blue where down, one dim grey where nothing is known.
    largest = max(map(abs, effects.values()))
    for feature in lit:
        red, _, blue = (int(after[feature][i : i + 2], 16) for i in (1, 3, 5))
        if abs(effects[feature]) > 0.01 * largest:
            assert (red > blue) == (effects[feature] > 0), (feature, after[feature], effects[feature])
    assert len({after[feature] for feature in after if feature not in lit}) == 1
    assert len({after[feature] for feature in lit}) > 5
    shot("why-hue", view)
    # By the exact effect some change their side.
    view.part("why-sort").get_by_role("radio", name="exact").click()
    view.until("root.querySelector('[data-axon=legend]').textContent.includes('exact')")
    assert {node["id"]: node["colour"] for node in view.nodes()} != after
    # Back to what fires.
    view.part("hue-activation").click()
    view.until("!root.querySelector('[data-axon=legend]').textContent.includes('effect on')")
    assert {node["id"]: node["colour"] for node in view.nodes()} == before


def test_it_follows_the_newest_token_while_the_model_writes(bench: Notebook) -> None:
    view = bench.view(MAKE)
    view.status("idle")
    # Thirty tokens a second, so that there is something to follow.
    bench.execute("import time\nw.observe(lambda change: time.sleep(0.03), 'step')")
    view.part("tab-why").click()
    assert "Write something first" in view.part("why").inner_text()
    view.root.evaluate(
        """root => {
            root.testSeen = [];
            const [why] = root.querySelectorAll("[data-axon=why]");
            const note = () => {
                const rows = why.querySelectorAll("[data-axon=why-row]").length;
                const running = root.querySelector("[data-axon=status]").dataset.state === "running";
                const head = why.querySelector("h3").textContent;
                if (running && rows && root.testSeen.at(-1) !== head) root.testSeen.push(head);
            };
            new MutationObserver(note).observe(why, {subtree: true, childList: true, characterData: true});
        }"""
    )
    bench.execute("w.generate(max_tokens=80, seed=7)")
    view.until("root.testSeen.length > 8")
    assert view.part("cursor").inner_text() != ""
    view.status("idle")
    bench.execute("_ = w.wait()")
    token = bench.python("w.trace[-1].token")
    view.until("root.querySelector('[data-axon=why] h3').textContent.includes(argument)", token.strip())
    # What was seen were the tokens, one after the other.
    shown = bench.python("[s.token.replace(' ', '·', 1).replace('\\n', '↵') for s in w.trace]")
    heads = [f"Why “{text}”" for text in shown]
    seen = iter(heads)
    assert all(head in seen for head in view.root.evaluate("root => root.testSeen"))
    # Now that it rests, all of it is told.
    view.part("why-row").first.wait_for()
    whole(view)
    agree(told(view), table(bench, ""), exact=True)


def test_the_first_token_has_no_reasons_and_it_says_so(bench: Notebook, shot: Callable[..., None]) -> None:
    view = written(bench)
    view.look(1)
    view.part("ask-why").click()
    view.part("why").get_by_text("Nothing was read before this token").wait_for()
    assert view.part("why-row").first.is_hidden()
    assert view.part("why-target").count() == 0
    shot("why-first", view)
    # The next one has.
    bench.page.keyboard.press("Escape")
    view.look(2)
    view.part("why-row").first.wait_for()


def test_what_python_cannot_answer_is_said(bench: Notebook) -> None:
    view = written(bench)
    view.look(STEP)
    bench.execute("w.tracer.readers[0].hook, was = 'blocks.9.hook_resid_pre', w.tracer.readers[0].hook")
    try:
        view.part("ask-why").click()
        view.part("why-error").wait_for()
    finally:
        bench.execute("w.tracer.readers[0].hook = was")
    assert "is loaded" in view.part("why-error").inner_text()
    assert view.part("why-row").first.is_hidden()


def test_any_token_can_be_explained_and_put_in_by_its_text(bench: Notebook, shot: Callable[..., None]) -> None:
    view = written(bench)
    ask(view, STEP)
    field = view.part("why-token")
    field.fill("no such thing")
    field.press("Enter")
    view.root.locator(".why .field-trouble", has_text="is not one token").wait_for()
    field.fill("dog")
    field.press("Enter")
    view.part("why-target").filter(has_text="dog").wait_for()
    view.until("root.querySelector('[data-axon=why] h3').textContent.includes('dog')")
    view.part("why-row").first.wait_for()
    whole(view)
    assert view.part("why-target").last.get_attribute("aria-pressed") == "true"
    agree(told(view), table(bench, f"' dog', {STEP}"), exact=True)
    assert view.flaws() == []
    shot("why-any-token", view)
    view.part("branch-token").fill("dog")
    view.part("branch-token").press("Enter")
    bench.until("len(w.branches) == 2 and w.status == 'idle'")
    assert bench.python(f"w.trace[{STEP}].token") == " dog"
