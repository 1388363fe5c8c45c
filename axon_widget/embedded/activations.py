"""A shipped model, its autoencoders, and its activations at hook points over rows of tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from sae_lens import SAE
from tqdm import trange
from transformers import AutoModelForCausalLM, AutoTokenizer

from axon_widget.engine.hooks import HookedModel

BATCH = 16  # rows in one forward pass; on a CPU larger ones are slower


class _EnoughError(Exception):
    """Ends a pass through the model at the last hook point."""


def load_model(directory: Path, device: str = "cpu", dtype: torch.dtype = torch.float32) -> HookedModel:
    """Load a model with its hook points."""
    tokenizer = cast(Any, AutoTokenizer.from_pretrained(directory))
    model: Any = AutoModelForCausalLM.from_pretrained(directory, dtype=dtype)
    return HookedModel.wrap(str(directory), model.to(device), tokenizer)


def load_sae(folder: Path, device: str = "cpu") -> Any:
    """Load an autoencoder in float32 from its directory."""
    return cast(Any, SAE.load_from_disk(folder, device=device, dtype="float32"))


def batches(rows: torch.Tensor, title: str) -> Iterator[torch.Tensor]:
    """Give the rows batch by batch, as the model reads them, with a progress bar."""
    for start in trange(0, len(rows), BATCH, desc=title, unit="row", unit_scale=BATCH):
        yield rows[start : start + BATCH].long()


def read(model: HookedModel, hooks: Sequence[str], tokens: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the activations at hook points for one batch of tokens, each of shape (batch, context, width).

    Raises
    ------
    ValueError
        If the model has no such hook point.
    """
    found: dict[str, torch.Tensor] = {}

    def keep(hook: str, values: torch.Tensor) -> None:
        found[hook] = values
        if len(found) == len(hooks):
            raise _EnoughError

    with suppress(_EnoughError):
        model.forward(tokens.to(model.device), None, {hook: partial(keep, hook) for hook in hooks})
    return found
