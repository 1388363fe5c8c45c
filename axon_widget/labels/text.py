"""Text from strangers, made fit to be shown on one line. It is still only text: never HTML."""

from __future__ import annotations

import re

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_SPACE = re.compile(r"[\s\x1c-\x1f\x85\u2028\u2029]+")
# Control characters, marks and overrides of the text's direction, and halves of characters that no encoding takes.
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def whole(text: str) -> str:
    """Give a text without halves of characters (lone surrogates), which no encoding takes."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def clean(text: str, limit: int = 2_000) -> str:
    """Give a text on one line, without what a terminal or a browser would act on, cut off after `limit` characters."""
    # The first cut bounds the work on a text of any length.
    line = _UNSEEN.sub("", _SPACE.sub(" ", text[: 4 * limit])).strip()
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def clean_token(token: str) -> str:
    """Give a token's text on one line; its spaces belong to it."""
    return _UNSEEN.sub("", token[:200].replace("\n", "↵").replace("\t", "⇥"))[:100]


def no_formula(cell: str) -> str:
    """Give a text that no spreadsheet takes for a formula: one that begins like one gets an apostrophe before it."""
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


def without_apostrophe(cell: str) -> str:
    """Take away again what `no_formula` has put before a text."""
    return cell[1:] if cell[:1] == "'" and cell[1:].startswith(_FORMULA) else cell
