"""Train the embedded autoencoder of one hook point with SAELens, on stories the model writes itself.

``python -m axon_widget.embedded.train`` samples stories, reads the residual stream at ``--hook`` on all of
their tokens but the first, trains a BatchTopK autoencoder and saves it as the JumpReLU one that SAELens makes
of it. Stopped with Ctrl-C it goes on where it was when it is started again with the same options.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import safetensors.torch
import torch
from platformdirs import user_cache_path
from sae_lens import BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig
from sae_lens.config import SAETrainerConfig
from sae_lens.saes.sae import SAEMetadata
from sae_lens.training.sae_trainer import SAETrainer

from axon_widget.embedded import MODEL_NAME, sae_dir
from axon_widget.embedded.activations import collect, load_bridge
from axon_widget.embedded.stories import stories

log = logging.getLogger(__name__)

HOOK = "blocks.3.hook_resid_pre"
BATCH = 1024


def arguments(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options that every script about one autoencoder has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--hook", default=HOOK, help="the hook point (%(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (%(default)s)")
    parser.add_argument("--out", type=Path, help="the autoencoder's directory (beside this file)")
    parser.add_argument(
        "--work",
        type=Path,
        default=user_cache_path("axon-widget") / "training",
        help="where sampled stories and checkpoints are kept (%(default)s)",
    )
    return parser


def shuffled(activations: torch.Tensor, seed: int, skip: int = 0) -> Iterator[torch.Tensor]:
    """Give batches of activations in a new order in each pass, without the first ``skip`` activations."""
    per_pass = len(activations) // BATCH
    passes, start = divmod(skip // BATCH, per_pass)
    while True:
        order = torch.randperm(len(activations), generator=torch.Generator().manual_seed(seed + passes))
        for number in range(start, per_pass):
            yield activations[order[number * BATCH : (number + 1) * BATCH]].float()
        passes, start = passes + 1, 0


def command(options: argparse.Namespace) -> str:
    """Return the command that trains with these options."""
    names = ("hook", "tokens", "samples", "width", "k", "lr", "seed")
    given = " ".join(f"--{name} {getattr(options, name)}" for name in names)
    return f"python -m axon_widget.embedded.train {given}{' --bf16' * options.bf16}"


def build_sae(options: argparse.Namespace, width_in: int, tokens: int) -> BatchTopKTrainingSAE:
    """Build the untrained autoencoder, with all that is to be known of it in its metadata."""
    metadata = SAEMetadata(
        model_name=MODEL_NAME,
        hook_name=options.hook,
        hook_head_index=None,
        context_size=256,
        prepend_bos=True,
        model_from_pretrained_kwargs={},
        dataset="the model's own stories",
        training_tokens=tokens,
        training_passes=round(options.samples / tokens, 2),
        training_seed=options.seed,
        training_k=options.k,
        training_command=command(options),
    )
    config = BatchTopKTrainingSAEConfig(
        d_in=width_in,
        d_sae=options.width,
        k=options.k,
        device=options.device,
        # The activations' scale differs from layer to layer; SAELens folds this factor into the weights.
        normalize_activations="expected_average_only_in",
        metadata=metadata,
    )
    return BatchTopKTrainingSAE(config)


def train(options: argparse.Namespace, activations: torch.Tensor) -> BatchTopKTrainingSAE:
    """Train on these activations, going on from the newest checkpoint of the same options if there is one."""
    torch.manual_seed(options.seed)
    name = f"{options.hook}-{options.width}-{options.k}-{options.seed}-{len(activations)}-{options.samples}"
    checkpoints = options.work / "checkpoints" / name
    sae = build_sae(options, activations.shape[1], len(activations))
    config = SAETrainerConfig(
        total_training_samples=options.samples,
        train_batch_size_samples=BATCH,
        lr=options.lr,
        lr_end=options.lr,
        lr_warm_up_steps=200,
        lr_decay_steps=options.samples // BATCH // 3,
        # A feature that has been silent for this many batches is helped by SAELens' auxiliary loss.
        dead_feature_window=200,
        feature_sampling_window=200,
        n_batches_for_norm_estimate=20,
        n_checkpoints=4,
        checkpoint_path=str(checkpoints),
        device=options.device,
        autocast=options.bf16,
    )
    saved = sorted(checkpoints.glob("[0-9]*"), key=lambda path: int(path.name))
    if saved:
        sae.load_weights_from_checkpoint(saved[-1])
    skip = int(saved[-1].name) if saved else 0
    trainer: SAETrainer[Any, Any] = SAETrainer(config, sae, shuffled(activations, options.seed, skip))
    if saved:
        trainer.load_trainer_state(saved[-1])
        log.info("going on after %d samples", skip)

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    try:
        trainer.fit()
    except KeyboardInterrupt:
        trainer.save_checkpoint(str(trainer.n_training_samples))
        raise SystemExit("stopped; the same command goes on from here") from None
    shutil.rmtree(checkpoints, ignore_errors=True)
    return sae


def save(sae: BatchTopKTrainingSAE, out: Path) -> None:
    """Save in SAELens' inference format, with weights in float16 (SAELens loads them as float32)."""
    sae.cfg.device = "cpu"
    weights, _ = sae.save_inference_model(out)
    half: dict[str, Any] = {name: value.cpu().half() for name, value in safetensors.torch.load_file(weights).items()}
    safetensors.torch.save_file(half, weights)
    weights.chmod(0o644)


def main() -> None:
    """Run the training from the command line."""
    parser = arguments(__doc__)
    parser.add_argument("--tokens", type=int, default=2_000_000, help="tokens to sample (%(default)s)")
    parser.add_argument("--samples", type=int, default=8_000_000, help="activations to train on (%(default)s)")
    parser.add_argument("--width", type=int, default=2304, help="number of features (%(default)s)")
    parser.add_argument("--k", type=int, default=30, help="features active on average (%(default)s)")
    parser.add_argument("--lr", type=float, default=1e-3, help="learning rate (%(default)s)")
    parser.add_argument("--bf16", action="store_true", help="multiply in bfloat16 (weights stay float32)")
    parser.add_argument("--seed", type=int, default=0, help="seed of stories and weights (%(default)s)")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    written = stories(options.work, "train", options.seed, options.tokens, options.device)
    activations = collect(load_bridge(options.device), options.hook, written)
    save(train(options, activations), options.out or sae_dir(options.hook))


if __name__ == "__main__":
    main()
