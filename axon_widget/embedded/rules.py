"""Rules that say on which tokens a feature fires: what a label is, and what its score is a score of.

A rule holds on a token, or it does not. It names tokens, or classes of them, and where they stand: on the token itself,
right before it, up to four before it, up to 15 before it or on it, or right after it. It may ask for two such things
at once, the first of them on the token itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from axon_widget.embedded.firing import Bools, Floats, Ints, Text

SNIPPET = 16
"""Tokens in a snippet."""
MOST = 24  # tokens or classes that one condition names
LEAST_GAIN = 0.005  # each of them has to add so much to the score
WORTH = 0.02  # and a less simple rule has to be so much better than a simpler one
CANDIDATES = 96
LONG = 24  # characters of a condition in a label, beyond which it says "…"


class Place(NamedTuple):
    """Where a condition looks, from the token on: the first and the last token, and how that is said."""

    first: int
    last: int
    said: str


PLACES = (Place(0, 0, ""), Place(-1, -1, "after "), Place(1, 1, "before "), Place(-4, -1, "soon after "))
NEAR = Place(1 - SNIPPET, 0, "near ")
ALL = (*PLACES, NEAR)
"""From simple to less simple."""

CLASSES: tuple[tuple[str, Callable[[str], bool]], ...] = (
    ("numbers", lambda text: any(c.isdigit() for c in text)),
    ("capitalised words", lambda text: text.strip()[:1].isupper() and not text.strip().isupper()),
    ("upper-case letters", lambda text: text.strip().isupper()),
    ("pieces of words", lambda text: text[:1].islower()),
    ("words in -ing", lambda text: text[:1] == " " and len(text) > 5 and text.endswith("ing")),
    ("words in -ed", lambda text: text[:1] == " " and len(text) > 4 and text.endswith("ed")),
    ("words in -ly", lambda text: text[:1] == " " and len(text) > 4 and text.endswith("ly")),
    ("words in -s", lambda text: text[:1] == " " and len(text) > 4 and text.endswith("s") and not text.endswith("ss")),
    ("ends of sentences", lambda text: text.strip()[:1] in {".", "!", "?"} and not any(c.isalnum() for c in text)),
    ("quotation marks", lambda text: any(c in '"“”«»' for c in text)),
    ("brackets", lambda text: any(c in "()[]{}<>" for c in text)),
    ("line breaks", lambda text: "\n" in text),
    ("signs", lambda text: text.strip() != "" and not any(c.isalnum() for c in text)),
    ("other scripts", lambda text: any(ord(c) > 0x24F and c.isalpha() for c in text)),
)
BEGINNINGS = (1, 2, 4, 8, 16, 32, 64)
"""A token is one of the first so many after BOS: the last columns of the first place."""


class Lexicon:
    """The tokens of a vocabulary, the classes they belong to, and how they are written in a label.

    Everything that a condition may name has a number: a token its id, and the classes come after the tokens.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = texts
        self.size = len(texts)
        self.classes = np.array([[bool(text) and test(text) for _, test in CLASSES] for text in (*texts, "")])
        self.named = np.array([bool(text) for text in texts])

    def said(self, number: int) -> str:
        """Write what a condition names."""
        if number < self.size:
            return visible(self.texts[number])
        number -= self.size
        if number < len(CLASSES):
            return CLASSES[number][0]
        first = BEGINNINGS[number - len(CLASSES)]
        return f"the first {first} tokens of a text" if first > 1 else "the first token of a text"


@dataclass(frozen=True)
class Condition:
    """One of some tokens or classes stands at a place."""

    place: Place
    names: tuple[int, ...]

    def said(self, lexicon: Lexicon, room: int | None = None) -> str:
        """Write it out, in so many characters, where not all that it names needs to be told."""
        return self.place.said + joined([lexicon.said(number) for number in self.names], room)


class Rule(NamedTuple):
    """Conditions that hold at once, and the score of them where they were found."""

    conditions: tuple[Condition, ...]
    score: float

    def said(self, lexicon: Lexicon, room: int | None = None) -> str:
        """Write it out; `room` is that of each condition."""
        return " ".join(condition.said(lexicon, room) for condition in self.conditions)


def visible(text: str) -> str:
    """Write a token: pieces of words with a hyphen, signs in quotation marks."""
    bare = text.strip(" ").replace("\n", "↵").replace("\t", "⇥")
    if not any(character.isalnum() for character in bare):
        return bare if bare and not bare.strip("↵") else f"‘{bare or '␣'}’"
    return f"-{bare}" if text[:1].islower() else bare


def joined(names: Sequence[str], room: int | None = None) -> str:
    """Join different names, the first of them and as many more as there is room for."""
    chosen: dict[str, str] = {}
    for name in names:
        chosen.setdefault(name.lower(), name)
    told = list(chosen.values())
    shown = told[:1]
    for name in told[1:]:
        if room is None or len(", ".join([*shown, name])) <= room:
            shown.append(name)
    return ", ".join(shown) + (", …" if len(shown) < len(told) else "")


class Half:
    """A half of the text's rows: its snippets, and some of them, drawn by chance, to find silent ones among.

    A snippet is `SNIPPET` tokens of a row. Every feature has the same ones drawn.
    """

    def __init__(self, text: Text, lexicon: Lexicon, parity: int, draw: int, seed: int) -> None:
        self.text, self.lexicon = text, lexicon
        starts = np.arange(0, len(text.tokens), SNIPPET)
        starts = starts[(starts // text.context) % 2 == parity]
        enough = np.add.reduceat(text.counted.astype(int), np.arange(0, len(text.tokens), SNIPPET))[starts // SNIPPET]
        starts = starts[enough >= SNIPPET // 2]
        self.parity = parity
        drawn = np.random.default_rng(seed).permutation(starts)[:draw]
        self.snippets: Ints = drawn // SNIPPET
        places = drawn[:, None] + np.arange(SNIPPET)
        self.of, at = np.nonzero(text.counted[places])
        self.places: Ints = places[self.of, at]
        """The counted tokens of the drawn snippets, and `of`: which snippet each is of."""

    @cached_property
    def windows(self) -> dict[Place, tuple[Ints, Bools]]:
        """For each place the tokens and the classes there, from each counted token of the drawn snippets."""
        return {place: self.look(self.places, place) for place in ALL}

    def mine(self, places: Ints) -> Bools:
        """Tell which places lie in this half."""
        return (places // self.text.context) % 2 == self.parity

    def look(self, places: Ints, place: Place) -> tuple[Ints, Bools]:
        """Give what stands at a place from each of some tokens.

        Returns
        -------
        tokens
            Token ids; -1 where the row has none or the token says nothing.
        classes
            Which classes are among them, and for the token itself whether it is one of its row's first.
        """
        at = places[:, None] + np.arange(place.first, place.last + 1)
        inside = (at >= 0) & (at < len(self.text.tokens))
        inside &= at // self.text.context == places[:, None] // self.text.context
        tokens = self.text.tokens[np.where(inside, at, 0)]
        tokens = np.where(inside & self.lexicon.named[tokens], tokens, -1)
        classes: Bools = np.any(self.lexicon.classes[tokens], axis=1)  # the last row, that of -1, is empty
        if place is PLACES[0]:
            classes = np.hstack([classes, (places % self.text.context)[:, None] <= np.array(BEGINNINGS)])
        return tokens, classes

    @cached_property
    def tables(self) -> dict[Place, Any]:
        """For each place a table of the drawn snippets: what stands there from any of their counted tokens."""
        made: dict[Place, Any] = {}
        for place, (tokens, classes) in self.windows.items():
            row, at = np.nonzero(tokens >= 0)
            class_row, class_at = np.nonzero(classes)
            rows = np.concatenate([self.of[row], self.of[class_row]])
            columns = np.concatenate([tokens[row, at], class_at + self.lexicon.size])
            shape = (len(self.snippets), self.lexicon.size + len(CLASSES) + len(BEGINNINGS))
            table = sparse.coo_matrix((np.ones(len(rows), np.int32), (rows, columns)), shape).tocsc()
            table.data[:] = 1  # coo -> csc adds up what stands there twice
            made[place] = table.astype(np.float32)
        return made

    def silent(self, places: Ints) -> Ints:
        """Give which of the drawn snippets hold none of some places."""
        return np.flatnonzero(~np.isin(self.snippets, places // SNIPPET))

    def holds(self, rule: Rule, places: Ints) -> Bools:
        """Tell on which tokens a rule holds."""
        return self._hold(rule, len(places), lambda place: self.look(places, place))

    def held(self, rule: Rule) -> Bools:
        """Tell on which counted tokens of the drawn snippets a rule holds."""
        return self._hold(rule, len(self.places), self.windows.__getitem__)

    def _hold(self, rule: Rule, count: int, look: Callable[[Place], tuple[Ints, Bools]]) -> Bools:
        held = np.ones(count, bool)
        for condition in rule.conditions:
            tokens, classes = look(condition.place)
            names = np.array(condition.names)
            known = np.zeros(self.lexicon.size + 1, bool)
            known[names[names < self.lexicon.size]] = True
            kinds = names[names >= self.lexicon.size] - self.lexicon.size
            held &= np.any(known[tokens], axis=1) | np.any(classes[:, kinds], axis=1)
        return held


def peaks(places: Ints, values: Floats) -> tuple[Ints, Floats]:
    """Give the strongest token of each snippet in which a feature fires, and its activation."""
    order = np.lexsort((-values, places // SNIPPET))
    first = order[np.unique(places[order] // SNIPPET, return_index=True)[1]]
    return places[first], values[first]


def draw(places: Ints, values: Floats, count: int, rng: np.random.Generator) -> Ints:
    """Draw places in proportion to the activation there, a strong one more than once where there are few.

    What is found of them is thus the share of the activation that is found, in the whole of its range.
    """
    mixed = rng.permutation(len(places))
    steps = (np.arange(count) + rng.random()) / count
    sums = np.cumsum(values[mixed], dtype=np.float64)
    return places[mixed[np.searchsorted(sums / sums[-1], steps).clip(max=len(places) - 1)]]


def find(half: Half, positives: Ints, silent: Ints) -> Rule:
    """Find the rule that scores best on tokens where a feature fires and drawn snippets where it does not."""
    best = Rule((), 0.5)
    on: Rule | None = None
    for place in ALL:
        names, score = _pick(*_candidates(half, place, positives, silent))
        rule = Rule((Condition(place, names),), score)
        on = on or rule
        if names and score >= best.score + (WORTH if best.conditions else LEAST_GAIN):
            best = rule
    if on is not None and on.conditions[0].names:
        for place in ALL[1:]:
            rule = _narrowed(half, on, place, positives, silent)
            if rule.score >= best.score + WORTH:
                best = rule
    return best


def _candidates(half: Half, place: Place, positives: Ints, silent: Ints) -> tuple[Ints, Floats, Floats]:
    """Give what could be named at a place, and where it stands: for each firing token and each silent snippet."""
    tokens, classes = half.look(positives, place)
    names = _frequent(tokens[np.unique(positives, return_index=True)[1]])
    numbers = _numbers(half, names, classes)
    there = np.hstack([(tokens[:, :, None] == names).any(1), classes]).astype(np.float32)
    return numbers, there, half.tables[place][:, numbers].toarray()[silent]


def _numbers(half: Half, names: Ints, classes: Bools) -> Ints:
    """Give the numbers of tokens and of all classes that are known at a place."""
    return np.concatenate([names, half.lexicon.size + np.arange(len(classes.T))])


def _frequent(around: Ints) -> Ints:
    """Give the tokens that stand in the most rows, each in at least two."""
    rows, at = np.nonzero(around >= 0)
    pairs = np.unique(rows.astype(np.int64) << 32 | around[rows, at])
    tokens, counts = np.unique(pairs & 0xFFFFFFFF, return_counts=True)
    order = np.argsort(-counts, kind="stable")[: 4 * CANDIDATES]
    return tokens[order][counts[order] > 1]


def _pick(numbers: Ints, there: Floats, false: Floats) -> tuple[tuple[int, ...], float]:
    """Choose names, one by one, so that the mean of what is found and of what is rightly left alone grows the most."""
    if not len(there) or not len(false):
        return (), 0.0
    chosen: list[int] = []
    missed, left = np.ones(len(there), np.float32), np.ones(len(false), np.float32)
    score = 0.5
    useful = np.argsort(false.mean(0) - there.mean(0), kind="stable")[:CANDIDATES]
    numbers, there, false = numbers[useful], there[:, useful], false[:, useful]
    while len(chosen) < MOST:
        gain = (missed @ there / len(there) - left @ false / len(false)) / 2
        at = int(gain.argmax())
        if gain[at] < LEAST_GAIN:
            break
        score += float(gain[at])
        chosen.append(int(numbers[at]))
        missed, left = missed * (1 - there[:, at]), left * (1 - false[:, at])
    return tuple(chosen), score


def _narrowed(half: Half, on: Rule, place: Place, positives: Ints, silent: Ints) -> Rule:
    """Ask for something at another place besides what a rule asks for on the token itself."""
    hits = half.holds(on, positives)
    tokens, classes = half.look(positives, place)
    names = _frequent(tokens[np.unique(np.where(hits, positives, -1), return_index=True)[1]])
    numbers = _numbers(half, names, classes)
    there = np.hstack([(tokens[:, :, None] == names).any(1), classes]) & hits[:, None]
    # The same of the drawn snippets' tokens on which the first condition holds.
    held = half.held(on)
    tokens, classes = (known[held] for known in half.windows[place])
    column = np.full(half.lexicon.size + 1, -1)
    column[names] = np.arange(len(names))
    false = np.zeros((len(half.snippets), len(numbers)), np.float32)
    for columns, first in ((column[tokens], 0), (np.where(classes, np.arange(len(classes.T)), -1), len(names))):
        row, at = np.nonzero(columns >= 0)
        false[half.of[held][row], first + columns[row, at]] = 1
    chosen, score = _pick(numbers, there.astype(np.float32), false[silent])
    return Rule((*on.conditions, Condition(place, chosen)), score if chosen else 0.0)


def score(half: Half, rule: Rule, positives: Ints, silent: Ints) -> float:
    """Score a rule: the mean of the shares of firing snippets found and of silent ones left alone.

    A firing snippet is found if the rule holds on the token where the feature fires most, a silent one left alone if
    the rule holds on none of its counted tokens. A rule that always or never holds scores .5, one that holds by chance
    no more.
    """
    false = np.intersect1d(half.of[half.held(rule)], silent)
    return (float(half.holds(rule, positives).mean()) + 1 - len(false) / len(silent)) / 2
