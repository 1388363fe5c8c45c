"""What the commands have to do with terminals."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TextIO


def visible(text: str, keep: str = "") -> str:
    """Show what a terminal would act on (line breaks, escape sequences, text direction) instead of sending it."""
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text)


def coloured(out: TextIO) -> bool:
    """Tell whether to send colours there."""
    return out.isatty() and "NO_COLOR" not in os.environ


@contextmanager
def progress(ahead: str = "") -> Generator[Callable[[str], None]]:
    """Show on one line of the terminal what is being done, sentence by sentence."""
    from tqdm import tqdm

    with tqdm(total=0, bar_format="{desc} [{elapsed}]", leave=False, file=sys.stderr, disable=None) as bar:
        yield lambda sentence: bar.set_description_str(visible(f"{ahead}{sentence}"))
