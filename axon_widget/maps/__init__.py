"""Maps of SAEs: where each feature lies among those whose decoder directions point the same way."""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from axon_widget import folders
from axon_widget.background import Background
from axon_widget.maps.apart import arrange_apart
from axon_widget.maps.layout import Floats

if TYPE_CHECKING:
    from axon_widget.engine.features import FeatureReader

_VERSION = 1  # another way to make maps, another number
_ROWS = 1024  # read at a time
_SAMPLE = 256  # rows that tell one SAE from another
_AGAIN = 60.0  # seconds until one that could not be made may be asked for again

_log = logging.getLogger(__name__)


class Maps:
    """The map of each SAE: made once, in the background and in a process of its own, and kept in the user's cache.

    Parameters
    ----------
    readers
        The SAEs.
    directory
        Where maps are kept; left out, ``$AXON_CACHE_DIR`` or the user's cache.
    """

    def __init__(self, readers: Sequence[FeatureReader], directory: str | Path | None = None) -> None:
        self._directory = folders.cache(directory) / "maps"
        self._readers = list(readers)
        self._made: dict[int, Floats] = {}
        self._looked: set[int] = set()  # whose file was looked for: to know its name, weights are read
        self._failed: dict[int, tuple[float, str]] = {}  # when, and why
        self._waiting: set[Callable[[], None]] = set()
        self._lock = threading.Lock()
        self._background = Background(self._make)

    def of(self, sae: int) -> Floats | None:
        """Give the places of an SAE's features, shape (features, 2), within -1 and 1; None until its map is made."""
        with self._lock:
            if sae not in self._looked:
                self._looked.add(sae)
                if (kept := self._read(sae)) is not None:
                    self._made[sae] = kept
            return self._made.get(sae)

    def places(self, features: Iterable[tuple[int, int]]) -> list[tuple[int, int, float, float]]:
        """Give ``(sae, id, x, y)`` of those features, each named by (sae, id), whose SAEs' maps are made."""
        features = list(features)
        maps = {sae: self.of(sae) for sae in {sae for sae, _ in features}}
        return [
            (sae, feature, float(places[feature, 0]), float(places[feature, 1]))
            for sae, feature in features
            if (places := maps[sae]) is not None
        ]

    def ask(self, tell: Callable[[], None]) -> bool:
        """Have the maps made that are missing. One that could not be made is tried again when it is asked for later.

        Parameters
        ----------
        tell
            Is called, from another thread, each time one was made or could not be.

        Returns
        -------
        bool
            Whether there are any to come.
        """
        missing = self._missing()
        if missing:
            with self._lock:
                self._waiting.add(tell)
            self._background.wake()
        return bool(missing)

    @property
    def trouble(self) -> str:
        """Why maps could not be made, as a sentence; empty where all could."""
        return next((why for _, why in list(self._failed.values())), "")

    def _missing(self) -> list[int]:
        late = time.monotonic() - _AGAIN
        saes = (sae for sae in range(len(self._readers)) if self._failed.get(sae, (late,))[0] <= late)
        return [sae for sae in saes if self.of(sae) is None]

    def _make(self) -> float | None:
        """Make one that is missing; None when none is left."""
        missing = self._missing()
        if missing:
            sae, reader = missing[0], self._readers[missing[0]]
            try:
                places = self._read(sae)  # another process may have made it
                if places is None:
                    places = arrange_apart(_rows(reader), reader.d_sae, reader.d_in)
                    self._write(sae, places)
                self._made[sae] = places
                self._failed.pop(sae, None)
            except Exception as error:  # of reading the weights too: nobody else would hear of it in this thread
                self._failed[sae] = time.monotonic(), str(error) or type(error).__name__
        with self._lock:
            waiting = list(self._waiting)
            if len(missing) < 2:
                self._waiting.clear()
        for tell in waiting:
            tell()
        return 0.0 if len(missing) > 1 else None

    def _path(self, sae: int) -> Path:
        """Give the file of an SAE's map: its name, its shape and some of its weights tell it from others."""
        reader = self._readers[sae]
        weights: Any = reader.sae.W_dec
        told = hashlib.sha256(f"{_VERSION} {reader.name} {tuple(weights.shape)}".encode())
        some = np.linspace(0, len(weights) - 1, min(_SAMPLE, len(weights))).astype(int).tolist()
        told.update(_array(weights[some]).tobytes())
        return self._directory / f"{told.hexdigest()[:32]}.npy"

    def _read(self, sae: int) -> Floats | None:
        try:
            kept: Any = np.load(self._path(sae), allow_pickle=False)
        except Exception:  # there is none, or it is damaged; where the weights cannot be read, making one says so
            return None
        whole = kept.shape == (self._readers[sae].d_sae, 2) and kept.dtype == np.float32 and np.isfinite(kept).all()
        return kept if whole else None

    def _write(self, sae: int, places: Floats) -> None:
        path = self._path(sae)
        part = path.with_suffix(f".{os.getpid()}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                np.save(file, places, allow_pickle=False)
            part.replace(path)  # whoever reads finds all of it or nothing
        except OSError as error:
            _log.debug("a map is not kept: %s", error)


def _array(weights: Any) -> Floats:
    return weights.detach().float().cpu().numpy()


def _rows(reader: FeatureReader) -> Iterator[Floats]:
    weights: Any = reader.sae.W_dec
    for start in range(0, len(weights), _ROWS):
        yield _array(weights[start : start + _ROWS])
