"""The widget with the model that comes along: what the stand-ins of the other tests cannot show."""

import json
import threading
import time
from itertools import pairwise

import pandas as pd
import pytest

from axon_widget import wire
from axon_widget.engine.tracer import Tracer
from axon_widget.export import replay_data
from axon_widget.trace import Steer, Steering
from axon_widget.widget import AxonWidget
from tests.unit import tiny
from tests.unit.fakes import listening, message, sent, settle, until

PROMPT = "Once upon a time, there was a little"


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """The embedded model with its own SAE and a random one two layers later."""
    made = tiny.save_sae(tmp_path_factory.mktemp("sae"), "blocks.5.hook_resid_pre", width=288)
    return Tracer.load("embedded", ["blocks.3.hook_resid_pre", made], device="cpu")


def begun(tracer, **traits):
    widget = listening(AxonWidget(tracer=tracer, **{"temperature": 0.0, "seed": 1} | traits))
    widget.wait(60)
    return widget


@pytest.fixture
def widget(tracer):
    made = begun(tracer)
    yield made
    made.close()
    made._session.close(timeout=30)


def written(widget, **settings):
    widget.generate(PROMPT, **{"max_tokens": 12} | settings)
    return widget.wait(60)


def shares(answer):
    """The features' shares that a message tells, by feature."""
    return {row[0]: row[3:] for one in answer["saes"] for row in one["features"]}


def test_why_by_message_says_what_why_says(widget):
    trace = written(widget)
    message(widget, kind="why", run=1, step=14, token_id=None, exact=True)
    until(lambda: sent(widget, "why") and sent(widget, "why")[-1]["done"] == sent(widget, "why")[-1]["total"])
    first, *_, last = sent(widget, "why")
    table = widget.why(position=14)
    features = table[table["part"] == "feature"].set_index("id")
    assert first["done"] == 0
    assert {exact for _, exact in shares(first).values()} == {None}
    told = pd.DataFrame.from_dict(shares(last), orient="index", columns=["direct", "exact"])
    assert len(told) == len(features) == trace[13].l0 > 10
    for name in ("direct", "exact"):
        assert told[name].sort_index().to_numpy() == pytest.approx(features[name].sort_index().to_numpy(), abs=1e-3)
    assert (last["token"], last["token_id"]) == (table.attrs["token"], table.attrs["token_id"])
    assert last["token_id"] == trace[14].token_id
    assert last["logprob"] == pytest.approx(trace[14].logprob, abs=1e-3)
    [one] = last["saes"]
    parts = [one[name][0] for name in ("error", "bias", "rest", "gap", "all")] + [one["final"][0]]
    assert sum(parts) == pytest.approx(last["logit_difference"], abs=2e-3)
    direct = [abs(row[3]) for row in one["features"]]
    assert direct == sorted(direct, reverse=True)
    json.dumps(last, allow_nan=False)


def test_tokens_keep_coming_between_the_ablations(two):
    widget, happened = begun(two), []
    widget.send = lambda content, buffers=None: happened.append(content["kind"])
    widget.observe(lambda change: happened.append("step"), "step")
    asked = threading.Event()

    def ask(change):
        if change["new"].get("step") == 12 and not asked.is_set():
            asked.set()
            message(widget, kind="why", run=1, step=10, token_id=None, exact=True)

    widget.observe(ask, "step")
    trace = written(widget, max_tokens=30)
    settle(widget)
    assert trace.finish == "length"
    after = happened[happened.index("why") :]
    places = [place for place, kind in enumerate(after) if kind == "why"]
    assert len(places) > 4
    gaps = [after[a + 1 : b] for a, b in pairwise(places)]
    assert all("step" in gap for gap in gaps)
    # And it writes what it writes undisturbed.
    assert trace.text == written(widget, max_tokens=30).text
    widget.close()


def test_why_from_another_thread_while_it_writes_disturbs_nothing(widget):
    alone = written(widget, max_tokens=40)
    widget.generate(PROMPT, max_tokens=40)
    until(lambda: len(widget.trace) >= 14 and widget.trace is not alone)
    tables = []
    while widget.status == "running" and len(tables) < 3:
        tables.append(widget.why(position=12))
    assert widget.status == "running" or len(tables) > 1, "it was too fast to be asked while it wrote"
    trace = widget.wait(60)
    assert [(s.token_id, s.features) for s in trace] == [(s.token_id, s.features) for s in alone]
    later = widget.why(position=12)
    for table in tables:
        pd.testing.assert_frame_equal(table, later, atol=1e-4)


def test_what_cannot_be_explained_is_told_in_the_answer(widget):
    written(widget, max_tokens=1)
    for step, token, sentence in (
        (0, None, "follows nothing"),
        (99, None, "no token 99"),
        (5, 10**9, "There is no token"),
    ):
        widget.sent.clear()
        message(widget, kind="why", run=1, step=step, token_id=token, exact=True)
        settle(widget)
        [answer] = sent(widget, "why")
        assert sentence in answer["error"]
        assert (answer["run"], answer["step"], answer["token_id"]) == (1, step, token)
    assert widget.error == ""


def test_a_steered_run_is_that_of_the_engine_and_says_so(widget, tracer):
    plain = written(widget)
    feature = max(plain[9].features, key=lambda f: f.activation).id
    steered = tracer.run(PROMPT, steering=Steering((Steer(0, feature, 20.0),)), temperature=0.0, max_tokens=12, seed=1)
    widget.steer({feature: 20.0})
    trace = written(widget)
    assert [s.token_id for s in trace] == [s.token_id for s in steered] != [s.token_id for s in plain]
    assert {s.id for step in trace[1:] for s in step.steered} == {feature}
    assert {s.after for step in trace[1:] for s in step.steered} == {20.0}
    assert trace[0].steered == ()  # a special token
    assert trace.steering == {0: Steering((Steer(0, feature, 20.0),))}
    assert widget.step["steered"][0][:2] == [0, feature]


def test_steering_while_it_writes_acts_on_the_very_next_token(widget):
    plain = written(widget)
    feature = max(plain[14].features, key=lambda f: f.activation).id

    def steer(change):
        if change["new"].get("step") == 14:
            widget.steer({feature: 60.0})

    widget.observe(steer, "step")
    trace = written(widget)
    assert [s.token_id for s in trace[:15]] == [s.token_id for s in plain[:15]]
    # The newest token is read again under the steering, so that the next one follows it.
    assert trace.steering == {14: Steering((Steer(0, feature, 60.0),))}
    assert trace[15].logprob != pytest.approx(plain[15].logprob, abs=1e-3) or trace[15].token_id != plain[15].token_id


def test_reconstruction_says_what_it_costs(widget):
    widget.reconstruct = True
    trace = written(widget)
    frames = widget._tree.newest.frames
    assert [frame.get("clean_logprob") is None for frame in frames] == [True] + [False] * (len(frames) - 1)
    assert frames[-1]["clean_logprob"] == pytest.approx(trace[-1].clean_logprob, abs=1e-4)
    assert frames[-1]["clean_logprob"] != frames[-1]["logprob"]


def test_a_branch_goes_on_as_the_run_did_and_elsewhere_with_another_token(widget):
    first = written(widget)
    widget.branch(13, max_tokens=len(first) - 14)
    same = widget.wait(60)
    assert [s.token_id for s in same] == [s.token_id for s in first]
    for mine, its in zip(same, first, strict=True):
        assert [f.id for f in mine.features] == [f.id for f in its.features]
    other = first[14].alternatives[1]
    widget.branch(14, other.token_id, trace=first)
    third = widget.wait(60)
    assert (third[14].token_id, third.put_in) == (other.token_id, other.token)
    assert third.text.startswith("".join(s.token for s in first[:14]) + other.token)
    assert len(widget.branches) == 3
    message(widget, kind="compare", a=1, b=3)
    settle(widget)
    [answer] = sent(widget, "comparison")
    assert answer["from"] == 14
    assert answer["rows"]


@pytest.mark.parametrize("token", [" no such word", ""])
def test_a_branch_with_a_text_that_is_no_token_leaves_the_old_run(widget, token):
    first = written(widget, max_tokens=2)
    widget.branch(5, token)
    with pytest.raises(RuntimeError, match="not one token"):
        widget.wait(60)
    assert widget.branches == [first]
    assert widget.trace is first


def test_two_saes_are_read_shown_and_steered(two):
    widget = begun(two, feature_k=6)
    trace = written(widget)
    frame = widget.step
    assert [(f["sae"], f["layer"]) for f in frame["features"]] == [(0, 3)] * 6 + [(1, 5)] * 6
    assert [fit[2] for fit in frame["fits"]] == [trace[-1].fits[0].l0, trace[-1].fits[1].l0]
    assert max(wire.size(frame) for frame in widget._tree.newest.frames) <= 2 * wire.BUDGET
    assert [sae["title"] for sae in widget.info["saes"]] == ["layer 3", "layer 5"]
    message(widget, kind="similar", run=1, least=0.0)
    settle(widget)
    [answer] = sent(widget, "similar")
    ends = {(edge[0], edge[2]) for edge in answer["edges"]}
    assert (0, 1) in ends
    message(widget, kind="why", run=1, step=12, token_id=None, exact=False)
    settle(widget)
    assert [one["sae"] for one in sent(widget, "why")[-1]["saes"]] == [0, 1]
    widget.steer({(5, 7): 9.0})
    steered = written(widget, max_tokens=2)
    assert {(s.sae, s.id, s.layer) for step in steered[1:] for s in step.steered} == {(1, 7, 5)}
    widget.close()


def test_a_page_of_two_saes_knows_what_the_widget_knows(two, tmp_path):
    trace = two.run(PROMPT, temperature=0.0, max_tokens=4, seed=1, steering=Steering((Steer(1, 7, 9.0),)))
    data = replay_data(trace, two, feature_k=6)
    shown = {(f["sae"], f["id"]) for frame in data["steps"] for f in frame["features"]}
    assert {(f["sae"], f["id"]) for f in data["features"]} == shown | {(1, 7)}
    assert {f["layer"] for f in data["features"]} == {3, 5}
    assert [f for f in data["features"] if f["sae"] == 0 and f["label"]]
    assert data["info"]["saes"] == two.info["saes"]
    assert all(frame["steered"] == [[1, 7, pytest.approx(frame["steered"][0][2]), 9.0]] for frame in data["steps"][1:])
    assert all(len(edge) == 5 and abs(edge[0] - edge[2]) <= 1 and edge[4] >= 0.3 for edge in data["similar"])
    json.dumps(data, allow_nan=False)


def test_widgets_that_share_a_model_do_not_disturb_each_other(tracer):
    widgets = [begun(tracer) for _ in range(2)]
    plain = written(widgets[0])
    feature = max(plain[9].features, key=lambda f: f.activation).id
    widgets[1].steer({feature: 20.0})
    steered = written(widgets[1])
    for _ in range(2):
        for widget in widgets:
            widget.generate(PROMPT, max_tokens=12)
        message(widgets[1], kind="why", run=1, step=8, token_id=None, exact=True)
        first, second = (widget.wait(60) for widget in widgets)
        assert [(s.token_id, s.features) for s in first] == [(s.token_id, s.features) for s in plain]
        assert [(s.token_id, s.features) for s in second] == [(s.token_id, s.features) for s in steered]
        assert not any(step.steered for step in first)
    for widget in widgets:
        widget.close()


def test_closing_while_it_explains_ends_the_worker_soon(widget):
    written(widget, max_tokens=2)
    message(widget, kind="why", run=1, step=8, token_id=None, exact=True)
    until(lambda: sent(widget, "why"))
    start = time.monotonic()
    widget.close()
    widget._session.close(timeout=30)
    assert not widget._session._thread.is_alive()
    assert time.monotonic() - start < 10


def test_the_graphs_nodes_are_the_features_that_were_shown(widget):
    written(widget, feature_k=5, activation_threshold=1.0)

    def shown():
        frames = [frame for run in widget._tree.runs for frame in run.frames]
        return {(f["sae"], f["id"]) for frame in frames for f in frame["features"]}

    assert set(widget.graph.keys()) == shown()
    assert any(f.activation < 1 for step in widget.trace for f in step.features[:5])
    widget.branch(10, max_tokens=4)
    widget.wait(60)
    assert set(widget.graph.keys()) <= shown()
