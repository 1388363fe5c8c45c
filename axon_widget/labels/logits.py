"""The fall-back label of any feature: the tokens its decoder direction boosts."""

from __future__ import annotations

from collections.abc import Callable

import torch

from axon_widget.labels import Label

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
    gamma
        The final norm's weight, shape (d_model,).
    unembedding
        Shape (vocabulary, d_model).
    centred
        Whether the final norm is a LayerNorm.
    name
        Gives a token's text.
    """

    def __init__(
        self,
        decoder: torch.Tensor,
        gamma: torch.Tensor,
        unembedding: torch.Tensor,
        centred: bool,
        name: Callable[[int], str],
    ) -> None:
        self._decoder, self._gamma, self._unembedding = decoder, gamma, unembedding
        self._centred, self._name = centred, name

    @torch.inference_mode()
    def get(self, feature: int) -> Label:
        """Compute a feature's label. It reads the whole unembedding: keep it off the token's path."""
        d = self._decoder[feature].to(self._unembedding)
        if self._centred:
            d = d - d.mean()
        weights = self._unembedding @ (d * self._gamma)
        boosts, suppresses = (
            tuple(self._name(int(t)) for t in weights.topk(k, largest=largest).indices)
            for k, largest in ((8, True), (5, False))
        )
        return Label(
            text=", ".join(b.strip() for b in boosts[:3]),
            source=_SOURCE,
            boosts=boosts,
            suppresses=suppresses,
        )
