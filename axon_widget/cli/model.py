"""Which model the commands run, with which SAEs: the arguments that say so, and loading them."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from axon_widget import catalog
from axon_widget.cli.terminal import progress

if TYPE_CHECKING:
    from axon_widget.engine.tracer import Tracer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that choose model, SAEs, labels, device and precision."""
    parser.add_argument(
        "--model", help="'embedded', 'smollm2-135m', a model's name or a directory (default: gpt2-small)"
    )
    saes = parser.add_mutually_exclusive_group()
    saes.add_argument(
        "--sae",
        action="append",
        help="'release/id' from SAELens' directory, or a directory; may be given several times",
    )
    saes.add_argument(
        "--layers", type=_layers, metavar="N,M-O", help="the model's default SAEs of these layers, such as 2,4 or 0-5"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (default: auto)")
    parser.add_argument("--dtype", default="float32", help="float32, bfloat16 or float16 (default: float32)")
    naming = parser.add_mutually_exclusive_group()
    naming.add_argument("--labels", type=Path, metavar="FILE", help="name the features by a CSV or Parquet file")
    naming.add_argument("--no-labels", action="store_true", help="name them by the tokens they boost, fetch nothing")


def load(options: argparse.Namespace) -> Tracer:
    """Load what was asked for, and say on standard error what that is."""
    from axon_widget.engine.tracer import Tracer

    with progress("Loading ") as say:
        tracer = Tracer.load(
            options.model,
            options.sae if options.layers is None else _at(options.model, options.layers),
            device=options.device,
            dtype=options.dtype,
            labels=False if options.no_labels else options.labels,
            progress=say,
        )
    if tracer.fallback:
        print(f"axon: {tracer.fallback}", file=sys.stderr)
    print(
        f"{tracer.model_name}, features of {', '.join(sae.name for sae in tracer.saes)} on {tracer.model.device}",
        file=sys.stderr,
    )
    return tracer


def _layers(text: str) -> list[int]:
    """Read "2,4" or "0-5"."""
    found: list[int] = []
    for part in text.split(","):
        ends = re.fullmatch(r"\s*(\d{1,4})(?:-(\d{1,4}))?\s*", part)
        if not ends or int(ends[2] or ends[1]) < int(ends[1]):
            raise argparse.ArgumentTypeError(f"{text!r} names no layers: give numbers, such as 2,4 or 0-5")
        found += range(int(ends[1]), int(ends[2] or ends[1]) + 1)
    return list(dict.fromkeys(found))


def _at(model: str | None, layers: list[int]) -> list[str]:
    """Name the default SAEs of a model's layers."""
    if model is not None and Path(model).is_dir():
        raise ValueError(f"{model} is a directory, which tells of no SAEs: name them with --sae.")
    return [catalog.find(f"{model or catalog.DEFAULT_MODEL}@{layer}").name for layer in layers]
