"""The co-activation graph against brute force and scipy, on random worlds whose truth is known."""

import math
import sys
from itertools import combinations

import numpy as np
import pytest
from scipy.stats import betabinom, false_discovery_control, fisher_exact, hypergeom

import axon_widget.evidence
import axon_widget.graph
from axon_widget.evidence import BenjaminiHochberg, FalseDiscoveries, by_chance, hypergeometric, score, shift_null
from axon_widget.graph import SIGNIFICANT, Graph, graph_of
from axon_widget.trace import Feature, TokenStep

LAYER = 3


def world(*fires, strengths=None):
    """Steps from matrices of booleans, tokens by features: one for each SAE."""
    return [
        TokenStep(
            f" {n}",
            n,
            n,
            n,
            True,
            features=tuple(
                Feature(int(i), 1.0 if strengths is None else float(strengths[n, i]), LAYER + sae, f"f{i}", sae)
                for sae, row in enumerate(rows)
                for i in sorted(np.flatnonzero(row), key=lambda i: 0 if strengths is None else -strengths[n, i])
            ),
        )
        for n, rows in enumerate(zip(*fires, strict=True))
    ]


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
    nodes = graph_of(world(fires, strengths=strengths), shown=2).nodes()
    top = {(int(i)) for row, s in zip(fires, strengths, strict=True) for i in np.argsort(-(s * row))[:2] if row[i]}
    assert set(nodes.id) == top
    for node in nodes.itertuples():
        assert node.count == fires[:, node.id].sum()
        assert node.peak == pytest.approx((strengths * fires)[:, node.id].max())
        assert (node.sae, node.layer, node.label) == (0, LAYER, f"f{node.id}")


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
    graph = graph_of(world(fires, strengths=strengths), shown)
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
    assert graph.edges().q_shift.is_monotonic_increasing
    assert graph.edges().significant.is_monotonic_decreasing
    assert (graph.edges()["count"] >= 3).all()
    assert (graph.edges(least=5)["count"] >= 5).all()
    assert len(graph.edges(least=5)) < len(graph.edges())


def test_pairs_agree_with_edges(fires):
    graph = graph_of(world(fires), shown=4)
    table = {frozenset([e.a, e.b]): (e.count, e.q_shift) for e in graph.edges(least=2).itertuples()}
    ids = [13, 4, 0, 1, 99, 7, 2, 3]
    pairs = graph.pairs([(0, i) for i in ids])
    found = {frozenset([ids[a], ids[b]]): (count, q) for a, b, count, q in pairs}
    assert found == {pair: pytest.approx(known) for pair, known in table.items() if pair <= set(ids)}
    assert len(pairs) == len(found)
    assert [q for *_, q in pairs] == sorted(q for *_, q in pairs)
    assert graph.pairs([]) == []
    assert graph.pairs([(1, 0), (1, 1)]) == []


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
        assert empty.pairs([(0, 0)]) == []


@pytest.mark.parametrize("n", [7, 40, 500, 100_000])
def test_the_hypergeometric_tail_is_that_of_scipy(n):
    rng = np.random.default_rng(n)
    for most in (n, min(n, 60)):
        a, b = rng.integers(0, most + 1, (2, 200))
        low, high = np.minimum(a, b), np.maximum(a, b)
        together = np.clip(rng.poisson(1.3 * a * b / n) + rng.integers(0, 4, 200), np.maximum(a + b - n, 0), low)
        expected = hypergeom.sf(together - 1, n, low, high)
        np.testing.assert_allclose(hypergeometric(n, a, b, together), expected, rtol=1e-8, atol=1e-290)


def test_an_adjustment_may_be_asked_for_any_p():
    p = np.array([0.2, 0.001, 0.04, 0.001, 0.9])
    adjusted = BenjaminiHochberg(p, 8)
    np.testing.assert_allclose(adjusted(p), false_discovery_control([*p, 1, 1, 1])[:5])
    assert adjusted(np.array([1e-9, 0.03, 0.95])).tolist() == [adjusted(p)[1], adjusted(p)[2], 1]


def runs(rng, tokens, frequency, length):
    """Independent features that are on for runs of neighbouring tokens, of this mean length."""
    fires = np.empty((tokens, len(frequency)), bool)
    on = rng.random(len(frequency)) < frequency
    for token in range(tokens):
        fires[token] = on
        draw = rng.random(len(frequency))
        on = np.where(on, draw > 1 / length, draw < frequency / (1 - frequency) / length)
    return fires


def drawn(n, low, high, pull):
    """The distribution of hits in an urn scheme, draw by draw."""
    chances = np.array([1.0])
    for draw in range(low):
        hit = (high / n + np.arange(len(chances)) * pull) / (1 + draw * pull)
        chances = np.append(chances * (1 - hit), 0) + np.append(0, chances * hit)
    return chances


@pytest.mark.parametrize(("tokens", "length"), [(40, 1.1), (40, 4), (41, 2), (120, 6)])
def test_the_shift_null_is_that_of_brute_force(tokens, length):
    rng = np.random.default_rng(tokens)
    rows = runs(rng, tokens, np.full(40, 0.2), length).T
    rows = rows[(rows.sum(1) > 1) & (rows.sum(1) <= tokens / 2)]
    rows = np.append(rows, rows[:5] ^ (rng.random((5, tokens)) < 0.05), axis=0)
    a, b = np.triu_indices(len(rows), 1)
    kinds = set()
    for one, other, shift, chance in zip(a, b, *shift_null(rows, a, b), strict=True):
        low, high = sorted(int(rows[i].sum()) for i in (one, other))
        together = (rows[one] & rows[other]).sum()
        shifted = np.array([(rows[one] & np.roll(rows[other], s)).sum() for s in range(1, tokens)])
        assert shift == (1 + (shifted >= together).sum()) / tokens
        share = high / tokens
        variance = np.mean((shifted - low * share) ** 2)
        least = hypergeom.var(tokens, low, high)
        if variance <= least:
            kinds.add("as independent")
            assert chance == pytest.approx(hypergeom.sf(together - 1, tokens, low, high))
            continue
        excess = variance / (low * share * (1 - share))
        pull = (excess - 1) / (low - excess)
        chances = drawn(tokens, low, high, pull)
        spread = np.average((np.arange(low + 1) - low * share) ** 2, weights=chances)
        assert spread == pytest.approx(variance)
        assert chance == pytest.approx(chances[together:].sum())
        kinds.add("wider")
        if pull > 0:
            kinds.add("beta-binomial")
            assert chance == pytest.approx(betabinom.sf(together - 1, low, share / pull, (1 - share) / pull), rel=1e-6)
    assert kinds >= {"as independent", "wider"}
    assert length < 2 or "beta-binomial" in kinds


def test_q_with_the_shift_null_is_what_edges_and_pairs_judge_by():
    fires = runs(np.random.default_rng(0), 80, np.full(60, 0.2), 4)
    fires[:, 1] = fires[:, 0] = np.random.default_rng(1).random(80) < 0.3
    graph = graph_of(world(fires), shown=None)
    edges = graph.edges()
    tested = edges.q <= SIGNIFICANT
    a, b = edges.a.to_numpy(), edges.b.to_numpy()
    shift, chance = shift_null(fires.T, a, b)
    np.testing.assert_array_equal(edges["shift"], np.where(tested, shift, np.nan))
    null = np.where(shift <= SIGNIFICANT, np.maximum(edges.p, chance), 1)
    missing = math.comb((fires.sum(0) >= 3).sum(), 2) - len(edges)
    expected = false_discovery_control([*np.where(tested, null, edges.p), *np.ones(missing)])[: len(edges)]
    passed = tested & (expected <= SIGNIFICANT)
    tests = math.comb((fires.sum(0) >= 3).sum(), 2)
    by_shifting = by_chance(fires.T[graph.nodes().id], 3, SIGNIFICANT * passed.sum() / tests, 20)
    false = FalseDiscoveries(null[passed], by_shifting, 20)(null[passed])
    expected[passed] = np.where(false > SIGNIFICANT, false, expected[passed])
    np.testing.assert_allclose(edges.q_shift[tested], expected[tested])
    assert (edges.q_shift[~tested] > SIGNIFICANT).all()
    assert edges.significant.tolist() == (edges.q_shift <= SIGNIFICANT).tolist()
    kept = edges[edges.significant]
    assert [tuple(sorted(pair)) for pair in zip(kept.a, kept.b, strict=True)][:1] == [(0, 1)]
    assert len(kept) < tested.sum() / 3, "here most of what q calls significant comes from runs"
    found = [((0, e.a), (0, e.b), e.count, pytest.approx(e.q_shift)) for e in kept.itertuples()]
    assert graph.significant() == found


def test_copies_of_a_run_are_scored_as_by_brute_force():
    rows = runs(np.random.default_rng(0), 50, np.full(12, 0.25), 3).T
    rows[:2] = rows[0]
    copies, n, expected, kept = 30, 50, [], 0
    random = np.random.default_rng(0)
    for _ in range(copies):
        by = random.integers(n, size=len(rows))
        moved = np.array([np.roll(row, shift) for row, shift in zip(rows, by, strict=True)])
        for a, b in combinations(range(len(rows)), 2):
            count = int((moved[a] & moved[b]).sum())
            p = hypergeom.sf(count - 1, n, moved[a].sum(), moved[b].sum())
            if count >= 3 and p <= 0.2 and by[a] != by[b]:
                expected.append(score(n, p, *shift_null(moved, np.array([a]), np.array([b])))[0])
            kept += by[a] == by[b]
    assert kept, "no two rows stayed as they were"
    found = by_chance(rows, 3, 0.2, copies)
    assert len(found) > 30
    np.testing.assert_allclose(np.sort(found), np.sort(expected), rtol=1e-6)


def test_false_discoveries_are_those_of_the_copies_by_those_there_are():
    scores, chance = np.array([0.2, 1e-6, 0.01, 0.01]), np.array([0.3, 0.1, 0.01, 0.2, 1e-3])
    false = FalseDiscoveries(scores, chance, 9)
    assert false(scores) == pytest.approx([0.5 / 4, 0.1, 0.1, 0.1])  # (1 + 2) / 10 / 3 for the two in the middle
    assert false(np.array([0.0, 0.1, 0.9])) == pytest.approx([0.1, 0.5 / 4, 1])
    assert FalseDiscoveries(np.zeros(0), chance, 9)(scores).tolist() == [1] * 4


@pytest.fixture(scope="module")
def written(tracer):
    """Which feature fires on which token of a run of the embedded model, (features, tokens): those that are shown."""
    run = [step for step in tracer.run("One day a dog", max_tokens=160, seed=2) if step.read]
    shown = {f.id: at for at, f in enumerate({f.id: f for step in run for f in step.features[:15]}.values())}
    rows = np.zeros((len(shown), len(run)), bool)
    for token, step in enumerate(run):
        rows[[shown[f.id] for f in step.features if f.id in shown], token] = True
    return rows


def shifted(rows, seed):
    """Move each row around in a circle by itself: what is left together is chance, or was moved by the same."""
    by = np.random.default_rng(seed).integers(rows.shape[1], size=len(rows))
    return np.array([np.roll(row, shift) for row, shift in zip(rows, by, strict=True)])


def test_a_runs_own_bursts_make_no_edges_where_each_feature_is_shifted_by_itself(written):
    kept = len(graph_of(world(written.T), shown=None).significant())
    assert kept > 500, "as it was written, much goes together"
    wrong = [len(graph_of(world(shifted(written, seed).T), shown=None).significant()) for seed in range(12)]
    assert sum(n > 0 for n in wrong) <= 2, f"edges where there is nothing but chance: {wrong}"


def test_pairs_are_counted_within_an_sae_and_adjusted_over_all():
    first, second = random_world(0), random_world(1)
    graph = graph_of(world(first, second), shown=4)
    nodes, edges = graph.nodes(), graph.edges(least=1)
    assert set(zip(nodes.sae, nodes.layer, strict=True)) == {(0, LAYER), (1, LAYER + 1)}
    assert set(zip(edges.sae, edges.layer, strict=True)) == {(0, LAYER), (1, LAYER + 1)}
    for e in edges.itertuples():
        assert e.count == ((first, second)[e.sae][:, e.a] & (first, second)[e.sae][:, e.b]).sum()
    able = nodes[nodes["count"] >= 3].groupby("sae").size()
    tested = edges[edges["count"] >= 3]
    missing = sum(math.comb(int(n), 2) for n in able) - len(tested)
    np.testing.assert_allclose(tested.q, false_discovery_control([*tested.p, *np.ones(missing)])[: len(tested)])
    keys = list(zip(nodes.sae, nodes.id, strict=True))
    assert graph.keys() == keys
    assert all(keys[a][0] == keys[b][0] for a, b, *_ in graph.pairs(keys))
    assert len(graph.pairs(keys)) == (edges["count"] >= 2).sum()
    for sae, fires in enumerate((first, second)):
        alone = graph_of(world(fires), shown=4)
        assert alone.nodes()["count"].tolist() == nodes[nodes.sae == sae]["count"].tolist()
        assert alone.edges().p.sum() == pytest.approx(edges[(edges.sae == sae) & (edges["count"] >= 3)].p.sum())


def test_a_pair_tells_all_numbers_of_an_edge(fires):
    graph = graph_of(world(fires, fires), shown=None)
    for e in graph.edges(least=1).itertuples():
        pair = graph.pair((e.sae, e.b), (e.sae, e.a))
        counts = (e.count, e.count, fires[:, e.b].sum(), fires[:, e.a].sum(), len(fires))
        assert tuple(pair[name] for name in ("count", "n", "n_a", "n_b", "tokens")) == counts
        for name in ("jaccard", "npmi", "phi", "p", "q", "q_shift"):
            assert pair[name] == pytest.approx(getattr(e, name)), name
        rolls = [(fires[:, e.a] & np.roll(fires[:, e.b], s)).sum() for s in range(len(fires))]
        assert pair["shift"] == sum(n >= e.count for n in rolls) / len(fires)
    other = graph.pair((0, 0), (1, 1))
    assert {name for name, value in other.items() if value is None} == {"p", "q", "shift", "q_shift"}
    assert other["n"] == (fires[:, 0] & fires[:, 1]).sum()
    assert other["phi"] == pytest.approx(np.corrcoef(fires[:, 0], fires[:, 1])[0, 1])
    apart = graph_of(world(np.eye(3, dtype=bool).repeat(2, axis=0)))
    assert apart.pair((0, 0), (0, 1))["npmi"] == -1
    assert apart.pair((0, 0), (0, 1))["q"] == 1
    assert graph_of(world(np.ones((2, 2), bool))).pair((0, 0), (0, 1))["phi"] is None
    for wrong in ((0, 99), (2, 0), (0, 0)):
        with pytest.raises(ValueError, match=r"no node|two nodes"):
            graph.pair((0, 0), wrong)


class Corpus:
    """Counts of a matrix of booleans for each SAE."""

    def __init__(self, *fires):
        self.fires, self.tokens = [f.astype(int) for f in fires], len(fires[0])

    def counts(self, keys):
        [sae] = {sae for sae, _ in keys}
        rows = self.fires[sae][:, [feature for _, feature in keys]]
        return rows.sum(0), rows.T @ rows


def test_a_reference_takes_the_place_of_the_traces_counts():
    corpus = [random_world(seed, tokens=600, features=30) for seed in (0, 1)]
    for fires in corpus:
        fires[:, 9] = False  # the corpus does not know it
    here = [random_world(seed, tokens=30, features=30) for seed in (2, 3)]
    graph = graph_of(world(*here), shown=None, reference=Corpus(*corpus))
    edges = graph.edges(least=2)
    for e in edges.itertuples():
        a, b = corpus[e.sae][:, e.a], corpus[e.sae][:, e.b]
        assert e.count == (here[e.sae][:, e.a] & here[e.sae][:, e.b]).sum()
        assert e.p == pytest.approx(hypergeom.sf((a & b).sum() - 1, len(a), a.sum(), b.sum()), rel=1e-6)
        if 9 in (e.a, e.b):
            assert (e.q, e.significant) == (1, False)
            continue
        assert e.jaccard == pytest.approx((a & b).sum() / (a | b).sum())
        pair = graph.pair((e.sae, e.a), (e.sae, e.b))
        assert (pair["count"], pair["n"], pair["tokens"], pair["shift"]) == (e.count, (a & b).sum(), 600, None)
        assert pair["q"] == pytest.approx(e.q)
    known = [(sae, *ends) for sae in (0, 1) for ends in combinations([i for i in range(30) if i != 9], 2)]
    fired = [[corpus[sae][:, i] for i in ends] for sae, *ends in known]
    p = [hypergeom.sf((a & b).sum() - 1, 600, a.sum(), b.sum()) for a, b in fired]
    expected = dict(zip(known, false_discovery_control(p), strict=True))
    for e in edges[~edges.a.eq(9) & ~edges.b.eq(9)].itertuples():
        assert e.q == pytest.approx(expected[e.sae, min(e.a, e.b), max(e.a, e.b)], rel=1e-6)
    assert edges["shift"].isna().all()
    assert edges.q_shift.equals(edges.q)
    kept = edges[edges.significant]
    assert {(0, 0, 1), (0, 2, 3), (1, 0, 1), (1, 2, 3)} <= {(e.sae, *sorted((e.a, e.b))) for e in kept.itertuples()}
    assert [q for *_, q in graph.significant()] == pytest.approx(kept.q.tolist())
    keys = [(1, 0), (0, 3), (1, 1), (0, 2), (5, 5)]
    assert {pair[:2] for pair in graph.pairs(keys) if pair[3] <= SIGNIFICANT} == {(0, 2), (1, 3)}


def test_a_token_costs_the_same_late_as_early(monkeypatch):
    """Counted are the lines of Python that run, and the pairs and tokens that NumPy is given in one call."""
    fires = runs(np.random.default_rng(0), 500, np.random.default_rng(1).uniform(0.02, 0.2, 250), 2)
    strengths = np.random.default_rng(2).random(fires.shape) + 0.1  # so that many fire long before they are shown
    files = {axon_widget.graph.__file__, axon_widget.evidence.__file__}
    lines = pairs = 0

    def count(frame, event, _):
        nonlocal lines
        lines += event == "line"
        return count if frame.f_code.co_filename in files else None

    def counting(function, work):
        def counted(*given):
            nonlocal pairs
            pairs += work(*given)
            return function(*given)

        return counted

    graph, costs = Graph(), []
    counted = counting(hypergeometric, lambda n, n_a, *_: len(n_a))
    monkeypatch.setattr(axon_widget.graph, "hypergeometric", counted)
    counted = counting(shift_null, lambda rows, a, _: len(a) * rows.shape[1] // 8)
    monkeypatch.setattr(axon_widget.graph, "shift_null", counted)
    counted = counting(by_chance, lambda rows, *given: given[-1] * (rows.sum(0) ** 2).sum() // 40)
    monkeypatch.setattr(axon_widget.graph, "by_chance", counted)
    before = sys.gettrace()
    for step in world(fires, strengths=strengths):
        lines = pairs = 0
        shown = [(0, f.id) for f in step.features[:6]]
        sys.settrace(count)
        try:
            graph.add(step, 6)
            graph.pairs(shown)
        finally:
            sys.settrace(before)
        costs.append((lines, pairs))
    early, late = np.mean(costs[100:200], axis=0), np.mean(costs[400:], axis=0)
    assert early.min() > 500, "nothing was counted"
    assert (late <= 1.5 * early).all(), f"{early} lines and pairs a token, and later {late}"
    # What was put off is made good.
    np.testing.assert_allclose(graph.edges().q_shift, graph_of(world(fires, strengths=strengths), 6).edges().q_shift)


def null_world(rng, planted=0, tokens=40, features=24_576, firing=60):
    """Independent features with log-normal frequencies, about sixty on each token; pairs that do go together, 12 times.

    As it is all but empty only the features that fire at all are drawn token by token.
    """
    frequency = rng.lognormal(0, 1.5, features)
    frequency = np.minimum(frequency * firing / frequency.sum(), 0.5)
    times = rng.binomial(tokens, frequency)
    times[: 2 * planted] = 0
    on = np.flatnonzero(times)
    where = rng.random((len(on), tokens)).argsort(axis=1)
    fired = [[(int(i), rng.random() + 0.1) for i in on[(where < times[on, None])[:, t]]] for t in range(tokens)]
    for pair in range(planted):
        for token in rng.permutation(tokens)[:12]:
            fired[token] += [(2 * pair + i, rng.random() + 2) for i in (0, 1)]  # strong enough to be shown
    return [
        TokenStep("", t, t, t, True, features=tuple(Feature(i, a, LAYER) for i, a in sorted(f, key=lambda f: -f[1])))
        for t, f in enumerate(fired)
    ]


def test_independent_features_have_no_edges():
    drew, wrong = [], 0
    for seed in range(200):
        graph = graph_of(null_world(np.random.default_rng(seed)))
        wrong += bool(graph.significant())
        if seed < 5:
            drew.append(len(graph.edges(least=1)))
    assert min(drew) > 300, "co-firing alone must draw many edges here, or there is nothing to tell apart"
    assert wrong <= 0.05 * 200


def test_planted_pairs_are_found_among_independent_features():
    found = wrong = 0
    for seed in range(200):
        pairs = graph_of(null_world(np.random.default_rng(1000 + seed), planted=1)).significant()
        planted = [pair for pair in pairs if {pair[0], pair[1]} == {(0, 0), (0, 1)}]
        found += len(planted)
        wrong += len(planted) < len(pairs)
    assert found >= 0.95 * 200
    assert wrong <= 0.05 * 200


@pytest.mark.parametrize(("tokens", "length"), [(40, 1.5), (40, 3), (120, 2)])
def test_features_that_fire_in_runs_have_no_edges_for_that(tokens, length):
    by_q = by_both = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        frequency = rng.lognormal(0, 1, 2000)
        fires = runs(rng, tokens, np.minimum(frequency * 40 / frequency.sum(), 0.5), length)
        edges = graph_of(world(fires, strengths=rng.random(fires.shape) + 0.1)).edges()
        by_q += (edges.q <= SIGNIFICANT).any()
        by_both += edges.significant.any()
    assert by_q > 0.12 * 100
    assert by_both <= 0.08 * 100


def test_a_feature_fires_often_from_half_of_twenty_tokens_on():
    fires = np.zeros((24, 3), bool)
    fires[::2, 0], fires[1::3, 1], fires[:, 2] = True, True, True
    graph = Graph()
    for n, step in enumerate(world(fires), start=1):
        graph.add(step)
        expected = [n >= 20 and fires[:n, i].mean() >= 0.5 for i in range(3)]
        assert [graph.often((0, i)) for i in range(3)] == expected
    assert not graph.often((0, 99))
