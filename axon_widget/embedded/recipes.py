"""What the autoencoders of each shipped model are trained on, and how."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from platformdirs import user_cache_path

from axon_widget.embedded import SMOLLM2, STORIES, ShippedModel, english, stories

Rows = Callable[[Path, str, int, int, str], torch.Tensor]
"""Gives token ids, shape (rows, context), for a working folder, split, seed, number of counted tokens and device."""


@dataclass(frozen=True)
class Recipe:
    """How the autoencoders of one model are made.

    `weights` tells what was done to the model's weights; empty where nothing was. `left_out` says which tokens do not
    count, besides special ones, and `held_out` how held-out text is kept apart.

    `tokens` is how many tokens they are trained on, `again` on how many with a second seed, and `labelled` how many
    held-out ones their labels are made from. `measured` is how many held-out tokens they are measured on, `loss_rows`
    on how many rows of them losses are. `history` tells how the ones in the package were made otherwise than by this.
    """

    model: ShippedModel
    weights: str
    directory: Callable[[], Path]
    hooks: tuple[str, ...]
    rows: Rows
    counted: Callable[[torch.Tensor], torch.Tensor]
    left_out: str
    held_out: str
    dataset: str
    prepend_bos: bool
    width: int
    k: int
    lr: float
    tokens: int
    again: int
    labelled: int
    measured: int
    loss_rows: int
    history: str


RECIPES = {
    "stories15m": Recipe(
        model=STORIES,
        weights="",
        directory=STORIES.directory,
        hooks=(*(f"blocks.{layer}.hook_resid_pre" for layer in range(6)), "blocks.5.hook_resid_post"),
        rows=stories.stories,
        counted=stories.counted,
        left_out="The first position",
        held_out="Held-out stories were sampled with other seeds; their openings are drawn from the same ones.",
        dataset="the model's own stories",
        prepend_bos=True,
        width=3456,  # the most that 4 MB hold
        k=32,
        lr=2e-3,
        tokens=10_000_000,
        again=1_000_000,
        labelled=400_000,
        measured=200_000,
        loss_rows=128,
        history="On the first 6.0 (layers 4, 5 and the last) or 6.5 (layers 0 to 3) of the 10 million tokens, features "
        "were helped that had been silent for 400 batches, on the rest those silent for 100, as is set now. The first "
        "1.7 to 2.0 million were trained on with SAELens' own step. The run was stopped and taken up again on the way, "
        "in two processes, so the command gives others than these. The second seed had 100 batches throughout.",
    ),
    "smollm2-135m": Recipe(
        model=SMOLLM2,
        weights="of 4 bits (GGUF's Q4_1), brought back to float16",
        directory=SMOLLM2.directory,
        hooks=("blocks.9.hook_resid_pre", "blocks.15.hook_resid_pre", "blocks.21.hook_resid_pre"),
        rows=english.rows,
        counted=english.counted,
        left_out="The first position",
        held_out="Every sixteenth article, and of books every sixteenth piece of 20,000 characters, is held out: other "
        "pieces of these books were trained on. The half that rules are found in and the half that they are scored on "
        "share no article and no book.",
        dataset="enwik8 (English Wikipedia, 2006) without markup, and books of Project Gutenberg",
        prepend_bos=True,
        width=4608,
        k=64,
        lr=2e-3,
        tokens=4_000_000,
        again=1_000_000,
        labelled=200_000,
        measured=100_000,
        loss_rows=48,
        history="",
    ),
}


def arguments(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options that every script about a model's autoencoders has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--model", choices=RECIPES, default="stories15m", help="the model (%(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (%(default)s)")
    parser.add_argument("--out", type=Path, help="the folder of the autoencoders' folders (in the package)")
    parser.add_argument(
        "--work",
        type=Path,
        default=user_cache_path("axon-widget") / "training",
        help="where texts and checkpoints are kept (%(default)s)",
    )
    return parser
