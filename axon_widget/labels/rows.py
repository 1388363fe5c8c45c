"""What Neuronpedia says of a feature, checked: the lines of its batches and the answers to single look-ups."""

from __future__ import annotations

import gzip
import json
import math
import re
import zlib
from collections.abc import Callable, Generator, Iterator, Sequence
from itertools import islice
from typing import IO, Any, NamedTuple, TypeAlias, cast

from axon_widget.labels.store import Explanation, Passage, Row, Statistics, best_first
from axon_widget.labels.text import clean, clean_token

_LARGEST = 1 << 30  # bytes of an unpacked batch
_LONGEST_LINE = 64 << 20
_TOKENS = 10
_PASSAGES, _BEFORE, _AFTER = 3, 10, 6  # texts in which a feature fires, and how much of each
# People's own steering vectors stand among the features, under numbers from here on that they were given by chance.
_VECTORS = range(10_000_000, 100_000_000)

_Object = dict[str, Any]


Read: TypeAlias = Callable[[str, IO[bytes], str, "int | None"], Sequence[Row]]
"""Reads a batch: its kind, its body, and the SAE's address and number of features."""


def read_batch(kind: str, body: IO[bytes], address: str, width: int | None) -> Sequence[Row]:
    """Read a batch of "explanations" or "features" whole.

    Raises
    ------
    ValueError
        If anything in it is not as it should be.
    """
    rows = _rows(body, address, width)
    if kind == "features":
        return [(feature, _statistics(row)) for feature, row in rows]
    named = ((feature, _explanation(row)) for feature, row in rows)
    return [(feature, explanation) for feature, explanation in named if explanation.text]


class Answer(NamedTuple):
    """What a look-up of one feature gives."""

    explanations: tuple[Explanation, ...] = ()
    statistics: Statistics | None = None
    contexts: tuple[Passage, ...] = ()


def answer(body: IO[bytes], address: str, feature: int) -> Answer:
    """Read the answer to a look-up of one feature: its explanations, best first, what was measured, and where it fires.

    Raises
    ------
    ValueError
        If it is not about that feature, or not as it should be.
    """
    with _unpacked(body) as file:
        row = _parsed(_read(file, file.read, _LONGEST_LINE))
    if row is None:  # Neuronpedia's way to say that it knows no such feature
        return Answer()
    row = _object(row)
    if _feature(row, address, None) != feature:
        raise ValueError(f"it is about feature {row['index']}")
    found = [_scored(explanation) for explanation in _list(row, "explanations")]
    return Answer(best_first(one for one in found if one.text), _statistics(row), _contexts(row))


def _rows(body: IO[bytes], address: str, width: int | None) -> Iterator[tuple[int, _Object]]:
    left = _LARGEST
    with _unpacked(body) as file:
        while line := _read(file, file.readline, _LONGEST_LINE):
            left -= len(line)
            if left < 0:
                raise ValueError(f"it unpacks to more than {_LARGEST >> 20} MB")
            if line.strip():
                row = _object(_parsed(line))
                feature = _feature(row, address, width)
                if feature is not None:
                    yield feature, row


def _unpacked(body: IO[bytes]) -> IO[bytes]:
    packed = body.read(2) == b"\x1f\x8b"
    body.seek(0)
    return cast("IO[bytes]", gzip.GzipFile(fileobj=body, mode="rb")) if packed else body


def _read(file: IO[bytes], read: Callable[[int], bytes], most: int) -> bytes:
    try:
        data = read(most + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError("it is cut off or damaged") from error
    if len(data) > most:
        raise ValueError(f"it holds more than {most >> 20} MB in one piece")
    return data


def _parsed(text: bytes) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError("it is not JSON") from error


def _object(row: object) -> _Object:
    if not isinstance(row, dict):
        raise ValueError("a row is not an object")
    return cast("_Object", row)


def _feature(row: _Object, address: str, width: int | None) -> int | None:
    """Give the number of the feature that a row is about, or None if it is about somebody's vector."""
    if f"{row.get('modelId')}/{row.get('layer')}" != address:
        raise ValueError("it is about another SAE")
    index = str(row.get("index"))
    if not re.fullmatch(r"[0-9]{1,9}", index):
        raise ValueError(f"{clean(index, 20)!r} is not the number of a feature")
    feature = int(index)
    if feature in _VECTORS and feature >= (width or 0):
        return None
    if width is not None and feature >= width:
        raise ValueError(f"feature {feature} is beyond the SAE's {width:,}")
    return feature


def _explanation(row: _Object) -> Explanation:
    if not isinstance(row.get("description"), str):
        raise ValueError("an explanation has no description")
    return Explanation(clean(row["description"]), _name(row, "explanationModelName"), _name(row, "typeName"))


def _scored(row: object) -> Explanation:
    """Read an explanation with the best of its scores."""
    explanation = _explanation(_object(row))
    scores = [_object(score) for score in _list(_object(row), "scores", missing=True)]
    values = [(value, score) for score in scores if (value := _number(score, "value")) is not None]
    if not values:
        return explanation
    value, score = max(values, key=lambda each: each[0])
    return explanation._replace(score=value, scored_by=_name(score, "explanationScoreTypeName"))


def _statistics(row: _Object) -> Statistics:
    return Statistics(
        _number(row, "frac_nonzero"),
        _number(row, "maxActApprox"),
        *("\n".join(islice(_tokens(row, key), _TOKENS)) for key in ("pos_str", "neg_str")),
    )


def _contexts(row: _Object) -> tuple[Passage, ...]:
    """Read the texts in which it fires most, around where it does. What is no such text is left out."""
    found: dict[Passage, float] = {}
    for text in _list(row, "activations", missing=True):
        if not isinstance(text, dict):
            continue
        tokens, values = (cast("_Object", text).get(key) for key in ("tokens", "values"))
        if not (isinstance(tokens, list) and isinstance(values, list)):
            continue
        pairs = list(zip(cast("list[object]", tokens), cast("list[object]", values), strict=False))
        if not pairs or not all(isinstance(token, str) and _is_activation(value) for token, value in pairs):
            continue
        sizes = [cast("float", value) for _, value in pairs]
        at = max(range(len(sizes)), key=sizes.__getitem__)
        around = slice(max(at - _BEFORE, 0), at + _AFTER + 1)
        words = [clean_token(cast("str", token)) for token, _ in pairs[around]]
        passage = Passage("\n".join(words), " ".join(f"{size:.4g}" for size in sizes[around]))
        found.setdefault(passage, sizes[at])
    best = sorted(found, key=lambda passage: -found[passage])
    return tuple(passage for passage in best if found[passage] > 0)[:_PASSAGES]


def _is_activation(value: object) -> bool:
    real = not isinstance(value, bool) and isinstance(value, (int, float))
    return real and 0 <= cast("float", value) < 1e9  # NaN is not either


def _tokens(row: _Object, key: str) -> Generator[str]:
    for token in _list(row, key, missing=True):
        if not isinstance(token, str):
            raise ValueError(f"{key} holds what is no text")
        yield clean_token(token)


def _list(row: _Object, key: str, missing: bool = False) -> list[object]:
    found = row.get(key)
    if found is None and missing:
        return []
    if not isinstance(found, list):
        raise ValueError(f"{key} is not a list")
    return cast("list[object]", found)


def _number(row: _Object, key: str) -> float | None:
    """Give a number; None where it is not known, which is null or NaN."""
    found = row.get(key)
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, (int, float)):
        raise ValueError(f"{key} is not a number")
    try:
        number = float(found)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _name(row: _Object, key: str) -> str:
    found = row.get(key)
    return clean(found, 100) if isinstance(found, str) else ""
