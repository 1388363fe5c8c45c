"""What goes to the browser is small, is JSON, and can be had again."""

import json
import math
import time
from itertools import pairwise

import numpy as np
import pytest

from axon_widget import wire
from axon_widget.graph import Graph, graph_of
from axon_widget.labels import Label
from axon_widget.runs import Run, Tree
from axon_widget.trace import Alternative, Feature, Fit, Origin, SAEOrigin, Steered, TokenStep, Trace

HOSTILE = [
    "<script>alert('x')</script>" * 200,
    "😀👩‍👩‍👧" * 1000,
    "\x00\x01\x1f\u2028\u2029" * 1000,
    '"\\/\n' * 1250,
    "中文" * 2500,
    "\ud800" * 5000,
]


# Tokens a pair fires on, which no shift moves onto themselves.
APART = {1, 2, 6, 13, 20, 28, 29, 42, 44, 49, 53}


def firing(features, label="", saes=1):
    return tuple(
        Feature(24_575 - i, 123.456789 - i, 8 + sae, label, sae) for sae in range(saes) for i in range(features)
    )


def step(n=0, label="", features=30, token=" word", alternatives=5, saes=1, **fields):
    known = {
        "token": token,
        "token_id": 50_256,
        "position": n,
        "step": n,
        "generated": True,
        "logprob": -12.345678901234,
        "rank": 40_000,
        "alternatives": tuple(Alternative(token, 50_256 - i, 0.123456789) for i in range(alternatives)),
        "features": firing(features, label, saes),
        "fits": (Fit(0.987654321, 0.9, features),) * saes,
        "milliseconds": 123.456789,
    }
    return TokenStep(**(known | fields))


def frames(label, tokens=6, features=60, feature_k=30, dense=wire.unknown, **fields):
    """Every feature fires on every token: as many edges as there can be."""
    graph, made = Graph(), []
    for n in range(tokens):
        one = step(n, label, features, **fields)
        graph.add(one, feature_k)
        made.append(wire.frame(one, graph, 1_000_000, feature_k, 0.01, dense))
    return made


def always(feature, sae):
    return True


def run_of(count, number=3, start=0, finish=""):
    """A run whose frames are numbered."""
    made = Run(number, Trace(finish=finish), start=start)
    made.frames = [{"run": number, "step": start + n} for n in range(count)]
    return made


def strict(message):
    """The bytes a strict JSON writer makes of a message."""
    return len(json.dumps(message, allow_nan=False, separators=(",", ":"), ensure_ascii=False).encode("utf-8"))


@pytest.mark.parametrize("label", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("field", ["label", "token"])
def test_a_frame_keeps_within_its_budget_whatever_the_text(label, field):
    for frame in frames(**{"label": "plain", field: label}):
        assert strict(frame) <= 3000
        assert wire.size(frame) == strict(frame)
        assert len(frame["features"]) == 30


@pytest.mark.parametrize("label", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("saes", [1, 2, 6])
def test_each_sae_has_its_own_budget_whatever_is_dense_and_steered(label, saes):
    steered = tuple(Steered(24_575 - i, 123.456789, -123.456789, 8, i % saes) for i in range(40))
    made = frames(label, token=label, saes=saes, dense=always, steered=steered, clean_logprob=-12.345678901234)
    for frame in made:
        assert strict(frame) <= 2800 * saes
        for sae in range(saes):
            ids = [f["id"] for f in frame["features"] if f["sae"] == sae]
            assert ids == [24_575 - i for i in range(len(ids))]
            assert len(ids) >= 20
        assert all(f["dense"] is True for f in frame["features"])
        assert len(frame["steered"]) >= 5
        assert frame["clean_logprob"] == -12.3457
        assert frame["fits"][0][3] < 1


def test_thirty_features_are_shown_though_some_are_dense_and_some_are_steered():
    steered = tuple(Steered(24_575 - i, 123.456789, -123.456789, 8) for i in range(5))
    for frame in frames(HOSTILE[4], token=HOSTILE[4], dense=lambda i, _: i % 3 == 0, steered=steered):
        assert strict(frame) <= 2800
        assert len(frame["features"]) == 30
        assert len(frame["steered"]) == 5


def test_a_frame_grows_by_nothing_but_the_features_that_are_watched():
    one = step(features=300, label=HOSTILE[4])
    graph = Graph()
    graph.add(one, 30)
    watched = {(f.sae, f.id) for f in one.features}
    frame = wire.frame(one, graph, 1, 30, 0.01, watched=watched)
    shown, told = {f["id"] for f in frame["features"]}, {i: activation for _, i, activation in frame["beside"]}
    assert len(shown) >= 20
    assert not shown & told.keys()
    assert told == {f.id: round(f.activation, 4) for f in one.features if f.id not in shown}
    assert strict(frame) <= 2800 + 20 * len(told)


def test_edges_join_the_features_of_the_frame_however_many_are_asked_for():
    for frame in frames("a label", features=90, feature_k=90):
        assert strict(frame) <= 2800
        count = len(frame["features"])
        assert count >= 20
        assert all(a < b < count for a, b, *_ in frame["edges"])


def test_with_several_saes_an_ordinary_frame_loses_nothing():
    frame = frames("girl, Lily → named, who", features=15, feature_k=15, saes=3)[-1]
    assert {f["label"] for f in frame["features"]} == {"girl, Lily → named, who"}
    ends = {(frame["features"][a]["sae"], frame["features"][b]["sae"]) for a, b, *_ in frame["edges"]}
    assert ends == {(0, 0), (1, 1), (2, 2)}
    assert len(frame["edges"]) > 3 * 30


def test_half_a_character_can_be_sent():
    frame = frames("label \ud800", features=5, token=" \ud800")[-1]
    json.dumps(frame, ensure_ascii=False).encode("utf-8")
    assert frame["features"][0]["label"].startswith("label ")


def test_an_ordinary_frame_loses_nothing():
    frame = frames("girl, Lily → named, who", features=15, feature_k=15)[-1]
    assert [f["label"] for f in frame["features"]] == ["girl, Lily → named, who"] * 15
    assert len(frame["alternatives"]) == 5
    assert len(frame["edges"]) > 30
    assert strict(frame) <= 3000


def test_a_frame_says_what_the_step_says():
    graph, one = Graph(), step(7, "a label", features=3, special=False)
    graph.add(one)
    frame = wire.frame(one, graph, 2, 15, 0.01)
    assert frame == {
        "run": 2,
        "step": 7,
        "position": 7,
        "token": " word",
        "token_id": 50_256,
        "generated": True,
        "special": False,
        "logprob": -12.3457,
        "rank": 40_000,
        "alternatives": [[" word", 0.1235, 50_256 - i] for i in range(5)],
        "features": [
            {"id": 24_575 - i, "label": "a label", "activation": 123.4568 - i, "layer": 8, "sae": 0} for i in range(3)
        ],
        "edges": [],
        "fits": [[0.988, 0.9, 3, 1.0, 123.457, pytest.approx(123.457 + 122.457 + 121.457, abs=0.002)]],
        "l0": 3,
        "explained_variance": 0.988,
        "ms": 123.46,
    }


def test_all_that_are_watched_are_told_of_and_take_nothing_from_the_others():
    graph = Graph()
    for n in range(6):
        graph.add(one := step(n, "a label " * 5, 90), 30)
    watched = {(0, f.id) for f in one.features[20:]}
    alone = wire.frame(one, graph, 1_000_000, 30, 0.01)
    few = wire.frame(one, graph, 1_000_000, 30, 0.01, watched=set(list(watched)[:5]))
    many = wire.frame(one, graph, 1_000_000, 30, 0.01, watched=watched)
    shown = {(f["sae"], f["id"]) for f in many["features"]}
    assert len(shown) == len(alone["features"]) == 30
    assert {(sae, i): a for sae, i, a in many["beside"]} == {
        (f.sae, f.id): round(f.activation, 4) for f in one.features if (f.sae, f.id) in watched - shown
    }
    assert len(many["beside"]) == 60
    assert strict(few) <= wire.BUDGET
    assert strict(many) <= wire.BUDGET + strict(many["beside"][12:])


def test_only_the_strongest_above_the_threshold_are_shown():
    graph = Graph()
    one = step(features=60)
    graph.add(one)
    assert len(wire.frame(one, graph, 1, 5, 0.01)["features"]) == 5
    assert len(wire.frame(one, graph, 1, 30, 121.0)["features"]) == 3
    assert wire.frame(one, graph, 1, 30, 500)["features"] == []
    assert wire.frame(one, graph, 1, 5, 500)["l0"] == 60


def test_the_strongest_of_each_sae_are_shown():
    one = TokenStep(
        " a",
        1,
        0,
        0,
        True,
        features=tuple(Feature(i, 9.0 - i, 2, sae=0) for i in range(8))
        + tuple(Feature(i, 0.9 - i / 10, 5, sae=1) for i in range(8)),
        fits=(Fit(0.9, 0.95, 8), Fit(0.5, 0.7, 8)),
    )
    frame = wire.frame(one, graph_of([one]), 1, 3, 0.5)
    assert [(f["sae"], f["id"], f["layer"]) for f in frame["features"]] == [
        (0, 0, 2),
        (0, 1, 2),
        (0, 2, 2),
        (1, 0, 5),
        (1, 1, 5),
        (1, 2, 5),
    ]
    # The threshold goes for each SAE's features too.
    frame = wire.frame(one, graph_of([one]), 1, 30, 0.75)
    assert [(f["sae"], f["id"]) for f in frame["features"]] == [(0, i) for i in range(8)] + [(1, 0), (1, 1)]
    assert (frame["l0"], frame["explained_variance"]) == (16, 0.9)


def test_the_fit_of_each_sae_comes_with_what_is_shown_of_it():
    strong = [6.0, 5.0, 4.0, 3.0, 2.0, 1.0]
    one = TokenStep(
        " a",
        1,
        0,
        0,
        True,
        features=(
            *(Feature(i, a, 2, sae=0) for i, a in enumerate(strong)),
            Feature(3, 0.25, 5, sae=1),
            Feature(9, 0.05, 5, sae=1),
        ),
        fits=(Fit(0.91234, 0.95678, 6), Fit(-0.5, 0.1, 2), Fit(1.0, 1.0, 0)),
    )
    frame = wire.frame(one, graph_of([one]), 1, 5, 0.1)
    # Explained variance, cosine, L0, the shown part of all activation, the peak, the sum of the five strongest.
    assert frame["fits"] == [
        [0.912, 0.957, 6, pytest.approx(20 / 21, abs=5e-4), 6.0, 20.0],
        [-0.5, 0.1, 2, pytest.approx(0.25 / 0.3, abs=5e-4), 0.25, 0.3],
        [1.0, 1.0, 0, 1.0, 0.0, 0.0],
    ]


def test_what_is_dense_steered_or_read_through_the_sae_is_marked():
    steered = (Steered(7, 1.23456, 0.0, 8), Steered(9, 0.0, 4.5, 9, 1))
    one = step(features=3, saes=2, steered=steered, clean_logprob=-0.123456)
    frame = wire.frame(one, graph_of([one]), 1, 15, 0.01, lambda feature, sae: (feature, sae) == (24_574, 1))
    assert [(f["sae"], f["id"]) for f in frame["features"] if "dense" in f] == [(1, 24_574)]
    assert frame["steered"] == [[0, 7, 1.235, 0.0], [1, 9, 0.0, 4.5]]
    assert frame["clean_logprob"] == -0.1235
    plain = wire.frame(step(features=3), graph_of([step(features=3)]), 1, 15, 0.01)
    assert not {"steered", "clean_logprob"} & set(plain)


def test_edges_join_the_frames_own_features_and_carry_their_significance():
    graph = Graph()
    for n in range(60):
        on = [1, 2, 3] if n in APART else [4, 5]
        one = TokenStep(" a", 1, n, n, True, features=tuple(Feature(i, 9.0 - i, 0) for i in on))
        graph.add(one)
    one = TokenStep(" a", 1, 60, 60, True, features=tuple(Feature(i, 9.0 - i, 0) for i in (4, 1, 2)))
    graph.add(one)
    frame = wire.frame(one, graph, 1, 15, 0.01)
    significance = {frozenset([e.a, e.b]): -math.log10(e.q_shift) for e in graph.edges(least=2).itertuples()}
    assert {frozenset([a, b]) for a, b, *_ in frame["edges"]} == {frozenset([1, 2])}
    [[a, b, count, s]] = frame["edges"]
    assert {frame["features"][i]["id"] for i in (a, b)} == {1, 2}
    assert count == len(APART) + 1
    assert s == pytest.approx(significance[frozenset([1, 2])], abs=0.06)
    assert s > 1.3


def test_numbers_that_are_none_do_not_reach_the_browser():
    nan, inf = float("nan"), float("inf")
    one = step(logprob=-inf, features=0, fits=(Fit(nan, -inf, 0),), clean_logprob=nan)
    graph = graph_of([one])
    frame = wire.frame(one, graph, 1, 15, 0.01)
    assert frame["logprob"] is None
    assert frame["explained_variance"] is None
    assert frame["fits"] == [[None, None, 0, 1.0, 0.0, 0.0]]
    strict(frame)


@pytest.mark.parametrize(
    ("text", "length", "expected"),
    [("abc", 3, "abc"), ("abcd", 3, "ab…"), ("abcd", 1, "…"), ("abcd", 0, ""), ("", 0, ""), ("😀😀😀", 2, "😀…")],
)
def test_clip(text, length, expected):
    assert wire.clip(text, length) == expected


def test_a_features_message_is_bounded_and_is_json():
    label = Label(
        HOSTILE[0],
        "a source",
        "a model",
        "a method",
        score=0.5,
        scored_by="a measure",
        others=((HOSTILE[0], HOSTILE[1], 0.25), *(("another", "", None),) * 50),
        fires_on=((HOSTILE[1], 4.11111),),
        boosts=(HOSTILE[2],),
        suppresses=(HOSTILE[3],),
        contexts=(((HOSTILE[2], 0.12345), (" x", 2.0)),) * 12,
        frequency=0.01,
        max_activation=6.5,
        dense=True,
        fetched="2026-01-02",
    )
    near = [(2, i, 0.98765) for i in range(8)]
    message = wire.feature_message(77, 2, 3, label, "", near, lambda sae, i: HOSTILE[i % len(HOSTILE)])
    assert strict(message) < 8000
    assert [row[:3] for row in message["nearest"]] == [[2, i, 0.988] for i in range(8)]
    assert all(len(row[3]) <= 60 for row in message["nearest"])
    assert [[a for _, a in context] for context in message["contexts"]] == [[0.123, 2.0]] * 10
    assert message["kind"] == "feature"
    known = {name: message[name] for name in ("id", "sae", "layer", "score", "dense")}
    assert known == {"id": 77, "sae": 2, "layer": 3, "score": 0.5, "dense": True}
    assert message["fires_on"][0][1] == 4.111
    told = {name: message[name] for name in ("explainer", "method", "scored_by", "fetched")}
    assert told == {"explainer": "a model", "method": "a method", "scored_by": "a measure", "fetched": "2026-01-02"}
    assert len(message["others"]) == 5
    assert message["others"][0][2] == 0.25
    assert message["others"][1] == ["another", "", None]


def test_a_snapshot_brings_all_frames_in_order():
    run = run_of(257, finish="eos")
    head, *parts = wire.snapshot([run])
    assert head == {
        "kind": "snapshot",
        "run": 3,
        "runs": [{"run": 3, "parent": None, "from": 0, "token": None, "total": 257, "finish": "eos", "edges": []}],
    }
    assert {part["kind"] for part in parts} == {"steps"}
    assert {part["run"] for part in parts} == {3}
    assert all(len(part["steps"]) <= 100 for part in parts)
    assert [frame for part in parts for frame in part["steps"]] == run.frames
    assert len(list(wire.snapshot([Run(0)]))) == 1


def tree():
    """A run of 120 tokens, a branch with a token put in at 40, a branch of that, and one that has no token yet."""
    made = Tree()
    root = made.begin(Trace(Origin(prompt="x"), [step(n) for n in range(120)], "length"))
    first = root.trace.branch(40)
    first.put_in = " cat" * 50
    for parent, fork, count in ((root.trace, 40, 130), (first, 45, 3), (root.trace, 120, 0)):
        trace = first if parent is root.trace and fork == 40 else parent.branch(fork)
        run = made.branch(trace, 15)
        for n in range(fork, fork + count):
            trace.append(step(n))
            run.frames.append({"run": run.number, "step": n})
    root.frames = [{"run": root.number, "step": n} for n in range(120)]
    return made


def test_a_snapshot_brings_every_run_of_a_tree():
    runs = tree().runs
    head, *parts = wire.snapshot(runs)
    assert head["run"] == 4
    assert [{k: told[k] for k in ("run", "parent", "from", "total", "finish")} for told in head["runs"]] == [
        {"run": 1, "parent": None, "from": 0, "total": 120, "finish": "length"},
        {"run": 2, "parent": 1, "from": 40, "total": 170, "finish": ""},
        {"run": 3, "parent": 2, "from": 45, "total": 48, "finish": ""},
        {"run": 4, "parent": 1, "from": 120, "total": 120, "finish": ""},
    ]
    assert [told["token"] for told in head["runs"]] == [None, wire.clip(" cat" * 50, 60), None, None]
    came = {}
    for part in parts:
        assert {frame["run"] for frame in part["steps"]} == {part["run"]}
        came.setdefault(part["run"], []).extend(frame["step"] for frame in part["steps"])
    # Each run's own steps alone: what it shares stands in its parent's.
    assert came == {1: list(range(120)), 2: list(range(40, 170)), 3: [45, 46, 47]}


def test_a_branch_is_announced_with_where_it_grows_from():
    run = tree().runs[1]
    token = wire.clip(" cat" * 50, 60)
    assert wire.branch(run) == {"kind": "branch", "run": 2, "parent": 1, "from": 40, "token": token}


@pytest.mark.parametrize(
    ("start", "expected"),
    [(0, range(40, 170)), (40, range(40, 170)), (41, range(41, 170)), (169, [169]), (170, [])],
)
def test_a_pull_of_a_branch_brings_its_own_frames_from_there_on(start, expected):
    run = tree().runs[1]
    found = [frame["step"] for part in wire.steps(run, start) for frame in part["steps"]]
    assert found == list(expected)


def pairs_of(count):
    """Features 1 and 2 of one SAE fire together."""
    trace = Trace(finish="length")
    for n in range(count):
        on = [1, 2] if n % 60 in APART else [3 + n % 3]
        trace.append(TokenStep(" a", 1, n, n, True, features=tuple(Feature(i, 1.0, 7, sae=2) for i in on)))
    return trace


def test_the_end_of_a_run_brings_its_significant_edges():
    trace = pairs_of(60)
    graph = graph_of(trace)
    run = Run(2, trace, graph, [{}] * 60)
    message = wire.end(run)
    assert {k: message[k] for k in ("kind", "run", "total", "finish")} == {
        "kind": "end",
        "run": 2,
        "total": 60,
        "finish": "length",
    }
    [edge] = [e for e in graph.edges().itertuples() if e.significant]
    assert message["edges"] == [[2, 1, 2, 2, len(APART), pytest.approx(-math.log10(edge.q_shift), abs=0.06)]]
    assert next(iter(wire.snapshot([run])))["runs"][0]["edges"] == message["edges"]


@pytest.mark.parametrize(("start", "first"), [(0, 0), (12, 12), (-5, 0), (249, 249)])
def test_a_pull_brings_the_frames_from_there_on(start, first):
    found = [frame for part in wire.steps(run_of(250), start) for frame in part["steps"]]
    assert [frame["step"] for frame in found] == list(range(first, 250))
    assert all(b["step"] == a["step"] + 1 for a, b in pairwise(found))


def test_a_pull_from_beyond_the_end_brings_nothing():
    assert list(wire.steps(run_of(1), 5)) == []


def test_an_edge_is_told_with_all_its_numbers_and_small_ones_are_not_rounded_away():
    graph = graph_of(pairs_of(480))
    numbers = graph.pair((2, 1), (2, 2))
    message = wire.edge((2, 1), (2, 2), numbers, 0.123456)
    assert (message["kind"], message["a"], message["b"], message["cosine"]) == ("edge", [2, 1], [2, 2], 0.123)
    assert {k: message[k] for k in ("n", "n_a", "n_b", "tokens")} == {
        "n": 8 * len(APART),
        "n_a": 8 * len(APART),
        "n_b": 8 * len(APART),
        "tokens": 480,
    }
    assert 0 < message["p"] == numbers["p"] < 1e-50
    assert 0 < message["q"] == numbers["q"] < 1e-50
    assert message["q_shift"] == numbers["q_shift"] > 0
    assert message["jaccard"] == pytest.approx(numbers["jaccard"], abs=1e-5)
    strict(message)


def test_an_edge_between_saes_says_that_nothing_was_tested():
    one = TokenStep(" a", 1, 0, 0, True, features=(Feature(1, 1.0, 2), Feature(5, 1.0, 3, sae=1)))
    message = wire.edge((0, 1), (1, 5), graph_of([one]).pair((0, 1), (1, 5)), 0.9)
    assert [message[name] for name in ("p", "q", "shift")] == [None, None, None]
    assert message["n"] == 1
    strict(message)


def test_similar_nodes_are_those_of_one_sae_and_of_its_neighbours_strongest_first():
    keys = [(0, 4), (0, 9), (1, 4), (2, 4)]
    cosines = np.array([[1.0, 0.5, 0.6, 0.99], [0.5, 1.0, 0.2, 0.7], [0.6, 0.2, 1.0, 0.87654], [0.99, 0.7, 0.87654, 1]])
    message = wire.similar(3, keys, cosines, 0.5)
    assert message == {
        "kind": "similar",
        "run": 3,
        "least": 0.5,
        # (0, 4) and (2, 4) are two layers apart, and (0, 9) and (1, 4) are not alike.
        "edges": [[1, 4, 2, 4, 0.877], [0, 4, 1, 4, 0.6], [0, 4, 0, 9, 0.5]],
    }
    assert wire.similar(3, [], np.zeros((0, 0)), 0.5)["edges"] == []


def test_at_most_five_hundred_similar_pairs_are_told_and_these_are_the_strongest():
    rng = np.random.default_rng(3)
    directions = rng.normal(size=(1500, 8))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    cosines = directions @ directions.T
    keys = [(0, i) for i in range(1500)]
    start = time.perf_counter()
    edges = wire.similar(1, keys, cosines, -1.0)["edges"]
    # The worker has no time to waste: it may be writing.
    assert time.perf_counter() - start < 2
    strongest = np.sort(cosines[np.triu_indices(1500, 1)])[::-1][:500]
    assert [edge[4] for edge in edges] == pytest.approx(strongest.round(3))


def compared():
    saes = (SAEOrigin("s", d_sae=1000),)
    a, b = Trace(Origin("m", saes)), Trace(Origin("m", saes))
    for n in range(4):
        a.append(TokenStep(" a", 1, n, n, True, features=(Feature(1, 2.0, 3, HOSTILE[0]), Feature(2, 1.0 + n, 3))))
    for n in range(2):
        b.append(a[n])
    for n in range(2, 5):
        features = tuple(Feature(i, i / 7, 3) for i in range(1, 900))
        b.append(TokenStep(" b", 2, n, n, True, features=features))
    return a, b


def test_a_comparison_holds_the_largest_differences_of_the_tokens_that_differ():
    a, b = compared()
    table = a.compare(b)
    message = wire.comparison(4, 5, table)
    assert {k: message[k] for k in ("kind", "a", "b", "from")} == {"kind": "comparison", "a": 4, "b": 5, "from": 2}
    assert len(message["rows"]) == 300
    assert message["rows"][0] == [0, 899, "", 0.0, round(899 / 7, 4), 0.0, round(899 / 7, 4), 0, 3]
    assert [row[1] for row in message["rows"]] == table["id"].head(300).tolist()
    strict(message)
    [same] = [wire.comparison(1, 1, a.compare(a))]
    assert (same["from"], same["rows"]) == (4, [])


def explanation():
    """As the engine gives it, one SAE of three features, of which one has no direct share."""
    from axon_widget.engine.attribution import Attribution, Share, Why

    one = Attribution(1, [5, 6, 7], [2.0, 1.0, 0.5], [Share(0.1), Share(-0.9, -0.123456), Share()], parts=None)
    one.error, one.bias, one.rest = Share(0.25, 0.5), Share(0.125), Share(3.0)
    one.final, one.cap = Share(0.5), Share(-0.25)
    one.gap, one.every = Share(1e-5, float("nan")), Share(-0.8, 1.5)
    return Why(9, HOSTILE[0], 77, -0.3333333, 2.825, [one], done=4)


def test_a_reason_is_told_strongest_first_with_what_is_not_known_as_null(monkeypatch):
    from axon_widget.engine.attribution import Why

    monkeypatch.setattr(Why, "total", 6)
    message = wire.why(3, explanation(), lambda feature, sae: f"label {feature} of {sae} " + HOSTILE[0])
    assert {k: message[k] for k in ("kind", "run", "step", "token_id", "logprob", "logit_difference")} == {
        "kind": "why",
        "run": 3,
        "step": 9,
        "token_id": 77,
        "logprob": -0.3333,
        "logit_difference": 2.825,
    }
    assert (message["done"], message["total"]) == (4, 6)
    [one] = message["saes"]
    assert [row[:1] + row[2:] for row in one.pop("features")] == [
        [6, 1.0, -0.9, -0.12346],
        [5, 2.0, 0.1, None],
        [7, 0.5, None, None],
    ]
    assert one == {
        "sae": 1,
        "error": [0.25, 0.5],
        "bias": [0.125, None],
        "rest": [3.0, None],
        "whole_stream": True,
        "final": [0.25, None],
        "gap": [0.0, None],
        "all": [-0.8, 1.5],
    }
    assert strict(message) < 1500


def test_a_feature_of_unknown_frequency_is_dense_where_it_fires_on_half_of_the_text():
    """Every feature fires on every token here: known ones stay as they are known."""
    made = frames("label", tokens=21, features=4, dense=lambda i, _: False if i % 2 else None)
    assert not any("dense" in f for frame in made[:19] for f in frame["features"])
    for frame in made[19:]:
        assert [f.get("dense", False) for f in frame["features"]] == [f["id"] % 2 == 0 for f in frame["features"]]
