"""What the view asks and does, by message, and what it is answered; without a kernel and without a model."""

import gc
import io
import json
import math
import threading
import weakref

import pandas as pd
import pytest
import traitlets

from axon_widget.engine import attribution
from axon_widget.engine.attribution import Attribution, Share, Why
from axon_widget.labels import Label
from axon_widget.trace import Steer, Trace
from axon_widget.widget import AxonWidget
from tests.unit.fakes import FakeTracer, listening, message, sent, settle, still_works, until, write


@pytest.fixture
def fake():
    """Two SAEs, of a hundred features each."""
    return FakeTracer(layers=(1, 4))


@pytest.fixture
def widget(fake):
    made = listening(AxonWidget(tracer=fake, feature_k=5))
    made.wait(10)
    yield made
    fake.gate.set()
    made.close()
    made._session.close(timeout=10)


def written(widget, prompt="a b c", **settings):
    widget.generate(prompt, **{"max_tokens": 5} | settings)
    widget.wait(10)


def steps(widget, run):
    """The steps of a run that came in answers, in the order they came in."""
    return [f["step"] for part in sent(widget, "steps") if part["run"] == run for f in part["steps"]]


def test_a_widget_that_was_made_with_a_tracer_has_nothing_to_load_again(widget):
    message(widget, kind="reload")
    assert "made with a tracer" in widget.error
    still_works(widget)


# What was written


def test_hello_brings_the_whole_run(widget):
    message(widget, kind="hello")
    settle(widget)
    [head] = sent(widget, "snapshot")
    empty = {"run": 0, "parent": None, "from": 0, "token": None, "total": 0, "finish": "", "edges": []}
    assert head == {"kind": "snapshot", "run": 0, "runs": [empty]}
    written(widget, max_tokens=150)
    widget.sent.clear()
    message(widget, kind="hello")
    settle(widget)
    [head] = sent(widget, "snapshot")
    [told] = head["runs"]
    assert (head["run"], told["run"], told["total"], told["finish"]) == (1, 1, 153, "length")
    frames = [frame for part in sent(widget, "steps") for frame in part["steps"]]
    assert [frame["step"] for frame in frames] == list(range(153))
    assert frames[-1] == widget.step
    assert [frame["token"] for frame in frames] == [step.token for step in widget.trace]


def test_hello_is_answered_while_it_writes(widget, fake):
    write(widget, fake, max_tokens=3)
    message(widget, kind="hello")
    fake.one()
    assert sent(widget, "snapshot")[0]["runs"][0]["total"] in (3, 4)
    fake.gate.set()
    widget.wait(10)


def test_hello_brings_every_run_of_the_tree_and_the_steps_of_each(widget):
    written(widget)
    message(widget, kind="branch", run=1, step=4, token_id=None)
    widget.wait(10)
    message(widget, kind="branch", run=2, step=6, token_id=77)
    widget.wait(10)
    widget.sent.clear()
    message(widget, kind="hello")
    settle(widget)
    [head] = sent(widget, "snapshot")
    assert head["run"] == 3
    assert [{k: told[k] for k in ("run", "parent", "from", "token", "total", "finish")} for told in head["runs"]] == [
        {"run": 1, "parent": None, "from": 0, "token": None, "total": 8, "finish": "length"},
        {"run": 2, "parent": 1, "from": 5, "token": None, "total": 10, "finish": "length"},
        {"run": 3, "parent": 2, "from": 6, "token": " w77", "total": 11, "finish": "length"},
    ]
    assert [steps(widget, run) for run in (1, 2, 3)] == [list(range(8)), list(range(5, 10)), list(range(6, 11))]


def test_pull_brings_frames_of_any_run_again(widget):
    written(widget, max_tokens=10)
    message(widget, kind="branch", run=1, step=4, token_id=None)
    widget.wait(10)
    for run, start, expected in ((1, 8, range(8, 13)), (2, 0, range(5, 15)), (2, 9, range(9, 15)), (2, 99, [])):
        widget.sent.clear()
        message(widget, {"kind": "pull", "run": run, "from": start})
        settle(widget)
        assert steps(widget, run) == list(expected)


def test_whoever_pulls_a_run_that_is_gone_gets_what_there_is(widget):
    written(widget)
    written(widget)
    message(widget, kind="branch", run=2, step=4, token_id=None)
    widget.wait(10)
    widget.sent.clear()
    message(widget, {"kind": "pull", "run": 1, "from": 8})
    settle(widget)
    [head] = sent(widget, "snapshot")
    assert [told["run"] for told in head["runs"]] == [2, 3]
    assert [steps(widget, run) for run in (2, 3)] == [list(range(8)), list(range(5, 10))]


# Branches


def test_a_branch_from_the_view_goes_on_after_a_token(widget, fake):
    written(widget)
    message(widget, kind="branch", run=1, step=4, token_id=None)
    widget.wait(10)
    assert widget.error == ""
    assert sent(widget, "branch") == [{"kind": "branch", "run": 2, "parent": 1, "from": 5, "token": None}]
    assert widget.text == widget.trace.text == " a b c 1 2 b1 b2 b3 b4 b5"
    assert (widget.step["run"], widget.step["step"]) == (2, 9)


def test_a_branch_from_the_view_puts_a_token_in(widget, fake):
    written(widget)
    message(widget, kind="branch", run=1, step=4, token_id=500)
    widget.wait(10)
    assert sent(widget, "branch") == [{"kind": "branch", "run": 2, "parent": 1, "from": 4, "token": " w500"}]
    assert widget.trace.text == " a b c 1 w500 b2 b3 b4 b5"
    assert (widget.trace[4].token_id, widget.trace.put_in) == (500, " w500")


def test_a_branch_of_a_run_that_was_cleared_is_refused(widget):
    written(widget)
    written(widget, "d e f")
    before = widget.trace
    message(widget, kind="branch", run=1, step=4, token_id=None)
    assert "no run 1 any more" in widget.error
    assert widget._session.wait(10)
    assert widget.trace is before
    assert widget.branches == [before]


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"run": 1, "step": 8, "token_id": None}, "no token 8 to go on from: the run has tokens 0 to 7"),
        ({"run": 1, "step": 0, "token_id": 7}, "no token 0 to go on from: the run has tokens 1 to 7"),
        ({"run": 1, "step": -1, "token_id": None}, "no token -1"),
        ({"run": 2, "step": 1, "token_id": None}, "no run 2"),
    ],
)
def test_a_branch_where_there_is_no_token_is_refused(widget, asked, sentence):
    written(widget)
    message(widget, kind="branch", **asked)
    assert sentence in widget.error
    assert len(widget.branches) == 1
    still_works(widget)


def test_a_branch_with_a_token_that_there_is_not_leaves_the_old_runs(widget):
    written(widget)
    message(widget, kind="branch", run=1, step=4, token_id=5000)
    with pytest.raises(RuntimeError, match="no token 5000"):
        widget.wait(10)
    assert "no token 5000" in widget.error
    assert sent(widget, "branch") == []
    assert [trace.text for trace in widget.branches] == [" a b c 1 2 3 4 5"]
    message(widget, kind="branch", run=1, step=4, token_id=500)
    widget.wait(10)
    assert (len(widget.branches), widget.error) == (2, "")


def test_a_branch_while_it_writes_is_refused_and_disturbs_nothing(widget, fake):
    write(widget, fake, max_tokens=3)
    message(widget, kind="branch", run=1, step=1, token_id=None)
    assert "still writing" in widget.error
    fake.gate.set()
    assert widget.wait(10).finish == "length"
    assert len(widget.branches) == 1


# Steering


def test_steering_from_the_view_acts_on_the_very_next_token(widget, fake):
    write(widget, fake, max_tokens=7)
    fake.one()
    message(widget, kind="steer", sae=1, id=7, value=2.5, scale=False)
    fake.one()
    message(widget, kind="steer", sae=0, id=9, value=0, scale=True)
    fake.one()
    message(widget, kind="steer", sae=1, id=7, value=3, scale=True)
    fake.one()
    message(widget, kind="steer", sae=1, id=7, value=None)
    fake.one()
    message(widget, kind="steering", action="clear")
    fake.gate.set()
    widget.wait(10)
    one, two, more = Steer(1, 7, 2.5), Steer(0, 9, 0.0, True), Steer(1, 7, 3.0, True)
    assert [s.features for s in fake.steered] == [(), (one,), (one, two), (more, two), (two,), (), ()]
    assert widget.error == ""
    assert widget.steering == []
    # The frames tell what was steered, and by how much.
    frames = widget._tree.newest.frames[3:]
    assert [frame.get("steered") for frame in frames] == [
        None,
        [[1, 7, 1.0, 2.5]],
        [[1, 7, 1.0, 2.5], [0, 9, 1.0, 0.0]],
        [[1, 7, 1.0, 3.0], [0, 9, 1.0, 0.0]],
        [[0, 9, 1.0, 0.0]],
        None,
        None,
    ]


def test_the_list_of_steered_features_tells_the_view_what_each_is(widget):
    message(widget, kind="steer", sae=1, id=7, value=2, scale=False)
    assert widget.steering == [{"sae": 1, "id": 7, "layer": 4, "label": "label 7", "value": 2.0, "scale": False}]
    json.dumps(widget.get_state("steering"), allow_nan=False)


def test_taking_out_a_feature_that_is_not_steered_changes_nothing(widget):
    message(widget, kind="steer", sae=1, id=7, value=2, scale=False)
    message(widget, kind="steer", sae=0, id=7, value=None)
    assert [(change["sae"], change["id"]) for change in widget.steering] == [(1, 7)]
    assert widget.error == ""


def test_muted_steering_is_kept_and_is_in_force_again_after_the_next_run(widget, fake):
    message(widget, kind="steer", sae=0, id=7, value=2, scale=False)
    message(widget, kind="steering", action="mute")
    assert widget.steering_muted is True
    written(widget, max_tokens=2)
    assert (widget.steering_muted, len(widget.steering)) == (False, 1)
    written(widget, max_tokens=2)
    message(widget, kind="steering", action="mute")
    message(widget, kind="steering", action="hold")
    assert widget.steering_muted is False
    written(widget, max_tokens=1)
    one = (Steer(0, 7, 2.0),)
    assert [s.features for s in fake.steered] == [(), (), one, one, one]


def test_steering_muted_while_it_writes_is_off_from_the_next_token_to_the_end(widget, fake):
    message(widget, kind="steer", sae=0, id=7, value=2, scale=False)
    write(widget, fake, max_tokens=3)
    fake.one()
    message(widget, kind="steering", action="mute")
    fake.gate.set()
    widget.wait(10)
    assert [bool(s) for s in fake.steered] == [True, False, False]
    assert widget.steering_muted is False


def test_a_run_that_cannot_begin_leaves_the_steering_muted(widget, fake):
    message(widget, kind="steer", sae=0, id=7, value=2, scale=False)
    message(widget, kind="steering", action="mute")
    message(widget, kind="generate", prompt="x" * 300)
    with pytest.raises(RuntimeError, match="shorten it"):
        widget.wait(10)
    assert widget.steering_muted is True


def test_reading_the_model_through_its_saes_is_switched_from_the_view(widget, fake):
    write(widget, fake, max_tokens=4)
    fake.one()
    message(widget, kind="set", name="reconstruct", value=True)
    fake.one()
    message(widget, kind="steering", action="mute")  # mutes what is steered, not this
    fake.one()
    message(widget, kind="set", name="reconstruct", value=False)
    fake.gate.set()
    widget.wait(10)
    assert [s.reconstruct for s in fake.steered] == [False, True, True, False]
    frames = widget._tree.newest.frames[3:]
    assert [frame.get("clean_logprob") for frame in frames] == [None, -0.25, -0.25, None]


def test_what_is_steered_stays_so_over_a_reset_and_a_branch(widget, fake):
    message(widget, kind="steer", sae=0, id=7, value=2, scale=False)
    message(widget, kind="reset")
    written(widget, max_tokens=2)
    message(widget, kind="branch", run=widget.step["run"], step=3, token_id=None)
    widget.wait(10)
    assert {s.features for s in fake.steered} == {(Steer(0, 7, 2.0),)}


# Selection and details


def test_a_feature_can_be_asked_for(widget):
    message(widget, kind="feature", id=7, sae=1)
    settle(widget)
    [answer] = sent(widget, "feature")
    known = {name: answer[name] for name in ("id", "sae", "layer", "label", "source")}
    assert known == {"id": 7, "sae": 1, "layer": 4, "label": "label 7", "source": "a fake"}


def test_what_is_inspected_or_pinned_is_followed_beyond_what_is_shown(widget, fake):
    """Five features of each SAE are shown of a token; the fake has twenty on each."""
    message(widget, kind="pin", features=[[1, 15], [0, 1]])
    message(widget, kind="select", sae=0, id=12)
    written(widget)
    frames = [frame for run in widget._tree.runs for frame in run.frames]
    exact = [{(f.sae, f.id): round(f.activation, 4) for f in step.features} for step in widget.trace]
    for frame, told in zip(frames, exact, strict=True):
        shown = {(f["sae"], f["id"]) for f in frame["features"]}
        left = {key for key in ((1, 15), (0, 12), (0, 1)) if key in told} - shown
        assert {(sae, i): a for sae, i, a in frame.get("beside", [])} == {key: told[key] for key in left}
    assert sum("beside" in frame for frame in frames) == len(frames)
    # What fired before it was followed is told when that is asked for.
    message(widget, kind="activations", run=1, features=[[0, 20], [1, 99]])
    settle(widget)
    fired = [[n, told[0, 20]] for n, told in enumerate(exact) if (0, 20) in told]
    assert 0 < len(fired) < len(exact)
    assert sent(widget, "activations") == [{"kind": "activations", "run": 1, "rows": [[0, 20, fired], [1, 99, []]]}]
    message(widget, kind="activations", run=7, features=[[0, 19]])
    settle(widget)
    assert (len(sent(widget, "activations")), widget.error) == (1, "")


@pytest.mark.parametrize(("text", "token"), [("w42", " w42"), (" w42", " w42"), ("nothing", ""), ("label 7", "")])
def test_a_search_for_a_token_finds_what_pushes_it(widget, text, token):
    message(widget, kind="search", text=text)
    settle(widget)
    [answer] = sent(widget, "found")
    pushing = [[0, 42, "label 42"], [1, 42, "label 42"]] if token else []
    assert (answer["text"], answer["token"], answer["boosting"]) == (text, token, pushing)


def test_what_pushes_a_token_is_named_when_there_is_time_and_told_then(widget, fake):
    asked = []

    class Boosts:
        def names_of(self, features):
            asked.extend(features)
            return [f"boosts {f}" for f in features]

    for reader in fake.readers:
        reader.labels.label = lambda feature: ""
    fake.names._boosts = lambda sae: Boosts()
    # While it writes, a search names nothing itself: the time that naming may take is used up.
    widget._naming._next = math.inf
    write(widget, fake, max_tokens=2)
    message(widget, kind="search", text="w42")
    fake.one()
    until(lambda: sent(widget, "found"))
    assert (sent(widget, "found")[0]["boosting"], asked) == ([[0, 42, ""], [1, 42, ""]], [])
    fake.gate.set()
    widget.wait(10)

    def told():
        return [row for labels in sent(widget, "labels") for row in labels["labels"] if row[1] == 42]

    until(lambda: len(told()) == 2)
    assert sorted(told()) == [[0, 42, "boosts 42"], [1, 42, "boosts 42"]]
    # At rest it is named at once, and told once.
    message(widget, kind="search", text="w43")
    until(lambda: any(row[1] == 43 for labels in sent(widget, "labels") for row in labels["labels"]))
    fake.names.renew()
    settle(widget)
    settle(widget)
    assert len(told()) == 2
    # Another model may have fewer features: what was found in the old one is forgotten.
    widget._session.load(lambda _report: FakeTracer(layers=(1,), d_sae=30))
    widget.wait(10)
    widget.tracer.names.renew()
    settle(widget)
    settle(widget)
    assert widget.error == ""


def test_what_is_inspected_is_read_at_once_when_names_come_in(widget, fake):
    message(widget, kind="select", sae=1, id=7)
    # As in the middle of a change that another thread makes.
    widget._assigned = ("selected_feature", None)
    widget.selected_feature = None
    widget.sent.clear()
    fake.names.renew()
    until(lambda: sent(widget, "feature"))
    assert [(told["sae"], told["id"]) for told in sent(widget, "feature")] == [(1, 7)]
    assert widget.error == ""


def test_known_maxima_are_told_of_many_features_at_once(widget, fake):
    fake.readers[1].labels.get = lambda feature: None if feature == 8 else Label("x", max_activation=feature / 2)
    message(widget, kind="maxima", features=[[1, 7], [1, 8], [0, 7]])
    settle(widget)
    assert sent(widget, "maxima") == [{"kind": "maxima", "maxima": [[1, 7, 3.5], [1, 8, None], [0, 7, None]]}]
    message(widget, kind="maxima", features=[[2, 7]])
    settle(widget)
    assert len(sent(widget, "maxima")) == 1
    assert widget.error == "There is no SAE 2: there are 2, numbered from 0."


def test_selecting_goes_both_ways(widget):
    message(widget, kind="select", id=12, sae=1)
    assert (widget.selected_feature, widget.selected_sae) == (12, 1)
    message(widget, kind="select", id=None, sae=0)
    assert widget.selected_feature is None
    with pytest.raises(traitlets.TraitError, match="features 0 to 99"):
        widget.selected_feature = 100
    message(widget, kind="select", id=10**30, sae=0)
    assert "0 to 99" in widget.error


def test_a_feature_of_a_larger_sae_can_be_selected_after_one_of_a_smaller():
    fake = FakeTracer(layers=(1, 4))
    fake.readers[1].d_sae = 1000
    widget = listening(AxonWidget(tracer=fake))
    widget.wait(10)
    seen = set()
    widget.observe(
        lambda _: seen.add((widget.selected_sae, widget.selected_feature)), ["selected_sae", "selected_feature"]
    )
    asked = [(1, 999), (0, 99), (1, 500)]
    for sae, feature in asked:
        message(widget, kind="select", id=feature, sae=sae)
        assert (widget.selected_sae, widget.selected_feature, widget.error) == (sae, feature, "")
    # No feature was ever named of an SAE that it is not of.
    assert {pair for pair in seen if pair[1] is not None} == set(asked)
    widget.close()


@pytest.mark.parametrize("wrong", [{"id": 100, "sae": 1}, {"id": 5, "sae": 2}, {"id": True, "sae": 0}, {"id": 5}])
def test_a_selection_that_makes_no_sense_leaves_the_old_one(widget, wrong):
    message(widget, kind="select", id=12, sae=1)
    message(widget, kind="select", **wrong)
    assert (widget.selected_feature, widget.selected_sae) == (12, 1)
    assert widget.error


def test_selecting_within_an_sae_does_not_blink(widget):
    seen = []
    message(widget, kind="select", id=12, sae=1)
    widget.observe(lambda change: seen.append(change["new"]), "selected_feature")
    message(widget, kind="select", id=13, sae=1)
    assert seen == [13]


# Edges, similarity, comparison


def test_an_edge_is_told_with_all_its_numbers(widget):
    written(widget)
    message(widget, kind="edge", run=1, a=[1, 2], b=[1, 3])
    settle(widget)
    [answer] = sent(widget, "edge")
    assert (answer["a"], answer["b"], answer["cosine"]) == ([1, 2], [1, 3], 0.4)
    numbers = widget.graph.pair((1, 2), (1, 3))
    assert {name: answer[name] for name in ("n", "n_a", "n_b", "tokens", "p", "q", "q_shift")} == {
        name: numbers[name] for name in ("n", "n_a", "n_b", "tokens", "p", "q", "q_shift")
    }
    assert answer["jaccard"] == pytest.approx(numbers["jaccard"], abs=1e-5)


def test_an_edge_between_layers_has_a_cosine_and_no_test(widget):
    written(widget)
    message(widget, kind="edge", run=1, a=[0, 2], b=[1, 2])
    settle(widget)
    [answer] = sent(widget, "edge")
    assert (answer["cosine"], answer["p"], answer["q"]) == (0.9, None, None)


@pytest.mark.parametrize(
    ("a", "b", "sentence"),
    [
        ([0, 99], [0, 2], "no node"),
        ([7, 2], [0, 2], "no node"),
        ([-1, 2], [0, 2], "no node"),
        ([0, 2], [0, 2], "two ends"),
    ],
)
def test_an_edge_that_there_is_not_is_an_error(widget, a, b, sentence):
    written(widget)
    message(widget, kind="edge", run=1, a=a, b=b)
    settle(widget)
    assert sent(widget, "edge") == []
    assert sentence in widget.error


def test_nodes_of_similar_directions_are_told(widget):
    written(widget, feature_k=6)
    message(widget, kind="similar", run=1, least=0.5)
    settle(widget)
    [answer] = sent(widget, "similar")
    assert (answer["run"], answer["least"]) == (1, 0.5)
    # The fake's features point the same way as their namesakes in the other layer.
    nodes = set(widget.graph.nodes()["id"])
    pairs = sorted(sorted([edge[:2], edge[2:4]]) for edge in answer["edges"])
    assert pairs == [[[0, feature], [1, feature]] for feature in sorted(nodes)]
    assert {edge[4] for edge in answer["edges"]} == {0.9}


def test_nothing_is_similar_before_anything_was_written(widget):
    message(widget, kind="similar", run=0, least=0.5)
    settle(widget)
    assert [answer["edges"] for answer in sent(widget, "similar")] == [[]]
    assert widget.error == ""


def test_places_on_the_map_are_told_as_soon_as_there_is_one(widget, fake):
    written(widget, feature_k=6)
    message(widget, kind="map", run=1)
    settle(widget)
    assert sent(widget, "map") == [{"kind": "map", "run": 1, "places": [], "making": True, "trouble": ""}]
    fake.maps.ready, fake.maps.trouble = True, "The other one could not be made. " + "x" * 300
    threading.Thread(target=fake.maps.asked[0]).start()
    until(lambda: len(sent(widget, "map")) == 2)
    told = sent(widget, "map")[1]
    assert (told["making"], told["trouble"]) == (False, fake.maps.trouble[:199] + "…")
    nodes = widget.graph.nodes()
    assert {tuple(place) for place in told["places"]} == {
        (s, i, i / 100, -i / 100) for s, i in nodes[["sae", "id"]].values
    }


def test_two_runs_are_compared_where_they_differ(widget):
    written(widget)
    message(widget, kind="branch", run=1, step=4, token_id=None)
    widget.wait(10)
    message(widget, kind="compare", a=1, b=2)
    settle(widget)
    [answer] = sent(widget, "comparison")
    assert (answer["a"], answer["b"]) == (1, 2)
    table = widget.branches[0].compare(widget.branches[1])
    assert answer["from"] == table.attrs["from"] == 5
    assert [row[:2] for row in answer["rows"]] == table[["sae", "id"]].to_numpy().tolist()


def test_a_run_is_given_as_a_page_as_json_and_as_a_table(widget, tmp_path):
    written(widget)
    message(widget, kind="branch", run=1, step=4, token_id=None)
    widget.wait(10)
    for what in ("html", "json", "csv"):
        message(widget, kind="export", text=what, run=1)
    until(lambda: len(sent(widget, "export")) == 3)
    told = {(answer["text"], answer["run"]): answer["content"] for answer in sent(widget, "export")}
    page, data, table = (told[what, 1] for what in ("html", "json", "csv"))
    first, newest = widget.branches
    assert Trace.from_json(data) == first != newest
    read = pd.read_csv(io.StringIO(table), keep_default_na=False)
    pd.testing.assert_frame_equal(read, first.to_pandas(), check_dtype=False)
    # From Python they are files of the newest run, or of any.
    assert Trace.from_json(widget.to_json(tmp_path / "first.json", trace=first)) == first
    assert widget.to_csv(tmp_path / "first.csv", trace=first).read_bytes().decode() == table
    assert widget.to_html(tmp_path / "first.html", trace=first).read_text(encoding="utf-8") == page
    newer, older = tmp_path / "newer.svg", tmp_path / "older.svg"
    assert widget.to_image(newer).read_text() != widget.to_image(older, trace=first).read_text()
    assert Trace.from_json(widget.to_json(tmp_path / "run.json")) == newest
    assert widget.to_csv(tmp_path / "run.csv").read_bytes().decode() == widget.export(newest, "csv")
    assert widget.to_html(tmp_path / "run.html").read_text(encoding="utf-8") == widget.export(newest, "html")
    assert page == widget.export(first, "html")
    assert widget.error == ""


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"text": "exe", "run": 1}, "no export 'exe': there are html, json and csv"),
        ({"text": "csv", "run": 9}, "no run 9 any more"),
    ],
)
def test_what_cannot_be_exported_is_said_where_it_was_asked(widget, asked, why):
    written(widget)
    message(widget, kind="export", **asked)
    until(lambda: sent(widget, "export"))
    [answer] = sent(widget, "export")
    assert why in answer["error"]
    assert (answer["text"], answer["run"], answer["content"]) == (asked["text"], asked["run"], "")
    assert widget.error == ""


def test_an_export_that_takes_long_holds_up_no_token_and_one_that_fails_is_answered(widget, fake, monkeypatch):
    held = threading.Event()

    def export(trace, what):
        assert held.wait(10)
        raise OSError("no \ud800 there")

    monkeypatch.setattr(widget, "export", export)
    write(widget, fake, max_tokens=3)
    message(widget, kind="export", text="html", run=widget._tree.newest.number)
    fake.gate.set()
    assert widget.wait(10).finish == "length"
    settle(widget)
    assert sent(widget, "export") == []
    held.set()
    until(lambda: sent(widget, "export"))
    [answer] = sent(widget, "export")
    assert (answer["error"], answer["content"], widget.error) == ("OSError: no ? there", "", "")


def test_nothing_is_exported_before_anything_was_written(widget, tmp_path):
    message(widget, kind="export", text="html", run=0)
    until(lambda: sent(widget, "export"))
    assert "nothing to show yet" in sent(widget, "export")[0]["error"]
    for export in (widget.to_html, widget.to_json, widget.to_csv):
        with pytest.raises(ValueError, match="nothing to show yet"):
            export(tmp_path / "run")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "asked", [{"kind": "compare", "a": 1, "b": 9}, {"kind": "edge", "run": 9, "a": [0, 1], "b": [0, 2]}]
)
def test_what_is_asked_of_a_run_that_was_cleared_is_not_answered_of_another(widget, asked):
    written(widget)
    message(widget, asked)
    settle(widget)
    assert "no run 9 any more" in widget.error
    assert sent(widget, "comparison") == sent(widget, "edge") == []


# Why a token


class Explainer:
    """In the place of the engine's: says how it was asked, and ablates when a test lets it."""

    def __init__(self, monkeypatch, chunks=3):
        self.asked, self.chunks, self.ablated = [], chunks, 0
        self.gate = threading.Semaphore(0)
        self.open = True
        monkeypatch.setattr(attribution, "explain", self.explain)
        monkeypatch.setattr(attribution, "ablate", self.ablate)
        monkeypatch.setattr(Why, "total", chunks)

    def explain(self, tracer, trace, step, token=None):
        if not 1 <= step <= len(trace):
            raise ValueError(f"There is no token {step}: the run has tokens 0 to {len(trace) - 1}.")
        self.asked.append((trace, step, token))
        one = Attribution(0, [5, 6], [2.0, 1.0], [Share(0.5), Share(-1.5)], parts=None)
        return Why(step, f" w{token}", 3 if token is None else token, -0.5, 2.0, [one])

    def ablate(self, tracer, trace, why):
        for _ in range(self.chunks):
            if not self.open:
                assert self.gate.acquire(timeout=10)
            self.ablated += 1
            why.done += 1
            why.saes[0].features[0].exact = why.done / 10
            yield why


@pytest.fixture
def explainer(monkeypatch):
    return Explainer(monkeypatch)


def test_why_is_answered_at_once_and_the_exact_effects_follow(widget, explainer):
    written(widget)
    message(widget, kind="why", run=1, step=4, token_id=None, exact=True)
    for _ in range(5):
        settle(widget)
    answers = sent(widget, "why")
    assert [(answer["done"], answer["total"]) for answer in answers] == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert {(answer["run"], answer["step"], answer["token_id"]) for answer in answers} == {(1, 4, 3)}
    # Strongest direct share first; what is not known yet is null.
    assert [[row[0], row[3], row[4]] for row in answers[0]["saes"][0]["features"]] == [[6, -1.5, None], [5, 0.5, None]]
    assert [answer["saes"][0]["features"][1][4] for answer in answers] == [None, 0.1, 0.2, 0.3]
    assert explainer.asked == [(widget.trace, 4, None)]
    assert widget.error == ""


def test_why_without_exact_effects_ablates_nothing(widget, explainer):
    written(widget)
    message(widget, kind="why", run=1, step=4, token_id=77, exact=False)
    for _ in range(5):
        settle(widget)
    [answer] = sent(widget, "why")
    assert (answer["token_id"], answer["done"]) == (77, 0)
    assert explainer.ablated == 0


def test_why_of_a_branch_is_asked_of_the_branch(widget, explainer):
    written(widget)
    message(widget, kind="branch", run=1, step=4, token_id=None)
    widget.wait(10)
    for run, step in ((1, 3), (2, 10)):
        message(widget, kind="why", run=run, step=step, token_id=None, exact=False)
    settle(widget)
    assert [(trace, step) for trace, step, _ in explainer.asked] == [(widget.branches[0], 3), (widget.branches[1], 10)]
    assert [answer["run"] for answer in sent(widget, "why")] == [1, 2]


def test_a_newer_why_ends_the_ablations_of_an_older_one(widget, explainer):
    written(widget)
    explainer.open, explainer.chunks = False, 50
    message(widget, kind="why", run=1, step=4, token_id=None, exact=True)
    explainer.gate.release()
    explainer.gate.release()
    until(lambda: len(sent(widget, "why")) == 3)
    message(widget, kind="why", run=1, step=5, token_id=None, exact=True)
    explainer.open = True
    explainer.gate.release()
    for _ in range(60):
        settle(widget)
    told = [(answer["step"], answer["done"]) for answer in sent(widget, "why")]
    assert told[-1] == (5, 50)
    assert [done for step, done in told if step == 5] == list(range(51))
    # The one under way when the newer question came may have ended, and no more of them.
    assert len([step for step, _ in told if step == 4]) <= 4


@pytest.mark.parametrize("end", ["reset", "generate", "close"])
def test_ablations_end_with_what_they_are_about(widget, explainer, end):
    written(widget)
    explainer.open, explainer.chunks = False, 1000
    message(widget, kind="why", run=1, step=4, token_id=None, exact=True)
    explainer.gate.release()
    until(lambda: len(sent(widget, "why")) == 2)
    if end == "reset":
        widget.reset()
    elif end == "generate":
        widget.generate("d e", max_tokens=1)
    else:
        widget.close()
    explainer.open = True
    explainer.gate.release()
    if end == "close":
        widget._session.close(timeout=10)
        assert not widget._session._thread.is_alive()
    else:
        widget.wait(10)
        for _ in range(5):
            settle(widget)
    # Where a text is written at the same time, some ablations are made before it begins and between its tokens.
    assert explainer.ablated <= 8


def test_a_closed_widget_lets_go_of_its_model_at_once(explainer):
    fake = FakeTracer()
    widget = listening(AxonWidget(tracer=fake))
    widget.wait(10)
    explainer.chunks = 1000
    gc.collect()
    gc.disable()  # a model has some hundred megabytes, and what is collected in time is not to be relied on
    try:
        written(widget)
        widget.steer({7: 1.0})
        message(widget, kind="branch", run=1, step=4, token_id=None)
        widget.wait(10)
        message(widget, kind="feature", sae=0, id=7)
        message(widget, kind="why", run=2, step=4, token_id=None, exact=True)
        until(lambda: len(sent(widget, "why")) > 2)
        widget.close()
        widget._session.close(timeout=10)
        model = weakref.ref(fake)
        del fake
        assert model() is None
    finally:
        gc.enable()
    assert len(widget.trace) == 10


def test_what_cannot_be_explained_is_told_in_the_answer(widget, explainer):
    written(widget)
    for asked in ({"run": 1, "step": 44, "token_id": None}, {"run": 1, "step": 4, "token_id": 5000}):
        widget.sent.clear()
        message(widget, kind="why", **asked, exact=True)
        settle(widget)
        [answer] = sent(widget, "why")
        assert {name: answer[name] for name in asked} == asked
        assert "There is no token" in answer["error"]
    widget.sent.clear()
    message(widget, kind="why", run=9, step=4, token_id=None, exact=True)
    settle(widget)
    [answer] = sent(widget, "why")
    assert (answer["run"], answer["error"]) == (9, "There is no run 9 any more: it was cleared.")
    assert explainer.ablated == 0
    assert widget.error == ""


def test_tokens_keep_coming_between_the_ablations(widget, fake, explainer):
    write(widget, fake, max_tokens=6)
    message(widget, kind="why", run=1, step=2, token_id=None, exact=True)
    counts = []
    for _ in range(5):
        fake.one()
        counts.append((len(widget.trace), len(sent(widget, "why"))))
    assert counts == [(4, 1), (5, 2), (6, 3), (7, 4), (8, 4)]
    fake.gate.set()
    widget.wait(10)


# What makes no sense

HOSTILE = [
    None,
    5,
    "text",
    [1, 2],
    {},
    {"kind": None},
    {"kind": "explode"},
    {"kind": ["generate"]},
    {"kind": {"a": 1}},
    {"kind": "generate"},
    {"kind": "generate", "prompt": None},
    {"kind": "generate", "prompt": 7},
    {"kind": "generate", "prompt": ["a"]},
    {"kind": "set"},
    {"kind": "set", "name": "status", "value": "idle"},
    {"kind": "set", "name": "info", "value": {}},
    {"kind": "set", "name": "_esm", "value": "x"},
    {"kind": "set", "name": "steering", "value": []},
    {"kind": "set", "name": "steering_muted", "value": True},
    {"kind": "set", "name": ["temperature"], "value": 1},
    {"kind": "set", "name": "temperature"},
    {"kind": "set", "name": "temperature", "value": {"a": 1}},
    {"kind": "set", "name": "temperature", "value": "1"},
    {"kind": "set", "name": "temperature", "value": 10**400},
    {"kind": "set", "name": "top_k", "value": True},
    {"kind": "set", "name": "seed", "value": "seven"},
    {"kind": "set", "name": "seed", "value": 10**40},
    {"kind": "set", "name": "top_k", "value": 2.5},
    {"kind": "set", "name": "reconstruct"},
    {"kind": "set", "name": "reconstruct", "value": "yes"},
    {"kind": "set", "name": "reconstruct", "value": None},
    {"kind": "set", "name": "reconstruct", "value": 2},
    {"kind": "select"},
    {"kind": "select", "id": 3},
    {"kind": "select", "id": "x", "sae": 0},
    {"kind": "select", "id": -1, "sae": 0},
    {"kind": "select", "id": 1.5, "sae": 0},
    {"kind": "select", "id": 1, "sae": "0"},
    {"kind": "select", "id": 1, "sae": 2},
    {"kind": "select", "id": 1, "sae": -1},
    {"kind": "feature"},
    {"kind": "feature", "id": 3},
    {"kind": "feature", "id": "x", "sae": 0},
    {"kind": "feature", "id": -1, "sae": 0},
    {"kind": "feature", "id": 10**9, "sae": 0},
    {"kind": "feature", "id": 3, "sae": 2},
    {"kind": "feature", "id": 3, "sae": -1},
    {"kind": "feature", "id": None, "sae": 0},
    {"kind": "pull"},
    {"kind": "pull", "run": "x", "from": "y"},
    {"kind": "pull", "run": 0, "from": math.inf},
    {"kind": "pull", "run": True, "from": 0},
    {"kind": "steer"},
    {"kind": "steer", "sae": 0, "id": 3},
    {"kind": "steer", "sae": 0, "id": 3, "value": 1.0},
    {"kind": "steer", "sae": 0, "id": 3, "value": 1.0, "scale": 1},
    {"kind": "steer", "sae": 0, "id": 3, "value": "2", "scale": False},
    {"kind": "steer", "sae": 0, "id": 3, "value": True, "scale": False},
    {"kind": "steer", "sae": 0, "id": 3, "value": [1], "scale": False},
    {"kind": "steer", "sae": 0, "id": 3, "value": math.nan, "scale": False},
    {"kind": "steer", "sae": 0, "id": 3, "value": math.inf, "scale": True},
    {"kind": "steer", "sae": 0, "id": 3, "value": 1e300, "scale": False},
    {"kind": "steer", "sae": 0, "id": 3, "value": 10**400, "scale": False},
    {"kind": "steer", "sae": 0, "id": 100, "value": 1.0, "scale": False},
    {"kind": "steer", "sae": 0, "id": -1, "value": 1.0, "scale": False},
    {"kind": "steer", "sae": 2, "id": 3, "value": 1.0, "scale": False},
    {"kind": "steer", "sae": 0, "id": 3.0, "value": 1.0, "scale": False},
    {"kind": "steer", "sae": 0, "id": "3", "value": 1.0, "scale": False},
    {"kind": "steer", "sae": None, "id": 3, "value": None},
    {"kind": "steer", "id": 3, "value": None},
    {"kind": "steering"},
    {"kind": "steering", "action": "explode"},
    {"kind": "steering", "action": ["clear"]},
    {"kind": "branch"},
    {"kind": "branch", "run": 0, "step": 0},
    {"kind": "branch", "run": 0, "token_id": None},
    {"kind": "branch", "step": 0, "token_id": None},
    {"kind": "branch", "run": 0, "step": 0, "token_id": None},
    {"kind": "branch", "run": 0, "step": 1.5, "token_id": None},
    {"kind": "branch", "run": 0, "step": 0, "token_id": "x"},
    {"kind": "branch", "run": 0, "step": 0, "token_id": True},
    {"kind": "branch", "run": "x", "step": 0, "token_id": None},
    {"kind": "why"},
    {"kind": "why", "run": 0, "step": 1, "token_id": None},
    {"kind": "why", "run": 0, "step": 1, "exact": True},
    {"kind": "why", "run": 0, "token_id": None, "exact": True},
    {"kind": "why", "step": 1, "token_id": None, "exact": True},
    {"kind": "why", "run": 0, "step": "1", "token_id": None, "exact": True},
    {"kind": "why", "run": 0, "step": 1, "token_id": [1], "exact": True},
    {"kind": "why", "run": 0, "step": 1, "token_id": None, "exact": "yes"},
    {"kind": "edge"},
    {"kind": "edge", "run": 0, "a": [0, 1]},
    {"kind": "edge", "run": 0, "a": [0, 1], "b": None},
    {"kind": "edge", "run": 0, "a": [0, 1], "b": [0]},
    {"kind": "edge", "run": 0, "a": [0, 1], "b": [0, "x"]},
    {"kind": "edge", "run": 0, "a": [0, True], "b": [0, 1]},
    {"kind": "edge", "run": 0, "a": "0:1", "b": [0, 1]},
    {"kind": "edge", "run": 0, "a": [0, 1], "b": [0, 2]},
    {"kind": "edge", "run": 0, "a": [9, 1], "b": [9, 2]},
    {"kind": "similar"},
    {"kind": "similar", "run": 0},
    {"kind": "similar", "run": 0, "least": "much"},
    {"kind": "similar", "run": 0, "least": None},
    {"kind": "similar", "run": 0, "least": True},
    {"kind": "similar", "run": 0, "least": math.nan},
    {"kind": "similar", "run": 0, "least": 10**400},
    {"kind": "map"},
    {"kind": "map", "run": "1"},
    {"kind": "compare"},
    {"kind": "compare", "a": 0},
    {"kind": "compare", "a": 0, "b": "x"},
    {"kind": "compare", "a": 0, "b": 3},
]


@pytest.mark.parametrize("content", HOSTILE, ids=repr)
def test_a_message_that_makes_no_sense_is_an_error_and_no_more(widget, content):
    message(widget, kind="steer", sae=1, id=8, value=0.5, scale=True)
    message(widget, kind="select", sae=1, id=9)
    settings = ("temperature", "top_k", "seed", "reconstruct", "steering", "steering_muted", "status", "info")
    before = {name: getattr(widget, name) for name in (*settings, "selected_feature", "selected_sae")}
    message(widget, content)
    settle(widget)
    assert len(widget.error.split()) > 3, f"{widget.error!r} is no sentence"
    assert {name: getattr(widget, name) for name in before} == before
    assert len(widget.trace) == 0
    assert widget.sent == []
    still_works(widget)


@pytest.mark.parametrize("content", [c for c in HOSTILE if isinstance(c, dict) and c.get("kind")], ids=repr)
def test_no_message_disturbs_a_run(widget, fake, content):
    write(widget, fake, max_tokens=2)
    message(widget, content)
    fake.gate.set()
    trace = widget.wait(10)
    assert trace.text == " a b c 1 2"
    assert widget._session._thread.is_alive()


# Tokens by their text


@pytest.mark.parametrize(("text", "token", "number"), [("w7", " w7", 7), (" w12", " w12", 12)])
def test_a_token_is_found_by_its_text_with_or_without_its_space(widget, text, token, number):
    message(widget, kind="token", text=text)
    settle(widget)
    expected = {"kind": "token", "text": text, "token_id": number, "token": token, "error": ""}
    assert sent(widget, "token") == [expected]


@pytest.mark.parametrize("text", ["", "two words", "<b>", "\ud800", "x" * 100])
def test_a_text_that_is_no_token_is_answered_with_the_reason(widget, text):
    message(widget, kind="token", text=text)
    settle(widget)
    [answer] = sent(widget, "token")
    assert answer["token_id"] is None
    assert "not one token" in answer["error"]
    assert len(answer["error"]) <= 200
    assert widget.error == ""
    still_works(widget)


def test_a_search_without_a_model_is_answered():
    def fails(_report):
        raise ValueError("no such model")

    widget = listening(AxonWidget(tracer=FakeTracer()))
    widget.wait(10)
    widget._session.tracer = None
    widget._session.load(fails)
    message(widget, kind="search", text="royalty")
    settle(widget)
    assert [(answer["text"], answer["rows"]) for answer in sent(widget, "found")] == [("royalty", [])]
    assert "No model is loaded" in widget.error
    widget.close()
