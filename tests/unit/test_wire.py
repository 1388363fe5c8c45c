"""What goes to the browser is small, is JSON, and can be had again."""

import json
import math
from itertools import pairwise

import pytest

from axon_widget import wire
from axon_widget.graph import Graph
from axon_widget.labels import Label
from axon_widget.trace import Alternative, Feature, TokenStep

HOSTILE = [
    "<script>alert('x')</script>" * 200,
    "😀👩‍👩‍👧" * 1000,
    "\x00\x01\x1f\u2028\u2029" * 1000,
    '"\\/\n' * 1250,
    "中文" * 2500,
    "\ud800" * 5000,
]


def firing(features, label=""):
    return tuple(Feature(24_575 - i, 123.456789 - i, 8, label) for i in range(features))


def step(n=0, label="", features=30, token=" word", alternatives=5, **fields):
    known = {
        "token": token,
        "token_id": 50_256,
        "position": n,
        "step": n,
        "generated": True,
        "logprob": -12.345678901234,
        "alternatives": tuple(Alternative(token, 50_256 - i, 0.123456789) for i in range(alternatives)),
        "features": firing(features, label),
        "explained_variance": 0.987654321,
        "cosine": 0.9,
        "milliseconds": 123.456789,
    }
    return TokenStep(**(known | fields))


def frames(label, tokens=6, features=60, feature_k=30, **fields):
    """Every feature fires on every token: as many edges as there can be."""
    graph, made = Graph(), []
    for n in range(tokens):
        one = step(n, label, features, **fields)
        graph.add(one, feature_k)
        made.append(wire.frame(one, graph, 1_000_000, feature_k, 0.01))
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
        "alternatives": [[" word", 0.1235]] * 5,
        "features": [{"id": 24_575 - i, "label": "a label", "activation": 123.4568 - i, "layer": 8} for i in range(3)],
        "edges": [],
        "l0": 3,
        "explained_variance": 0.988,
        "ms": 123.46,
    }


def test_only_the_strongest_above_the_threshold_are_shown():
    graph = Graph()
    one = step(features=60)
    graph.add(one)
    assert len(wire.frame(one, graph, 1, 5, 0.01)["features"]) == 5
    assert len(wire.frame(one, graph, 1, 30, 121.0)["features"]) == 3
    assert wire.frame(one, graph, 1, 30, 500)["features"] == []
    assert wire.frame(one, graph, 1, 5, 500)["l0"] == 60


def test_edges_join_the_frames_own_features_and_carry_their_significance():
    graph = Graph()
    for n in range(30):
        on = [1, 2, 3] if n % 3 == 0 else [4, 5]
        one = TokenStep(" a", 1, n, n, True, features=tuple(Feature(i, 9.0 - i, 0) for i in on))
        graph.add(one)
    one = TokenStep(" a", 1, 30, 30, True, features=tuple(Feature(i, 9.0 - i, 0) for i in (4, 1, 2)))
    graph.add(one)
    frame = wire.frame(one, graph, 1, 15, 0.01)
    significance = {frozenset([e.a, e.b]): -math.log10(e.q) for e in graph.edges(least=2).itertuples()}
    assert {frozenset([a, b]) for a, b, *_ in frame["edges"]} == {frozenset([1, 2])}
    [[a, b, count, s]] = frame["edges"]
    assert {frame["features"][i]["id"] for i in (a, b)} == {1, 2}
    assert count == 11
    assert s == pytest.approx(significance[frozenset([1, 2])], abs=0.06)
    assert s > 1.3


def test_numbers_that_are_none_do_not_reach_the_browser():
    graph = Graph()
    one = step(logprob=float("-inf"), explained_variance=float("nan"), features=0)
    graph.add(one)
    frame = wire.frame(one, graph, 1, 15, 0.01)
    assert frame["logprob"] is None
    assert frame["explained_variance"] is None
    strict(frame)


@pytest.mark.parametrize(
    ("text", "length", "expected"),
    [("abc", 3, "abc"), ("abcd", 3, "ab…"), ("abcd", 1, "…"), ("abcd", 0, ""), ("", 0, ""), ("😀😀😀", 2, "😀…")],
)
def test_clip(text, length, expected):
    assert wire.clip(text, length) == expected


def test_a_features_message_is_bounded_and_is_json():
    label = Label(HOSTILE[0], "a source", 0.5, ((HOSTILE[1], 4.11111),), (HOSTILE[2],), (HOSTILE[3],), 0.01, 6.5, True)
    message = wire.feature_message(77, 3, label, "")
    assert strict(message) < 6000
    assert message["kind"] == "feature"
    assert (message["id"], message["layer"], message["score"], message["dense"]) == (77, 3, 0.5, True)
    assert message["fires_on"][0][1] == 4.111


def test_a_snapshot_brings_all_frames_in_order():
    made = [{"run": 3, "step": n} for n in range(257)]
    head, *parts = wire.snapshot(3, made, "eos", Graph())
    assert head == {"kind": "snapshot", "run": 3, "total": 257, "finish": "eos", "edges": []}
    assert {part["kind"] for part in parts} == {"steps"}
    assert {part["run"] for part in parts} == {3}
    assert all(len(part["steps"]) <= 100 for part in parts)
    assert [frame for part in parts for frame in part["steps"]] == made
    assert len(list(wire.snapshot(0, [], "", Graph()))) == 1


def test_the_end_of_a_run_brings_its_significant_edges():
    graph = Graph()
    for n in range(40):
        on = [1, 2] if n % 4 == 0 else [3 + n % 3]
        graph.add(TokenStep(" a", 1, n, n, True, features=tuple(Feature(i, 1.0, 7) for i in on)))
    message = wire.end(2, 40, "length", graph)
    assert {k: message[k] for k in ("kind", "run", "total", "finish")} == {
        "kind": "end",
        "run": 2,
        "total": 40,
        "finish": "length",
    }
    [edge] = [e for e in graph.edges().itertuples() if e.q <= 0.05]
    assert message["edges"] == [[7, 1, 7, 2, 10, pytest.approx(-math.log10(edge.q), abs=0.06)]]
    assert next(iter(wire.snapshot(2, [], "", graph)))["edges"] == message["edges"]


@pytest.mark.parametrize(("start", "first"), [(0, 0), (12, 12), (-5, 0), (249, 249)])
def test_a_pull_brings_the_frames_from_there_on(start, first):
    made = [{"run": 3, "step": n} for n in range(250)]
    found = [frame for part in wire.steps(3, made, start) for frame in part["steps"]]
    assert [frame["step"] for frame in found] == list(range(first, 250))
    assert all(b["step"] == a["step"] + 1 for a, b in pairwise(found))


def test_a_pull_from_beyond_the_end_brings_nothing():
    assert list(wire.steps(3, [{"step": 0}], 5)) == []
