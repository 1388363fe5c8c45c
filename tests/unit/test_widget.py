"""The widget without a kernel and without a model: its traits, its messages, and what it refuses."""

import json
import math
import threading

import numpy as np
import pytest
import traitlets

from axon_widget.graph import graph_of
from axon_widget.trace import Steer, Steering, Trace
from axon_widget.widget import AxonWidget
from tests.unit.fakes import FakeTracer, listening, message, sent, still_works, write

RANGES = {
    "temperature": (0, 2),
    "top_k": (0, 200),
    "top_p": (0.05, 1),
    "repetition_penalty": (1, 2),
    "max_tokens": (1, 500),
    "feature_k": (5, 30),
    "activation_threshold": (0.01, 1),
}


@pytest.fixture
def fake():
    return FakeTracer()


@pytest.fixture
def widget(fake):
    made = listening(AxonWidget(tracer=fake))
    made.wait(10)
    yield made
    fake.gate.set()
    made.close()
    made._session.close(timeout=10)


def test_it_starts_with_the_published_settings(widget):
    defaults = {
        "temperature": 0.8,
        "top_k": 50,
        "top_p": 0.9,
        "repetition_penalty": 1.1,
        "max_tokens": 40,
        "feature_k": 15,
        "activation_threshold": 0.1,
        "seed": None,
        "error": "",
        "step": {},
        "selected_feature": None,
        "selected_sae": 0,
        "steering": [],
        "steering_muted": False,
        "reconstruct": False,
        "device": "cpu",
        "status": "idle",
    }
    assert {name: getattr(widget, name) for name in defaults} == defaults
    assert widget.info["d_sae"] == 100
    assert widget.prompt


def test_generate_returns_at_once_and_wait_gives_the_trace(widget, fake):
    write(widget, fake, max_tokens=4)
    assert widget.status == "running"
    assert [step.token for step in widget.trace] == [" a", " b", " c"]
    fake.gate.set()
    trace = widget.wait(10)
    assert trace is widget.trace
    assert trace.text == widget.text == " a b c 1 2 3 4"
    assert widget.prompt == "a b c"


def test_every_step_is_seen_once_and_in_order(widget):
    steps = []
    widget.observe(lambda change: steps.append(change["new"]), "step")
    widget.generate("a b c", max_tokens=30)
    widget.wait(10)
    numbers = [step["step"] for step in steps if step]
    assert numbers == list(range(33))
    assert {step["run"] for step in steps if step} == {1}
    [end] = sent(widget, "end")
    assert {key: end[key] for key in ("run", "finish", "total")} == {"run": 1, "finish": "length", "total": 33}


def test_a_step_is_what_the_readme_says(widget):
    widget.generate("a b c", max_tokens=1, feature_k=6)
    widget.wait(10)
    step = widget.step
    assert (step["token"], step["token_id"], step["position"], step["step"]) == (" 1", 3, 3, 3)
    assert step["features"][0] == {"id": 0, "label": "label 0", "activation": 3.0, "layer": 1, "sae": 0}
    assert len(step["features"]) == 6
    assert len(widget.trace[3].features) == 20


@pytest.mark.parametrize("name", RANGES)
@pytest.mark.parametrize("which", ["below", "above", "nan", "inf", "text", "none"])
def test_settings_out_of_range_are_refused_and_the_old_value_stays(widget, name, which):
    low, high = RANGES[name]
    odd = {"nan": math.nan, "inf": math.inf, "text": "x", "none": None}
    value = {"below": low - 1, "above": high + 1, **odd}[which]
    before = getattr(widget, name)
    with pytest.raises(traitlets.TraitError, match=name):
        setattr(widget, name, value)
    with pytest.raises(traitlets.TraitError, match=name):
        widget.generate("a b", **{name: value})
    message(widget, {"kind": "set", "name": name, "value": value})
    assert name in widget.error
    assert getattr(widget, name) == before
    still_works(widget)


@pytest.mark.parametrize("name", ["top_k", "max_tokens", "feature_k", "seed"])
def test_a_truth_value_is_no_whole_number(widget, name):
    before = getattr(widget, name)
    with pytest.raises(traitlets.TraitError, match=name):
        setattr(widget, name, True)
    assert getattr(widget, name) is before


@pytest.mark.parametrize("name", RANGES)
def test_the_ends_of_the_ranges_can_be_set_from_python_and_from_the_view(widget, name):
    low, high = RANGES[name]
    setattr(widget, name, low)
    assert getattr(widget, name) == low
    message(widget, {"kind": "set", "name": name, "value": high})
    assert getattr(widget, name) == high
    assert widget.error == ""


@pytest.mark.parametrize("prompt", ["", "   ", "\n\t"])
def test_a_blank_prompt_is_refused(widget, prompt):
    with pytest.raises(ValueError, match="prompt is empty"):
        widget.generate(prompt)
    message(widget, {"kind": "generate", "prompt": prompt})
    assert "prompt is empty" in widget.error
    still_works(widget)


def test_a_prompt_that_is_no_text_is_refused(widget):
    with pytest.raises(TypeError):
        widget.generate(5)
    still_works(widget)


def test_a_prompt_too_long_fails_clearly(widget):
    widget.generate("x" * 300)
    with pytest.raises(RuntimeError, match="shorten it"):
        widget.wait(10)
    assert "shorten it" in widget.error
    still_works(widget)


def test_an_unknown_setting_is_refused(widget):
    with pytest.raises(TypeError, match="warmth"):
        widget.generate("a", warmth=1)
    still_works(widget)


def test_generating_while_it_writes_is_refused_and_changes_nothing(widget, fake):
    write(widget, fake, max_tokens=3)
    with pytest.raises(RuntimeError, match="still writing"):
        widget.generate("c d", temperature=2.0)
    message(widget, {"kind": "generate", "prompt": "e f"})
    assert "still writing" in widget.error
    assert (widget.prompt, widget.temperature) == ("a b c", 0.8)
    fake.gate.set()
    assert widget.wait(10).finish == "length"
    still_works(widget)


def test_an_error_in_the_middle_is_shown_and_the_widget_lives_on(widget, fake):
    fake.fail_at = 1
    widget.generate("a b")
    with pytest.raises(RuntimeError, match="The fake broke"):
        widget.wait(10)
    assert widget.error == "The fake broke."
    assert sent(widget, "end")[-1]["finish"] == "error"
    fake.fail_at = None
    still_works(widget)


def test_a_slider_moved_while_it_writes_acts_on_the_next_token(widget, fake):
    write(widget, fake, max_tokens=6)
    fake.one()
    widget.temperature = 1.75
    fake.one()
    message(widget, {"kind": "set", "name": "top_k", "value": 3})
    message(widget, {"kind": "set", "name": "feature_k", "value": 5})
    message(widget, {"kind": "set", "name": "max_tokens", "value": 4})
    fake.gate.set()
    trace = widget.wait(10)
    assert [s.temperature for s in fake.used] == [0.8, 1.75, 1.75, 1.75]
    assert [s.top_k for s in fake.used] == [50, 50, 3, 3]
    assert len(widget.step["features"]) == 5
    assert trace.finish == "length"


def test_stop_ends_it_from_python_and_from_the_view(widget, fake):
    for stop in (widget.stop, lambda: message(widget, {"kind": "stop"})):
        write(widget, fake, max_tokens=400)
        fake.one()
        stop()
        assert widget.status == "stopping"
        fake.gate.set()
        assert widget.wait(10).finish == "stopped"
        assert sum(step.generated for step in widget.trace) == 1
    still_works(widget)


def test_reset_clears_and_stops(widget, fake):
    write(widget, fake, max_tokens=400)
    old = widget.trace
    widget.reset()
    assert (len(widget.trace), widget.text, widget.step) == (0, "", {})
    assert sent(widget, "reset") == [{"kind": "reset", "run": 2}]
    fake.gate.set()
    widget.wait(10)
    assert old.finish == "stopped"
    assert (len(widget.trace), widget.text, widget.step) == (0, "", {})
    assert widget.graph.tokens == 0
    widget.generate("a", max_tokens=1)
    widget.wait(10)
    assert widget.step["run"] == 3


def test_a_seed_from_the_view_is_used(widget, fake):
    message(widget, {"kind": "set", "name": "seed", "value": 11})
    still_works(widget)
    message(widget, {"kind": "set", "name": "seed", "value": None})
    still_works(widget)
    assert fake.seeds == [11, None]


# Steering


def test_steering_from_python_acts_on_the_very_next_token(widget, fake):
    widget.steer({7: 2.5})
    write(widget, fake, max_tokens=6)
    fake.one()
    widget.steer({9: 0.0}, scale={7: 3})
    fake.one()
    widget.steer({7: None})
    fake.one()
    widget.steering = [{"sae": 0, "id": 3, "value": 1}]
    fake.one()
    widget.unsteer()
    fake.one()
    widget.reconstruct = True
    fake.gate.set()
    trace = widget.wait(10)
    seven, nine, more = Steer(0, 7, 2.5), Steer(0, 9, 0.0), Steer(0, 7, 3.0, True)
    assert fake.steered == [
        Steering((seven,)),
        Steering((more, nine)),
        Steering((nine,)),
        Steering((Steer(0, 3, 1.0),)),
        Steering(),
        Steering((), reconstruct=True),
    ]
    assert trace.steering_at(len(trace) - 1) == Steering((), True)
    assert widget.steering == []


def test_the_steered_features_are_listed_with_all_that_is_known_of_them(widget):
    widget.steer({7: 2}, scale={9: 0})
    assert widget.steering == [
        {"sae": 0, "id": 7, "layer": 1, "label": "label 7", "value": 2.0, "scale": False},
        {"sae": 0, "id": 9, "layer": 1, "label": "label 9", "value": 0.0, "scale": True},
    ]
    json.dumps(widget.get_state("steering"), allow_nan=False)


def test_a_list_of_steered_features_can_be_kept_and_set_again(widget, fake):
    widget.steer({7: 2.0}, scale={9: 0.5})
    kept = widget.steering
    widget.unsteer()
    assert widget.steering == []
    assert len(kept) == 2
    # As a file would bring it, without what only the view needs, and in numbers of any make.
    for again in (
        kept,
        json.loads(json.dumps(kept)),
        [{**c, "id": np.int64(c["id"]), "value": np.float32(c["value"])} for c in kept],
    ):
        widget.unsteer()
        widget.steering = again
        assert widget.steering == kept
        json.dumps(widget.get_state("steering"))
    widget.generate("a", max_tokens=1)
    widget.wait(10)
    assert fake.steered[-1].features == (Steer(0, 7, 2.0), Steer(0, 9, 0.5, True))


def test_a_feature_that_is_listed_twice_is_steered_once(widget):
    widget.steering = [
        {"sae": 0, "id": 7, "value": 1},
        {"sae": 0, "id": 8, "value": 1},
        {"sae": 0, "id": 7, "value": 5},
    ]
    assert [(change["id"], change["value"]) for change in widget.steering] == [(7, 5.0), (8, 1.0)]


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"id": 100}, "features 0 to 99"),
        ({"id": -1}, "features 0 to 99"),
        ({"id": 2.5}, "two whole numbers"),
        ({"id": "7"}, "two whole numbers"),
        ({"id": True}, "two whole numbers"),
        ({"id": None}, "two whole numbers"),
        ({"sae": 1}, "no SAE 1"),
        ({"sae": -1}, "no SAE -1"),
        ({"sae": False}, "two whole numbers"),
        ({"value": math.nan}, "steered to nan"),
        ({"value": -math.inf}, "steered to -inf"),
        ({"value": 1e10}, "from -1e9 to 1e9"),
        ({"value": 10**400}, "from -1e9 to 1e9"),
        ({"value": "2"}, "steered to '2'"),
        ({"value": True}, "steered to True"),
        ({"value": None}, "steered to None"),
        ({"value": [2]}, "give a number"),
        ({"scale": 1}, "give True or False"),
        ({"scale": None}, "give True or False"),
    ],
    ids=str,
)
def test_steering_that_makes_no_sense_is_refused_and_changes_nothing(widget, wrong, sentence):
    widget.steer({9: 1.0})
    before = widget.steering
    whole = {"sae": 0, "id": 7, "value": 2.0, "scale": False} | wrong
    with pytest.raises(traitlets.TraitError, match=sentence) as raised:
        widget.steering = [*before, whole]
    assert len(str(raised.value)) < 200
    assert widget.steering == before
    still_works(widget)


@pytest.mark.parametrize("name", ["sae", "id", "value"])
def test_steering_that_leaves_something_out_says_what(widget, name):
    with pytest.raises(traitlets.TraitError, match=f"needs '{name}'"):
        widget.steering = [{k: v for k, v in {"sae": 0, "id": 7, "value": 2.0}.items() if k != name}]
    assert widget.steering == []


@pytest.mark.parametrize("wrong", [5, "7", [7], [None], {"sae": 0, "id": 7, "value": 1.0}])
def test_steering_that_is_no_list_of_changes_is_refused(widget, wrong):
    with pytest.raises(traitlets.TraitError):
        widget.steering = wrong
    assert widget.steering == []


@pytest.mark.parametrize(
    ("values", "kind", "sentence"),
    [
        ({100: 1.0}, ValueError, "features 0 to 99"),
        ({(2, 7): 1.0}, ValueError, "No such SAE"),
        ({"seven": 1.0}, TypeError, "named by its number"),
        ({True: 1.0}, TypeError, "named by its number"),
        ({7: math.nan}, traitlets.TraitError, "cannot be steered to nan"),
        ({7: "much"}, traitlets.TraitError, "cannot be steered to 'much'"),
        ({9: 2.0, 7: math.inf}, traitlets.TraitError, "cannot be steered to inf"),
    ],
)
@pytest.mark.parametrize("way", ["values", "scale"])
def test_steer_says_what_is_wrong_and_changes_nothing(widget, values, kind, sentence, way):
    widget.steer({9: 1.0})
    before = widget.steering
    with pytest.raises(kind, match=sentence):
        widget.steer(**{way: values})
    assert widget.steering == before


def test_muted_steering_is_off_for_one_run(widget, fake):
    widget.steer({7: 2.0})
    widget.steering_muted = True
    for _ in range(2):
        widget.generate("a", max_tokens=2)
        widget.wait(10)
    assert [bool(s) for s in fake.steered] == [False, False, True, True]
    assert (widget.steering_muted, len(widget.steering)) == (False, 1)


@pytest.mark.parametrize("how", ["stopped", "error"])
def test_muted_steering_is_on_again_however_the_run_ends(widget, fake, how):
    widget.steer({7: 2.0})
    widget.steering_muted = True
    if how == "error":
        fake.fail_at = 1
        widget.generate("a b")
        with pytest.raises(RuntimeError, match="The fake broke"):
            widget.wait(10)
        fake.fail_at = None
    else:
        write(widget, fake)
        fake.one()
        widget.stop()
        fake.gate.set()
        widget.wait(10)
    assert widget.trace.finish == how
    assert not any(fake.steered)
    widget.generate("a", max_tokens=1)
    widget.wait(10)
    assert fake.steered[-1] == Steering((Steer(0, 7, 2.0),))


def test_features_of_several_saes_are_named_by_layer_or_hook_point():
    fake = FakeTracer(layers=(1, 4))
    widget = listening(AxonWidget(tracer=fake))
    widget.wait(10)
    widget.steer({(4, 7): 1.0, ("blocks.1.hook_resid_pre", 7): 2.0})
    assert [(c["sae"], c["id"], c["layer"], c["value"]) for c in widget.steering] == [(1, 7, 4, 1.0), (0, 7, 1, 2.0)]
    with pytest.raises(ValueError, match="Several SAEs"):
        widget.steer({7: 1.0})
    assert widget.feature((4, 7)).text == "label 7"
    widget.steer({(4, 7): None})
    assert [c["sae"] for c in widget.steering] == [0]
    widget.close()


def test_nothing_can_be_steered_before_a_model_is_loaded(monkeypatch):
    go = threading.Event()
    fake = FakeTracer()
    monkeypatch.setattr("axon_widget.engine.tracer.Tracer.load", lambda *_args, **_kwargs: go.wait(10) and fake)
    change = {"sae": 0, "id": 7, "value": 1.0}
    with pytest.raises(traitlets.TraitError, match="No model is loaded yet"):
        AxonWidget(steering=[change])
    widget = listening(AxonWidget())
    with pytest.raises(RuntimeError, match="No model is loaded yet"):
        widget.steer({7: 1.0})
    with pytest.raises(traitlets.TraitError, match="No model is loaded yet"):
        widget.steering = [change]
    message(widget, kind="steer", sae=0, id=7, value=1.0, scale=False)
    assert "No model is loaded yet" in widget.error
    widget.unsteer()
    message(widget, kind="select", sae=0, id=7)
    message(widget, kind="hello")
    assert widget.steering == []
    go.set()
    widget.wait(10)
    widget.steer({7: 1.0})
    assert len(widget.steering) == 1
    widget.close()
    with pytest.raises(traitlets.TraitError, match="closed"):
        widget.steering = [change]


def load(widget, tracer):
    widget._session.load(lambda _report: tracer)
    assert widget._session.wait(10)


def test_loading_other_saes_clears_what_was_written_selected_and_steered(widget):
    widget.generate("a", max_tokens=2)
    widget.wait(10)
    widget.branch(1)
    widget.wait(10)
    widget.steer({7: 1.0})
    widget.selected_feature = 12
    other = FakeTracer(layers=(1, 4))
    load(widget, other)
    assert (widget.steering, widget.selected_feature, widget.selected_sae) == ([], None, 0)
    assert (len(widget.trace), len(widget.branches), widget.step, widget.text) == (0, 1, {}, "")
    assert sent(widget, "reset") == [{"kind": "reset", "run": 3}]
    assert [sae["layer"] for sae in widget.info["saes"]] == [1, 4]
    still_works(widget)
    assert not any(other.steered)


def test_loading_the_same_saes_keeps_what_was_written_selected_and_steered(widget):
    widget.generate("a", max_tokens=2)
    trace = widget.wait(10)
    widget.steer({7: 1.0})
    widget.selected_feature = 12
    load(widget, FakeTracer())
    assert (len(widget.steering), widget.selected_feature) == (1, 12)
    assert widget.trace is trace
    widget.branch(1, max_tokens=1)
    assert widget.wait(10).parent is trace


# Branches


def branched(widget, position, token=None, **settings):
    widget.branch(position, token, **settings)
    return widget.wait(10)


def test_a_branch_goes_on_after_a_token(widget, fake):
    widget.generate("a b c", max_tokens=4)
    first = widget.wait(10)
    second = branched(widget, 4, max_tokens=2, temperature=1.5, seed=3)
    assert (first.text, second.text) == (" a b c 1 2 3 4", " a b c 1 2 b1 b2")
    assert (second.parent, second.fork, second.put_in) == (first, 5, None)
    assert all(mine is its for mine, its in zip(first[:5], second[:5], strict=True))
    assert widget.trace is second
    assert widget.branches == [first, second]
    assert widget.text == second.text
    assert (widget.temperature, widget.seed, fake.seeds[-1], fake.used[-1].temperature) == (1.5, 3, 3, 1.5)


@pytest.mark.parametrize("token", [" w700", 700])
def test_a_branch_puts_a_token_in_the_place_of_another(widget, token):
    widget.generate("a b c", max_tokens=4)
    widget.wait(10)
    second = branched(widget, 4, token, max_tokens=2)
    assert second.text == widget.text == " a b c 1 w700 b2"
    assert (second.fork, second.put_in, second[4].token_id, second[4].generated) == (4, " w700", 700, True)


def test_branches_grow_from_branches(widget):
    widget.generate("a b c", max_tokens=4)
    first = widget.wait(10)
    second = branched(widget, 4, max_tokens=4)
    third = branched(widget, 6, " w700", max_tokens=2)
    fourth = branched(widget, 2, trace=first)
    assert widget.branches == [first, second, third, fourth]
    assert [trace.parent for trace in widget.branches] == [None, first, second, first]
    assert third.text == " a b c 1 2 b1 w700 b2"
    assert fourth.text == " a b c b1 b2"
    assert [m["run"] for m in sent(widget, "branch")] == [2, 3, 4]
    assert [m["parent"] for m in sent(widget, "branch")] == [1, 2, 1]
    assert [m["run"] for m in sent(widget, "end")] == [1, 2, 3, 4]
    assert [m["total"] for m in sent(widget, "end")] == [7, 9, 8, 5]


def test_the_frames_of_a_branch_are_its_own_alone(widget):
    steps = []
    widget.generate("a b c", max_tokens=4)
    widget.wait(10)
    widget.observe(lambda change: steps.append((change["new"]["run"], change["new"]["step"])), "step")
    widget.sent.clear()
    branched(widget, 4, max_tokens=3)
    assert steps == [(2, 5), (2, 6), (2, 7)]
    [begin, end] = widget.sent
    assert (begin["kind"], begin["from"], end["kind"], end["total"]) == ("branch", 5, "end", 8)
    run = widget._tree.newest
    assert [frame["step"] for frame in run.frames] == [5, 6, 7]
    assert {frame["run"] for frame in run.frames} == {2}


def test_the_graph_of_a_branch_counts_the_shared_part_too(widget):
    widget.generate("a b c", max_tokens=4)
    widget.wait(10)
    first = widget.graph
    trace = branched(widget, 4, max_tokens=3)
    assert (first.tokens, widget.graph.tokens) == (7, 8)
    whole = graph_of(trace, widget.feature_k)
    assert widget.graph.nodes().equals(whole.nodes())
    assert widget.graph.edges(least=1).equals(whole.edges(least=1))
    # The frames tell of edges that rest on shared tokens.
    counts = [n for frame in widget._tree.newest.frames for _, _, n, _ in frame["edges"]]
    assert max(counts) > 3


def test_a_branch_has_its_own_steering(widget, fake):
    widget.generate("a b c", max_tokens=4)
    first = widget.wait(10)
    widget.steer({7: 0.0})
    second = branched(widget, 4, max_tokens=2)
    assert [bool(step.steered) for step in second] == [False] * 5 + [True] * 2
    assert first.steering == {}
    assert fake.steered[-1] == Steering((Steer(0, 7, 0.0),))


@pytest.mark.parametrize("clear", ["reset", "generate"])
def test_a_reset_or_another_run_clears_the_tree(widget, clear):
    widget.generate("a b c", max_tokens=4)
    first = widget.wait(10)
    second = branched(widget, 4, max_tokens=2)
    if clear == "reset":
        widget.reset()
        assert (len(widget.trace), widget.text, widget.step, widget.graph.tokens) == (0, "", {}, 0)
    else:
        widget.generate("d", max_tokens=1)
        assert widget.wait(10).text == widget.text == " d 1"
    assert len(widget.branches) == 1
    assert widget._tree.newest.number == 3
    for gone in (first, second):
        with pytest.raises(ValueError, match="cleared"):
            widget.branch(2, trace=gone)
    # What was written can still be read.
    assert (first.text, second.text) == (" a b c 1 2 3 4", " a b c 1 2 b1 b2")
    still_works(widget)


def test_a_branch_whose_run_is_cleared_before_it_begins_does_not_begin(widget, fake):
    widget.generate("a b c", max_tokens=4)
    widget.wait(10)
    busy, go = threading.Event(), threading.Event()
    widget._session.call(lambda: busy.set() or go.wait(10))
    assert busy.wait(10)
    widget.branch(4)
    widget.reset()
    go.set()
    widget.wait(10)
    assert (len(widget.trace), widget.text, widget.step, sent(widget, "branch")) == (0, "", {}, [])
    still_works(widget)


def test_a_branch_that_is_cleared_while_it_writes_shows_nothing_more(widget, fake):
    widget.generate("a b c", max_tokens=4)
    widget.wait(10)
    fake.gate.clear()
    widget.branch(4, max_tokens=400)
    assert fake.waits.acquire(timeout=10)
    fake.one()
    widget.reset()
    fake.gate.set()
    widget.wait(10)
    assert (len(widget.trace), widget.text, widget.step, len(widget.branches)) == (0, "", {}, 1)
    still_works(widget)


def test_a_branch_while_it_writes_is_refused(widget, fake):
    write(widget, fake, max_tokens=3)
    with pytest.raises(RuntimeError, match="still writing"):
        widget.branch(1, temperature=2.0)
    assert widget.temperature == 0.8
    fake.gate.set()
    assert widget.wait(10).finish == "length"
    assert len(widget.branches) == 1


@pytest.mark.parametrize(
    ("position", "token", "kind", "sentence"),
    [
        (7, None, ValueError, "no token 7 to go on from: the run has tokens 0 to 6"),
        (-1, None, ValueError, "no token -1"),
        (0, " w7", ValueError, "no token 0 to go on from: the run has tokens 1 to 6"),
        (7, " w7", ValueError, "no token 7"),
        (2.5, None, TypeError, "float"),
        ("2", None, TypeError, "str"),
        (None, None, TypeError, "None"),
    ],
)
def test_a_branch_where_there_is_no_token_is_refused(widget, position, token, kind, sentence):
    widget.generate("a b c", max_tokens=4)
    widget.wait(10)
    with pytest.raises(kind, match=sentence):
        widget.branch(position, token)
    assert len(widget.branches) == 1
    still_works(widget)


def test_a_branch_before_anything_was_written_is_refused(widget):
    with pytest.raises(ValueError, match="write something first"):
        widget.branch(0)
    with pytest.raises(ValueError, match="write something first"):
        widget.why()
    with pytest.raises(ValueError, match="none of this widget's branches"):
        widget.branch(0, trace=Trace())


@pytest.mark.parametrize(
    ("token", "sentence"), [(" nonsense", "not one token"), ("w7", "leading space"), (5000, "5000")]
)
def test_a_branch_with_a_token_that_there_is_not_fails_clearly_and_the_old_runs_stay(widget, token, sentence):
    widget.generate("a b c", max_tokens=4)
    first = widget.wait(10)
    widget.branch(4, token)
    with pytest.raises(RuntimeError, match=sentence):
        widget.wait(10)
    assert sentence in widget.error
    assert widget.branches == [first]
    assert (widget.trace, widget.text, widget.step["step"]) == (first, first.text, 6)
    assert branched(widget, 4, " w7", max_tokens=1).text == " a b c 1 w7"


def test_a_branch_takes_the_settings_that_generate_takes(widget):
    widget.generate("a", max_tokens=1)
    widget.wait(10)
    with pytest.raises(TypeError, match="warmth"):
        widget.branch(0, warmth=1)
    with pytest.raises(traitlets.TraitError, match="top_p"):
        widget.branch(0, top_p=5)
    assert len(widget.branches) == 1
    still_works(widget)


# Its end


def test_closing_while_it_writes_ends_the_worker_and_keeps_the_trace(widget, fake):
    write(widget, fake, max_tokens=400)
    widget.close()
    fake.gate.set()
    widget._session.close(timeout=10)
    assert widget.status == "closed"
    assert len(widget.trace) >= 3
    with pytest.raises(RuntimeError, match="closed"):
        widget.generate("a")
    widget.stop()
    widget.close()


def test_wait_that_takes_too_long_says_so(widget, fake):
    write(widget, fake)
    with pytest.raises(TimeoutError, match=r"running.*0\.05"):
        widget.wait(0.05)
    fake.gate.set()
    widget.wait(10)


def test_an_observer_may_stop_and_set_but_not_wait(widget):
    waits = []

    def watch(change):
        step = change["new"]
        if step.get("step") == 4:
            widget.temperature = 0.0
            with pytest.raises(RuntimeError, match="observer"):
                widget.wait()
            waits.append(True)
            widget.stop()

    widget.observe(watch, "step")
    widget.generate("a b", max_tokens=50)
    trace = widget.wait(10)
    assert waits == [True]
    assert (trace.finish, len(trace), widget.temperature) == ("stopped", 5, 0)


def test_an_observer_that_raises_is_told_and_the_widget_lives_on(widget):
    def watch(change):
        if change["new"].get("step") == 3:
            raise KeyError("the observer's own mistake")

    widget.observe(watch, "step")
    widget.generate("a b", max_tokens=50)
    with pytest.raises(RuntimeError, match="own mistake"):
        widget.wait(10)
    assert "own mistake" in widget.error
    widget.unobserve(watch, "step")
    still_works(widget)


def test_several_threads_may_drive_it(widget):
    wrong, rounds = [], 12
    # What one thread asks for may have no sense any more after what another did.
    refusals = ("still writing", "finishing its last token", "write something first", "cleared", "no token")

    def drive(which):
        for n in range(rounds):
            try:
                if which == 0:
                    widget.generate("a b", max_tokens=20)
                elif which == 1:
                    widget.temperature = (n % 20) / 10
                    message(widget, kind="hello")
                elif which == 2:
                    widget.reset() if n % 4 == 3 else widget.stop()
                elif which == 3:
                    _ = widget.text, widget.trace.to_json(), widget.graph.edges(), widget.graph.nodes()
                elif which == 4:
                    widget.branch(1, " w7" if n % 2 else None, max_tokens=10)
                else:
                    widget.steer({n: 1.0}, scale={50: n})
                    widget.steering_muted = n % 3 == 0
                    widget.unsteer() if n % 4 == 0 else None
                    message(widget, kind="compare", a=widget.step.get("run", 0), b=widget.step.get("run", 0))
            except (RuntimeError, ValueError) as error:
                if not any(refusal in str(error) for refusal in refusals):
                    wrong.append(error)
            except Exception as error:
                wrong.append(error)

    threads = [threading.Thread(target=drive, args=(which,)) for which in (0, 0, 1, 2, 3, 4, 4, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    widget.stop()
    try:
        widget.wait(10)
    except RuntimeError as error:
        if "cleared" not in str(error):
            raise
    assert wrong == []
    still_works(widget)


def test_frames_are_json_and_stand_for_the_trace(widget):
    widget.generate("a b c", max_tokens=20)
    trace = widget.wait(10)
    assert isinstance(trace, Trace)
    assert widget.graph.tokens == 23
    json.dumps(widget.get_state(["step", "info", "status", "error"]), allow_nan=False)


def test_settings_that_are_refused_leave_all_as_they_were(widget):
    with pytest.raises(traitlets.TraitError, match="top_k"):
        widget.generate("a", temperature=0.1, top_k=-1)
    assert (widget.temperature, widget.top_k) == (0.8, 50)
    still_works(widget)


@pytest.mark.parametrize("heard", ["step", "text", "info", "steering"])
def test_an_observer_that_raises_while_a_model_is_swapped_leaves_nothing_half_done(widget, fake, heard):
    write(widget, fake, max_tokens=2)
    fake.gate.set()
    widget.wait(10)
    widget.steer({4: 1.0})

    def watch(change):
        raise KeyError("the observer's own mistake")

    widget.observe(watch, heard)
    other = FakeTracer(layers=(3,))
    widget._session.load(lambda _report: other)
    with pytest.raises(RuntimeError, match="own mistake"):
        widget.wait(10)
    assert widget.tracer is other
    assert widget.info == other.info
    assert (widget.steering, widget.step, widget.text, len(widget.trace)) == ([], {}, "", 0)
    widget.unobserve(watch, heard)
    still_works(widget)


def test_an_observer_that_raises_as_a_run_begins_is_told(widget, fake):
    write(widget, fake, max_tokens=2)
    fake.gate.set()
    widget.wait(10)

    def watch(change):
        change["new"]["token"]

    widget.observe(watch, "step")
    widget.generate("a b", max_tokens=2)
    with pytest.raises(RuntimeError, match="token"):
        widget.wait(10)
    assert widget.trace.finish == "error"
    assert sent(widget, "end")[-1]["finish"] == "error"
    widget.unobserve(watch, "step")
    still_works(widget)


def test_what_is_no_tracer_and_no_text_is_refused(widget):
    with pytest.raises(TypeError, match=r"tracer= takes a Tracer.*not str"):
        AxonWidget(tracer="embedded")
    with pytest.raises(TypeError, match="not for int"):
        widget.search(5)
    with pytest.raises(TypeError, match="dict of features"):
        widget.steer([5])
