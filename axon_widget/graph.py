"""The co-activation graph of a run: which features fire together more often than chance would have them."""

from __future__ import annotations

import threading
from collections.abc import Iterable
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

    Attributes
    ----------
    tokens
        N, the number of tokens counted.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()  # one thread counts while others look
        self.tokens = 0
        self._labels: dict[Key, str] = {}
        self._peak: dict[Key, float] = {}
        # The tokens a feature fired on, as a bit set: the size of an intersection is one machine operation a word.
        self._fired: dict[Key, int] = {}
        self._index: dict[Key, int] = {}
        self._together: NDArray[np.int32] = np.zeros((0, 0), np.int32)

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
        known = [i for f in step.features if (i := self._index.get((f.layer, f.id))) is not None]
        self._together[np.ix_(known, known)] += 1
        for feature in step.features[:shown]:
            self._show((feature.layer, feature.id))

    def _show(self, key: Key) -> None:
        """Make a feature a node, counting what it did before it was shown."""
        if key in self._index:
            return
        place = len(self._index)
        self._index[key] = place
        if place == len(self._together):
            grown = np.zeros((2 * place + 64,) * 2, np.int32)
            grown[:place, :place] = self._together[:place, :place]
            self._together = grown
        mine = self._fired[key]
        for other, i in self._index.items():
            self._together[place, i] = self._together[i, place] = (mine & self._fired[other]).bit_count()

    def _significance(self) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
        """Give (a, b, q) of every pair of nodes that fired together on at least `MIN_COUNT` tokens.

        p = P[Hypergeometric(N, n_a, n_b) >= n_ab], and q is its Benjamini-Hochberg adjustment (1995). It runs over
        all pairs of nodes that each fired on `MIN_COUNT` tokens: the others could not reach that count together
        whatever happened, so they are no tests (Tarone 1990). Pairs with smaller counts stand in with p = 1.
        """
        nodes = len(self._index)
        together = self._together[:nodes, :nodes]
        a, b = np.nonzero(np.triu(together >= MIN_COUNT, 1))
        if not len(a):
            return a, b, np.zeros(0)
        fired = together.diagonal()
        testable = int((fired >= MIN_COUNT).sum())
        p = _tail(self.tokens, fired[a], fired[b], together[a, b])
        order = np.argsort(p)
        ranked = p[order] * (testable * (testable - 1) / 2) / np.arange(1, len(p) + 1)
        q = np.empty_like(p)
        q[order] = np.minimum(np.minimum.accumulate(ranked[::-1])[::-1], 1)
        return a, b, q

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
            Places in `keys`, the number of tokens and the adjusted p-value (1 below `MIN_COUNT`), most significant
            first.
        """
        with self._lock:
            return self._pairs(keys, least)

    def _pairs(self, keys: list[Key], least: int) -> list[tuple[int, int, int, float]]:
        places = {i: place for place, key in enumerate(keys) if (i := self._index.get(key)) is not None}
        known = np.fromiter(places, np.intp, len(places))
        a, b, q = self._significance()
        mine = np.isin(a, known) & np.isin(b, known)
        significance = {(int(i), int(j)): float(x) for i, j, x in zip(a[mine], b[mine], q[mine], strict=True)}
        counts = self._together[np.ix_(known, known)]
        edges = [
            (places[int(i)], places[int(j)], int(counts[x, y]), significance.get((min(i, j), max(i, j)), 1.0))
            for x, y in zip(*np.nonzero(np.triu(counts >= least, 1)), strict=True)
            for i, j in [(int(known[x]), int(known[y]))]
        ]
        return sorted(edges, key=lambda edge: (edge[3], -edge[2]))

    def significant(self) -> list[tuple[Key, Key, int, float]]:
        """Give the edges with q at most `SIGNIFICANT` as (node, node, count, q), most significant first."""
        with self._lock:
            keys = list(self._index)
            a, b, q = self._significance()
            found = [
                (keys[i], keys[j], int(self._together[i, j]), float(q[place]))
                for place, (i, j) in enumerate(zip(a, b, strict=True))
                if q[place] <= SIGNIFICANT
            ]
        return sorted(found, key=lambda edge: (edge[3], -edge[2]))

    def nodes(self) -> pd.DataFrame:
        """Give the nodes: layer, id, label, the number of tokens each fired on and its peak activation."""
        import pandas as pd

        with self._lock:
            rows: list[tuple[Any, ...]] = [
                (*key, self._labels[key], self._fired[key].bit_count(), self._peak[key]) for key in self._index
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

        nodes, keys = len(self._index), list(self._index)
        together = self._together[:nodes, :nodes]
        a, b = np.nonzero(np.triu(together >= max(least, 1), 1))
        n = float(self.tokens)
        n_ab = together[a, b].astype(float)
        n_a, n_b = together.diagonal()[a].astype(float), together.diagonal()[b].astype(float)
        with np.errstate(divide="ignore", invalid="ignore"):
            npmi = np.where(n_ab == n, 1.0, np.log(n * n_ab / (n_a * n_b)) / -np.log(n_ab / n))
            phi = (n * n_ab - n_a * n_b) / np.sqrt(n_a * n_b * (n - n_a) * (n - n_b))
        adjusted = np.ones((nodes, nodes))
        sa, sb, q = self._significance()
        adjusted[sa, sb] = q
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
                "p": _tail(self.tokens, together.diagonal()[a], together.diagonal()[b], together[a, b]),
                "q": adjusted[a, b],
            }
        )
        return table.sort_values(["q", "p", "count"], ascending=[True, True, False], ignore_index=True)

    def __repr__(self) -> str:
        return f"Graph({len(self._index)} features, {len(self.significant())} significant edges, {self.tokens} tokens)"


def graph_of(steps: Iterable[TokenStep], shown: int | None = 15) -> Graph:
    """Build the graph of a trace, showing so many features of each token."""
    graph = Graph()
    for step in steps:
        graph.add(step, shown)
    return graph


def _tail(n: int, n_a: NDArray[Any], n_b: NDArray[Any], n_ab: NDArray[Any]) -> NDArray[np.float64]:
    """Give P[Hypergeometric(n, n_a, n_b) >= n_ab] of many pairs at once."""
    return np.asarray(hypergeom.sf(n_ab - 1, n, n_a, n_b), np.float64)
