"""How surprising it is that two features fire together so often: the statistics of the graph's edges, in bulk."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.special import gammaln

Floats = NDArray[np.float64]
Counts = NDArray[Any]

_BATCH = 512  # pairs whose shifts are held in memory at once

SIGNIFICANT = 0.05


def measures(n: int, n_a: Counts, n_b: Counts, n_ab: Counts) -> tuple[Floats, Floats, Floats]:
    """Give Jaccard, NPMI and phi of many pairs, from the tokens there are, of each feature and of both together."""
    n_a, n_b, n_ab = n_a.astype(float), n_b.astype(float), n_ab.astype(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        jaccard = n_ab / (n_a + n_b - n_ab)
        npmi = np.log(n * n_ab / (n_a * n_b)) / -np.log(n_ab / n)
        npmi = np.where(n_ab == n, 1.0, np.where(n_ab == 0, -1.0, npmi))
        phi = (n * n_ab - n_a * n_b) / np.sqrt(n_a * n_b * (n - n_a) * (n - n_b))
    return jaccard, npmi, phi


def hypergeometric(n: int, n_a: Counts, n_b: Counts, n_ab: Counts) -> Floats:
    """Give P[Hypergeometric(n, n_a, n_b) >= n_ab] of many pairs."""
    # In a trace counts are small, so that most pairs share theirs with others: the distinct ones are few.
    low, high = np.minimum(n_a, n_b).astype(np.int64), np.maximum(n_a, n_b).astype(np.int64)
    _, of_both = np.unique(low * (n + 1) + high, return_inverse=True)
    _, first, where = np.unique(of_both * (n + 1) + n_ab, return_index=True, return_inverse=True)
    low, high, k = (counts[first].astype(float) for counts in (low, high, n_ab))
    first_term = _log_choose(low, k) + _log_choose(n - low, high - k) - _log_choose(n, high)
    # SciPy's own takes up to half a millisecond a pair where n is that of a corpus. Each term follows from the last.
    total = np.ones(len(k))
    at, term = np.arange(len(k)), np.ones(len(k))
    with np.errstate(over="ignore"):
        while len(at):
            ratio = (low - k) * (high - k) / ((k + 1) * (n - low - high + k + 1))
            term = term * ratio
            total[at] += term
            going = (ratio >= 1) & (term < math.inf) | (term > total[at] * 1e-17)
            at, term, k, low, high = at[going], term[going], k[going] + 1, low[going], high[going]
        return np.minimum(np.exp(first_term + np.log(total)), 1)[where]


def _log_choose(n: Any, k: Floats) -> Floats:
    return gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)


class BenjaminiHochberg:
    """The adjustment of a family of p-values for their number (Benjamini and Hochberg 1995).

    Parameters
    ----------
    p
        The p-values.
    tests
        How many tests there are; those that are not in `p` have p = 1.
    """

    def __init__(self, p: Floats, tests: int) -> None:
        self._p = np.sort(p)
        ranked = np.minimum(self._p * tests / np.arange(1, len(p) + 1), 1)
        self._q = np.append(np.minimum.accumulate(ranked[::-1])[::-1], 1.0)

    def __call__(self, p: Floats) -> Floats:
        """Give q for p-values of the family; for any other p, that of the next larger one."""
        # The same p comes out a rounding error apart where it is computed among others.
        return self._q[np.searchsorted(self._p, p * (1 - 1e-9))]


def shift_null(rows: NDArray[np.bool_], a: Counts, b: Counts, moved: Counts | None = None) -> tuple[Floats, Floats]:
    """Compare how often pairs fire together with what their own runs of neighbouring tokens would give by chance.

    Firing comes in runs, so that tokens are not independent draws. Moving one feature's row around in a circle keeps
    its runs and undoes what it has to do with the other's.

    Parameters
    ----------
    rows
        Which feature fired on which token, (features, n).
    a, b
        The pairs, as places in `rows`.
    moved
        By how many tokens, 0 .. n-1, the first of each pair is moved back in a circle; not at all where left out.

    Returns
    -------
    shift
        (1 + the number of other shifts, n-1 of them, with as many tokens together as there are) / n.
    chance
        The same as a smooth tail, which `shift` cannot give below 1 / n: that of Pólya's distribution (drawing from an
        urn, where each draw makes its like more or less likely) with the mean and the variance over the shifts. It is
        the hypergeometric distribution where the variance is what independent tokens would have, or smaller, and the
        wider the longer the runs are.
    """
    n = rows.shape[1]
    count, spectra = rows.sum(1), np.fft.rfft(rows)
    shift, chance = np.ones(len(a)), np.ones(len(a))
    for start in range(0, len(a), _BATCH):
        part = slice(start, start + _BATCH)
        one, other = a[part], b[part]
        together = np.rint(np.fft.irfft(spectra[one] * spectra[other].conj(), n))
        at = np.zeros(len(one), np.int64) if moved is None else moved[part]
        here = together[np.arange(len(one)), at]
        mean = count[one] * count[other] / n
        off = (together - mean[:, None]) ** 2
        variance = (off.sum(1) - (here - mean) ** 2) / max(n - 1, 1)
        shift[part] = (together >= here[:, None]).sum(1) / n
        chance[part] = _polya(n, count[one], count[other], here, variance)
    return shift, chance


def score(n: int, p: Floats, shift: Floats, chance: Floats) -> Floats:
    """Give p as wide as the shifts are spread, or 1 where more than a few of them give as many together.

    It is no probability: Pólya's tail is too light for features that fire in one or a few bursts, and the n shifts of
    one pair are too few to tell by how much. All pairs together can: see `FalseDiscoveries`.
    """
    return np.where(shift <= max(SIGNIFICANT, 1 / n), np.maximum(p, chance), 1.0)


def by_chance(rows: NDArray[np.bool_], least: int, most: float, copies: int) -> Floats:
    """Score the pairs of copies of a run in which each row was moved around in a circle by itself.

    There each feature keeps its bursts and has to do with no other.

    Parameters
    ----------
    rows
        Which feature of one SAE fired on which token, (features, n).
    least
        Pairs that fire together on fewer tokens are left out,
    most
        and so are those whose hypergeometric p is larger.
    copies
        How many.
    """
    n, fired = rows.shape[1], rows.sum(1)
    feature, token = np.nonzero(rows)
    ones = np.ones(len(feature), np.int32)
    random = np.random.default_rng(0)  # the same run is judged the same
    found: list[tuple[Counts, ...]] = []
    for _ in range(copies):
        by: Counts = random.integers(n, size=len(rows))
        on: Any = csr_array((ones, (feature, (token + by[feature]) % n)), shape=rows.shape)
        together = (on @ on.T).tocoo()
        a, b, count = (np.asarray(part, np.int64) for part in (together.row, together.col, together.data))
        # Two rows moved by the same are as they were.
        kept = (count >= least) & (a < b) & (by[a] != by[b])
        found.append((a[kept], b[kept], count[kept], (by[b] - by[a])[kept] % n))
    a, b, count, moved = (np.concatenate(parts) for parts in zip(*found, strict=True))
    p = hypergeometric(n, fired[a], fired[b], count)
    rare = p <= most
    shift, chance = shift_null(rows, a[rare], b[rare], moved[rare])
    return score(n, p[rare], shift, chance)


class FalseDiscoveries:
    """The share of false ones among the pairs up to a score: those expected by chance, by those that there are.

    Their number in copies where there is nothing but chance is what to expect (Tusher, Tibshirani and Chu 2001; for
    discrete tests Heyse 2011, with the proofs of Döhler, Durand and Roquain 2018). The run counts as one of the copies
    (Phipson and Smyth 2010), so that a lone pair is believed only where no copy has its like.

    Parameters
    ----------
    scores
        Those of the run, the smallest being the most surprising.
    chance
        Those of all copies.
    copies
        How many there are.
    """

    def __init__(self, scores: Floats, chance: Floats, copies: int) -> None:
        self._scores = np.sort(scores)
        # The same score comes out a rounding error apart where it is computed among others.
        up_to = self._scores * (1 + 1e-9)
        expected = (1 + np.searchsorted(np.sort(chance), up_to, side="right")) / (1 + copies)
        share = np.minimum(expected / np.searchsorted(self._scores, up_to, side="right"), 1)
        self._share = np.append(np.minimum.accumulate(share[::-1])[::-1], 1.0)

    def __call__(self, scores: Floats) -> Floats:
        """Give the share for scores of the run; for any other, that of the next larger one."""
        return self._share[np.searchsorted(self._scores, scores * (1 - 1e-9))]


def _polya(n: int, n_a: Counts, n_b: Counts, n_ab: Counts, variance: Floats) -> Floats:
    """Give P[X >= n_ab], where X has mean n_a n_b / n and this variance, or the hypergeometric one where that is more.

    Of `low` draws each is a hit with the chance (share + hits pull) / (1 + draws pull). A pull of -1/n is drawing
    without replacement, 0 the binomial and more the beta-binomial distribution.
    """
    low, high = np.minimum(n_a, n_b)[:, None], np.maximum(n_a, n_b)[:, None]
    share = high / n
    hits = np.arange(int(low.max()) + 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        excess = variance[:, None] / (low * share * (1 - share))
        pull = np.maximum((excess - 1) / np.maximum(low - excess, 1e-9), -1 / n)
        odds = (low - hits) / (hits + 1) * (share + hits * pull) / (1 - share + (low - hits - 1) * pull)
        possible = (hits >= low + high - n) & (hits <= low)
        steps = np.where(possible[:, :-1] & possible[:, 1:], np.log(odds[:, :-1]), 0)
    weight = np.where(possible, np.cumsum(np.pad(steps, ((0, 0), (1, 0))), axis=1), -np.inf)
    weight = np.exp(weight - weight.max(1, keepdims=True))
    return (weight * (hits >= n_ab[:, None])).sum(1) / weight.sum(1)
