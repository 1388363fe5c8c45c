"""Where files are kept on this machine."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def cache(given: str | Path | None = None) -> Path:
    """Give the directory of what can be had again: the one that is given, ``$AXON_CACHE_DIR`` or the user's cache."""
    return Path(given or os.environ.get("AXON_CACHE_DIR") or platformdirs.user_cache_dir("axon-widget")).expanduser()
