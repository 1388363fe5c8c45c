"""Labels that lie in a file beside the SAE."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

from axon_widget.labels import DENSE, Label, Labels
from axon_widget.labels.text import clean


class BundledLabels(Labels):
    """The labels in a ``labels.json`` that `axon_widget.embedded.label` writes.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    ValueError
        If it is no such file.
    OSError
        If it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            self._source = clean(data["source"])
            rows = cast("list[Any]", data["features"])
            frequencies = [float(row["frequency"]) for row in rows if row]
            dense_from = DENSE * sum(frequencies) / max(len(frequencies), 1)
            self._labels = [_label(row, self._source, dense_from) for row in rows]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(
                f"{path} holds no labels that can be read ({type(error).__name__}: {clean(str(error), 200)}). "
                "Give others with labels=, or labels=False for none."
            ) from None

    @property
    def source(self) -> str:
        """How the labels were made."""
        return self._source

    def names(self) -> Iterable[tuple[int, str]]:
        """Give every feature that has a name, and the name."""
        return [(feature, label.text) for feature, label in enumerate(self._labels) if label]

    def get(self, feature: int) -> Label | None:
        """Give a feature's label, or None where the feature never fired when labels were made."""
        return self._labels[feature] if 0 <= feature < len(self._labels) else None


def _label(row: Any, source: str, dense_from: float) -> Label | None:
    if row is None:
        return None
    return Label(
        text=clean(row["label"]),
        source=source,
        fires_on=tuple((str(token), float(activation)) for token, activation in row["fires_on"]),
        boosts=tuple(map(str, row["boosts"])),
        suppresses=tuple(map(str, row["suppresses"])),
        frequency=float(row["frequency"]),
        max_activation=float(row["max_activation"]),
        dense=float(row["frequency"]) > dense_from,
    )
