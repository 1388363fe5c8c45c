"""Train autoencoders at several hook points of a shipped model at once, with SAELens.

``python -m axon_widget.embedded.train --model stories15m`` trains a TopK autoencoder at every hook point of the
model's recipe. The model reads each text once for all of them; nothing but the text is kept on disk. Stopped with
Ctrl-C it goes on from where it was when it is started again with the same options.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import logging
import platform
import shutil
import signal
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any, cast

import safetensors.torch
import torch
from sae_lens import TopKTrainingSAE, TopKTrainingSAEConfig
from sae_lens.config import SAETrainerConfig
from sae_lens.saes.sae import SAEMetadata
from sae_lens.training.mixing_buffer import multi_hook_concat_split_iter
from sae_lens.training.multi_sae_trainer import MultiSAETrainer

from axon_widget.embedded.activations import BATCH, load_model, read
from axon_widget.embedded.recipes import RECIPES, Recipe, arguments
from axon_widget.embedded.sparse_topk import SparseTopKTrainingSAE
from axon_widget.labels.bundle import LABELS

log = logging.getLogger(__name__)

SAMPLES = 1024  # activations in one training step
CHUNK = 16  # forward passes whose activations go into the mixing buffer at once: each time it is copied
MIXED = 131_072  # tokens in the mixing buffer
CHECKPOINTS = 8
WHOLE = "whole"
"""The file that a checkpoint has once all else of it is written."""
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt


def activations(
    recipe: Recipe, model: Any, rows: torch.Tensor, seed: int, skip: int
) -> Iterator[dict[str, torch.Tensor]]:
    """Give the activations of all counted tokens at each hook point, pass after pass, in a new order in each.

    Parameters
    ----------
    recipe
        What is trained.
    model
        The model.
    rows
        Token ids, shape (rows, context).
    seed
        Seed of the order.
    skip
        So many activations were seen before: the rows that held them are left out.
    """
    generator = torch.Generator().manual_seed(seed)
    mask = recipe.counted(rows)
    while True:
        order = torch.randperm(len(rows), generator=generator)
        seen = mask[order].sum(1).cumsum(0)
        start = int(torch.searchsorted(seen, skip, right=True)) if skip else 0
        skip = max(0, skip - int(seen[-1]))
        for at in range(start, len(rows), BATCH * CHUNK):
            parts: list[dict[str, torch.Tensor]] = []
            for first in range(at, min(at + BATCH * CHUNK, len(rows)), BATCH):
                chosen = order[first : first + BATCH]
                found = read(model, recipe.hooks, rows[chosen].long())
                parts.append({hook: values[mask[chosen]] for hook, values in found.items()})
            yield {hook: torch.cat([part[hook] for part in parts]) for hook in recipe.hooks}


def command(options: argparse.Namespace) -> str:
    """Return the command that trains with these options."""
    seed = f" --seed {options.seed}" if options.seed else ""
    return f"python -m axon_widget.embedded.train --model {options.model} --tokens {options.tokens}{seed}"


def build_sae(recipe: Recipe, hook: str, options: argparse.Namespace, width_in: int) -> TopKTrainingSAE:
    """Build an untrained autoencoder, with all that is to be known of it in its metadata."""
    torch.manual_seed(options.seed)
    metadata = SAEMetadata(
        model_name=recipe.model.name,
        hook_name=hook,
        hook_head_index=None,
        context_size=256,
        prepend_bos=recipe.prepend_bos,
        model_from_pretrained_kwargs={},
        dataset=recipe.dataset,
        training_tokens=options.tokens,
        training_seed=options.seed,
        training_command=command(options),
    )
    config = TopKTrainingSAEConfig(
        d_in=width_in,
        d_sae=recipe.width,
        k=recipe.k,
        device=options.device,
        # The decoder vectors are kept at norm 1 instead, see `_normalize`.
        rescale_acts_by_decoder_norm=False,
        # The activations' scale differs from layer to layer; SAELens folds this factor into the weights.
        normalize_activations="expected_average_only_in",
        metadata=metadata,
    )
    return SparseTopKTrainingSAE(config)


def train(recipe: Recipe, options: argparse.Namespace, rows: torch.Tensor, out: Path) -> dict[str, TopKTrainingSAE]:
    """Train on these rows, going on from the newest checkpoint of the same options if there is one, and save in `out`.

    Returns
    -------
    dict
        The autoencoders by hook point.
    """
    device = options.device
    # Reading in bfloat16 is faster; what is measured afterwards is read in float32.
    model = load_model(recipe.directory(), device, torch.bfloat16)
    of = [options.model, *recipe.hooks, recipe.width, recipe.k, recipe.lr, options.tokens, options.seed]
    checkpoints = options.work / "checkpoints" / "-".join(map(str, of))
    saes = {hook: build_sae(recipe, hook, options, model.bridge.cfg.d_model) for hook in recipe.hooks}
    config = SAETrainerConfig(
        total_training_samples=options.tokens,
        train_batch_size_samples=SAMPLES,
        lr=recipe.lr,
        lr_end=recipe.lr,
        lr_warm_up_steps=200,
        lr_decay_steps=options.tokens // SAMPLES // 3,
        # A feature that has been silent for this many batches is helped by SAELens' auxiliary loss.
        dead_feature_window=100,
        feature_sampling_window=200,
        n_batches_for_norm_estimate=20,
        n_checkpoints=CHECKPOINTS,
        checkpoint_path=str(checkpoints),
        device=device,
        autocast=True,
    )
    saved = sorted((whole.parent for whole in checkpoints.glob(f"*/{WHOLE}")), key=lambda path: int(path.name))
    skip = int(saved[-1].name) if saved else 0
    torch.manual_seed(options.seed)
    source = activations(recipe, model, rows, options.seed, skip)
    drawn = multi_hook_concat_split_iter(MIXED, SAMPLES, source, list(recipe.hooks))
    mixed = ({hook: values.float() for hook, values in batch.items()} for batch in drawn)
    hooks = {hook: hook for hook in saes}
    trainer = MultiSAETrainer(config, cast("dict[str, Any]", saes), hooks, mixed, save_checkpoint_fn=_forget_older)
    for one in trainer.trainers.values():
        _normalize(one.sae, one.optimizer)
    if saved:
        trainer.load_checkpoint(saved[-1])
        trainer.checkpoint_thresholds = [at for at in trainer.checkpoint_thresholds if at > skip]
        log.info("going on after %d tokens", skip)

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    try:
        trainer.fit()
    except KeyboardInterrupt:
        if trainer.n_training_samples < options.tokens:  # afterwards the weights may be folded already
            trainer.save_checkpoint(str(trainer.n_training_samples))
        raise SystemExit("stopped; the same command goes on from here") from None
    for hook, sae in saes.items():
        save(sae, out / hook)
    shutil.rmtree(checkpoints, ignore_errors=True)
    return saes


def _normalize(sae: Any, optimizer: torch.optim.Optimizer) -> None:
    """Keep decoder vectors at norm 1 after each step, so that no activation has to be multiplied by their norms."""

    @torch.no_grad()
    def normalize(*_: Any) -> None:
        sae.W_dec.div_(sae.W_dec.norm(dim=1, keepdim=True))

    normalize()
    optimizer.register_step_post_hook(normalize)
    for group in optimizer.param_groups:
        group["fused"] = True


def _keep_memory() -> None:
    """Let glibc keep the memory of large tensors: giving it back each time costs much of a step on a CPU."""
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_TRIM_THRESHOLD, 2**30)
        libc.mallopt(_MMAP_THRESHOLD, 2**25)  # the most that older ones take


def _forget_older(checkpoint_path: Path | None) -> None:
    """Mark the newest checkpoint as whole and keep it alone: it holds the optimizers' state of every autoencoder."""
    if checkpoint_path is not None:
        (checkpoint_path / WHOLE).touch()
        for other in checkpoint_path.parent.iterdir():
            if other != checkpoint_path:
                shutil.rmtree(other)


def save(sae: TopKTrainingSAE, out: Path) -> None:
    """Save in SAELens' inference format, with weights in float16 (SAELens loads them as float32)."""
    sae.cfg.device = "cpu"
    # TopK that ranks by activation x decoder norm is the same as TopK with decoder vectors of norm 1. They all have the
    # same norm, that of the activations' scale, where they were kept at norm 1.
    sae.cfg.rescale_acts_by_decoder_norm = True
    sae.fold_W_dec_norm()
    sae.cfg.rescale_acts_by_decoder_norm = False
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".") as folder:
        weights, config = sae.save_inference_model(folder)
        half: dict[str, Any] = {
            name: value.cpu().half() for name, value in safetensors.torch.load_file(weights).items()
        }
        safetensors.torch.save_file(half, weights)
        # What was told of other weights goes with them; the configuration comes last and says that these are whole.
        for name in (config.name, LABELS, "metrics.json", "CARD.md"):
            (out / name).unlink(missing_ok=True)
        for file in (weights, config):
            file.chmod(0o644)
            file.replace(out / file.name)


def is_trained(folder: Path, recipe: Recipe, options: argparse.Namespace) -> bool:
    """Tell whether an autoencoder is there that this recipe and these options made."""
    try:
        config = json.loads((folder / "cfg.json").read_text(encoding="utf-8"))
        made = (config["metadata"]["training_command"], config["d_sae"], config["k"])
        return made == (command(options), recipe.width, recipe.k)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def main(arguments_given: Sequence[str] | None = None) -> None:
    """Run the training from the command line."""
    parser = arguments(__doc__)
    parser.add_argument("--tokens", type=int, help="tokens to train on (default: the recipe's)")
    parser.add_argument("--hooks", nargs="+", help="train only at these hook points, such as two at a time")
    parser.add_argument("--seed", type=int, default=0, help="training seed (%(default)s)")
    parser.add_argument("--again", action="store_true", help="train those again that are trained")
    options = parser.parse_args(arguments_given)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    recipe = RECIPES[options.model]
    options.tokens = options.tokens or recipe.tokens
    out: Path = options.out or recipe.model.saes
    hooks: Sequence[str] = options.hooks or recipe.hooks
    todo = tuple(hook for hook in hooks if options.again or not is_trained(out / hook, recipe, options))
    if not todo:
        log.info("all are trained by this command; --again trains them again")
        return
    _keep_memory()
    torch.set_flush_denormal(True)  # the optimizer's averages of a silent feature get so small that they cost time
    rows = recipe.rows(options.work, "train", 0, options.tokens, options.device)
    train(replace(recipe, hooks=todo), options, rows, out)


if __name__ == "__main__":
    main()
