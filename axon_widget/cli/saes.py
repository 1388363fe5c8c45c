"""``axon saes``: list the SAEs there are, or tell all that is known of one."""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import sys
from collections.abc import Sequence
from typing import Any

from axon_widget import card, catalog
from axon_widget.catalog import CatalogEntry
from axon_widget.cli.terminal import visible

_ROWS = 40
_COLUMNS = ("name", "layer", "labels", "cached", "l0", "explained", "width", "hook", "model")
"""What the table shows; where it is too wide for the terminal, the last ones are left out."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("text", nargs="*", help="words that all occur in the name, such as: res layer 12")
    parser.add_argument("--model", help="only those of this model")
    parser.add_argument("--layer", type=int, metavar="N", help="only those of this layer")
    parser.add_argument("--hook", help="only those whose hook point has this in its name, such as resid_pre")
    parser.add_argument("--labelled", action="store_true", help="only those with labels")
    parser.add_argument("--cached", action="store_true", help="only those whose weights are on this machine")
    showing = parser.add_mutually_exclusive_group()
    showing.add_argument("--all", action="store_true", help=f"show all, not only the first {_ROWS}")
    showing.add_argument("--json", action="store_true", help="give all that is known of all of them as JSON")
    showing.add_argument("--csv", action="store_true", help="the same as CSV")


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    found, _ = catalog.search(
        " ".join(options.text),
        None,
        model=options.model,
        layer=options.layer,
        hook=options.hook,
        labelled=options.labelled or None,
    )
    cached = catalog.cached(found)
    if options.cached:
        found = [entry for entry in found if entry.name in cached]
    if options.json:
        print(json.dumps([_record(entry, cached) for entry in found], indent=1))
    elif options.csv:
        writer = csv.DictWriter(sys.stdout, _record(catalog.find("embedded"), cached), lineterminator="\n")
        writer.writeheader()
        writer.writerows(_record(entry, cached) for entry in found)
    else:
        _show(found, cached, None if options.all else _ROWS)
    return 0


def _record(entry: CatalogEntry, cached: set[str]) -> dict[str, Any]:
    known = {key: None if value == "" else value for key, value in entry._asdict().items()}
    return {"name": entry.name, **known, "cached": entry.name in cached, "refused": catalog.refusal(entry) or None}


def _show(found: Sequence[CatalogEntry], cached: set[str], limit: int | None) -> None:
    models = len({entry.model for entry in found})
    print(f"{len(found):,} SAE{'s' * (len(found) != 1)} of {models} model{'s' * (models != 1)}")
    if not found:
        return
    rows = [tuple(map(visible, _row(entry, cached))) for entry in found[:limit]]  # a file in a cache may be anybody's
    widths = [max(map(len, column)) for column in zip(_COLUMNS, *rows, strict=True)]
    room = shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize
    fits = max([1, *(n for n in range(1, len(widths) + 1) if sum(widths[:n]) + 2 * (n - 1) <= room)])
    print()
    for row in (_COLUMNS, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row[:fits], widths, strict=False)).rstrip())
    print()
    if len(rows) < len(found):
        print(f"{len(found) - len(rows):,} more: narrow the search, or add --all.")
    if any(catalog.refusal(entry) for entry in found[:limit]):
        print("Those marked with * cannot be traced: they do not give back what they read.")
    if len(found) == 1:
        terms = card.of_entry(found[0])
        print("\n".join(f"{term:<30}  {words}" for term, words in terms), end="\n\n")
    loadable = next((entry for entry in found if not catalog.refusal(entry)), None)
    if loadable is not None:
        print(f'To load one: axon "Some text" --sae {loadable.name}, or in Python AxonWidget(sae="{loadable.name}")')


def _row(entry: CatalogEntry, cached: set[str]) -> tuple[str, ...]:
    """Give an SAE's cells of the table."""
    return (
        entry.name + (" *" if catalog.refusal(entry) else ""),
        "" if entry.layer is None else str(entry.layer),
        "yes" if entry.labelled else "",
        "yes" if entry.name in cached else "",
        "" if entry.l0 is None else f"{entry.l0:.3g}",
        "" if entry.explained_variance is None else f"{entry.explained_variance:.0%}",
        "" if entry.width is None else f"{entry.width:,}",
        entry.hook,
        entry.model,
    )
