"""The co-activation graph of a run: which features fire together more often than chance would have them."""

from __future__ import annotations

import threading
from array import array
from collections.abc import Iterable
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import hypergeom

from axon_widget.trace import TokenStep

if TYPE_CHECKING:
    import pandas as pd

Key = tuple[int, int]
"""A node: (layer, feature id)."""

MIN_COUNT = 3
"""Pairs that fire together on fewer tokens are never called significant."""

SIGNIFICANT = 0.05


class Graph:
    """The co-activation graph, built token by token.

    Nodes are the features that were shown. Edges count on how many tokens two nodes fired together; the counts
    come from all active features, not only from the strongest that are shown, and special tokens do not count.
    One thread may add tokens while others look.

    Attributes
    ----------
    tokens
        N, the number of tokens counted.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self.tokens = 0
        self._labels: dict[Key, str] = {}
        self._peak: dict[Key, float] = {}
        # The tokens a feature fired on, as a bit set: the size of an intersection is a few machine operations.
        self._fired: dict[Key, int] = {}
        self._place: dict[Key, int] = {}  # of the nodes, in the order they were shown
        # The pairs of nodes that fired together on MIN_COUNT tokens or more, by their places, and their counts.
        self._pair: dict[tuple[int, int], int] = {}
        self._a, self._b, self._count = array("q"), array("q"), array("q")
        self._q: NDArray[np.float64] = np.zeros(0)  # of the pairs, as it was at that many tokens
        self._q_tokens = 0

    def add(self, step: TokenStep, shown: int | None = None) -> None:
        """Count a token.

        Parameters
        ----------
        step
            The token. A special token is left out.
        shown
            How many of its features, strongest first, become nodes; all where left out.
        """
        if step.special:
            return
        with self._lock:
            self._add(step, shown)

    def _add(self, step: TokenStep, shown: int | None) -> None:
        bit = 1 << self.tokens
        self.tokens += 1
        for feature in step.features:
            key = (feature.layer, feature.id)
            self._fired[key] = self._fired.get(key, 0) | bit
            self._peak[key] = max(self._peak.get(key, 0.0), feature.activation)
            self._labels[key] = feature.label
        keys = [(feature.layer, feature.id) for feature in step.features]
        nodes = self._often(key for key in keys if key in self._place)
        for one, other in combinations(sorted(nodes), 2):
            at = self._pair.get((one, other))
            if at is None:
                self._meet(one, other, nodes[one] & nodes[other])
            else:
                self._count[at] += 1
        for key in keys[:shown]:
            if key not in self._place:
                place = self._place[key] = len(self._place)
                if self._fired[key].bit_count() >= MIN_COUNT:  # it fired before it was shown
                    for other, fired in self._often(self._place).items():
                        if other != place:
                            self._meet(other, place, fired & self._fired[key])

    def _often(self, keys: Iterable[Key]) -> dict[int, int]:
        """Give place and tokens of those nodes that fired often enough to be tested."""
        return {self._place[key]: fired for key in keys if (fired := self._fired[key]).bit_count() >= MIN_COUNT}

    def _meet(self, one: int, other: int, together: int) -> None:
        """Note a pair of nodes, in the order of their places, if they fired together often enough."""
        count = together.bit_count()
        if count >= MIN_COUNT:
            self._pair[one, other] = len(self._count)
            self._a.append(one)
            self._b.append(other)
            self._count.append(count)

    def _significance(self) -> NDArray[np.float64]:
        """Give q of every pair of nodes that fired together on at least `MIN_COUNT` tokens.

        p = P[Hypergeometric(N, n_a, n_b) >= n_ab], and q is its Benjamini-Hochberg adjustment (1995). It runs over
        all pairs of nodes that each fired on `MIN_COUNT` tokens: the others could not reach that count together
        whatever happened, so they are no tests (Tarone 1990). Pairs with smaller counts stand in with p = 1.
        """
        if not self._count:
            return np.zeros(0)
        fired = self._counts()
        testable = int((fired >= MIN_COUNT).sum())
        p = _tail(self.tokens, fired[np.array(self._a)], fired[np.array(self._b)], np.array(self._count))
        order = np.argsort(p)
        ranked = p[order] * (testable * (testable - 1) / 2) / np.arange(1, len(p) + 1)
        q = np.empty_like(p)
        q[order] = np.minimum(np.minimum.accumulate(ranked[::-1])[::-1], 1)
        return q

    def _recent_significance(self) -> NDArray[np.float64]:
        """Give q as it was at most a few tokens ago: in a long run it is not worth its time on every token."""
        if self.tokens - self._q_tokens > len(self._count) // 1000:
            self._q, self._q_tokens = self._significance(), self.tokens
        return self._q

    def _counts(self) -> NDArray[np.int64]:
        """Give the number of tokens each node fired on."""
        return np.fromiter((self._fired[key].bit_count() for key in self._place), np.int64, len(self._place))

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
            Places in `keys`, the number of tokens and the adjusted p-value (1 below `MIN_COUNT`; in a long run as it
            was a few tokens ago), most significant first.
        """
        edges: list[tuple[int, int, int, float]] = []
        with self._lock:
            q = self._recent_significance()
            nodes = [(i, self._place[key], self._fired[key]) for i, key in enumerate(keys) if key in self._place]
            for (i, one, fired), (j, other, fired_too) in combinations(nodes, 2):
                count = (fired & fired_too).bit_count()
                if count >= least:
                    at = self._pair.get((min(one, other), max(one, other)))
                    edges.append((i, j, count, 1.0 if at is None or at >= len(q) else float(q[at])))
        return sorted(edges, key=lambda edge: (edge[3], -edge[2]))

    def significant(self) -> list[tuple[Key, Key, int, float]]:
        """Give the edges with q at most `SIGNIFICANT` as (node, node, count, q), most significant first."""
        with self._lock:
            keys, q = list(self._place), self._significance()
            found: list[tuple[Key, Key, int, float]] = [
                (keys[self._a[at]], keys[self._b[at]], self._count[at], float(q[at]))
                for at in np.nonzero(q <= SIGNIFICANT)[0].tolist()
            ]
        return sorted(found, key=lambda edge: (edge[3], -edge[2]))

    def nodes(self) -> pd.DataFrame:
        """Give the nodes: layer, id, label, the number of tokens each fired on and its peak activation."""
        import pandas as pd

        with self._lock:
            rows: list[tuple[Any, ...]] = [
                (*key, self._labels[key], self._fired[key].bit_count(), self._peak[key]) for key in self._place
            ]
        return pd.DataFrame(rows, columns=["layer", "id", "label", "count", "peak"])

    def edges(self, least: int = MIN_COUNT) -> pd.DataFrame:
        """Give the edges, most significant first.

        Parameters
        ----------
        least
            Leave out pairs that fired together on fewer tokens.

        Returns
        -------
        pandas.DataFrame
            ``layer_a, a, layer_b, b``: the nodes. ``count``: n_ab, tokens on which both fired. ``jaccard``:
            n_ab / (n_a + n_b - n_ab). ``npmi``: ln(N n_ab / (n_a n_b)) / -ln(n_ab / N). ``phi``: the correlation of
            the two firings. ``p``: the chance of so many together if each fired on its number of tokens at random
            (hypergeometric). ``q``: p adjusted over all pairs of nodes that fired three times or more
            (Benjamini-Hochberg); 1 for a pair below a count of three. Neighbouring tokens are not independent, so q is
            a guide and not a proof.
        """
        with self._lock:
            return self._edges(least)

    def _edges(self, least: int) -> pd.DataFrame:
        import pandas as pd

        keys, fired = list(self._place), self._counts()
        size = (self.tokens + 7) // 8
        bits = b"".join(self._fired[key].to_bytes(size, "little") for key in keys)
        on = np.unpackbits(np.frombuffer(bits, np.uint8).reshape(len(keys), size), axis=1).astype(np.float32)
        together = np.triu(on @ on.T, 1).astype(np.int64)
        a, b = np.nonzero(together >= max(least, 1))
        n = float(self.tokens)
        n_ab = together[a, b].astype(float)
        n_a, n_b = fired[a].astype(float), fired[b].astype(float)
        with np.errstate(divide="ignore", invalid="ignore"):
            npmi = np.where(n_ab == n, 1.0, np.log(n * n_ab / (n_a * n_b)) / -np.log(n_ab / n))
            phi = (n * n_ab - n_a * n_b) / np.sqrt(n_a * n_b * (n - n_a) * (n - n_b))
        adjusted = self._significance()
        at = [self._pair.get((int(i), int(j))) for i, j in zip(a, b, strict=True)]
        table = pd.DataFrame(
            {
                "layer_a": [keys[i][0] for i in a],
                "a": [keys[i][1] for i in a],
                "layer_b": [keys[i][0] for i in b],
                "b": [keys[i][1] for i in b],
                "count": together[a, b],
                "jaccard": n_ab / (n_a + n_b - n_ab),
                "npmi": npmi,
                "phi": phi,
                "p": _tail(self.tokens, fired[a], fired[b], together[a, b]),
                "q": [1.0 if k is None else adjusted[k] for k in at],
            }
        )
        return table.sort_values(["q", "p", "count"], ascending=[True, True, False], ignore_index=True)

    def __repr__(self) -> str:
        return f"Graph({len(self._place)} features, {len(self.significant())} significant edges, {self.tokens} tokens)"


def graph_of(steps: Iterable[TokenStep], shown: int | None = 15) -> Graph:
    """Build the graph of a trace, showing so many features of each token."""
    graph = Graph()
    for step in steps:
        graph.add(step, shown)
    return graph


def _tail(n: int, n_a: NDArray[Any], n_b: NDArray[Any], n_ab: NDArray[Any]) -> NDArray[np.float64]:
    """Give P[Hypergeometric(n, n_a, n_b) >= n_ab] of many pairs at once."""
    # Counts are small, so that most pairs share theirs with others: the distinct ones are few.
    base = n + 1
    low, high = np.minimum(n_a, n_b), np.maximum(n_a, n_b)
    _, first, where = np.unique((low * base + high) * base + n_ab, return_index=True, return_inverse=True)
    return np.asarray(hypergeom.sf(n_ab[first] - 1, n, low[first], high[first]), np.float64)[where]
