"""``axon labels``: fetch an SAE's labels from Neuronpedia, write what is stored to a file, say what is stored."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from axon_widget import catalog, embedded
from axon_widget.catalog import CatalogEntry
from axon_widget.labels.bundle import LABELS
from axon_widget.labels.store import Store
from axon_widget.labels.text import no_formula

if TYPE_CHECKING:
    from axon_widget.labels.web import Web

_WRITERS = (".csv", ".json", ".parquet")
_TITLES = ("Neuronpedia SAE", "labels", "confirmed none", "looked up", "measured", "batches", "complete on")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="fetch|export|stats")
    fetch = actions.add_parser("fetch", help="download all labels of an SAE; what is stored already stays")
    fetch.add_argument("sae", nargs="+", metavar="SAE", help="'release/id', or a model and layer such as gpt2-small@8")
    fetch.add_argument(
        "--limit-requests", type=int, metavar="N", help="ask for at most N files, and go on another time"
    )
    export = actions.add_parser("export", help="write the labels that are stored to a file")
    export.add_argument("sae", metavar="SAE", help="as above")
    export.add_argument(
        "file", type=Path, metavar="FILE", help="its ending says what it holds: .csv, .parquet or .json"
    )
    stats = actions.add_parser("stats", help="say which labels are stored")
    stats.add_argument("sae", nargs="?", metavar="SAE", help="of this SAE only")


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    store = Store()
    if options.action == "export":
        _export(options.sae, options.file, store)
    elif options.action == "stats":
        _stats(options.sae, store)
    else:
        if options.limit_requests is not None and options.limit_requests < 1:
            raise ValueError(f"--limit-requests {options.limit_requests} cannot be used: give 1 or more.")
        entries = [_labelled(name) for name in options.sae]
        from axon_widget.labels.web import Web

        web = Web(requests_left=options.limit_requests)
        for entry in entries:
            _fetch(entry, store, web)
    return 0


def _labelled(name: str) -> CatalogEntry:
    """Find an SAE that has labels on Neuronpedia."""
    entry = catalog.find(name)
    if not entry.neuronpedia:
        raise ValueError(f"{entry.name} has no labels on Neuronpedia. axon saes --labelled lists those that have.")
    return entry


def _fetch(entry: CatalogEntry, store: Store, web: Web) -> None:
    """Download what is missing of an SAE's labels."""
    from tqdm import tqdm

    from axon_widget.labels.exports import download

    address, lost, done = entry.neuronpedia, list[str](), dict[str, tuple[int, int]]()
    with tqdm(unit="batch", file=sys.stderr, disable=None) as bar:
        for landed in download(address, entry.width, store, web, store.load(address)):
            bar.set_description(f"{address} {landed.kind}", refresh=False)
            bar.n, bar.total = landed.done, landed.total
            bar.refresh()
            if store.notice:
                raise OSError(store.notice)
            if landed.problem:
                lost.append(landed.problem)
            if landed.waiting and landed.waiting.wait:
                if not landed.waiting.limited:
                    raise ConnectionError(f"{landed.waiting}. What is stored stays: run this again to go on.")
                bar.set_postfix_str(f"{landed.waiting}; going on in {landed.waiting.wait:.0f} s")
                time.sleep(landed.waiting.wait)
            done[landed.kind] = (landed.done, landed.total)
    if lost:
        raise RuntimeError(
            f"{len(lost)} batches of {address} could not be used ({lost[0]}). Run this again to try them."
        )
    if not done.get("explanations", (0, 0))[1]:
        raise ValueError(f"Neuronpedia has no labels of {address} in bulk.")
    stored = store.load(address)
    print(f"{entry.name}: {len(stored.explanations):,} labels from Neuronpedia {address} in {store.path}")


def _export(name: str, file: Path, store: Store) -> None:
    """Write what is stored of an SAE's labels."""
    if file.suffix.lower() not in _WRITERS:
        raise ValueError(f"{file} cannot be written: give a name that ends in {', '.join(_WRITERS)}.")
    if not file.absolute().parent.is_dir():
        raise ValueError(f"{file} cannot be written: there is no directory {file.parent}.")
    entry = catalog.find(name)
    rows = _rows(entry, store)
    if not rows:
        raise ValueError(f"No labels of {entry.name} are stored: axon labels fetch {name}")
    if file.suffix.lower() == ".json":
        file.write_text(json.dumps(rows, indent=1, ensure_ascii=False), encoding="utf-8")
    else:
        import pandas as pd

        table = pd.DataFrame(rows)
        if file.suffix.lower() == ".csv":
            for column in ("label", "explainer", "method", "scored_by"):
                table[column] = [no_formula(row[column] or "") for row in rows]
            for column in ("others", "boosts", "suppresses"):
                table[column] = [json.dumps(row[column], ensure_ascii=False) for row in rows]
            table.to_csv(file, index=False)
        else:
            try:
                table.to_parquet(file, index=False)
            except ImportError as error:
                raise ValueError(f"{file} cannot be written without pyarrow: pip install pyarrow") from error
    print(f"{len(rows):,} features of {entry.name} written to {file}")


def _rows(entry: CatalogEntry, store: Store) -> list[dict[str, Any]]:
    """Give all that is stored, feature by feature."""
    from axon_widget.labels.bundled import BundledLabels
    from axon_widget.labels.neuronpedia import NeuronpediaLabels

    folder = embedded.folder_of(entry.name)
    if folder is not None and (file := folder / LABELS).is_file():
        labels = BundledLabels(file)
    else:
        labels = NeuronpediaLabels(_labelled(entry.name).neuronpedia, entry.width, store)
    return [
        {
            "index": feature,
            "label": label.text,
            "source": label.source,
            "explainer": label.explainer,
            "method": label.method,
            "score": label.score,
            "scored_by": label.scored_by,
            "others": [text for text, _, _ in label.others],
            "frequency": label.frequency,
            "max_activation": label.max_activation,
            "dense": label.dense,
            "boosts": list(label.boosts),
            "suppresses": list(label.suppresses),
            "fetched": label.fetched,
        }
        for feature, label in labels.known()
    ]


def _stats(name: str | None, store: Store) -> None:
    """Say what is stored."""
    address = _labelled(name).neuronpedia if name else None
    tallies = [tally for tally in store.tallies() if address in (None, tally.address)]
    if store.notice:
        raise OSError(store.notice)
    if not tallies:
        raise ValueError(f"No labels of {name or 'any SAE'} are stored: axon labels fetch {name or 'SAE'}")
    rows = [
        (tally.address, *(f"{number:,}" for number in tally[1:-1]), tally.complete or "not yet") for tally in tallies
    ]
    widths = [max(map(len, column)) for column in zip(_TITLES, *rows, strict=True)]
    for row in (_TITLES, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print(f"\n{store.path}: {store.path.stat().st_size / 1e6:.1f} MB")
