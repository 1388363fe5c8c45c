"""Measure an embedded autoencoder with SAELens' own evaluation and write its card.

``python -m axon_widget.embedded.evaluate`` writes ``metrics.json`` and ``CARD.md`` beside the autoencoder,
from stories that neither the training nor its seed has seen.
"""

from __future__ import annotations

import copy
import json
import logging
from pathlib import Path
from typing import Any, cast

import torch
from sae_lens.evals import get_recons_loss, get_sparsity_and_variance_metrics
from sae_lens.training.activation_scaler import ActivationScaler

from axon_widget.embedded import MODEL_NAME, sae_dir
from axon_widget.embedded.activations import BATCH, batches, load_bridge, load_sae
from axon_widget.embedded.stories import SPECIAL, TEMPERATURES, TOP_K, TOP_P, counted, stories
from axon_widget.embedded.train import arguments

log = logging.getLogger(__name__)

LOSS_STORIES = 128  # the loss takes three passes and all logits; these many stories settle it

CARD = """\
# {model}, `{hook}`

A sparse autoencoder with {d_sae:,} features over {d_in} dimensions of the residual stream of {model}, the model
in `stories15m`. It is in SAELens' own format: `SAE.load_from_disk(folder)` loads it as float32; the weights are
stored in float16.

## Measured
On {tokens:,} tokens of held-out stories (seed {seed}; the training's is {training_seed}), by SAELens' own
evaluation functions. The first position and special tokens are left out everywhere.

| | |
| --- | --- |
| explained variance | {explained_variance:.4f} |
| L0, features active per token | {l0:.2f} |
| cosine of input and reconstruction | {cossim:.4f} |
| dead features | {dead_share:.2%} |
| loss, clean | {loss_clean:.4f} |
| loss, reconstruction spliced in | {loss_spliced:.4f} |
| loss, activations zeroed | {loss_zeroed:.4f} |
| loss recovered | {loss_recovered:.4f} |

- Explained variance is 1 - sum ‖x - x̂‖² / sum ‖x - mean x‖² over all counted tokens.
- A feature is dead if it fires on none of the {tokens:,} tokens.
- Losses are the mean cross entropy, in nats, of {loss_tokens:,} counted tokens that follow a counted token.
  Zeroed means that all activations at the hook point are set to 0, those of the first position too; loss
  recovered is (zeroed - spliced) / (zeroed - clean). Where the reconstruction is spliced in, special tokens
  keep their own activations.

## Made
- Architecture: BatchTopK, k = {training_k:g}, saved by SAELens as a JumpReLU autoencoder, so that what fires on
  a token does not depend on the other tokens of a batch. Decoder vectors have norm 1.
- Data: {training_tokens:,} tokens of the model's own stories, top-p {top_p} within the {top_k} likeliest tokens,
  temperatures {temperatures}, sampled in bfloat16. Three in ten begin by themselves, the others
  with one of many openings, some of which are no story's. Activations are read in float32.
- Training: SAELens {sae_lens}, {training_passes:g} passes over these tokens in random order, seed {training_seed}.
- Again: `{train}`,
  then `python -m axon_widget.embedded.evaluate --hook {hook}`
  and `python -m axon_widget.embedded.label --hook {hook}`.

## Labels
`labels.json` names each feature by rule from the tokens it fires on and the tokens it boosts. These are
hypotheses, and nobody has scored them.

## Limits
The model knows little but children's stories, and the features are those of such text. Seed stability has not
been measured.

## Licence
MIT, as the model's.
"""


class Store:
    """The one method of SAELens' activations store that its evaluation asks for."""

    def __init__(self, written: torch.Tensor) -> None:
        self.batches = batches(written, "variance")

    def get_batch_tokens(self, size: int) -> torch.Tensor:
        """Return the next batch."""
        return next(self.batches)


def losses(bridge: Any, sae: Any, written: torch.Tensor) -> dict[str, float]:
    """Return the mean losses with the activations left as they are, reconstructed, and zeroed."""
    found: dict[str, list[torch.Tensor]] = {}
    for tokens in batches(written, "losses"):
        values = get_recons_loss(
            sae,
            bridge,
            ActivationScaler(),
            tokens.to(bridge.cfg.device),
            compute_kl=False,
            compute_ce_loss=True,
            ignore_tokens=list(SPECIAL),
        )
        mask = counted(tokens)
        follows = mask[:, :-1] & mask[:, 1:]
        for name, value in values.items():
            found.setdefault(name, []).append(value.cpu()[follows])
    joined = {name: torch.cat(parts) for name, parts in found.items()}
    clean, spliced, zeroed = (joined[f"ce_loss_{name}"] for name in ("without_sae", "with_sae", "with_ablation"))
    return {
        "loss_tokens": len(clean),
        "loss_clean": clean.mean().item(),
        "loss_spliced": spliced.mean().item(),
        "loss_zeroed": zeroed.mean().item(),
        "loss_recovered": ((zeroed - spliced).mean() / (zeroed - clean).mean()).item(),
    }


@torch.inference_mode()
def measure(bridge: Any, sae: Any, written: torch.Tensor) -> dict[str, float]:
    """Measure the autoencoder on these stories."""
    # SAELens looks activations up by the name that the autoencoder gives, and a bridge has them by its own.
    sae = copy.deepcopy(sae)
    sae.cfg.metadata.hook_name = bridge._resolve_hook_name(sae.cfg.metadata.hook_name)
    fit, features = get_sparsity_and_variance_metrics(
        sae,
        bridge,
        cast(Any, Store(written)),
        ActivationScaler(),
        compute_l2_norms=False,
        compute_sparsity_metrics=True,
        compute_variance_metrics=True,
        compute_featurewise_density_statistics=True,
        n_batches=-(-len(written) // BATCH),
        eval_batch_size_prompts=BATCH,
        model_kwargs={},
        ignore_tokens=list(SPECIAL),
    )
    density = features["feature_density"]
    return {
        "tokens": int(counted(written).sum()),
        "explained_variance": fit["explained_variance"],
        "l0": fit["l0"],
        "cossim": fit["cossim"],
        "dead_share": sum(value == 0 for value in density) / len(density),
        **losses(bridge, sae, written[:LOSS_STORIES]),
    }


def write_card(folder: Path, sae: Any, metrics: dict[str, float], seed: int) -> None:
    """Write the measured numbers and what is known of the training beside the autoencoder."""
    known = sae.cfg.metadata
    (folder / "metrics.json").write_text(json.dumps({"seed": seed, **metrics}, indent=2) + "\n", encoding="utf-8")
    facts = {name: known[name] for name in known.keys() if name.startswith("training_")}  # noqa: SIM118
    card = CARD.format(
        **facts,
        **metrics,
        seed=seed,
        model=MODEL_NAME,
        hook=known.hook_name,
        d_sae=sae.cfg.d_sae,
        d_in=sae.cfg.d_in,
        top_p=TOP_P,
        top_k=TOP_K,
        temperatures=", ".join(str(value) for value in TEMPERATURES),
        sae_lens=known.sae_lens_training_version,
        train=known.training_command,
    )
    (folder / "CARD.md").write_text(card, encoding="utf-8")


def main() -> None:
    """Run the evaluation from the command line."""
    parser = arguments(__doc__)
    parser.add_argument("--tokens", type=int, default=200_000, help="held-out tokens (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the held-out stories (%(default)s)")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    folder: Path = options.out or sae_dir(options.hook)
    sae = load_sae(folder, options.device)
    written = stories(options.work, "held-out", options.seed, options.tokens, options.device)
    metrics = measure(load_bridge(options.device), sae, written)
    write_card(folder, sae, metrics, options.seed)
    log.info("%s", json.dumps(metrics, indent=2))


if __name__ == "__main__":
    main()
