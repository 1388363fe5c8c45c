"""The fall-back label of any feature: the tokens its decoder direction boosts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast

import torch

from axon_widget.labels import Label

if TYPE_CHECKING:
    from axon_widget.engine.attribution import Unembedding

_BOOSTS, _SUPPRESSES = 8, 5
_SOURCE = "tokens the feature's decoder direction boosts through the final norm and the unembedding"


class LogitLabels:
    """Labels computed from the weights: what a feature does to the logits on the direct path.

    The weight on token t is ((d - mean d) * gamma) . W_U[:, t] for a LayerNorm model and (d * gamma) . W_U[:, t]
    for an RMSNorm model, d being the feature's decoder row (the "logit lens", nostalgebraist 2020). Later layers
    are left out.

    Parameters
    ----------
    decoder
        The SAE's decoder, shape (d_sae, d_model).
    unembedding
        The model's final norm and unembedding.
    name
        Gives a token's text.
    """

    def __init__(self, decoder: torch.Tensor, unembedding: Unembedding, name: Callable[[int], str]) -> None:
        self._decoder, self._unembedding, self._name = decoder, unembedding, name

    def get(self, feature: int) -> Label:
        """Compute a feature's label. It reads the whole unembedding: keep it off the token's path."""
        [(boosts, suppresses)] = self._tokens([feature])
        return Label(text=_named_by(boosts), source=_SOURCE, boosts=boosts, suppresses=suppresses)

    def names_of(self, features: Sequence[int]) -> list[str]:
        """Compute the names of several features at once."""
        return [_named_by(boosts) for boosts, _ in self._tokens(features)]

    @torch.inference_mode()
    def boosting(self, token: int, count: int) -> list[tuple[int, float]]:
        """Find the features that push a token's logit, less the mean logit, most, each with its weight on it."""
        unembedding = self._unembedding
        row = unembedding.matrix[token].float() - unembedding.mean
        direction = unembedding.direction(row).to(self._decoder.device)
        best = (self._decoder.float() @ direction).topk(min(count, len(self._decoder)))
        numbers, weights = cast("list[int]", best.indices.tolist()), cast("list[float]", best.values.tolist())
        return [(i, weight) for i, weight in zip(numbers, weights, strict=True) if weight > 0]

    @torch.inference_mode()
    def _tokens(self, features: Sequence[int]) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
        """Find the tokens that each of some features boosts and suppresses most."""
        weights = self._unembedding.weights(self._decoder[list(features)])
        most, least = weights.topk(_BOOSTS).indices, weights.topk(_SUPPRESSES, largest=False).indices
        rows = zip(cast("list[list[int]]", most.tolist()), cast("list[list[int]]", least.tolist()), strict=True)
        return [(tuple(map(self._name, up)), tuple(map(self._name, down))) for up, down in rows]


def _named_by(boosts: Sequence[str]) -> str:
    return ", ".join(token.strip() for token in boosts[:3])
