"""The labels that were fetched, kept in an SQLite file in the user's cache. Several processes may share it."""

from __future__ import annotations

import re
import sqlite3
import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, TypeAlias, TypeVar
from urllib.parse import quote

from axon_widget import folders

T = TypeVar("T")

_APPLICATION, _VERSION = 0x41584F4E, 1
KINDS = ("explanations", "features")
"""What batches hold."""
_BUSY = 10.0  # seconds to wait for another process to finish its write
_SCHEMA = """
CREATE TABLE sources (
  id INTEGER PRIMARY KEY, model TEXT NOT NULL, source TEXT NOT NULL, UNIQUE (model, source)
);
CREATE TABLE batches (
  id INTEGER PRIMARY KEY, source INTEGER NOT NULL, key TEXT NOT NULL, etag TEXT NOT NULL, fetched TEXT NOT NULL,
  UNIQUE (source, key)
);
-- when all batches of a kind were in here
CREATE TABLE listed (source INTEGER NOT NULL, kind TEXT NOT NULL, date TEXT NOT NULL, PRIMARY KEY (source, kind));
-- batch 0: from a look-up of the feature alone
CREATE TABLE explanations (
  source INTEGER NOT NULL, feature INTEGER NOT NULL, batch INTEGER NOT NULL, place INTEGER NOT NULL,
  text TEXT NOT NULL, explainer TEXT NOT NULL, method TEXT NOT NULL, score REAL, scored_by TEXT NOT NULL,
  PRIMARY KEY (source, feature, batch, place)
) WITHOUT ROWID;
-- token lists hold one token a line
CREATE TABLE statistics (
  source INTEGER NOT NULL, feature INTEGER NOT NULL, frequency REAL, max_activation REAL,
  boosts TEXT NOT NULL, suppresses TEXT NOT NULL, PRIMARY KEY (source, feature)
) WITHOUT ROWID;
CREATE TABLE answers (
  source INTEGER NOT NULL, feature INTEGER NOT NULL, fetched TEXT NOT NULL, PRIMARY KEY (source, feature)
) WITHOUT ROWID;
"""
# Files of earlier versions lack it. A token a line, and the activations with spaces between them.
_CONTEXTS = """
CREATE TABLE IF NOT EXISTS contexts (
  source INTEGER NOT NULL, feature INTEGER NOT NULL, place INTEGER NOT NULL,
  tokens TEXT NOT NULL, activations TEXT NOT NULL, PRIMARY KEY (source, feature, place)
) WITHOUT ROWID
"""


class Explanation(NamedTuple):
    """A name that a feature was given."""

    text: str
    explainer: str = ""
    method: str = ""
    score: float | None = None
    scored_by: str = ""
    fetched: str = ""


class Statistics(NamedTuple):
    """What was measured of a feature. Token lists hold one token a line."""

    frequency: float | None
    max_activation: float | None
    boosts: str = ""
    suppresses: str = ""


class Passage(NamedTuple):
    """A text in which a feature fires: a token a line, and the activations with spaces between them."""

    tokens: str
    activations: str


Row: TypeAlias = "tuple[int, Explanation | Statistics]"
"""A feature, and what a batch says of it."""


@dataclass
class Stored:
    """What is known of a source's features.

    A feature with explanations has a label; one without that stands in `answered` is confirmed to have none; any other
    was never fetched.

    Parameters
    ----------
    explanations
        Each feature's names, best first.
    statistics
        What was measured.
    contexts
        Texts in which each feature fires most, of those that were looked up alone.
    answered
        When each feature was looked up alone.
    batches
        The batches that are in here, and which version of them.
    listed
        When all batches of a kind were in here.
    """

    explanations: dict[int, tuple[Explanation, ...]] = field(default_factory=dict[int, tuple[Explanation, ...]])
    statistics: dict[int, Statistics] = field(default_factory=dict[int, Statistics])
    contexts: dict[int, tuple[Passage, ...]] = field(default_factory=dict[int, tuple[Passage, ...]])
    answered: dict[int, str] = field(default_factory=dict[int, str])
    batches: dict[str, str] = field(default_factory=dict[str, str])
    listed: dict[str, str] = field(default_factory=dict[str, str])


class Tally(NamedTuple):
    """How much is stored of a source."""

    address: str
    labels: int
    none: int
    looked_up: int
    measured: int
    batches: int
    complete: str


def best_first(explanations: Iterable[Explanation]) -> tuple[Explanation, ...]:
    """Order a feature's names by their scores, those that nobody scored last, and leave out what stands twice."""
    once: dict[object, Explanation] = {}
    for explanation in sorted(explanations, key=lambda e: (e.score is None, -(e.score or 0.0))):
        once.setdefault(explanation[:3], explanation)
    return tuple(once.values())


class Store:
    """The file. What goes wrong with it never stops anybody: `notice` says it, and nothing is kept.

    Every access opens it anew, so that threads, forks and killed processes leave nothing behind.

    Parameters
    ----------
    directory
        Where it lies; left out, ``$AXON_CACHE_DIR`` or the user's cache.
    """

    def __init__(self, directory: str | Path | None = None) -> None:
        self.path = folders.cache(directory) / "labels.sqlite3"
        self._refused = self._aside = ""
        self._lock = threading.Lock()

    @property
    def notice(self) -> str:
        """What is the matter with the file, as sentences; empty if nothing is."""
        return " ".join(sentence for sentence in (self._aside, self._refused) if sentence)

    def load(self, address: str, width: int | None = None) -> Stored:
        """Give what is stored of a source, such as ``"gpt2-small/8-res-jb"``, up to a number of features."""
        return self._read(lambda db: _load(db, address, width or 1 << 60), Stored())

    def batches(self, address: str) -> dict[str, str]:
        """Give the batches of a source that are stored, and which version of them."""
        return self._read(lambda db: _batches(db, _source(db, address)), {})

    def tallies(self) -> list[Tally]:
        """Say how much is stored of each source."""
        return self._read(_tallies, [])

    def put_batch(self, address: str, key: str, etag: str, fetched: str, rows: Sequence[Row]) -> None:
        """Store a batch whole, in place of its earlier version."""

        def write(db: sqlite3.Connection) -> None:
            source = _source(db, address, make=True)
            _forget(db, source, [key])
            put = "INSERT INTO batches (source, key, etag, fetched) VALUES (?, ?, ?, ?)"
            batch = db.execute(put, (source, key, etag, fetched)).lastrowid or 0
            _put(db, source, batch, rows)

        self._write(write)

    def put_answer(
        self,
        address: str,
        feature: int,
        fetched: str,
        explanations: Iterable[Explanation],
        measured: Statistics | None,
        contexts: Iterable[Passage] = (),
    ) -> None:
        """Store what a look-up of one feature gave. No explanations: it is confirmed to have none."""

        def write(db: sqlite3.Connection) -> None:
            source = _source(db, address, make=True)
            db.execute("DELETE FROM explanations WHERE source = ? AND feature = ? AND batch = 0", (source, feature))
            db.execute("REPLACE INTO answers VALUES (?, ?, ?)", (source, feature, fetched))
            _put(db, source, 0, [(feature, one) for one in (*explanations, measured) if one])
            db.execute("DELETE FROM contexts WHERE source = ? AND feature = ?", (source, feature))
            put = "INSERT INTO contexts VALUES (?, ?, ?, ?, ?)"
            db.executemany(put, [(source, feature, place, *one) for place, one in enumerate(contexts)])

        self._write(write)

    def finish(self, address: str, kind: str, keys: Sequence[str], date: str) -> None:
        """Remember that all batches of a kind are in here, and forget those that are no longer published."""

        def write(db: sqlite3.Connection) -> None:
            source = _source(db, address, make=True)
            gone = [key for key in _batches(db, source) if f"/{kind}/" in key and key not in set(keys)]
            _forget(db, source, gone)
            db.execute("REPLACE INTO listed VALUES (?, ?, ?)", (source, kind, date))

        self._write(write)

    def _read(self, action: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        def act() -> T:
            if not self.path.exists():
                return otherwise
            try:
                with _open(str(self.path)) as db:
                    return action(db) if _is_ours(db) else otherwise
            except sqlite3.OperationalError as error:
                # In a directory that cannot be written SQLite cannot keep its notes on who reads: there, nobody writes.
                if not re.match("unable to open|attempt to write", str(error)) or Path(f"{self.path}-wal").exists():
                    raise
                with _open(f"file:{quote(str(self.path))}?mode=ro&immutable=1") as db:
                    return action(db) if _is_ours(db) else otherwise

        return self._guard(act, otherwise)

    def _write(self, action: Callable[[sqlite3.Connection], None]) -> None:
        def act() -> None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with _open(str(self.path), write=True) as db:
                if not _is_ours(db):
                    _make(db)
                db.execute(_CONTEXTS)
                action(db)
            self._refused = ""

        self._guard(act, None)

    def _guard(self, act: Callable[[], T], otherwise: T) -> T:
        for again in (False, True):
            file = _identity(self.path)
            try:
                return act()
            except (sqlite3.Error, OSError) as error:
                # Of SQLite's errors, those of the very base class say that the file itself is bad.
                if not again and type(error) is sqlite3.DatabaseError and self._set_aside(file, str(error)):
                    continue
                self._refused = f"Labels are not kept, because {self.path} cannot be used ({error})."
        return otherwise

    def _set_aside(self, file: tuple[int, int] | None, why: str) -> bool:
        """Move a bad file out of the way; if another process did so already, there is nothing to move."""
        with self._lock:
            if file is None or _identity(self.path) != file:
                return True
            aside = self.path.with_name(f"{self.path.stem}-{datetime.now():%Y%m%d-%H%M%S-%f}.sqlite3")
            try:
                for ending in ("", "-wal", "-shm"):
                    if (part := Path(f"{self.path}{ending}")).exists():
                        part.rename(f"{aside}{ending}")
            except OSError:
                return False
            self._aside = f"The stored labels could not be read ({why}) and were set aside as {aside}."
            return True


@contextmanager
def _open(path: str, write: bool = False) -> Generator[sqlite3.Connection]:
    """Open the file for one transaction. It is undone if it does not come to its end."""
    db = sqlite3.connect(path, timeout=_BUSY, isolation_level=None, uri=path.startswith("file:"))
    try:
        if write:
            # Where that is not possible, or another process is just about it, the file stays as it is.
            with suppress(sqlite3.OperationalError):
                db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
        db.execute("BEGIN IMMEDIATE" if write else "BEGIN")
        yield db
        db.execute("COMMIT")
    finally:
        db.close()


def _is_ours(db: sqlite3.Connection) -> bool:
    """Tell a file of this version from an empty one, and raise for any other."""
    mark = (db.execute("PRAGMA application_id").fetchone()[0], db.execute("PRAGMA user_version").fetchone()[0])
    if mark == (_APPLICATION, _VERSION):
        return True
    if mark != (0, 0) or db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        ours = mark[0] == _APPLICATION
        raise sqlite3.DatabaseError(
            f"it is of version {mark[1]}, not {_VERSION}" if ours else "it is another program's"
        )
    return False


def _make(db: sqlite3.Connection) -> None:
    for statement in _SCHEMA.split(";"):
        db.execute(statement)
    db.execute(f"PRAGMA application_id = {_APPLICATION}")
    db.execute(f"PRAGMA user_version = {_VERSION}")


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _source(db: sqlite3.Connection, address: str, make: bool = False) -> int:
    name = tuple(address.split("/"))
    if make:
        db.execute("INSERT OR IGNORE INTO sources (model, source) VALUES (?, ?)", name)
    row = db.execute("SELECT id FROM sources WHERE model = ? AND source = ?", name).fetchone()
    return row[0] if row else 0


def _batches(db: sqlite3.Connection, source: int) -> dict[str, str]:
    return dict(db.execute("SELECT key, etag FROM batches WHERE source = ?", (source,)))


def _forget(db: sqlite3.Connection, source: int, keys: Sequence[str]) -> None:
    for key in keys:
        row = db.execute("SELECT id FROM batches WHERE source = ? AND key = ?", (source, key)).fetchone()
        if row:
            db.execute("DELETE FROM explanations WHERE source = ? AND batch = ?", (source, row[0]))
            db.execute("DELETE FROM batches WHERE id = ?", row)


def _put(db: sqlite3.Connection, source: int, batch: int, rows: Sequence[Row]) -> None:
    names = [(source, i, batch, n, *one[:5]) for n, (i, one) in enumerate(rows) if isinstance(one, Explanation)]
    db.executemany("INSERT INTO explanations VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", names)
    measured = [(source, i, *one) for i, one in rows if isinstance(one, Statistics)]
    db.executemany("REPLACE INTO statistics VALUES (?, ?, ?, ?, ?, ?)", measured)


def _load(db: sqlite3.Connection, address: str, width: int) -> Stored:
    source = (_source(db, address),)
    within = (*source, width)
    dates = dict(db.execute("SELECT id, fetched FROM batches WHERE source = ?", source))
    answered: dict[int, str] = dict(
        db.execute("SELECT feature, fetched FROM answers WHERE source = ? AND feature < ?", within)
    )
    explanations: dict[int, tuple[Explanation, ...]] = {}
    for feature, batch, *rest in db.execute(
        "SELECT feature, batch, text, explainer, method, score, scored_by FROM explanations"
        " WHERE source = ? AND feature < ? ORDER BY feature, batch, place",
        within,
    ):
        if batch and feature in answered:  # the look-up told all there is, with scores
            continue
        one = Explanation(*rest, fetched=dates[batch] if batch else answered[feature])
        before = explanations.get(feature)
        explanations[feature] = best_first((*before, one)) if before else (one,)
    statistics = {
        row[0]: Statistics(*row[1:])
        for row in db.execute(
            "SELECT feature, frequency, max_activation, boosts, suppresses FROM statistics"
            " WHERE source = ? AND feature < ?",
            within,
        )
    }
    listed = dict(db.execute("SELECT kind, date FROM listed WHERE source = ?", source))
    return Stored(explanations, statistics, _contexts(db, within), answered, _batches(db, source[0]), listed)


def _contexts(db: sqlite3.Connection, within: tuple[int, int]) -> dict[int, tuple[Passage, ...]]:
    if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'contexts'").fetchone():
        return {}
    found: dict[int, tuple[Passage, ...]] = {}
    for feature, *passage in db.execute(
        "SELECT feature, tokens, activations FROM contexts WHERE source = ? AND feature < ? ORDER BY feature, place",
        within,
    ):
        found[feature] = (*found.get(feature, ()), Passage(*passage))
    return found


def _tallies(db: sqlite3.Connection) -> list[Tally]:
    tallies: list[Tally] = []
    for model, source in db.execute("SELECT model, source FROM sources ORDER BY model, source").fetchall():
        stored = _load(db, f"{model}/{source}", 1 << 60)
        none = sum(1 for feature in stored.answered if feature not in stored.explanations)
        counts = (len(stored.explanations), none, len(stored.answered), len(stored.statistics), len(stored.batches))
        tallies.append(Tally(f"{model}/{source}", *counts, min(stored.listed.get(kind, "") for kind in KINDS)))
    return tallies
