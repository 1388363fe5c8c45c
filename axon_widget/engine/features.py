"""From the residual stream to the features that fire."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, cast

import torch

# Hook points of what is written to the residual stream, by TransformerLens' names and the bridge's own.
_WRITTEN = re.compile(
    r"hook_resid_(pre|mid|post)$|hook_(attn|mlp)_out$|(attn|mlp)\.hook_out$|\d\.hook_(in|out)$|embed$"
)
_CHUNK = 64  # tokens encoded at once: a wide SAE's dense activations for a whole context would not fit


@dataclass(frozen=True)
class Reading:
    """What a sparse autoencoder sees at one token.

    Parameters
    ----------
    ids, activations
        The features that fire (activation above 0) and how strongly, strongest first.
    explained_variance
        1 - |x - x̂|² / |x - x̂₀|², where x̂ is the reconstruction and x̂₀ the reconstruction with no feature on
        (the SAE's bias). 1 is perfect, 0 no better than the bias, and it can be negative.
    cosine
        The cosine between x and x̂.
    """

    ids: list[int]
    activations: list[float]
    explained_variance: float
    cosine: float


class FeatureReader:
    """Reads features out of activations through a SAELens SAE.

    Parameters
    ----------
    sae
        The SAE. Encoding and decoding go through its own methods, whatever its architecture.

    Attributes
    ----------
    writes_residual
        Whether its hook point is something written to the residual stream, so that a feature's decoder row is a
        direction of it.

    Raises
    ------
    ValueError
        If it is a transcoder.
    """

    def __init__(self, sae: Any) -> None:
        self.sae = sae
        self.d_sae = int(sae.cfg.d_sae)
        self.d_in = int(sae.cfg.d_in)
        metadata = sae.cfg.metadata
        if (metadata.hook_name_out or metadata.hook_name) != metadata.hook_name:
            raise ValueError(
                f"This is a transcoder: it reads {metadata.hook_name} and predicts {metadata.hook_name_out}. "
                "Only sparse autoencoders, which give back what they read, can be traced."
            )
        kwargs: dict[str, Any] = metadata.model_from_pretrained_kwargs or {}
        # TransformerLens' center_writing_weights removes the mean over the residual stream's dimensions from
        # everything that writes to it. On untouched weights an SAE of what is written must be given x - mean(x);
        # what a LayerNorm has read is the same either way.
        self.writes_residual = _WRITTEN.search(str(metadata.hook_name)) is not None
        self._centred = self.writes_residual and bool(kwargs.get("center_writing_weights", False))
        if getattr(sae, "hook_z_reshaping_mode", False):
            sae.turn_off_forward_pass_hook_z_reshaping()  # the bridge gives the heads side by side already

    def prepare(self, x: torch.Tensor) -> torch.Tensor:
        """Bring activations (n, d_in) to what the SAE was trained on: its dtype, and centred where it was."""
        x = x.to(self.sae.W_dec.dtype)
        return x - x.mean(-1, keepdim=True) if self._centred else x

    @torch.inference_mode()
    def read(self, x: Any) -> list[Reading]:
        """Read the features at each token.

        Parameters
        ----------
        x
            Activations at the SAE's hook point, shape (n, d_in).

        Returns
        -------
        list of Reading
            One for each of the n tokens.
        """
        return [reading for part in x.split(_CHUNK) for reading in self._read(self.prepare(part))]

    def _read(self, x: torch.Tensor) -> list[Reading]:
        activations = self.sae.encode(x)
        # Run-time normalisation leaves its scales on the SAE for one decode; there are two here.
        scales = vars(cast("object", self.sae)).copy()
        # A few dozen of thousands of features are on: a sparse product reads their decoder rows alone.
        sparse = activations.to_sparse() if x.device.type in ("cpu", "cuda") else activations
        reconstruction = self.sae.decode(sparse)
        vars(cast("object", self.sae)).update(scales)
        bias = self.sae.decode(torch.zeros_like(sparse))
        error = (x - reconstruction).float().square().sum(-1)
        total = (x - bias).float().square().sum(-1)
        explained: Any = 1 - error / total.clamp_min(torch.finfo(torch.float32).tiny)
        cosine: Any = torch.cosine_similarity(x.float(), reconstruction.float(), dim=-1)
        readings: list[Reading] = []
        for row, ev, cos in zip(activations, explained.tolist(), cosine.tolist(), strict=True):
            ids = row.nonzero().squeeze(-1)
            values, order = row[ids].float().sort(descending=True)
            readings.append(Reading(ids[order].tolist(), values.tolist(), ev, cos))
        return readings
