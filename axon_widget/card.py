"""The card of an SAE: what it is, what it was trained on, and how good it was measured to be."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias, cast

from axon_widget import embedded
from axon_widget.catalog import CatalogEntry
from axon_widget.labels.text import clean

Card: TypeAlias = "list[tuple[str, str]]"
"""Terms and what is known of them, in words."""

_SHARE, _NUMBER, _LOSS, _COUNT, _TEXT = "{:.1%}".format, "{:.3g}".format, "{:.3f}".format, "{:,}".format, "{}".format
_MADE: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
    ("trained on", "dataset", _TEXT),
    ("training tokens", "training_tokens", _COUNT),
    ("text length", "context_size", "{:,} tokens".format),
)
_MEASURED: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
    ("explained variance", "explained_variance", _LOSS),
    ("L0", "l0", _NUMBER),
    ("cosine", "cossim", _LOSS),
    ("dead features", "dead_share", _SHARE),
    ("loss recovered", "loss_recovered", _LOSS),
    ("loss, clean", "loss_clean", _LOSS),
    ("loss, spliced in", "loss_spliced", _LOSS),
    ("loss, zeroed", "loss_zeroed", _LOSS),
    ("found again in a second seed", "found_again", _SHARE),
    ("… one-to-one", "matched", _SHARE),
    ("… trained on", "second_tokens", "{:,} tokens".format),
    ("labels' detection score", "labels_mean_score", "{:.3f} on average; chance .5".format),
    ("stored as", "stored", _TEXT),
    ("of a model with weights", "model_weights", _TEXT),
    ("measured on", "tokens", "{:,} held-out tokens".format),
    ("… losses on", "loss_tokens", "{:,} of them".format),
)


def of_entry(entry: CatalogEntry) -> Card:
    """Give the card of an SAE of the catalog: where it does not come with the package, what the catalog tells."""
    known = {"model": entry.model, "hook point": entry.hook, "architecture": entry.architecture}
    rows = [(term, value) for term, value in known.items() if value]
    rows += [("features", f"{entry.width:,}")] if entry.width is not None else []
    measured = _of_folder(entry.name)
    if not measured:
        told = {"explained variance, as reported": entry.explained_variance, "L0, as reported": entry.l0}
        measured = [(term, _NUMBER(value)) for term, value in told.items() if value is not None]
        measured += [("labels", f"Neuronpedia {entry.neuronpedia}")] if entry.neuronpedia else []
    return _clean(rows + measured)


def of_sae(name: str, sae: Any) -> Card:
    """Give the card of a loaded SAE that has this name."""
    known = sae.cfg.metadata
    rows = [
        ("architecture", str(sae.cfg.architecture())),
        ("features", f"{sae.cfg.d_sae:,} over {sae.cfg.d_in:,} dimensions"),
    ]
    if k := getattr(sae.cfg, "k", None):
        rows.append(("features at once", str(k)))
    measured = _of_folder(name)
    return _clean(rows + (measured or _told({key: known.get(key) for _, key, _ in _MADE}, _MADE)))


def _of_folder(name: str) -> Card:
    """Give what the files beside an SAE tell; nothing where there are none."""
    folder = embedded.folder_of(name) or Path(name)
    measured, config = _json(folder / "metrics.json"), _json(folder / "cfg.json")
    if not measured:
        return []
    metadata = config.get("metadata")
    made = _told(cast("dict[str, Any]", metadata), _MADE) if isinstance(metadata, dict) else []
    rows = _told(measured, _MEASURED)
    if not any(term.startswith("found again") for term, _ in rows):
        rows.append(("found again in a second seed", "not measured"))
    clear, live = measured.get("labels_clear"), measured.get("labels_live")
    if isinstance(clear, int) and isinstance(live, int) and live:
        rows.append(("clear labels", f"{clear:,} of {live:,} features that fired"))
    return made + rows


def _told(values: dict[str, Any], terms: tuple[tuple[str, str, Callable[[Any], str]], ...]) -> Card:
    rows: Card = []
    for term, key, say in terms:
        try:
            if values.get(key) is not None:
                rows.append((term, say(values[key])))
        except (ValueError, TypeError):  # a file from elsewhere may hold anything
            continue
    return rows


def _clean(rows: Card) -> Card:
    return [(term, clean(value, 300)) for term, value in rows]


def _json(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}
