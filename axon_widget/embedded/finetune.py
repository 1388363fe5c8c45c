"""Fine-tune an autoencoder for what the model predicts from its reconstruction.

The share of variance that is left unexplained is joined by the Kullback-Leibler divergence of the next token's
distribution, where the reconstruction stands for the activations, from the model's own: a short end of the training,
as in Karvonen, "Revisiting End-To-End Sparse Autoencoder Training: A Short Finetune Is All You Need"
(arXiv:2503.17272).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn.functional import log_softmax, normalize
from tqdm import tqdm

from axon_widget.engine.hooks import HookedModel

ROWS = 4  # in one step: all logits are held for each token


def finetune(
    sae: Any,
    model: HookedModel,
    hook: str,
    rows: torch.Tensor,
    counted: Callable[[torch.Tensor], torch.Tensor],
    *,
    weight: float,
    lr: float,
) -> None:
    """Train a JumpReLU autoencoder, in place, on rows of text that are read once; its decoder vectors keep norm 1.

    Parameters
    ----------
    sae
        The autoencoder, in float32; its threshold stays as it is.
    model
        The model.
    hook
        The hook point.
    rows
        Token ids, shape (rows, context).
    counted
        Tells which tokens count, in that shape; others keep their activations.
    weight
        That of the divergence, in nats, beside the unexplained share of variance.
    lr
        The learning rate to begin with; it falls to 0.
    """
    trained = [sae.W_enc, sae.b_enc, sae.W_dec, sae.b_dec]
    sae.threshold.requires_grad_(False)
    model.bridge.requires_grad_(False)
    optimizer = torch.optim.Adam(trained, lr=lr)
    steps: list[torch.Tensor] = list(torch.split(rows, ROWS))
    falling = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, len(steps))
    progress = tqdm(steps, desc=f"{hook}, fine-tuning", unit="row", unit_scale=ROWS)
    for tokens in progress:
        mask = counted(tokens).to(model.device)
        tokens = tokens.long().to(model.device)
        read: list[torch.Tensor] = []

        def splice(
            values: torch.Tensor, hook: Any, mask: torch.Tensor = mask, read: list[torch.Tensor] = read
        ) -> torch.Tensor:
            with torch.autocast(values.device.type, enabled=False):
                x, spliced = values[mask].float(), values.clone()
                out = sae(x)
                spliced[mask] = out.to(values.dtype)
            read.extend((x, out))
            return spliced

        with torch.autocast(tokens.device.type, torch.bfloat16):
            with torch.no_grad():
                clean = model.bridge(tokens, return_type="logits")
            logits = model.bridge.run_with_hooks(
                tokens, return_type="logits", fwd_hooks=[(model.resolve(hook), splice)]
            )
        x, out = read
        unexplained = (out - x).square().sum() / (x - x.mean(0)).square().sum()
        expected = log_softmax(clean[mask].float(), -1)
        divergence = (expected.exp() * (expected - log_softmax(logits[mask].float(), -1))).sum(-1).mean()
        optimizer.zero_grad()
        (unexplained + weight * divergence).backward()
        optimizer.step()
        falling.step()
        with torch.no_grad():
            sae.W_dec.copy_(normalize(sae.W_dec, dim=1))
        progress.set_postfix(unexplained=f"{unexplained.item():.4f}", divergence=f"{divergence.item():.4f}")


@torch.no_grad()
def set_threshold(sae: Any, x: torch.Tensor, k: float) -> None:
    """Set the one threshold of a JumpReLU autoencoder so that k features are active on average.

    Parameters
    ----------
    sae
        The autoencoder.
    x
        Activations, shape (n, d_in).
    k
        Features per token.
    """
    parts: list[torch.Tensor] = [(part - sae.b_dec) @ sae.W_enc + sae.b_enc for part in torch.split(x, 1024)]
    low = 0.5 * sae.threshold.min()
    candidates = torch.cat([part[part > low] for part in parts])
    sae.threshold.fill_(candidates.kthvalue(max(1, len(candidates) - int(k * len(x)))).values)
