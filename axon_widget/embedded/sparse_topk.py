"""SAELens' TopK and BatchTopK autoencoders, trained with the arithmetic of their active features alone."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from sae_lens import BatchTopKTrainingSAE, TopKTrainingSAE
from sae_lens.saes.sae import TrainStepInput, TrainStepOutput
from torch.nn.functional import embedding_bag


class SparseTopKTrainingSAE(TopKTrainingSAE):
    """A TopK autoencoder whose training step is SAELens' own: the same losses and gradients.

    SAELens multiplies by activations of which all but k are 0, which takes longer on a CPU. Decoder norms are not
    looked at (``rescale_acts_by_decoder_norm`` must be False).
    """

    def training_forward_pass(self, step_input: TrainStepInput) -> TrainStepOutput:
        """Give the losses of one batch, shape (batch, d_in)."""
        x = step_input.sae_in
        hidden, rows, at = cast(
            "tuple[torch.Tensor, torch.Tensor, torch.Tensor]",
            _Encode.apply(x, self.b_dec, self.W_enc, self.b_enc, self.choose),
        )
        active = hidden.relu()
        starts = torch.searchsorted(rows, torch.arange(len(x), device=x.device))
        out = embedding_bag(at, self.W_dec, starts, per_sample_weights=active, mode="sum") + self.b_dec
        losses = {
            "mse_loss": (out - x).square().sum(-1).mean(),
            "auxiliary_reconstruction_loss": self._auxiliary_loss(x, out, step_input.dead_neuron_mask),
        }
        with torch.no_grad():
            shape = (len(x), self.cfg.d_sae)
            acts = torch.sparse_coo_tensor(torch.stack([rows, at]), active, shape, check_invariants=False)
        return TrainStepOutput(
            sae_in=x,
            sae_out=out,
            feature_acts=acts,
            hidden_pre=hidden,
            loss=losses["mse_loss"] + losses["auxiliary_reconstruction_loss"],
            losses=losses,
        )

    def choose(self, hidden: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Give the rows and features of the k largest of each row of (batch, d_sae), ordered by row."""
        k = self.cfg.k
        if hidden.is_cuda:
            at = hidden.topk(k, sorted=False).indices
        else:  # NumPy's selection takes half the time
            at = torch.from_numpy(np.argpartition(hidden.numpy(), -k, axis=1)[:, -k:].copy())
        return torch.arange(len(hidden), device=hidden.device).repeat_interleave(k), at.flatten()

    def _auxiliary_loss(self, x: torch.Tensor, out: torch.Tensor, is_dead: torch.Tensor | None) -> torch.Tensor:
        """Let silent features tell what is left over, as `calculate_topk_aux_loss` does with all features."""
        dead = is_dead.nonzero()[:, 0] if is_dead is not None else x.new_zeros(0)
        if not len(dead):
            return out.new_tensor(0.0)
        half = x.shape[-1] // 2
        hidden = (x - self.b_dec) @ self.W_enc[:, dead] + self.b_enc[dead]
        if len(dead) > half:
            strongest = hidden.topk(half, sorted=False)
            hidden = torch.zeros_like(hidden).scatter(-1, strongest.indices, strongest.values)
        error = hidden @ self.W_dec[dead] - (x - out).detach()
        return self.cfg.aux_loss_coefficient * min(len(dead) / half, 1.0) * error.square().sum(-1).mean()


class SparseBatchTopKTrainingSAE(SparseTopKTrainingSAE, BatchTopKTrainingSAE):
    """A BatchTopK autoencoder whose training step is SAELens' own, in the same way."""

    def training_forward_pass(self, step_input: TrainStepInput) -> TrainStepOutput:
        """Give the losses of one batch, shape (batch, d_in), and move the threshold."""
        output = super().training_forward_pass(step_input)
        self.update_topk_threshold(output.feature_acts._values())
        output.metrics["topk_threshold"] = self.topk_threshold
        return output

    def choose(self, hidden: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Give the rows and features of the k x batch largest of (batch, d_sae) above 0, ordered by row."""
        flat, count = hidden.flatten(), int(self.cfg.k * len(hidden))
        # The threshold that was found so far spares sorting what lies far below it.
        for bound in (0.8 * float(self.topk_threshold), 0.0):
            at = (flat > bound).nonzero()[:, 0]
            if len(at) >= count:
                at = at[flat[at].topk(count, sorted=False).indices].sort().values
                break
        return at // hidden.shape[1], at % hidden.shape[1]


class _Encode(torch.autograd.Function):
    """Gives those of ``(x - b_dec) @ W_enc + b_enc`` that are chosen, their rows and which features they are of."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, b_dec: torch.Tensor, w_enc: torch.Tensor, b_enc: torch.Tensor, choose: Any
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        centred = x - b_dec
        hidden = (centred @ w_enc).float() + b_enc
        rows, at = choose(hidden)
        ctx.save_for_backward(centred, w_enc, rows, at)
        ctx.mark_non_differentiable(rows, at)
        return hidden[rows, at], rows, at

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        centred, w_enc, rows, at = ctx.saved_tensors
        grad = grads[0].contiguous()
        # That of a weight is the sum of what it was multiplied with, as an embedding's is.
        with torch.enable_grad():
            table = torch.zeros_like(w_enc.T, memory_format=torch.contiguous_format).requires_grad_()
            starts = torch.searchsorted(rows, torch.arange(len(centred), device=rows.device))
            sums = embedding_bag(at, table, starts, per_sample_weights=grad, mode="sum")
        (of_weights,) = torch.autograd.grad(sums, table, centred)
        of_bias = torch.zeros_like(w_enc[0]).index_add_(0, at, grad)
        return None, -(w_enc @ of_bias), of_weights.T.contiguous(), of_bias, None
