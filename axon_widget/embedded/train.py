"""Train autoencoders at several hook points of a shipped model at once, with SAELens.

``python -m axon_widget.embedded.train --model stories15m`` trains an autoencoder at every hook point of the model's
recipe. The model reads each text once for all of one design; nothing but the text is kept on disk. Stopped with Ctrl-C
it goes on from where it was when it is started again with the same options.
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
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, cast

import safetensors.torch
import torch
from sae_lens import BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig, TopKTrainingSAE, TopKTrainingSAEConfig
from sae_lens.config import SAETrainerConfig
from sae_lens.saes.sae import SAEMetadata
from sae_lens.training.mixing_buffer import multi_hook_concat_split_iter
from sae_lens.training.multi_sae_trainer import MultiSAETrainer

from axon_widget.embedded.activations import BATCH, load_model, load_sae, read
from axon_widget.embedded.finetune import finetune, set_threshold
from axon_widget.embedded.recipes import RECIPES, Design, Recipe, arguments
from axon_widget.embedded.sparse_topk import SparseBatchTopKTrainingSAE, SparseTopKTrainingSAE
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
    recipe: Recipe, model: Any, hooks: Sequence[str], rows: torch.Tensor, seed: int, skip: int
) -> Iterator[dict[str, torch.Tensor]]:
    """Give the activations of all counted tokens at each hook point, pass after pass, in a new order in each.

    Parameters
    ----------
    recipe
        What is trained.
    model
        The model.
    hooks
        The hook points.
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
                found = read(model, hooks, rows[chosen].long())
                parts.append({hook: values[mask[chosen]] for hook, values in found.items()})
            yield {hook: torch.cat([part[hook] for part in parts]) for hook in hooks}


def command(options: argparse.Namespace) -> str:
    """Return the command that trains with these options."""
    given = {"tokens": options.tokens, "seed": options.seed}
    more = "".join(f" --{name} {value}" for name, value in given.items() if value)
    return f"python -m axon_widget.embedded.train --model {options.model}{more}"


def build_sae(recipe: Recipe, design: Design, hook: str, options: argparse.Namespace, width_in: int) -> TopKTrainingSAE:
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
        training_tokens=design.tokens_in_all,
        training_k=design.k,
        training_seed=options.seed,
        training_command=command(options),
    )
    settings: dict[str, Any] = {
        "d_in": width_in,
        "d_sae": design.width,
        "k": design.k,
        "device": options.device,
        # The decoder vectors are kept at norm 1 instead, see `_normalize`.
        "rescale_acts_by_decoder_norm": False,
        # The activations' scale differs from layer to layer; SAELens folds this factor into the weights.
        "normalize_activations": "expected_average_only_in",
        "metadata": metadata,
    }
    if design.batch:
        return SparseBatchTopKTrainingSAE(BatchTopKTrainingSAEConfig(**settings))
    return SparseTopKTrainingSAE(TopKTrainingSAEConfig(**settings))


@torch.no_grad()
def widen(sae: TopKTrainingSAE, narrow: Any, x: torch.Tensor) -> None:
    """Take over the features of a narrower autoencoder; more of them begin as what that one leaves of activations.

    Parameters
    ----------
    sae
        Untrained, for activations whose mean norm is brought to sqrt(d_in).
    narrow
        Trained, for activations as they are, with decoder vectors of norm 1.
    x
        Activations as they are, shape (at least d_sae of `sae` less that of `narrow`, d_in).
    """
    scale: float = x.shape[1] ** 0.5 / cast(Any, x).norm(dim=1).mean().item()
    left = (x - narrow(x))[: sae.cfg.d_sae - narrow.cfg.d_sae]
    directions = torch.nn.functional.normalize(left, dim=1)
    length = narrow.W_enc.norm(dim=0).median()
    sae.W_dec.copy_(torch.cat([narrow.W_dec, directions]))
    sae.W_enc.copy_(torch.cat([narrow.W_enc, directions.T * length], 1))
    sae.b_enc.copy_(torch.cat([narrow.b_enc, narrow.b_enc.median().expand(len(left))]) * scale)
    sae.b_dec.copy_(narrow.b_dec * scale)


def train(
    recipe: Recipe,
    design: Design,
    hooks: Sequence[str],
    options: argparse.Namespace,
    rows: torch.Tensor,
    out: Path,
    begin: Path | None = None,
) -> dict[str, TopKTrainingSAE]:
    """Train on these rows, going on from the newest checkpoint of the same options if there is one, and save in `out`.

    Where there is a folder to `begin` with, the features of the autoencoders in it are taken over.

    Returns
    -------
    dict
        The autoencoders by hook point.
    """
    device = options.device
    # Reading in bfloat16 is faster; what is measured afterwards is read in float32.
    model = load_model(recipe.directory(), device, torch.bfloat16)
    of = [options.model, *hooks, design.width, design.k, design.lr, design.tokens, options.seed]
    checkpoints = options.work / "checkpoints" / "-".join(map(str, of))
    saes = {hook: build_sae(recipe, design, hook, options, model.bridge.cfg.d_model) for hook in hooks}
    config = SAETrainerConfig(
        total_training_samples=design.tokens,
        train_batch_size_samples=SAMPLES,
        lr=design.lr,
        lr_end=design.lr,
        lr_warm_up_steps=200,
        lr_decay_steps=int(design.tokens // SAMPLES * design.falling),
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
    if begin is not None and not saved:
        first = next(activations(recipe, model, hooks, rows, options.seed, 0))
        for hook, sae in saes.items():
            widen(sae, load_sae(begin / hook, device), first[hook].float())
    source = activations(recipe, model, hooks, rows, options.seed, skip)
    drawn = multi_hook_concat_split_iter(MIXED, SAMPLES, source, list(hooks))
    mixed = ({hook: values.float() for hook, values in batch.items()} for batch in drawn)
    names = {hook: hook for hook in saes}
    trainer = MultiSAETrainer(config, cast("dict[str, Any]", saes), names, mixed, save_checkpoint_fn=_forget_older)
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
        if trainer.n_training_samples < design.tokens:  # afterwards the weights may be folded already
            trainer.save_checkpoint(str(trainer.n_training_samples))
        raise SystemExit("stopped; the same command goes on from here") from None
    for hook, sae in saes.items():
        save(sae, out / hook, design.stored)
    shutil.rmtree(checkpoints, ignore_errors=True)
    return saes


def tune(
    recipe: Recipe,
    design: Design,
    hooks: Sequence[str],
    options: argparse.Namespace,
    rows: torch.Tensor,
    out: Path,
    begin: Path,
) -> None:
    """Fine-tune the autoencoders of a folder on these rows and save them in `out`."""
    torch.manual_seed(options.seed)
    model = load_model(recipe.directory(), options.device)
    rows = rows[torch.randperm(len(rows))]
    for hook in hooks:
        sae = load_sae(begin / hook, options.device)
        finetune(sae, model, hook, rows, recipe.counted, weight=design.divergence, lr=design.lr)
        # What is stored is not quite what was trained.
        for weights in (sae.W_enc, sae.W_dec):
            weights.data = weights.data.to(design.stored).to(weights.dtype)
        some = next(activations(recipe, model, [hook], rows, options.seed, 0))[hook][:20_000]
        set_threshold(sae, some, design.k)
        sae.cfg.device = "cpu"
        sae.cfg.metadata.training_k = design.k
        sae.cfg.metadata.training_tokens = design.tokens_in_all
        write(sae.save_model, out / hook, design.stored)


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


@torch.no_grad()
def save(sae: TopKTrainingSAE, out: Path, stored: torch.dtype = torch.float16) -> None:
    """Save a trained autoencoder in SAELens' inference format, see `write`."""
    sae.cfg.device = "cpu"
    # TopK that ranks by activation x decoder norm is the same as TopK with decoder vectors of norm 1. They all have the
    # same norm, that of the activations' scale, where they were kept at norm 1.
    if isinstance(sae, BatchTopKTrainingSAE) and not sae.cfg.rescale_acts_by_decoder_norm:
        sae.topk_threshold *= sae.W_dec.norm(dim=1).mean()
    sae.cfg.rescale_acts_by_decoder_norm = True
    sae.fold_W_dec_norm()
    sae.cfg.rescale_acts_by_decoder_norm = False
    write(sae.save_inference_model, out, stored)


def write(files: Callable[[str], tuple[Path, Path]], out: Path, stored: torch.dtype) -> None:
    """Write an autoencoder's two files into a folder as short numbers, which SAELens loads as float32.

    Parameters
    ----------
    files
        Writes weights and configuration into a folder as SAELens does, and gives their paths.
    out
        The folder.
    stored
        What encoder and decoder are stored as; all else as float16.
    """
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".") as folder:
        weights, config = files(folder)
        short: dict[str, Any] = {
            name: value.cpu().to(stored if name.startswith("W_") else torch.float16)
            for name, value in safetensors.torch.load_file(weights).items()
        }
        safetensors.torch.save_file(short, weights)
        # What was told of other weights goes with them; the configuration comes last and says that these are whole.
        for name in (config.name, LABELS, "metrics.json", "CARD.md"):
            (out / name).unlink(missing_ok=True)
        for file in (weights, config):
            file.chmod(0o644)
            file.replace(out / file.name)


def is_trained(folder: Path, design: Design, options: argparse.Namespace) -> bool:
    """Tell whether an autoencoder is there that this design and these options made."""
    try:
        config = json.loads((folder / "cfg.json").read_text(encoding="utf-8"))
        made = (config["metadata"]["training_command"], config["d_sae"], config["metadata"]["training_k"])
        return made == (command(options), design.width, design.k)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def main(arguments_given: Sequence[str] | None = None) -> None:
    """Run the training from the command line."""
    parser = arguments(__doc__)
    parser.add_argument("--tokens", type=int, help="tokens to train on at most, in each stage (default: the designs')")
    parser.add_argument("--hooks", nargs="+", help="train only at these hook points, such as two at a time")
    parser.add_argument("--seed", type=int, default=0, help="training seed (%(default)s)")
    parser.add_argument("--again", action="store_true", help="train those again that are trained")
    options = parser.parse_args(arguments_given)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    recipe = RECIPES[options.model]
    out: Path = options.out or recipe.model.saes
    hooks: Sequence[str] = options.hooks or list(recipe.hooks)
    _keep_memory()
    torch.set_flush_denormal(True)  # the optimizer's averages of a silent feature get so small that they cost time
    for design in dict.fromkeys(recipe.hooks[hook] for hook in hooks):
        alike = [hook for hook in hooks if recipe.hooks[hook] == design]
        _train_design(recipe, design.at_most(options.tokens), alike, options, out)


def _train_design(recipe: Recipe, design: Design, hooks: Sequence[str], options: argparse.Namespace, out: Path) -> None:
    """Train autoencoders of one design, those that they begin with first."""
    todo = [hook for hook in hooks if options.again or not is_trained(out / hook, design, options)]
    if not todo:
        log.info("%s: trained by this command; --again trains them again", ", ".join(hooks))
        return
    begin = None
    if design.begin:
        begin = options.work / f"{options.model}-stage{design.begin.stage}-seed{options.seed}"
        _train_design(recipe, design.begin, todo, options, begin)
    rows = recipe.rows(options.work, "train", 0, design.tokens, options.device)
    if design.divergence and begin:
        tune(recipe, design, todo, options, rows, out, begin)
    else:
        train(recipe, design, todo, options, rows, out, begin)


if __name__ == "__main__":
    main()
