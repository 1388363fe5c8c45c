"""What an autoencoder's features do over a text: on which tokens each fires, and how strongly."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from axon_widget.embedded.activations import batches, read
from axon_widget.embedded.recipes import Recipe
from axon_widget.engine.hooks import HookedModel

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]


class Text(NamedTuple):
    """A text of several rows, laid end to end.

    Parameters
    ----------
    tokens
        Token ids, shape (rows * context,).
    counted
        Which of them count.
    context
        How many tokens there are in a row.
    """

    tokens: Ints
    counted: Bools
    context: int


class Firing:
    """Where features fire: for each its places in the text, in order, and its activations there."""

    def __init__(self, places: Ints, features: Ints, values: Floats, width: int) -> None:
        order = np.argsort(features, kind="stable")
        self._places, self._values = places[order].astype(np.int64), values[order]
        self._starts = np.searchsorted(features[order], np.arange(width + 1))
        self.width = width

    def of(self, feature: int) -> tuple[Ints, Floats]:
        """Give one feature's places and activations."""
        mine = slice(self._starts[feature], self._starts[feature + 1])
        return self._places[mine], self._values[mine]


def text_of(recipe: Recipe, rows: torch.Tensor) -> Text:
    """Lay rows of token ids end to end."""
    return Text(rows.long().numpy().reshape(-1), recipe.counted(rows).numpy().reshape(-1), rows.shape[1])


@torch.inference_mode()
def watch(model: HookedModel, saes: dict[str, Any], recipe: Recipe, rows: torch.Tensor) -> dict[str, Firing]:
    """Run rows through the model once and note where the features of all its autoencoders fire."""
    parts: dict[str, list[tuple[Any, ...]]] = {hook: [] for hook in saes}
    seen = 0
    for tokens in batches(rows, "reading"):
        mask = recipe.counted(tokens)
        places = mask.reshape(-1).nonzero()[:, 0] + seen
        seen += tokens.numel()
        for hook, values in read(model, list(saes), tokens).items():
            found = saes[hook].encode(values[mask.to(values.device)].float())
            at, features = found.nonzero(as_tuple=True)
            kept = (places[at.cpu()].int(), features.short(), found[at, features])
            parts[hook].append(tuple(part.cpu().numpy() for part in kept))
    fired: dict[str, Firing] = {}
    for hook, sae in saes.items():
        places, features, values = (np.concatenate(column) for column in zip(*parts.pop(hook), strict=True))
        fired[hook] = Firing(places, features, values, sae.cfg.d_sae)
    return fired
