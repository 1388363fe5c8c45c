"""Directions laid out on a plane so that those that point the same way lie together."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import fft

Floats: TypeAlias = NDArray[np.float32]

_NEAREST = 10  # neighbours that a direction is drawn to
_ROUNDS, _EARLY = 300, 75
_EXAGGERATED = 12.0  # how much stronger neighbours draw in the early rounds
_CELL = 0.6  # of the grid that pushes are summed on, in the layout's own unit, and the most cells along a side
_MOST_CELLS = 320
_AT_ONCE = 16_000_000  # cosines held at a time


def arrange(directions: Floats) -> Floats:
    """Lay directions out by t-SNE: whoever is among another's nearest by cosine is drawn to it, all push apart.

    The attraction knows ten neighbours of each and no widths (with uniform weights the layout is as good, and there is
    nothing to tune); the repulsion is summed on a grid by a Fourier transform, so that the time goes with the number
    of directions. The same directions give the same map.

    Parameters
    ----------
    directions
        Shape (features, width), of any length; one of length zero lies anywhere.

    Returns
    -------
    numpy.ndarray
        Places, shape (features, 2), within -1 and 1.
    """
    count = len(directions)
    lengths = np.linalg.norm(directions, axis=1, keepdims=True)
    unit = np.asarray(directions / np.where(lengths > 0, lengths, 1), np.float32)
    places = _first(unit)
    if count > 3:
        places = _settle(places, nearest(unit, min(_NEAREST, count // 3)))
    return np.asarray((_even(places) + _within(places)) / 2, np.float32)


def _within(places: Floats) -> Floats:
    """Give the same between -1 and 1."""
    places = places - (places.max(0) + places.min(0)) / 2
    return places / max(float(np.abs(places).max(initial=0)), 1e-12)


def _even(places: Floats) -> Any:
    """Give each one's rank along either axis, between -1 and 1: where it is crowded there is more room."""
    ranks = np.argsort(np.argsort(places, axis=0, kind="stable"), axis=0, kind="stable")
    return 2 * ranks / max(len(places) - 1, 1) - 1


def nearest(unit: Floats, count: int) -> NDArray[np.int64]:
    """Find the nearest of each direction by cosine.

    Parameters
    ----------
    unit
        Directions of length one, shape (features, width).
    count
        How many of each, at most as many as there are others.

    Returns
    -------
    numpy.ndarray
        The rows of the nearest others, shape (features, count), in no order.
    """
    found = np.empty((len(unit), count), np.int64)
    block = max(1, _AT_ONCE // len(unit))
    for start in range(0, len(unit), block):
        cosines = unit[start : start + block] @ unit.T
        own = np.arange(len(cosines))
        cosines[own, start + own] = -2
        found[start : start + block] = np.argpartition(-cosines, count - 1, axis=1)[:, :count]
    return found


def _first(unit: Floats) -> Floats:
    """Give the two strongest principal components, small: the layout unfolds from there, the same way every time."""
    centred = unit - unit.mean(0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    places = centred @ axes[:, : -min(2, axes.shape[1]) - 1 : -1]
    if places.shape[1] < 2:
        places = np.pad(places, ((0, 0), (0, 2 - places.shape[1])))
    # Directions that are the same would never part, nor would those on a line.
    rng = np.random.default_rng(0)
    return np.asarray(1e-2 * places / max(places.std(), 1e-12) + 1e-4 * rng.standard_normal(places.shape), np.float32)


def _settle(places: Floats, nearby: NDArray[np.int64]) -> Floats:
    """Move along the gradient of the divergence between ties and nearness, by momentum with gains, as t-SNE does."""
    count: int = len(nearby)
    # A tie has two ends: both are drawn. Whoever is near the other as the other is to it is drawn twice.
    own, other = np.repeat(np.arange(count), nearby.shape[1]), nearby.ravel()
    ends = np.concatenate([own, other]), np.concatenate([other, own])
    order = np.argsort(ends[0], kind="stable")
    here, there = ends[0][order], ends[1][order]
    starts = np.searchsorted(here, np.arange(count))
    rate = max(count / _EXAGGERATED, 1.0)
    speed, gain = np.zeros_like(places), np.ones_like(places)
    for done in range(_ROUNDS):
        early = done < _EARLY
        way = places[here] - places[there]
        drawn = np.add.reduceat(way / (1 + np.square(way).sum(1, keepdims=True)), starts) / len(here)
        slope = 4 * ((_EXAGGERATED if early else 1) * drawn - _push(places))
        gain = np.where(np.sign(slope) == np.sign(speed), 0.8 * gain, gain + 0.2).clip(0.01)
        speed = (0.5 if early else 0.8) * speed - rate * gain * slope
        places = np.asarray(places + speed, np.float32)
        places -= places.mean(0)
    return places


def _push(places: Floats) -> Floats:
    """Give how all others push each one apart, sum of (y_i - y_j) / (1 + d²)² over the sum of 1 / (1 + d²)."""
    low = places.min(0)
    span = float((places - low).max()) + 1e-6
    cells = int(np.clip(span / _CELL, 32, _MOST_CELLS))
    step, side = span / cells, cells + 2
    exact = (places - low) / step
    corner = exact.astype(np.int64)
    part = exact - corner
    # Each one stands, in parts, on the four corners of its cell.
    shares = [(1 - part[:, 0], part[:, 0]), (1 - part[:, 1], part[:, 1])]
    spots = [
        ((corner[:, 0] + i) * side + corner[:, 1] + j, shares[0][i] * shares[1][j]) for i in (0, 1) for j in (0, 1)
    ]
    size: Any = fft.next_fast_len(2 * side, True)
    off = np.arange(int(size))

    def transformed(grid: Any) -> Any:
        return fft.rfft2(grid, s=(size, size))

    away = np.square(np.minimum(off, size - off) * step, dtype=np.float32)
    kernel = 1 / (1 + away[:, None] + away)
    near, nearer = transformed(kernel), transformed(np.square(kernel))

    def spread(charge: Any) -> Any:
        grid: Any = sum(np.bincount(spot, share * charge, side * side) for spot, share in spots)
        return transformed(np.asarray(grid, np.float32).reshape(side, side))

    def felt(field: Any) -> Any:
        back: Any = fft.irfft2(field, s=(size, size))
        grid = back[:side, :side].ravel()
        felt: Any = sum(share * grid[spot] for spot, share in spots)
        return felt

    # What each one adds to its own place through the grid is no push of another.
    (here, aside), (level, up) = (np.square(1 - part) + np.square(part)).T, (2 * part * (1 - part)).T
    own = here * aside + (level * aside + here * up) / (1 + step**2) + level * up / (1 + 2 * step**2)
    ones = spread(1)
    whole = felt(ones * near).sum() - own.sum()
    weight = felt(ones * nearer)
    pushes = [weight * places[:, axis] - felt(spread(places[:, axis]) * nearer) for axis in (0, 1)]
    return np.stack(pushes, 1) / max(whole, 1e-3)
