"""What is selected and pinned: in which forms it can be given, how it reads back, and what follows what."""

import copy
import operator

import numpy as np
import pandas as pd
import pytest
import traitlets

from axon_widget.widget import AxonWidget
from tests.unit.fakes import FakeTracer, listening, message, write


def shown(tracer, **traits):
    made = listening(AxonWidget(tracer=tracer, **traits))
    made.wait(10)
    return made


@pytest.fixture
def widget():
    """One SAE of a hundred features."""
    made = shown(FakeTracer())
    yield made
    made.close()


@pytest.fixture
def pair():
    """Two SAEs, at layers 1 and 4."""
    made = shown(FakeTracer(layers=(1, 4)))
    yield made
    made.close()


def written(widget):
    widget.generate("a b c", max_tokens=4)
    widget.wait(10)
    return widget.trace.to_pandas()


def state(widget):
    """What the view knows."""
    return widget.get_state()["_selection"]


def test_every_form_in_which_people_have_features(widget):
    forms = {
        7: [7],
        np.int64(7): [7],
        (1, 7): [7],
        ("blocks.1.hook_resid_pre", 7): [7],
        None: [],
    }
    for given, expected in forms.items():
        widget.selected = given
        assert widget.selected == expected, given
    lists = ([3, 5, 3], (n for n in (3, 5)), np.array([3, 5]), pd.Series([3, 5]), pd.Index([3, 5]), {3: 0.1, 5: 1})
    for given in lists:
        widget.selected = given
        assert widget.selected == [3, 5]
    assert type(widget.selected[0]) is int
    widget.selected = [(1, 3), 5]
    assert widget.selected == [3, 5]


def test_a_filter_of_the_trace_lights_nodes_and_nodes_filter_the_trace(widget):
    table = written(widget)
    strong = table[table.activation > 2.5]
    widget.selected = strong
    assert widget.selected == list(dict.fromkeys(strong.id))
    assert 1 < len(widget.selected) < table.id.nunique()
    assert set(table[table.id.isin(widget.selected)].id) == set(strong.id)
    widget.selected = strong.id
    assert widget.selected == list(dict.fromkeys(strong.id))
    widget.selected = table.iloc[3]
    assert widget.selected == [table.iloc[3].id]
    widget.selected = table.groupby("id").activation.max().nlargest(2).index
    assert len(widget.selected) == 2
    widget.selected = table[table.id < 0]
    assert widget.selected == []
    message(widget, kind="choose", features=[[0, 4], [0, 2]], inspected=[0, 2])
    assert set(table[table.id.isin(widget.selected)].id) == {2, 4}


def test_with_several_saes_features_are_pairs_that_a_table_can_be_filtered_by(pair):
    table = written(pair)
    pair.selected = table[(table.sae == 1) & (table.id < 3)]
    assert sorted(pair.selected) == [(4, 0), (4, 1), (4, 2)]
    assert all(pair.tracer.address(feature)[0] == 1 for feature in pair.selected)
    kept = table[pd.MultiIndex.from_frame(table[["layer", "id"]]).isin(pair.selected)]
    assert set(zip(kept.layer, kept.id, strict=True)) == set(pair.selected)
    pair.selected = table[["layer", "id"]].head(2)
    assert pair.selected == [(1, 0), (1, 1)]
    pair.selected = table.groupby(["layer", "id"]).activation.max().nlargest(3).index
    assert len(pair.selected) == 3
    assert state(pair)["features"] == [list(pair.tracer.address(feature)) for feature in pair.selected]


def test_saes_of_one_layer_are_told_apart_by_their_hook_points_and_those_of_one_by_their_names():
    fake = FakeTracer(layers=(1, 4))
    fake.readers[1].layer = 1
    widget = shown(fake)
    widget.on_choose([(0, 5), (1, 6)], None)
    assert widget.selected == [("blocks.1.hook_resid_pre", 5), ("blocks.4.hook_resid_pre", 6)]
    widget.selected = list(widget.selected)
    assert state(widget)["features"] == [[0, 5], [1, 6]]
    widget.close()
    fake.readers[1].hook, fake.readers[1].name = fake.readers[0].hook, "fake/other"
    widget = shown(fake)
    widget.on_choose([(1, 6)], None)
    assert widget.selected == [("fake/other", 6)]
    assert fake.address(widget.selected[0]) == (1, 6)
    widget.close()


def test_the_features_of_a_trace_are_features(pair):
    written(pair)
    features = pair.trace[2].features
    pair.selected = features[25]
    assert (features[25].sae, pair.selected, pair.selected_sae) == (1, [(4, features[25].id)], 1)
    pair.selected = features
    assert [pair.tracer.address(one) for one in pair.selected] == [(f.sae, f.id) for f in features]
    pair.pinned = list(features[:2])
    assert pair.pinned == [(1, features[0].id), (1, features[1].id)]
    pair.selected = ((1, 3), (4, 9))
    assert pair.selected == [(1, 3), (4, 9)]
    pair.selected = ()
    assert pair.selected == []
    assert pair.feature(features[25]).text == f"label {features[25].id}"
    pair.steer({features[25]: 0.0})
    assert [(change["sae"], change["id"]) for change in pair.steering] == [(1, features[25].id)]


@pytest.mark.parametrize(
    "change",
    [
        lambda features: features.append(9),
        lambda features: features.remove(5),
        lambda features: features.sort(),
        lambda features: features.clear(),
        lambda features: operator.setitem(features, 0, 9),
        lambda features: operator.delitem(features, 0),
    ],
)
def test_the_list_is_not_changed_where_nobody_would_hear_of_it(widget, change):
    widget.selected = [5, 6]
    with pytest.raises(TypeError, match="Assign another"):
        change(widget.selected)
    assert widget.selected == [5, 6]


def test_what_is_added_to_the_list_is_assigned(widget):
    before = widget.selected
    widget.selected += [9]
    widget.selected += (3,)
    assert (before, widget.selected, state(widget)["features"]) == ([], [9, 3], [[0, 9], [0, 3]])
    for mine in (copy.copy(widget.selected), copy.deepcopy(widget.selected), widget.selected.copy()):
        mine.append(4)
        assert mine == [9, 3, 4]


def test_rows_that_are_of_no_feature_are_left_out(pair):
    rows = {"part": ["feature", "bias"], "sae": [1, 1], "layer": [4, 4], "id": pd.array([8, None], dtype="Int64")}
    pair.pinned = pd.DataFrame(rows)
    assert pair.pinned == [(4, 8)]


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (100, "features 0 to 99"),
        ([3, -1], "features 0 to 99"),
        ([3, 4.0], "not by 4.0"),
        ([True], "not by True"),
        (pd.Series([True, False]), "not by"),
        ("dog", "not by 'dog'"),
        ((9, 7), "No such SAE"),
        ((1, 2, 3), "not by"),
        (np.array(7), "0-d"),
        (object(), "not by"),
        (pd.DataFrame({"number": [1]}), "no column id"),
        (pd.DataFrame({"sae": [5], "id": [1]}), "no SAE 5"),
        (pd.DataFrame({"sae": [0], "id": [1.5]}), "whole number, not"),
        (["x" * 10_000], "…"),
    ],
)
@pytest.mark.parametrize("name", ["selected", "pinned"])
def test_what_names_no_feature_is_refused_and_nothing_is_lost(widget, wrong, why, name):
    setattr(widget, name, [5, 6])
    before = state(widget)
    with pytest.raises(traitlets.TraitError, match=why) as refused:
        setattr(widget, name, wrong)
    assert "Give a feature as feature() takes it" in str(refused.value)
    assert len(str(refused.value)) < 600
    assert getattr(widget, name) == [5, 6]
    assert state(widget) == before


def test_with_several_saes_a_number_alone_names_no_feature(pair):
    with pytest.raises(traitlets.TraitError, match=r"Several SAEs .* \(hook point, number\)"):
        pair.selected = [5]


def test_the_traits_follow_each_other(pair):
    pair.selected = [(4, 9)]
    assert (pair.selected_sae, pair.selected_feature) == (1, 9)
    pair.selected = [(1, 3), (4, 9)]
    assert (pair.selected_sae, pair.selected_feature) == (1, 9)  # it is still among them
    pair.selected = [(1, 3), (4, 8)]
    assert pair.selected_feature is None
    pair.selected_feature = 7
    assert pair.selected == [(4, 7)]
    pair.pinned = [(1, 1)]
    assert state(pair) == {"features": [[1, 7]], "inspected": [1, 7], "pinned": [[0, 1]]}
    pair.selected_sae = 0
    assert pair.selected == [(1, 7)]
    pair.selected_feature = None
    assert state(pair) == {"features": [], "inspected": None, "pinned": [[0, 1]]}
    pair.selected = []
    assert pair.pinned == [(1, 1)]


def test_a_feature_that_another_sae_lacks_is_not_selected_in_it(pair):
    pair.tracer.readers[0].d_sae = 1000
    pair.selected = (1, 999)
    pair.selected_sae = 1
    assert (pair.selected, pair.selected_feature) == ([], None)


def test_the_view_selects_and_pins(pair):
    seen = []
    pair.observe(lambda change: seen.append((change["new"], pair.selected_feature)), "selected")
    message(pair, kind="choose", features=[[0, 3], [1, 5]], inspected=[1, 5])
    assert (pair.selected, pair.selected_sae, pair.selected_feature) == ([(1, 3), (4, 5)], 1, 5)
    message(pair, kind="choose", features=[[0, 3], [1, 5]], inspected=None)
    assert pair.selected_feature is None
    message(pair, kind="pin", features=[[0, 3], [0, 3]])
    assert (pair.pinned, len(pair.selected), pair.error) == ([(1, 3)], 2, "")
    message(pair, kind="choose", features=[], inspected=None)
    assert pair.selected == []
    assert seen == [([(1, 3), (4, 5)], 5), ([], None)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "choose"},
        {"kind": "choose", "features": [[0, 3]]},
        {"kind": "choose", "features": 3, "inspected": None},
        {"kind": "choose", "features": [3], "inspected": None},
        {"kind": "choose", "features": [[0, 3], [0, 100]], "inspected": [0, 3]},
        {"kind": "choose", "features": [[2, 3]], "inspected": None},
        {"kind": "choose", "features": [[0, 3]], "inspected": 3},
        {"kind": "pin", "features": [[0, True]]},
        {"kind": "pin", "features": [[0, 100]]},
    ],
)
def test_a_message_that_makes_no_sense_changes_nothing(pair, wrong):
    pair.selected = pair.pinned = [(4, 9)]
    before = state(pair)
    message(pair, wrong)
    assert pair.error
    assert state(pair) == before
    assert pair.selected == [(4, 9)]


def test_who_hears_of_a_selection_may_select_something_else(pair):
    def insist(_change):
        pair.selected_feature = 1

    pair.observe(insist, "selected")
    pair.selected = [(4, 7), (1, 5)]
    assert (pair.selected, pair.selected_feature) == ([(1, 1)], 1)
    assert state(pair)["features"] == [[0, 1]]


def test_an_observer_that_raises_leaves_nothing_half_done(pair):
    pair.selected = [(1, 2)]

    def fail(_change):
        raise KeyError("the observer's own mistake")

    pair.observe(fail, "selected_feature")
    with pytest.raises(KeyError, match="own mistake"):
        pair.selected = [(4, 7)]
    pair.unobserve(fail, "selected_feature")
    assert (pair.selected, pair.selected_sae, pair.selected_feature) == ([(4, 7)], 1, 7)
    assert state(pair) == {"features": [[1, 7]], "inspected": [1, 7], "pinned": []}
    pair.selected_feature = 8
    assert state(pair)["features"] == [[1, 8]]


def test_it_can_be_set_while_the_model_writes(widget):
    fake = widget.tracer
    write(widget, fake, max_tokens=3)
    table = widget.trace.to_pandas()
    widget.selected = table[table.step == 1]
    widget.pinned = 4
    fake.one()
    assert (len(widget.selected), widget.pinned) == (20, [4])
    fake.gate.set()
    widget.wait(10)
    assert (len(widget.selected), widget.pinned) == (20, [4])


def test_before_a_model_is_loaded_features_are_numbers():
    fake = FakeTracer(layers=(1,))
    widget = AxonWidget(tracer=fake, selected=[5, 500], pinned=500)
    with pytest.raises(traitlets.TraitError, match=r"No model is loaded yet.* call wait\(\) first"):
        AxonWidget(tracer=fake, selected=[(1, 5)])
    widget.wait(10)
    assert (widget.selected, widget.pinned) == ([5], [])  # there are a hundred
    widget.close()


def load(widget, tracer):
    widget._session.load(lambda _report: tracer)
    assert widget._session.wait(10)


def test_another_sae_begins_with_nothing_selected(pair):
    pair.selected = [(1, 5), (4, 6)]
    pair.pinned = [(4, 6)]
    load(pair, FakeTracer(layers=(1, 4)))  # the same again
    assert (pair.selected, pair.pinned) == ([(1, 5), (4, 6)], [(4, 6)])
    pair.selected = [(4, 6)]
    assert pair.selected_sae == 1
    load(pair, FakeTracer(layers=(4,)))
    assert (pair.selected, pair.pinned) == ([], [])
    assert state(pair) == {"features": [], "inspected": None, "pinned": []}
    assert pair.selected_sae == 0  # the other one is gone
    pair.selected_feature = 5
    assert pair.selected == [5]
