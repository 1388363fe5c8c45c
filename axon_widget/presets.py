"""Settings to write with, by name: recipes that come with the package, and presets that a user keeps in a file."""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, cast

import platformdirs
from filelock import FileLock, Timeout

Settings: TypeAlias = "dict[str, float]"
Ranges: TypeAlias = "Mapping[str, tuple[float, float]]"


class Recipe(NamedTuple):
    """Settings, and what they are good for."""

    settings: Settings
    reason: str


RECIPES = {
    "anti-repetition": Recipe(
        {"temperature": 0.9, "top_k": 40, "repetition_penalty": 1.3},
        "For small models that go round in circles: what was written already becomes unlikely.",
    ),
    "greedy": Recipe(
        {"temperature": 0.0, "repetition_penalty": 1.0},
        "Always the likeliest token: the same text every time, so that two runs differ by what you changed alone.",
    ),
    "as trained": Recipe(
        {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "repetition_penalty": 1.0},
        "The model's own distribution, nothing cut off or reweighed: what its probabilities really say.",
    ),
    "balanced": Recipe(
        {"temperature": 0.8, "top_k": 50, "top_p": 0.9, "repetition_penalty": 1.1},
        "What the widget starts with: lively text that seldom falls apart.",
    ),
}
"""Presets that are always there."""

_FILE = "presets.json"
_VERSION = 1
_LARGEST = 1 << 20  # no file of presets is so large
_LONGEST_NAME = 60
_BUSY = 5  # seconds to wait for another process


class Presets:
    """The file of a user's presets. Several processes may use it at once.

    Parameters
    ----------
    ranges
        The settings a preset may hold, and their least and largest values.
    directory
        Where it lies; left out, ``$AXON_CACHE_DIR``, in which all lies that this package keeps where that is set, or
        the user's configuration. The file may be a link: it stays one.
    """

    def __init__(self, ranges: Ranges, directory: str | Path | None = None) -> None:
        directory = directory or os.environ.get("AXON_CACHE_DIR") or platformdirs.user_config_dir("axon-widget")
        self.path = Path(directory).expanduser() / _FILE
        self._ranges = ranges

    def load(self) -> dict[str, Settings]:
        """Give the user's presets by name.

        Raises
        ------
        ValueError
            If the file cannot be read. It stays as it is.
        """
        try:
            if self.path.stat().st_size > _LARGEST:
                raise ValueError("it is too large for one")
            return _read(json.loads(self.path.read_text(encoding="utf-8")), self._ranges)
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError) as error:
            why = str(error).rstrip(".")
            raise ValueError(
                f"{self.path} cannot be used as a file of presets: {why}. Repair it or move it away."
            ) from None

    def all(self) -> dict[str, Settings]:
        """Give the recipes, then the user's presets, by name; a recipe goes before a preset of its name.

        Raises
        ------
        ValueError
            If the file cannot be read.
        """
        recipes = {name: dict(recipe.settings) for name, recipe in RECIPES.items()}
        return recipes | self.load() | recipes

    def find(self, name: str) -> Settings:
        """Give a recipe or a preset.

        Raises
        ------
        ValueError
            If there is none of this name, or the file cannot be read.
        """
        _check_text(name)
        if name in RECIPES:
            return dict(RECIPES[name].settings)
        known = self.all()
        if name not in known:
            raise ValueError(f"There is no preset {name!r}: there are {', '.join(known)}.")
        return known[name]

    def save(self, name: str, settings: Settings) -> None:
        """Keep a preset, in place of an earlier one of its name.

        Raises
        ------
        ValueError
            If this cannot be a name, or the file cannot be read or written.
        """
        _check_text(name)
        if name in RECIPES:
            raise ValueError(f"{name!r} is a recipe that comes with the package: choose another name.")
        if not name.strip() or name != name.strip() or not name.isprintable() or len(name) > _LONGEST_NAME:
            raise ValueError(
                f"{name[:80]!r} cannot be the name of a preset: give 1 to {_LONGEST_NAME} letters in one line, with no "
                "space at either end."
            )
        self._change(lambda kept: kept | {name: settings})

    def delete(self, name: str) -> None:
        """Forget a preset.

        Raises
        ------
        ValueError
            If the user has kept none of this name, or the file cannot be read or written.
        """
        _check_text(name)

        def without(kept: dict[str, Settings]) -> dict[str, Settings]:
            if name not in kept:
                raise ValueError(f"There is no preset {name!r} to delete: you have kept {', '.join(kept) or 'none'}.")
            return {other: settings for other, settings in kept.items() if other != name}

        self._change(without)

    def _change(self, change: Callable[[dict[str, Settings]], dict[str, Settings]]) -> None:
        """Replace the file by what it holds, changed: whole or not at all, and one process after the other."""
        try:
            path = self.path.resolve()
            path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{path}.lock", timeout=_BUSY):
                kept = change(self.load())
                text = json.dumps({"version": _VERSION, "presets": kept}, ensure_ascii=False, indent=2)
                _replace(path, text)
        except Timeout:
            raise ValueError(f"{self.path} is held by another process: try again.") from None
        except OSError as error:
            raise ValueError(f"Presets cannot be kept in {self.path}: {error.strerror or error}.") from None


def _check_text(name: Any) -> None:
    if not isinstance(name, str):
        raise ValueError(f"The name of a preset is a text, not {repr(name)[:80]}.")


def _replace(path: Path, text: str) -> None:
    handle, made = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        if path.exists():
            shutil.copymode(path, made)
        os.replace(made, path)
    except BaseException:
        Path(made).unlink(missing_ok=True)
        raise


def _read(data: Any, ranges: Ranges) -> dict[str, Settings]:
    if not isinstance(data, dict) or not isinstance(kept := cast("Any", data).get("presets"), dict):
        raise ValueError("it holds no presets")
    if (version := cast("Any", data).get("version")) != _VERSION:
        raise ValueError(f"it is of version {version!r}, and this package reads {_VERSION}")
    for name, settings in cast("dict[str, Any]", kept).items():
        if not isinstance(settings, dict):
            raise ValueError(f"its preset {name[:80]!r} holds no settings")
        for setting, value in cast("dict[str, Any]", settings).items():
            _check(name, setting, value, ranges)
    return cast("dict[str, Settings]", kept)


def _check(name: str, setting: str, value: Any, ranges: Ranges) -> None:
    low, high = ranges.get(setting, (math.nan, math.nan))
    whole = isinstance(low, int)
    if math.isnan(low):
        raise ValueError(f"its preset {name[:80]!r} sets {setting[:80]!r}, which is no setting")
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)) or not low <= value <= high:
        shown = repr(value)[:40]
        kind = "a whole number" if whole else "a number"
        raise ValueError(f"its preset {name[:80]!r} sets {setting} to {shown}, not to {kind} from {low} to {high}")
