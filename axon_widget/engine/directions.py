"""Which features write nearly the same: the cosines between their decoder directions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import torch

from axon_widget.engine.matvec import AllThreads

if TYPE_CHECKING:
    from axon_widget.engine.features import FeatureReader

Near = list[tuple[int, int, float]]
"""Features, each as (sae, id, cosine), the nearest first."""

_ROWS = 64  # features whose cosines with a whole dictionary are held at once
_KEPT = 256  # features whose neighbours are remembered: whoever reads about one asks again and again


class Directions:
    """The decoder directions of all SAEs. Those that do not write to the same space are no neighbours.

    Parameters
    ----------
    readers
        The SAEs.
    """

    def __init__(self, readers: Sequence[FeatureReader]) -> None:
        self._readers = readers
        self._lengths: dict[int, torch.Tensor] = {}
        self._known: dict[tuple[int, int, int], Near] = {}

    @torch.inference_mode()
    def cosines(self, features: Sequence[tuple[int, int]]) -> torch.Tensor:
        """Give the cosines between features, each named by (sae, id).

        Returns
        -------
        torch.Tensor
            Shape (features, features), on the CPU; 0 between SAEs that do not write to the same space.
        """
        spaces = [self._space(sae) for sae, _ in features]
        found = torch.zeros(len(features), len(features))
        for space in set(spaces):
            at = [i for i, other in enumerate(spaces) if other == space]
            unit = torch.stack([self._unit(*features[i]) for i in at])
            index = torch.tensor(at)
            found[index[:, None], index] = (unit @ unit.T).cpu()
        return found

    def nearest(self, features: Sequence[tuple[int, int]], count: int = 8) -> list[Near]:
        """Find each feature's nearest, exactly, in its own SAE and those before and after it.

        Parameters
        ----------
        features
            The features, each named by (sae, id).
        count
            How many of each.

        Returns
        -------
        list of list of (int, int, float)
            For each of the features its nearest as (sae, id, cosine), the nearest first.
        """
        asked = [(*key, count) for key in features]
        new = [key for key in dict.fromkeys(asked) if key not in self._known]
        known = self._known | dict(zip(new, self._search([key[:2] for key in new], count), strict=True))
        self._known = dict(list(known.items())[-_KEPT:])
        return [known[key] for key in asked]

    @torch.inference_mode()
    def _search(self, features: Sequence[tuple[int, int]], count: int) -> list[Near]:
        near: list[Near] = [[] for _ in features]
        for sae in sorted({sae for sae, _ in features}):
            places = [i for i, (of, _) in enumerate(features) if of == sae]
            others = [o for o in (sae - 1, sae, sae + 1) if 0 <= o < len(self._readers)]
            for other in (o for o in others if self._space(o) == self._space(sae)):
                for first in range(0, len(places), _ROWS):
                    some = places[first : first + _ROWS]
                    for i, row in zip(some, self._against([features[i] for i in some], other, count), strict=True):
                        near[i] += row
        return [sorted(row, key=lambda one: -one[2])[:count] for row in near]

    def _against(self, features: Sequence[tuple[int, int]], other: int, count: int) -> list[Near]:
        """Find the nearest of some features among those of one SAE."""
        decoder = self._readers[other].sae.W_dec
        unit = torch.stack([self._unit(*key) for key in features]).to(decoder.device)
        with AllThreads():
            cosines = torch.matmul(unit, decoder.float().T) / self._length(other)
        for row, (sae, feature) in enumerate(features):
            if sae == other:
                cosines[row, feature] = -2.0  # itself
        values, ids = cosines.topk(min(count, cosines.shape[1] - (features[0][0] == other)))
        numbers, sizes = cast("list[list[int]]", ids.tolist()), cast("list[list[float]]", values.tolist())
        return [[(other, i, size) for i, size in zip(*row, strict=True)] for row in zip(numbers, sizes, strict=True)]

    def _unit(self, sae: int, feature: int) -> torch.Tensor:
        return torch.nn.functional.normalize(self._readers[sae].sae.W_dec[feature].float(), dim=-1)

    def _length(self, sae: int) -> torch.Tensor:
        if sae not in self._lengths:
            decoder = self._readers[sae].sae.W_dec
            self._lengths[sae] = torch.linalg.vector_norm(decoder, dim=-1, dtype=torch.float32).clamp_min(1e-12)
        return self._lengths[sae]

    def _space(self, sae: int) -> tuple[int, object]:
        reader = self._readers[sae]
        return reader.d_in, reader.writes_residual or reader.hook
