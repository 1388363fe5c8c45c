"""The rules that labels are: features that are planted in a made-up text are found, others are said to be unclear."""

import numpy as np
import pytest

from axon_widget.embedded.firing import Firing, Text
from axon_widget.embedded.label import UNCLEAR, Material, describe, fires_on, name, top_contexts
from axon_widget.embedded.rules import NEAR, PLACES, Condition, Half, Lexicon, Rule, draw, joined, peaks, score, visible

CONTEXT, ROWS = 64, 400
RARE = [f" w{chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(190)]
WORDS = ["", " the", " dog", " cat", " ran", " Lily", ".", " 42", "ing", "\n", *RARE]
THE, DOG, CAT, LILY, STOP = (WORDS.index(word) for word in (" the", " dog", " cat", " Lily", "."))


@pytest.fixture(scope="module")
def material():
    rng = np.random.default_rng(5)
    weights = 1 / np.arange(2, len(WORDS) + 1)  # a few words are frequent, most are rare, as they are
    tokens = 1 + rng.choice(len(WORDS) - 1, (ROWS, CONTEXT), p=weights / weights.sum())
    tokens[:, 0] = 0
    counted = np.ones((ROWS, CONTEXT), bool)
    counted[:, 0] = False
    counted[::7, 50:] = False
    return Material.of(Text(tokens.reshape(-1), counted.reshape(-1), CONTEXT), WORDS)


def told(material, where, dense=False):
    """Label a feature that fires where an array tells, with activations that tell nothing."""
    places = np.flatnonzero(where & material.text.counted)
    values = np.random.default_rng(1).uniform(0.1, 3, len(places)).astype(np.float32)
    return name(material, 0, places, values, dense)


def shifted(material, token, by):
    """Tell which tokens have a token so many places before them in their row."""
    rows = (material.text.tokens == token).reshape(ROWS, CONTEXT)
    moved = np.zeros_like(rows)
    moved[:, max(by, 0) : CONTEXT + min(by, 0)] = rows[:, max(-by, 0) : CONTEXT - max(by, 0)]
    return moved.reshape(-1)


def test_a_feature_of_one_word(material):
    assert told(material, material.text.tokens == DOG) == ("dog", "dog", 1.0)


def test_a_feature_of_some_words_names_them(material):
    label, rule, worth = told(material, np.isin(material.text.tokens, [DOG, CAT, LILY]))
    assert set(label.split(", ")) == {"dog", "cat", "Lily"} == set(rule.split(", "))
    assert worth == 1.0


@pytest.mark.parametrize(("by", "said"), [(1, "after dog"), (-1, "before dog")])
def test_a_feature_of_what_stands_beside_a_word(material, by, said):
    label, _, worth = told(material, shifted(material, DOG, by))
    assert label == said
    assert worth >= 0.97  # a neighbour of no counted token in a drawn snippet is all that can be missed


def test_a_feature_of_one_word_after_another(material):
    label, rule, worth = told(material, (material.text.tokens == THE) & shifted(material, STOP, 1))
    assert label == rule == "the after ‘.’"
    assert worth == 1.0


def test_a_feature_that_fires_within_four_words(material):
    fired = np.any([shifted(material, LILY, by) for by in (1, 2, 3, 4)], axis=0)
    label, _, worth = told(material, fired)
    assert label == "soon after Lily"
    assert worth >= 0.97


def test_a_feature_of_a_topic(material):
    rng = np.random.default_rng(2)
    near = np.any([shifted(material, LILY, by) for by in range(16)], axis=0)
    label, _, worth = told(material, near & (rng.random(len(near)) < 0.5))
    assert label == "near Lily"
    assert worth >= 0.95


def test_a_feature_of_the_beginning_and_of_a_class(material):
    at = np.arange(len(material.text.tokens)) % CONTEXT
    assert told(material, at <= 4)[::2] == ("the first 4 tokens of a text", 1.0)
    assert told(material, np.isin(material.text.tokens, [WORDS.index(" 42")]))[0] in ("42", "numbers")


def test_a_feature_that_fires_by_chance_is_unclear(material):
    rng = np.random.default_rng(3)
    for _ in range(5):
        label, rule, worth = told(material, rng.random(len(material.text.tokens)) < 0.02)
        assert label == f"{UNCLEAR} #0"
        assert worth is None or 0.3 < worth < 0.65
        assert rule == "" or rule.startswith("best guess: ")


def test_a_feature_that_fires_too_seldom_is_not_scored(material):
    few = np.zeros(len(material.text.tokens), bool)
    few[np.flatnonzero((material.text.tokens == DOG) & material.text.counted)[:12]] = True
    assert told(material, few) == (f"{UNCLEAR} #0", "", None)


def test_a_feature_that_fires_everywhere_is_named_dense(material):
    everywhere = np.random.default_rng(4).random(len(material.text.tokens)) < 0.7
    label, _, worth = told(material, everywhere, dense=True)
    assert (label, worth) == ("dense: fires on 70% of tokens", None)


def test_a_score_is_what_is_found_and_what_is_left_alone(material):
    half = Half(material.text, material.lexicon, 1, 300, seed=9)
    tokens, counted = material.text.tokens, material.text.counted
    places = np.flatnonzero((np.isin(tokens, [THE, CAT]) | shifted(material, LILY, 1)) & counted)
    positives, silent = places[half.mine(places)][:150], half.silent(places)
    number = len(WORDS)  # the first class
    for rule in (
        Rule((Condition(PLACES[0], (CAT, DOG)),), 0),
        Rule((Condition(PLACES[1], (THE, STOP, number)),), 0),  # after numbers too
        Rule((Condition(PLACES[0], (STOP,)), Condition(NEAR, (LILY,))), 0),
    ):

        def there(place, condition):
            where, row = condition.place, place // CONTEXT
            around = [at for at in range(place + where.first, place + where.last + 1) if at // CONTEXT == row]
            return any(
                tokens[at] in condition.names or (number in condition.names and "42" in WORDS[tokens[at]])
                for at in around
            )

        def holds(place, rule=rule):
            return counted[place] and all(there(place, condition) for condition in rule.conditions)

        found = np.mean([holds(place) for place in positives])
        alone = np.mean([not any(holds(16 * one + i) for i in range(16)) for one in half.snippets[silent]])
        assert score(half, rule, positives, silent) == pytest.approx((found + alone) / 2)
    always = Rule((Condition(PLACES[0], tuple(range(1, len(WORDS)))),), 0)
    assert score(half, always, positives, silent) == 0.5


def test_the_halves_share_no_row_and_silent_is_silent(material):
    rows = [set(half.places // CONTEXT) for half in (material.making, material.scoring)]
    assert not rows[0] & rows[1]
    fired = np.flatnonzero(material.text.tokens == THE)
    quiet = material.making.snippets[material.making.silent(fired)]
    assert len(quiet)
    assert THE not in material.text.tokens.reshape(-1, 16)[quiet]


def test_firings_are_drawn_in_proportion_to_their_activation():
    rng = np.random.default_rng(0)
    places, values = np.arange(0, 16 * 5000, 4), np.full(20_000, 0.1, np.float32)
    values[rng.permutation(20_000)[:50]] = 10.0  # few are strong
    at, found = peaks(places, values)
    assert len(at) == 5000 == len(set(at // 16))  # a snippet is there once, with its strongest token
    strong = set(places[values == 10]) & set(at)
    assert set(at[found == 10]) == strong
    share = 10 * len(strong) / found.sum()
    assert np.mean([place in strong for place in draw(at, found, 100, rng)]) == pytest.approx(share, abs=0.02)
    assert sorted(draw(np.array([3, 7]), np.array([1.0, 3.0]), 8, rng)) == [3] * 2 + [7] * 6


def test_top_contexts_are_of_different_rows_and_hold_what_fires(material):
    places = np.flatnonzero(material.text.counted)[::3]
    values = np.linspace(0.1, 1, len(places), dtype=np.float32)
    contexts = top_contexts(material.text, places, values)
    assert len({place // CONTEXT for place, _ in contexts}) == len(contexts) == 10
    assert contexts[0][0] == places[-1]
    fired = dict(zip(places.tolist(), values.tolist(), strict=True))
    for place, around in contexts:
        expected = [fired.get(place + i, 0) if (place + i) // CONTEXT == place // CONTEXT else 0 for i in range(-15, 7)]
        assert around == pytest.approx(expected)
    few = places[places < CONTEXT]  # one row alone: they do not stand in each other's text
    chosen = sorted(place for place, _ in top_contexts(material.text, few, values[: len(few)]))
    assert len(chosen) > 1
    assert min(np.diff(chosen)) > 21


def test_a_feature_fires_on_what_it_is_stronger_on_than_on_average(material):
    places = np.flatnonzero(material.text.counted)
    values = np.where(material.text.tokens[places] == CAT, 2, 0.05).astype(np.float32)
    assert fires_on(material, places, values) == [(CAT, 2.0)]


def test_every_feature_that_fired_is_described(material):
    tokens = material.text.tokens
    at = [np.flatnonzero((tokens == word) & material.text.counted) for word in (DOG, CAT)]
    features = np.repeat([0, 2], [len(one) for one in at])
    order = np.argsort(np.concatenate(at))  # as the text is read
    places, values = np.concatenate(at)[order], np.linspace(1, 2, len(features)).astype(np.float32)
    firing = Firing(places, features[order], values, 3)
    assert (np.diff(firing.of(0)[0]) > 0).all()
    rows = list(describe(material, firing, iter([([THE], [CAT])] * 3)))
    assert [(feature, summary.label) for feature, summary, _ in rows] == [(0, "dog"), (2, "cat")]
    _, summary, more = rows[0]
    assert summary.frequency == pytest.approx(len(at[0]) / material.text.counted.sum(), rel=1e-3)
    assert summary.max_activation == pytest.approx(firing.of(0)[1].max(), abs=1e-4)
    assert (more.fires_on[0][0], more.boosts, more.suppresses) == (DOG, [THE], [CAT])


def test_how_a_label_is_written():
    texts = (" girl", "ing", ".", " ", "\n", "Yes")
    assert [visible(text) for text in texts] == ["girl", "-ing", "‘.’", "‘␣’", "↵", "Yes"]
    assert joined(["girl", "Girl", "boy", "dragon"], 10) == "girl, boy, …"
    assert joined(["girl", "boy"]) == "girl, boy"
    lexicon = Lexicon(WORDS)
    rule = Rule((Condition(PLACES[0], (THE,)), Condition(NEAR, (DOG, CAT))), 0)
    assert rule.said(lexicon) == "the near dog, cat"
