"""From the residual stream to the features that fire."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch

from axon_widget.labels import Labels
from axon_widget.trace import Steer

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
    steered
        The features whose activation was changed: id, activation as read, and as changed.
    """

    ids: list[int]
    activations: list[float]
    explained_variance: float
    cosine: float
    steered: tuple[tuple[int, float, float], ...] = ()


class FeatureReader:
    """Reads features out of activations through a SAELens SAE, and writes changed ones back.

    Parameters
    ----------
    sae
        The SAE. Encoding and decoding go through its own methods, whatever its architecture.
    name
        What to call it; left out, its hook point.
    labels
        Names its features.
    neuronpedia
        Its id on Neuronpedia, empty where it has none.

    Attributes
    ----------
    hook, layer
        The hook point it reads, and the block that belongs to (0 where none does).
    context
        The length in tokens of the texts it was trained on, None where that is not known.
    prepend_bos
        Whether the texts it was trained on begin with BOS; unless it says otherwise, they do.
    writes_residual
        Whether its hook point is something written to the residual stream, so that a feature's decoder row is a
        direction of it.
    whole_stream
        Whether that is all that was written to it so far.

    Raises
    ------
    ValueError
        If it is a transcoder.
    """

    def __init__(self, sae: Any, name: str = "", labels: Labels | None = None, neuronpedia: str = "") -> None:
        self.sae = sae
        self.d_sae = int(sae.cfg.d_sae)
        self.d_in = int(sae.cfg.d_in)
        metadata = sae.cfg.metadata
        if (metadata.hook_name_out or metadata.hook_name) != metadata.hook_name:
            raise ValueError(
                f"This is a transcoder: it reads {metadata.hook_name} and predicts {metadata.hook_name_out}. "
                "Only sparse autoencoders, which give back what they read, can be traced."
            )
        self.hook = str(metadata.hook_name)
        block = re.search(r"blocks\.(\d+)\.", self.hook)
        self.layer = int(block[1]) if block else 0
        self.name, self.labels, self.neuronpedia = name or self.hook, labels or Labels(), neuronpedia
        self.context: int | None = metadata.context_size
        self.prepend_bos = metadata.prepend_bos is not False
        kwargs: dict[str, Any] = metadata.model_from_pretrained_kwargs or {}
        # TransformerLens' center_writing_weights removes the mean over the residual stream's dimensions from
        # everything that writes to it. On untouched weights an SAE of what is written must be given x - mean(x);
        # what a LayerNorm has read is the same either way.
        self.writes_residual = _WRITTEN.search(str(metadata.hook_name)) is not None
        self.whole_stream = "resid" in self.hook or self.hook == "hook_embed"
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
        return self.steer(x, (), reconstruct=False)[0]

    @torch.inference_mode()
    def steer(self, x: Any, changes: Sequence[Steer], reconstruct: bool) -> tuple[list[Reading], torch.Tensor | None]:
        """Read the features at each token, and change some of them.

        Parameters
        ----------
        x
            Activations at the SAE's hook point, shape (n, d_in).
        changes
            What becomes of this SAE's features.
        reconstruct
            Whether the SAE's output takes the place of what it reads.

        Returns
        -------
        readings, changed
            One reading for each of the n tokens; and x' = x + sum (a' - a) d, or with `reconstruct` the SAE's
            output at a', in x's shape and dtype; None where nothing is changed.

        Raises
        ------
        RuntimeError
            If an activation is not finite, or so large that its square is not.
        """
        parts = [self._steer(part, changes, reconstruct) for part in x.split(_CHUNK)]
        changed = [part for _, part in parts if part is not None]
        return [reading for readings, _ in parts for reading in readings], torch.cat(changed) if changed else None

    def _steer(
        self, raw: torch.Tensor, changes: Sequence[Steer], reconstruct: bool
    ) -> tuple[list[Reading], torch.Tensor | None]:
        x = self.prepare(raw)
        activations = self.sae.encode(x)
        decode = self._decoder()
        reconstruction = decode(activations)
        bias = decode(torch.zeros_like(activations))
        error = (x - reconstruction).float().square().sum(-1)
        if not torch.isfinite(error).all():
            raise RuntimeError(
                f"What the model holds at {self.hook} is too large or no number, so no features can be read there: "
                "steer less, or load the model in float32."
            )
        total = (x - bias).float().square().sum(-1)
        explained: Any = 1 - error / total.clamp_min(torch.finfo(torch.float32).tiny)
        cosine: Any = torch.cosine_similarity(x.float(), reconstruction.float(), dim=-1)
        after = change(activations, changes)
        ids = list(dict.fromkeys(c.id for c in changes))
        readings: list[Reading] = []
        for row, new, ev, cos in zip(activations, after, explained.tolist(), cosine.tolist(), strict=True):
            on = row.nonzero().squeeze(-1)
            values, order = row[on].float().sort(descending=True)
            steered = tuple((i, float(row[i]), float(new[i])) for i in ids)
            readings.append(Reading(on[order].tolist(), values.tolist(), ev, cos, steered))
        if not changes and not reconstruct:
            return readings, None
        steered_output = decode(after) if changes else reconstruction
        return readings, raw + (steered_output - (x if reconstruct else reconstruction)).to(raw.dtype)

    def _decoder(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """Give the SAE's decoder for what it encoded last, to be called as often as needed."""
        # Run-time normalisation leaves its scales on the SAE for one decode.
        scales = vars(cast("object", self.sae)).copy()

        def decode(activations: torch.Tensor) -> torch.Tensor:
            vars(cast("object", self.sae)).update(scales)
            # A few dozen of thousands of features are on: a sparse product reads their decoder rows alone.
            sparse = activations.to_sparse() if activations.device.type in ("cpu", "cuda") else activations
            return self.sae.decode(sparse)

        return decode

    @torch.inference_mode()
    def split(self, raw: torch.Tensor, changes: Sequence[Steer], reconstruct: bool) -> Parts:
        """Take what the model is run with at one token apart: x' = sum of the contributions + bias + error.

        Parameters
        ----------
        raw
            The activation at the SAE's hook point before any change, shape (d_in,).
        changes, reconstruct
            As `steer` takes them.
        """
        x = self.prepare(raw[None])
        activations = change(self.sae.encode(x), changes)
        decode = self._decoder()
        bias, whole = decode(torch.zeros_like(activations)), decode(activations)
        on = activations[0].nonzero().squeeze(-1)
        ids = on[activations[0, on].argsort(descending=True)]
        alone = torch.zeros(len(ids), self.d_sae, dtype=activations.dtype, device=activations.device)
        alone[torch.arange(len(ids)), ids] = activations[0, ids]
        contributions = decode(alone) - bias
        used = raw
        if reconstruct:
            used = raw + (whole - x)[0].to(raw.dtype)
        elif changes:
            used = raw + (whole - decode(self.sae.encode(x)))[0].to(raw.dtype)
        return Parts(
            ids=cast("list[int]", ids.tolist()),
            activations=cast("list[float]", activations[0, ids].float().tolist()),
            contributions=contributions.float(),
            bias=bias[0].float(),
            error=(used - whole[0]).float(),
            used=used,
        )


@dataclass(frozen=True)
class Parts:
    """An activation taken apart by an SAE.

    Parameters
    ----------
    ids, activations
        The features that are on, strongest first.
    contributions
        What each of them adds, shape (features, d_in).
    bias, error
        What the SAE gives with no feature on, and what it misses, shape (d_in,).
    used
        The sum of all: what the model is run with, shape (d_in,).
    """

    ids: list[int]
    activations: list[float]
    contributions: torch.Tensor
    bias: torch.Tensor
    error: torch.Tensor
    used: torch.Tensor

    def on(self, device: torch.device) -> Parts:
        """Give the same on another device."""
        moved = {name: getattr(self, name).to(device) for name in ("contributions", "bias", "error", "used")}
        return replace(self, **moved)


def change(activations: torch.Tensor, changes: Sequence[Steer]) -> torch.Tensor:
    """Give the activations (n, d_sae) with some features set or scaled; those given are left as they are."""
    if not changes:
        return activations
    activations = activations.clone()
    for _, feature, value, scale in changes:
        activations[:, feature] = activations[:, feature] * value if scale else value
    return activations


_MODULES = ("embed", "resid_pre", "ln1", "attn", "resid_mid", "ln2", "mlp", "resid_post")
_WHOLE_BLOCK = {"hook_in": "resid_pre", "hook_out": "resid_post"}


def depth(reader: FeatureReader) -> tuple[int, ...]:
    """Give what sorts SAEs by the depth of their hook points."""
    point = re.sub(r"^blocks\.\d+\.", "", reader.hook)
    point = _WHOLE_BLOCK.get(point, point)
    if re.search(r"final|unembed", point):
        return (sys.maxsize,)
    module = next((rank for rank, name in enumerate(_MODULES) if name in point), 0)
    part = 0 if re.search(r"_(in|pre|[qkv])$", point) else 2 if point.endswith("_out") else 1
    return reader.layer, module, part
