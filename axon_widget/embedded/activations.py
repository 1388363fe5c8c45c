"""A shipped model, its autoencoders, and its activations at hook points over rows of tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from sae_lens import SAE
from sae_lens.analysis.sae_transformer_bridge import SAETransformerBridge
from sae_lens.util import extract_stop_at_layer_from_tlens_hook_name
from tqdm import trange

BATCH = 16  # rows in one forward pass; on a CPU larger ones are slower


def load_bridge(directory: Path, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Any:
    """Load a model with its hook points."""
    return SAETransformerBridge.boot_transformers(str(directory), device=device, dtype=dtype)


def load_sae(folder: Path, device: str = "cpu") -> Any:
    """Load an autoencoder in float32 from its directory."""
    return cast(Any, SAE.load_from_disk(folder, device=device, dtype="float32"))


def batches(rows: torch.Tensor, title: str) -> Iterator[torch.Tensor]:
    """Give the rows batch by batch, as the model reads them, with a progress bar."""
    for start in trange(0, len(rows), BATCH, desc=title, unit="row", unit_scale=BATCH):
        yield rows[start : start + BATCH].long()


@torch.inference_mode()
def read(bridge: Any, hooks: Sequence[str], tokens: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the activations at hook points for one batch of tokens, each of shape (batch, context, width)."""
    names: dict[str, str] = {hook: bridge._resolve_hook_name(hook) for hook in hooks}
    for hook, name in names.items():
        if name not in bridge.hook_dict:
            raise ValueError(f"the model has no hook point {hook!r}")
    last = max(extract_stop_at_layer_from_tlens_hook_name(hook) or 0 for hook in hooks)
    device = bridge.cfg.device
    _, cache = bridge.run_with_cache(tokens.to(device), names_filter=list(names.values()), stop_at_layer=last)
    return {hook: cache[name] for hook, name in names.items()}
