"""The files in which labels lie beside an SAE, and the text that they were made from. Nothing of it is read early.

``labels.sqlite3`` in an SAE's folder has a row for each feature that fired. ``texts.sqlite3`` in the folder above it
has the text's token ids, row by row, and each token's own text; the SAEs of a model share it. A context is a place in
that text and the activations around it, in 255ths of the feature's maximum.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import zlib
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np
import numpy.typing as npt

LABELS, TEXTS = "labels.sqlite3", "texts.sqlite3"
BEFORE, AFTER = 15, 6
"""How many tokens around the strongest one belong to a context."""
_SPAN = BEFORE + 1 + AFTER
_SCHEMA = "2"
_LARGEST = 1 << 16  # bytes that are known of one feature
_TABLES = """
CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE features (
  feature INTEGER PRIMARY KEY, label TEXT NOT NULL, rule TEXT NOT NULL, score REAL, frequency REAL NOT NULL,
  max_activation REAL NOT NULL
);
-- apart from the names, so that these are read without it
CREATE TABLE more (feature INTEGER PRIMARY KEY, packed BLOB NOT NULL);
"""
_TEXT_TABLES = """
CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE texts (number INTEGER PRIMARY KEY, tokens BLOB NOT NULL);
CREATE TABLE tokens (id INTEGER PRIMARY KEY, text TEXT NOT NULL);
"""

Array = npt.NDArray[np.int64]


class Summary(NamedTuple):
    """What is told of a feature with its name."""

    label: str
    rule: str
    score: float | None
    frequency: float
    max_activation: float


class More(NamedTuple):
    """What else is known of a feature, in token ids.

    Parameters
    ----------
    fires_on
        Tokens it fires on, with its mean activation there.
    boosts, suppresses
        Tokens its decoder direction makes likelier and less likely.
    contexts
        Places in the text, counted over all its rows, each with the activations from `BEFORE` tokens before it on;
        outside of its row they are 0.
    """

    fires_on: Sequence[tuple[int, float]]
    boosts: Sequence[int]
    suppresses: Sequence[int]
    contexts: Sequence[tuple[int, Sequence[float]]]


def digest(rows: npt.NDArray[np.integer]) -> str:
    """Give what a text is known by."""
    return hashlib.sha256(np.ascontiguousarray(rows, "<u2").tobytes()).hexdigest()[:16]


def digest_of(path: Path) -> str:
    """Give what a file is known by."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def write_texts(folder: Path, rows: npt.NDArray[np.integer], tokens: Sequence[str]) -> None:
    """Write the text, token ids of shape (rows, context), and what each token says; special ones say nothing.

    Raises
    ------
    ValueError
        If the vocabulary is too large for the file.
    """
    if len(tokens) > 1 << 16:
        raise ValueError(f"texts are kept for vocabularies of up to 65,536 tokens, not {len(tokens):,}")
    about = {"schema": _SCHEMA, "digest": digest(rows), "context": str(rows.shape[1])}
    with _made(folder / TEXTS, _TEXT_TABLES, about) as db:
        packed = ((number, zlib.compress(row.astype("<u2").tobytes(), 9)) for number, row in enumerate(rows))
        db.executemany("INSERT INTO texts VALUES (?, ?)", packed)
        there = np.unique(rows).tolist()
        db.executemany("INSERT INTO tokens VALUES (?, ?)", ((token, tokens[token]) for token in there))


def write_labels(folder: Path, about: dict[str, str], features: Iterable[tuple[int, Summary, More]]) -> None:
    """Write what is known of an SAE's features; `about` holds at least "source", "scored_by" and "digest"."""
    with _made(folder / LABELS, _TABLES, {"schema": _SCHEMA, **about}) as db:
        for feature, summary, more in features:
            db.execute("INSERT INTO features VALUES (?, ?, ?, ?, ?, ?)", (feature, *summary))
            db.execute("INSERT INTO more VALUES (?, ?)", (feature, _packed(more, summary.max_activation)))


def about(path: Path) -> dict[str, str]:
    """Give what a file says of itself.

    Raises
    ------
    ValueError
        If it is not such a file.
    """
    with _opened(path) as db:
        told = {str(key): str(value) for key, value in db.execute("SELECT key, value FROM about")}
    if told.get("schema") != _SCHEMA:
        raise ValueError(f"its schema is {told.get('schema', '')[:20]!r}, not {_SCHEMA}")
    return told


def summaries(path: Path) -> dict[int, Summary]:
    """Give every feature's name and the numbers that go with it."""
    with _opened(path) as db:
        rows = db.execute("SELECT feature, label, rule, score, frequency, max_activation FROM features").fetchall()
    return {
        int(row[0]): Summary(str(row[1]), str(row[2]), None if row[3] is None else float(row[3]), *map(float, row[4:]))
        for row in rows
    }


def more(path: Path, feature: int, most: float) -> More | None:
    """Give what else is known of a feature whose maximum is `most`."""
    with _opened(path) as db:
        row = db.execute("SELECT packed FROM more WHERE feature = ?", (feature,)).fetchone()
        return _unpacked(row[0], most) if row else None


def token_texts(path: Path, tokens: Iterable[int]) -> dict[int, str]:
    """Give what tokens say."""
    wanted = sorted(set(tokens))
    with _opened(path) as db:
        rows = db.execute(f"SELECT id, text FROM tokens WHERE id IN ({','.join('?' * len(wanted))})", wanted)
        return {int(token): str(text) for token, text in rows}


def windows(path: Path, contexts: Iterable[tuple[int, Sequence[float]]]) -> list[list[tuple[int, float]]]:
    """Give contexts as token ids with their activations."""
    found: list[list[tuple[int, float]]] = []
    with _opened(path) as db:
        [[length]] = db.execute("SELECT value FROM about WHERE key = 'context'")
        for place, values in contexts:
            number, at = divmod(place, int(length))
            row = db.execute("SELECT tokens FROM texts WHERE number = ?", (number,)).fetchone()
            if not row:
                continue
            tokens = np.frombuffer(_inflated(row[0]), "<u2")
            around = range(max(at - BEFORE, 0), min(at + AFTER + 1, len(tokens)))
            found.append([(int(tokens[i]), values[i - at + BEFORE]) for i in around])
    return found


def _packed(more: More, most: float) -> bytes:
    counts = [len(more.fires_on), len(more.boosts), len(more.suppresses), len(more.contexts)]
    levels = np.array([values for _, values in more.contexts]).reshape(-1, _SPAN) / most * 255
    return zlib.compress(
        np.array(counts, "u1").tobytes()
        + np.array([token for token, _ in more.fires_on], "<u2").tobytes()
        + np.array([mean for _, mean in more.fires_on], "<f2").tobytes()
        + np.array([*more.boosts, *more.suppresses], "<u2").tobytes()
        + np.array([place for place, _ in more.contexts], "<u4").tobytes()
        # What fires at all is not rounded down to silence.
        + np.where(levels > 0, levels.round().clip(1, 255), 0).astype("u1").tobytes(),
        9,
    )


def _unpacked(packed: bytes, most: float) -> More:
    data, at = _inflated(packed), 4

    def take(kind: str, count: int) -> Any:
        nonlocal at
        values: Any = np.frombuffer(data, kind, count, at)
        at += values.nbytes
        return values

    fires_on, boosts, suppresses, contexts = data[:4]
    tokens, means = take("<u2", fires_on), take("<f2", fires_on)
    return More(
        list(zip(tokens.tolist(), means.tolist(), strict=True)),
        take("<u2", boosts).tolist(),
        take("<u2", suppresses).tolist(),
        list(zip(take("<u4", contexts).tolist(), _around(take("u1", contexts * _SPAN), most), strict=True)),
    )


def _around(levels: Any, most: float) -> list[list[float]]:
    return (levels.reshape(-1, _SPAN) / 255 * most).tolist()


def _inflated(packed: bytes) -> bytes:
    unpacking = zlib.decompressobj()
    data = unpacking.decompress(packed, _LARGEST)
    if not unpacking.eof:
        raise ValueError("what is packed in it is too large or cut off")
    return data


@contextmanager
def _made(path: Path, tables: str, about: dict[str, str]) -> Generator[sqlite3.Connection]:
    """Make a file that is there whole or not at all."""
    partial = path.with_suffix(f".{os.getpid()}.tmp")
    partial.unlink(missing_ok=True)
    try:
        with closing(sqlite3.connect(partial)) as db:
            db.executescript(tables)
            db.executemany("INSERT INTO about VALUES (?, ?)", sorted(about.items()))
            yield db
            db.commit()
            db.execute("VACUUM")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def _opened(path: Path) -> Generator[sqlite3.Connection]:
    """Open a file that nobody changes; each time anew, so that threads and forks share nothing.

    Raises
    ------
    ValueError
        If it is no such file.
    """
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro&immutable=1", uri=True)) as db:
            yield db
    except (sqlite3.Error, zlib.error, TypeError, ArithmeticError) as error:  # whatever a damaged file may cause
        raise ValueError(str(error)) from error
