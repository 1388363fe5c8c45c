"""``axon check``: try whether a model with its SAEs does as it should, and say by which figures."""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import sys
import textwrap
from typing import TYPE_CHECKING, Any

from axon_widget.cli import model
from axon_widget.cli.terminal import coloured, progress, visible

if TYPE_CHECKING:
    from axon_widget.checks import Result
    from axon_widget.engine.tracer import Tracer

_COLOURS = {"pass": "\033[32m", "fail": "\033[1;31m", "not judged": "\033[33m"}
_DIM, _OFF = "\033[2m", "\033[0m"
_VERDICT, _INDENT = 12, 24  # where the columns begin
_NARROWEST, _WIDEST = 60, 110


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    model.add_arguments(parser)
    parser.add_argument(
        "--tokens", type=int, default=500, metavar="N", help="how many to write for the third check (default: 500)"
    )
    parser.add_argument("--json", action="store_true", help="give all figures as JSON")


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    if options.tokens < 1:
        raise ValueError(f"--tokens {options.tokens} cannot be used: give 1 or more.")
    tracer = model.load(options)
    from axon_widget.checks import NAMES, check
    from axon_widget.checks.result import counted

    results: list[Result] = []
    checking = check(tracer, options.tokens, lambda sentence: say(sentence))
    for _ in NAMES:
        with progress("Check ") as say:
            results.append(next(checking))
        if not options.json:
            print(_row(len(results), results[-1], coloured(sys.stdout)), flush=True)
    failed = [result.name for result in results if result.verdict == "fail"]
    if options.json:
        print(json.dumps(_record(tracer, results), indent=1, ensure_ascii=False, allow_nan=False))
    else:
        print(f"\n{counted(results)}." + (f" Failed: {', '.join(failed)}." if failed else ""))
    return 1 if failed else 0


def _row(number: int, result: Result, colour: bool) -> str:
    """Show a result: its number and name, the verdict, the figures, and below what was looked at and the details."""
    width = min(max(shutil.get_terminal_size().columns, _NARROWEST), _WIDEST) - _INDENT
    name = f"{number} {result.name}".ljust(_VERDICT)
    verdict = result.verdict.ljust(_INDENT - _VERDICT)
    looked_at = [f"Looked at: {result.looked_at}"] if result.looked_at else []
    paragraphs = [(result.found, ""), *((text, _DIM) for text in (*looked_at, *result.details))]
    lines: list[str] = []
    for text, style in paragraphs:
        # Sentences of labels and models may be anybody's.
        for line in textwrap.wrap(visible(text), width, subsequent_indent="  " if style else ""):
            lines.append(f"{style}{line}{_OFF}" if colour and style else line)
    if colour:
        verdict = f"{_COLOURS[result.verdict]}{verdict}{_OFF}"
    return f"{name}{verdict}" + f"\n{' ' * _INDENT}".join(lines)


def _record(tracer: Tracer, results: list[Result]) -> dict[str, Any]:
    return {
        "model": tracer.model_name,
        "saes": [sae.name for sae in tracer.saes],
        "device": str(tracer.model.device),
        "checks": [dataclasses.asdict(result) for result in results],
    }
