"""The co-activation graph of a run: which features fire together more often than chance would have them."""

from __future__ import annotations

import math
import threading
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from axon_widget.evidence import (
    SIGNIFICANT,
    BenjaminiHochberg,
    Counts,
    FalseDiscoveries,
    Floats,
    by_chance,
    hypergeometric,
    measures,
    score,
    shift_null,
)
from axon_widget.trace import TokenStep, strongest

if TYPE_CHECKING:
    import pandas as pd

Key = tuple[int, int]
"""A node: (place of the SAE, feature id)."""

MIN_COUNT = 3
"""Pairs that fire together on fewer tokens are never called significant."""

_WORK = 2000  # the pairs that a token may cost on average: see `Graph._settle`

# Copies of the run that show what chance does. A lone pair takes the most to be believed; where there are many, few
# copies have enough pairs of their own to count.
_COPIES = (5, 20)
_COPIED = 4000


class Reference(Protocol):
    """Counts from a corpus, in the place of the trace's own. Its tokens are taken to be independent draws."""

    @property
    def tokens(self) -> int:
        """N, the number of tokens counted."""
        ...

    def counts(self, keys: Sequence[Key]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Give on how many tokens k features of one SAE fired, (k,), and each two of them together, (k, k)."""
        ...


class _Judged(NamedTuple):
    """What is known of some pairs, an array each; the counts are those that p comes from."""

    tokens: int
    n_a: Counts
    n_b: Counts
    n_ab: Counts
    p: Floats
    q: Floats
    shift: Floats
    q_shift: Floats


class Graph:
    """The co-activation graph, built token by token.

    Nodes are the features that were shown. Edges count on how many tokens two nodes of one SAE fired together (between
    SAEs a concept that lives on through the layers would fire together with itself); the counts come from all active
    features, not only from the strongest that are shown, and special tokens do not count. One thread may add tokens
    while others look.

    Parameters
    ----------
    reference
        Counts from a corpus: where given, they and not the trace's own tell which edges are significant.

    Attributes
    ----------
    tokens
        N, the number of tokens counted.
    """

    def __init__(self, reference: Reference | None = None) -> None:
        self._lock = threading.RLock()
        self._reference = reference
        self.tokens = 0
        self._labels: dict[Key, str] = {}
        self._layer: dict[Key, int] = {}
        self._peak: dict[Key, float] = {}
        # The tokens a feature fired on, as a bit set: the size of an intersection is a few machine operations.
        self._fired: dict[Key, int] = {}
        self._active: list[dict[int, list[Key]]] = []  # what fired on each token, by SAE
        self._place: dict[Key, int] = {}  # of the nodes, in the order they were shown
        # The pairs of nodes that fired together on MIN_COUNT tokens or more, by their places, and their counts.
        self._pair: dict[tuple[int, int], int] = {}
        self._a, self._b, self._count = array("q"), array("q"), array("q")
        # The adjustments over all pairs, without and with the shift null, as they were at that many tokens.
        self._q = self._q_shift = BenjaminiHochberg(np.zeros(0), 0)
        self._false = FalseDiscoveries(np.zeros(0), np.zeros(0), 0)
        self._settled = self._work = 0

    def add(self, step: TokenStep, shown: int | None = None, least: float = -math.inf) -> None:
        """Count a token. What that costs depends on how many features fire, not on how many tokens there are.

        Parameters
        ----------
        step
            The token. One on which no features were read is left out.
        shown
            How many of the features of each SAE, strongest first, become nodes; all where left out.
        least
            The activation from which on they do.
        """
        if not step.read:
            return
        with self._lock:
            self._add(step, shown, least)

    def _add(self, step: TokenStep, shown: int | None, least: float) -> None:
        bit = 1 << self.tokens
        self.tokens += 1
        active: dict[int, list[Key]] = {}
        for feature in step.features:
            key = (feature.sae, feature.id)
            active.setdefault(feature.sae, []).append(key)
            self._fired[key] = self._fired.get(key, 0) | bit
            self._peak[key] = max(self._peak.get(key, 0.0), feature.activation)
            self._labels[key], self._layer[key] = feature.label, feature.layer
        self._active.append(active)
        for keys in active.values():
            # Only a node that fired often enough can be in a pair that did.
            often = [(self._place[key], self._fired[key]) for key in keys if key in self._place]
            often = sorted((place, fired) for place, fired in often if fired.bit_count() >= MIN_COUNT)
            for (one, fired), (other, fired_too) in combinations(often, 2):
                at = self._pair.get((one, other))
                if at is None:
                    self._meet(one, other, (fired & fired_too).bit_count())
                else:
                    self._count[at] += 1
        for feature in strongest(step, shown, least):
            if (feature.sae, feature.id) not in self._place:
                self._show((feature.sae, feature.id))

    def _show(self, key: Key) -> None:
        """Make a feature a node; where it fired before, count what it fired together with, for once."""
        place = self._place[key] = len(self._place)
        fired = self._fired[key]
        if fired.bit_count() < MIN_COUNT:
            return
        together: Counter[Key] = Counter()
        while fired:
            last = fired.bit_length() - 1
            together.update(self._active[last][key[0]])
            fired ^= 1 << last
        for other, count in together.items():
            if self._place.get(other, place) != place:
                self._meet(self._place[other], place, count)

    def _meet(self, one: int, other: int, count: int) -> None:
        """Note a pair of nodes, in the order of their places, if they fired together often enough."""
        if count >= MIN_COUNT:
            self._pair[one, other] = len(self._count)
            self._a.append(one)
            self._b.append(other)
            self._count.append(count)

    def _settle(self, exact: bool = True) -> None:
        """Adjust for the number of tests as it is now, or, if not `exact`, where that is due.

        It takes all pairs, of which there are the more the longer a run is. So it is put off until there were as many
        tokens since the last time that they share the work, `_WORK` each: on every token while the run is short.
        """
        behind = self.tokens - self._settled
        if not behind or (not exact and behind <= self._work // _WORK):
            return
        keys = list(self._place)
        if self._reference is None:
            a, b, count = self._often(MIN_COUNT)
            fired = self._fired_counts(keys)
            p = hypergeometric(self.tokens, fired[a], fired[b], count)
            tests = _pairs(Counter(key[0] for key, n in zip(keys, fired.tolist(), strict=True) if n >= MIN_COUNT))
            self._q = BenjaminiHochberg(p, tests)
            shift, null = self._shifted(keys, a, b, p, self._q(p))
            self._q_shift = BenjaminiHochberg(null, tests)
            self._work = len(keys) + len(p) + np.isfinite(shift).sum() * self.tokens // 8
            self._work += self._copy(keys, fired, null[self._q_shift(null) <= SIGNIFICANT], tests)
        else:
            found: list[Floats] = [np.zeros(0)]
            tests = 0
            for places in _by_sae(keys).values():
                n, together = self._reference.counts([keys[place] for place in places])
                tests += _pairs({0: int((n >= MIN_COUNT).sum())})
                a, b = np.nonzero(np.triu(together, 1) >= MIN_COUNT)
                found.append(hypergeometric(self._reference.tokens, n[a], n[b], together[a, b]))
            p = np.concatenate(found)
            self._q = self._q_shift = BenjaminiHochberg(p, tests)
            self._work = len(p) + tests // 32
        self._settled = self.tokens

    def _judge(self, keys: list[Key], a: Counts, b: Counts, count: Counts) -> _Judged:
        """Give what is known of the pairs (keys[a], keys[b]), each of one SAE, that fired together so often."""
        if self._reference is None:
            tokens, fired, n_ab = self.tokens, self._fired_counts(keys), count
        else:
            tokens, fired, n_ab = self._reference.tokens, np.zeros(len(keys), np.int64), np.zeros_like(count)
            for places in _by_sae(keys).values():
                fired[places], together = self._reference.counts([keys[place] for place in places])
                where = np.full(len(keys), -1)
                where[places] = np.arange(len(places))
                mine = where[a] >= 0
                n_ab[mine] = together[where[a[mine]], where[b[mine]]]
        p = hypergeometric(tokens, fired[a], fired[b], n_ab)
        tested = n_ab >= MIN_COUNT
        q = np.where(tested, self._q(p), 1.0)
        shift, null = self._shifted(keys, a, b, p, q)
        q_shift = np.maximum(self._q_shift(null), q)
        if self._reference is None:
            # A share that few copies can tell, and so only whether it is small: how small, the smooth tail says.
            false = self._false(null)
            q_shift = np.where((q_shift <= SIGNIFICANT) & (false > SIGNIFICANT), false, q_shift)
        q_shift = np.where(tested, q_shift, 1.0)
        return _Judged(tokens, fired[a], fired[b], n_ab, p, q, shift, q_shift)

    def _shifted(self, keys: list[Key], a: Counts, b: Counts, p: Floats, q: Floats) -> tuple[Floats, Floats]:
        """Give `shift` of the pairs that q leaves, NaN for the others, and p with the shift null in it."""
        shift, null = np.full(len(p), math.nan), p.copy()
        at = np.flatnonzero(q <= SIGNIFICANT)
        if self._reference is None and len(at):
            ends: Counts = np.stack([a[at], b[at]])
            used: Counts = np.unique(ends)
            rows = self._rows([keys[int(place)] for place in used])
            shift[at], chance = shift_null(rows, *np.searchsorted(used, ends))
            null[at] = score(self.tokens, p[at], shift[at], chance)
        # For the others p will do: theirs could only be larger, and they are out already.
        return shift, null

    def _copy(self, keys: list[Key], fired: Counts, scores: Floats, tests: int) -> int:
        """Learn from copies of the run which of these scores, its own, chance would reach; give the work it took."""
        copies = min(max(_COPIED // max(len(scores), 1), _COPIES[0]), _COPIES[1])
        # A larger p is significant for no pair, as each of these had to stay below it.
        most = SIGNIFICANT * len(scores) / max(tests, 1)
        chance, work = [np.zeros(0)], 0
        for places in _by_sae(keys).values() if len(scores) else ():
            rows = self._rows([keys[place] for place in places if fired[place] >= MIN_COUNT])
            chance.append(by_chance(rows, MIN_COUNT, most, copies))
            work += copies * int((rows.sum(0) ** 2).sum()) // 40 + len(chance[-1]) * self.tokens // 8
        self._false = FalseDiscoveries(scores, np.concatenate(chance), copies)
        return work

    def _fired_counts(self, keys: Sequence[Key]) -> NDArray[np.int64]:
        """Give the number of tokens each feature fired on."""
        return np.fromiter((self._fired[key].bit_count() for key in keys), np.int64, len(keys))

    def _rows(self, keys: Sequence[Key]) -> NDArray[np.bool_]:
        """Give which feature fired on which token, (features, tokens)."""
        size = (self.tokens + 7) // 8
        bits = b"".join(self._fired[key].to_bytes(size, "little") for key in keys)
        packed = np.frombuffer(bits, np.uint8).reshape(len(keys), size)
        return np.unpackbits(packed, axis=1, count=self.tokens, bitorder="little").astype(bool)

    def _often(self, least: int) -> tuple[Counts, Counts, Counts]:
        """Give the pairs of nodes of one SAE that fired together at least so often: their places and the count."""
        if least >= MIN_COUNT:
            a, b, count = (np.array(values, np.int64) for values in (self._a, self._b, self._count))
            enough = count >= least
            return a[enough], b[enough], count[enough]
        found = [(np.zeros(0, np.int64),) * 3]
        keys = list(self._place)
        for places in _by_sae(keys).values():
            rows = self._rows([keys[place] for place in places]).astype(np.float32)
            together = np.triu(rows @ rows.T, 1).astype(np.int64)
            a, b = np.nonzero(together >= max(least, 1))
            found.append((np.array(places)[a], np.array(places)[b], together[a, b]))
        a, b, count = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return a, b, count

    def pairs(self, keys: list[Key], least: int = 2) -> list[tuple[int, int, int, float]]:
        """Give the edges among some nodes.

        Parameters
        ----------
        keys
            The nodes; one that is no node has no edges.
        least
            Leave out pairs that fired together on fewer tokens.

        Returns
        -------
        list of (a, b, count, q)
            Places in `keys`, the number of tokens and q with the shift null in it (``q_shift`` of `edges`), most
            significant first. So an edge whose q is at most `SIGNIFICANT` stands against both nulls. In a long run the
            number of tests that q is adjusted for is that of a few tokens ago.
        """
        with self._lock:
            self._settle(exact=False)
            known = [i for i, key in enumerate(keys) if key in self._place]
            nodes = [keys[i] for i in known]
            found = [
                (one, other, count)
                for places in _by_sae(nodes).values()
                for one, other in combinations(places, 2)
                if (count := (self._fired[nodes[one]] & self._fired[nodes[other]]).bit_count()) >= least
            ]
            a, b, count = np.array(found, np.int64).reshape(-1, 3).T
            q = self._judge(nodes, a, b, count).q_shift
        edges = [(known[i], known[j], n, value) for (i, j, n), value in zip(found, q.tolist(), strict=True)]
        return sorted(edges, key=lambda edge: (edge[3], -edge[2]))

    def pair(self, a: Key, b: Key) -> dict[str, float | None]:
        """Give all numbers of one edge.

        Parameters
        ----------
        a, b
            Two nodes. Between SAEs there is no test: p, q, shift and q_shift are None.

        Returns
        -------
        dict
            As in `edges`, and ``n, n_a, n_b, tokens``: the counts they come from, which are the reference's where there
            is one. ``shift`` is given whatever q is. In a long run the number of tests that q and q_shift are adjusted
            for is that of a few tokens ago. None where a number is not defined.

        Raises
        ------
        ValueError
            If they are not two nodes.
        """
        with self._lock:
            for sae, feature in (a, b):
                if (sae, feature) not in self._place:
                    raise ValueError(f"Feature {feature} of SAE {sae} is no node of this graph.")
            if a == b:
                raise ValueError("An edge has two ends: give two nodes.")
            one, other, count = np.array([0]), np.array([1]), np.array([(self._fired[a] & self._fired[b]).bit_count()])
            numbers: dict[str, Any] = dict.fromkeys(("p", "q", "shift", "q_shift"))
            if a[0] == b[0]:
                self._settle(exact=False)
                judged = self._judge([a, b], one, other, count)
                numbers = {name: getattr(judged, name)[0] for name in numbers}
                if self._reference is None:
                    numbers["shift"] = shift_null(self._rows([a, b]), one, other)[0][0]
                tokens, n_a, n_b, n_ab = judged[:4]
            else:
                tokens, n_ab = self.tokens, count
                n_a, n_b = self._fired_counts([a]), self._fired_counts([b])
        counts = {"count": count, "n": n_ab, "n_a": n_a, "n_b": n_b}
        jaccard, npmi, phi = (value[0] for value in measures(tokens, n_a, n_b, n_ab))
        numbers = {"jaccard": jaccard, "npmi": npmi, "phi": phi, **numbers}
        return {
            **{name: int(value[0]) for name, value in counts.items()},
            "tokens": tokens,
            **{name: None if x is None or not math.isfinite(x) else float(x) for name, x in numbers.items()},
        }

    def significant(self) -> list[tuple[Key, Key, int, float]]:
        """Give the significant edges as (node, node, count, q_shift), most significant first."""
        with self._lock:
            self._settle()
            # With a reference a pair is judged by the corpus, and the trace need not be long.
            keys, (a, b, count) = list(self._place), self._often(MIN_COUNT if self._reference is None else 2)
            q = self._judge(keys, a, b, count).q_shift
        found: list[tuple[Key, Key, int, float]] = [
            (keys[a[at]], keys[b[at]], int(count[at]), float(q[at])) for at in np.flatnonzero(q <= SIGNIFICANT)
        ]
        return sorted(found, key=lambda edge: (edge[3], -edge[2]))

    def rename(self, name: Callable[[int, int], str]) -> None:
        """Give features the names that are known by now, as `axon_widget.trace.Trace.rename` does."""
        with self._lock:
            self._labels = {key: name(*key) or label for key, label in self._labels.items()}

    def often(self, key: Key) -> bool:
        """Tell whether a feature fired on half of the tokens or more, of which there must be twenty."""
        with self._lock:
            return self.tokens >= 20 and 2 * self._fired.get(key, 0).bit_count() >= self.tokens

    def keys(self) -> list[Key]:
        """Give the nodes, in the order they were shown."""
        with self._lock:
            return list(self._place)

    def nodes(self) -> pd.DataFrame:
        """Give the nodes: SAE, layer, id, label, the number of tokens each fired on and its peak activation."""
        import pandas as pd

        with self._lock:
            rows: list[tuple[Any, ...]] = [
                (key[0], self._layer[key], key[1], self._labels[key], self._fired[key].bit_count(), self._peak[key])
                for key in self._place
            ]
        return pd.DataFrame(rows, columns=["sae", "layer", "id", "label", "count", "peak"])

    def edges(self, least: int = MIN_COUNT) -> pd.DataFrame:
        """Give the edges, most significant first.

        Parameters
        ----------
        least
            Leave out pairs that fired together on fewer tokens.

        Returns
        -------
        pandas.DataFrame
            ``sae, layer, a, b``: the nodes, both of one SAE. ``count``: tokens on which both fired.

            ``jaccard``: n_ab / (n_a + n_b - n_ab). ``npmi``: ln(N n_ab / (n_a n_b)) / -ln(n_ab / N). ``phi``: the
            correlation of the two firings. ``p``: the chance of so many together if each fired on its number of tokens
            at random (hypergeometric). ``q``: p adjusted over all pairs of nodes of one SAE that fired three times or
            more, over all SAEs at once (Benjamini-Hochberg): the others could not reach that count together whatever
            happened, so they are no tests (Tarone 1990); 1 for a pair below a count of three. All of these come from
            the reference's counts where there is one.

            Features fire in runs of neighbouring tokens, which p takes for evidence. ``shift``: the share of all
            circular shifts of one of the two rows of firings that give as many together; only where q is at most
            `SIGNIFICANT`, NaN elsewhere. ``q_shift``: q again, with p as wide as those shifts are spread (see
            `axon_widget.evidence.shift_null`), and 1 where ``shift`` is above `SIGNIFICANT`; where q is above it,
            at least q; and above it where too many pairs of copies of the run in which each row was shifted by itself
            come as far (see `axon_widget.evidence.FalseDiscoveries`). ``significant``: whether q_shift is at most
            `SIGNIFICANT`. With a reference, whose tokens are taken to be independent, q_shift is q.
        """
        import pandas as pd

        with self._lock:
            self._settle()
            keys, (a, b, count) = list(self._place), self._often(least)
            judged = self._judge(keys, a, b, count)
            layer = np.array([self._layer[key] for key in keys], np.int64)
        jaccard, npmi, phi = measures(*judged[:4])
        sae, feature = np.array(keys, np.int64).reshape(-1, 2).T
        table = pd.DataFrame(
            {
                "sae": sae[a],
                "layer": layer[a],
                "a": feature[a],
                "b": feature[b],
                "count": count,
                "jaccard": jaccard,
                "npmi": npmi,
                "phi": phi,
                "p": judged.p,
                "q": judged.q,
                "shift": judged.shift,
                "q_shift": judged.q_shift,
                "significant": judged.q_shift <= SIGNIFICANT,
            }
        )
        by = ["q_shift", "q", "p", "count"]
        return table.sort_values(by, ascending=[True, True, True, False], ignore_index=True)

    def __repr__(self) -> str:
        return f"Graph({len(self._place)} features, {len(self.significant())} significant edges, {self.tokens} tokens)"


def graph_of(
    steps: Iterable[TokenStep],
    shown: int | None = 15,
    reference: Reference | None = None,
    least: float = -math.inf,
) -> Graph:
    """Build the graph of a trace, showing so many features of each SAE on each token, from an activation on."""
    graph = Graph(reference)
    for step in steps:
        graph.add(step, shown, least)
    return graph


def _by_sae(keys: Sequence[Key]) -> dict[int, list[int]]:
    """Give the places of the keys of each SAE."""
    places: dict[int, list[int]] = {}
    for place, (sae, _) in enumerate(keys):
        places.setdefault(sae, []).append(place)
    return places


def _pairs(features: dict[int, int]) -> int:
    """Give how many pairs there are among so many features of each SAE."""
    return sum(math.comb(n, 2) for n in features.values())
