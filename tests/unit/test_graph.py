"""The co-activation graph against brute force and scipy, on random worlds whose truth is known."""

import math
from itertools import combinations

import numpy as np
import pytest
from scipy.stats import false_discovery_control, fisher_exact

from axon_widget.graph import SIGNIFICANT, Graph, graph_of
from axon_widget.trace import Feature, TokenStep

LAYER = 3


def world(fires, strengths=None):
    """Steps from a matrix of booleans, tokens by features."""
    steps = []
    for n, row in enumerate(fires):
        ids = np.flatnonzero(row)
        values = np.ones(len(ids)) if strengths is None else strengths[n][ids]
        order = np.argsort(-values, kind="stable")
        features = tuple(Feature(int(ids[i]), float(values[i]), LAYER, f"f{ids[i]}") for i in order)
        steps.append(TokenStep(f" {n}", n, n, n, True, features=features))
    return steps


def random_world(seed, tokens=40, features=14, together=((0, 1), (2, 3))):
    rng = np.random.default_rng(seed)
    fires = rng.random((tokens, features)) < rng.uniform(0.1, 0.5, features)
    for a, b in together:
        fires[:, b] = fires[:, a] ^ (rng.random(tokens) < 0.04)
    return fires


@pytest.fixture(params=range(4))
def fires(request):
    return random_world(request.param)


def test_nodes_are_the_features_shown_and_count_all_their_firings(fires):
    strengths = np.random.default_rng(9).random(fires.shape) + 0.1
    nodes = graph_of(world(fires, strengths), shown=2).nodes()
    top = {(int(i)) for row, s in zip(fires, strengths, strict=True) for i in np.argsort(-(s * row))[:2] if row[i]}
    assert set(nodes.id) == top
    for node in nodes.itertuples():
        assert node.count == fires[:, node.id].sum()
        assert node.peak == pytest.approx((strengths * fires)[:, node.id].max())
        assert (node.layer, node.label) == (LAYER, f"f{node.id}")


@pytest.mark.parametrize("shown", [None, 2])
def test_counts_and_measures_are_those_of_brute_force(fires, shown):
    n = len(fires)
    graph = graph_of(world(fires), shown)
    edges = graph.edges(least=1)
    nodes = sorted(graph.nodes().id)
    pairs = {(i, j) for i, j in combinations(nodes, 2) if (fires[:, i] & fires[:, j]).any()}
    assert {tuple(sorted((e.a, e.b))) for e in edges.itertuples()} == pairs
    for e in edges.itertuples():
        a, b = fires[:, e.a], fires[:, e.b]
        both = int((a & b).sum())
        assert e.count == both
        assert e.jaccard == pytest.approx(both / (a | b).sum())
        expected = math.log((both / n) / (a.mean() * b.mean())) / -math.log(both / n) if both < n else 1
        assert e.npmi == pytest.approx(expected)
        if 0 < a.sum() < n and 0 < b.sum() < n:
            assert e.phi == pytest.approx(np.corrcoef(a, b)[0, 1])
        table = [[both, int((a & ~b).sum())], [int((~a & b).sum()), int((~a & ~b).sum())]]
        assert e.p == pytest.approx(fisher_exact(table, alternative="greater").pvalue)


@pytest.mark.parametrize("shown", [None, 3])
def test_q_is_benjamini_hochberg_over_all_pairs_that_could_count(fires, shown):
    fires[2:, 13] = False  # on two tokens, so in no pair that counts three
    fires[:2, 13] = True
    strengths = np.ones(fires.shape)
    strengths[:, 13] = 2  # and shown
    graph = graph_of(world(fires, strengths), shown)
    edges, nodes = graph.edges(least=1), graph.nodes()
    tested = edges[edges["count"] >= 3]
    able = int((nodes["count"] >= 3).sum())
    assert able < len(nodes)
    missing = np.ones(able * (able - 1) // 2 - len(tested))
    expected = false_discovery_control(np.concatenate([tested.p, missing]))[: len(tested)]
    np.testing.assert_allclose(tested.q, expected, rtol=1e-9)
    assert (edges[edges["count"] < 3].q == 1).all()
    assert (tested.q <= SIGNIFICANT).any(), "no pair is significant: this would show nothing"


def test_edges_come_most_significant_first_and_may_be_cut(fires):
    graph = graph_of(world(fires))
    assert graph.edges().q.is_monotonic_increasing
    assert (graph.edges()["count"] >= 3).all()
    assert (graph.edges(least=5)["count"] >= 5).all()
    assert len(graph.edges(least=5)) < len(graph.edges())


def test_pairs_agree_with_edges(fires):
    graph = graph_of(world(fires), shown=4)
    table = {frozenset([e.a, e.b]): (e.count, e.q) for e in graph.edges(least=2).itertuples()}
    ids = [13, 4, 0, 1, 99, 7, 2, 3]
    pairs = graph.pairs([(LAYER, i) for i in ids])
    found = {frozenset([ids[a], ids[b]]): (count, q) for a, b, count, q in pairs}
    assert found == {pair: pytest.approx(known) for pair, known in table.items() if pair <= set(ids)}
    assert len(pairs) == len(found)
    assert [q for *_, q in pairs] == sorted(q for *_, q in pairs)
    assert graph.pairs([]) == []
    assert graph.pairs([(LAYER + 1, 0), (LAYER + 1, 1)]) == []


def test_it_is_the_same_at_every_token_as_built_at_once(fires):
    steps, grown = world(fires), Graph()
    for n, step in enumerate(steps):
        grown.add(step, 3)
        if n % 10 == 9:
            assert grown.edges(1).equals(graph_of(steps[: n + 1], 3).edges(1))


def test_special_tokens_do_not_count(fires):
    steps = world(fires)
    special = TokenStep("", 0, 0, 0, False, special=True)
    graph = graph_of([special, *steps, special])
    assert graph.tokens == len(steps)
    assert graph.edges().equals(graph_of(steps).edges())


def test_more_nodes_than_fit_at_first():
    graph = graph_of(world(random_world(5, tokens=40, features=300, together=())), shown=None)
    assert len(graph.nodes()) == 300
    fires = random_world(5, tokens=40, features=300, together=())
    for e in graph.edges(least=12).itertuples():
        assert e.count == (fires[:, e.a] & fires[:, e.b]).sum()


def test_features_that_always_fire_and_an_empty_graph():
    graph = graph_of(world(np.ones((6, 3), bool)))
    assert graph.edges().npmi.tolist() == [1, 1, 1]
    assert graph.edges().q.tolist() == [1, 1, 1]  # no surprise in it
    assert graph.edges().p.tolist() == [1, 1, 1]
    for empty in (Graph(), graph_of(world(np.zeros((5, 4), bool)))):
        assert empty.nodes().empty
        assert empty.edges().empty
        assert empty.pairs([(LAYER, 0)]) == []


def null_world(rng, tokens=40, features=24_576, firing=60):
    """Independent features with log-normal frequencies, about sixty on each token."""
    frequency = rng.lognormal(0, 1.5, features)
    frequency = np.minimum(frequency * firing / frequency.sum(), 0.5)
    return rng.random((tokens, features)) < frequency, rng.random((tokens, features)) + 0.1


def test_independent_features_have_no_edges():
    significant, shown = [], []
    for seed in range(12):
        steps = world(*null_world(np.random.default_rng(seed)))
        edges = graph_of(steps, shown=15).edges(least=1)
        significant.append(int((edges.q <= SIGNIFICANT).sum()))
        shown.append(len(edges))
    assert min(shown) > 300, "co-firing alone must draw many edges here, or there is nothing to tell apart"
    # Each world has a false edge with a chance of at most 5 %: three of twelve are a chance of 2 %.
    assert sum(count > 0 for count in significant) <= 3
    assert sum(significant) <= 6


def test_planted_pairs_are_found_among_independent_features():
    found, false = 0, 0
    for seed in range(6):
        rng = np.random.default_rng(100 + seed)
        fires, strengths = null_world(rng)
        for pair in range(4):
            on = rng.permutation(40)[:10]
            for feature in (2 * pair, 2 * pair + 1):
                fires[:, feature] = False
                fires[on, feature] = True
                strengths[:, feature] += 2  # strong enough to be shown
        edges = graph_of(world(fires, strengths), shown=15).edges()
        pairs = {frozenset([e.a, e.b]) for e in edges[edges.q <= SIGNIFICANT].itertuples()}
        planted = {frozenset([2 * p, 2 * p + 1]) for p in range(4)}
        found += len(pairs & planted)
        false += len(pairs - planted)
    assert found == 24
    assert false <= 4
