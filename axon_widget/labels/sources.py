"""What ``labels=`` may be: where the names of an SAE's features come from."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from axon_widget.background import Background
from axon_widget.labels import Label, Labels
from axon_widget.labels.bundle import LABELS
from axon_widget.labels.bundled import BundledLabels
from axon_widget.labels.neuronpedia import NeuronpediaLabels
from axon_widget.labels.text import clean, without_apostrophe

if TYPE_CHECKING:
    import pandas as pd

_NUMBERS = ("index", "feature", "id")
_TEXTS = ("label", "description", "explanation")


def source_of(labels: object, neuronpedia: str, d_sae: int, beside: Path | None) -> Labels:
    """Give the source of an SAE's labels.

    Parameters
    ----------
    labels
        None for what is known of the SAE: the file beside it, or else Neuronpedia; False for no labels; a `Labels`; a
        dict of feature numbers and names; a function that gives a feature's name or None; or the path of a CSV or
        Parquet file.
    neuronpedia
        The SAE on Neuronpedia, as ``"model/source"``; empty if it is not there.
    d_sae
        How many features it has.
    beside
        The directory it was loaded from, if there is one.

    Raises
    ------
    TypeError
        If `labels` is nothing of that.
    ValueError
        If what it holds cannot be the labels of this SAE.
    OSError
        If the file cannot be read.
    """
    if labels is None:
        if beside is not None and (file := beside / LABELS).is_file():
            return BundledLabels(file)
        return NeuronpediaLabels(neuronpedia, d_sae) if neuronpedia else Labels()
    if labels is False:
        return Labels()
    if isinstance(labels, Labels):
        return labels
    if isinstance(labels, Mapping):
        return GivenLabels(cast("Mapping[object, object]", labels).items(), "labels given as a dict", d_sae)
    if isinstance(labels, (str, Path)):
        return _from_file(Path(labels).expanduser(), d_sae)
    if callable(labels):
        return CalledLabels(cast("Callable[[int], object]", labels), d_sae)
    raise TypeError(
        f"labels={labels!r} cannot be used: give None for the SAE's own, False for none, a dict of feature numbers and"
        " names, a function from a feature's number to its name, or the path of a CSV or Parquet file."
    )


class GivenLabels(Labels):
    """Labels that are all known from the start.

    Parameters
    ----------
    pairs
        Feature numbers and names; an empty name or None is none.
    source
        Where they come from.
    d_sae
        How many features there are.
    """

    def __init__(self, pairs: Iterable[tuple[object, object]], source: str, d_sae: int) -> None:
        super().__init__()
        self._source, self._labels = source, dict[int, Label]()
        seen = set[int]()
        for given, text in pairs:
            feature = _number(given, source, d_sae)
            if feature in seen:
                raise ValueError(f"In the {source}, feature {feature} stands twice.")
            seen.add(feature)
            if text is not None and not isinstance(text, str):
                raise ValueError(f"In the {source}, the name of feature {feature} is {text!r}, which is no text.")
            if name := clean(text or ""):
                self._labels[feature] = Label(name, source)

    @property
    def source(self) -> str:
        """Where the labels come from."""
        return self._source

    def get(self, feature: int) -> Label | None:
        """Give a feature's label."""
        return self._labels.get(feature)

    def names(self) -> Iterable[tuple[int, str]]:
        """Give every feature that has a name, and the name."""
        return [(feature, label.text) for feature, label in self._labels.items()]


class CalledLabels(Labels):
    """Labels that a function gives. It may be slow: it is called in the background, once for each feature.

    Parameters
    ----------
    function
        Gives a feature's name, or None.
    d_sae
        How many features there are.
    """

    def __init__(self, function: Callable[[int], object], d_sae: int) -> None:
        super().__init__()
        self._function, self._d_sae = function, d_sae
        self._source = f"labels given by {getattr(function, '__name__', type(function).__name__)}"
        self._known: dict[int, Label] = {}
        self._asked = set[int]()
        self._waiting: dict[int, None] = {}
        self._calling = False
        self._problem = ""
        self._lock = threading.Lock()
        self._calls = Background(self._call)

    @property
    def source(self) -> str:
        """Where the labels come from."""
        return self._source

    @property
    def coming(self) -> bool:
        """Whether labels are on their way."""
        return self._calling

    @property
    def status(self) -> str:
        """What went wrong in the function."""
        return self._problem

    def get(self, feature: int) -> Label | None:
        """Give a feature's label, or None and have the function called."""
        if feature not in self._asked:
            self.ask(feature)
        return self._known.get(feature)

    def names(self) -> Iterable[tuple[int, str]]:
        """Give every feature whose name is known by now, and the name."""
        with self._lock:
            return [(feature, label.text) for feature, label in self._known.items()]

    def ask(self, feature: int) -> None:
        """Have the function called for a feature, once."""
        if not 0 <= feature < self._d_sae:
            return
        with self._lock:
            if feature in self._asked:
                return
            self._asked.add(feature)
            self._waiting[feature] = None
            self._calling = True
        self._calls.wake()

    def _call(self) -> float | None:
        with self._lock:
            if not self._waiting:
                return None
            feature = next(iter(self._waiting))
            del self._waiting[feature]
        try:
            text = self._function(feature)
            if text is not None and not isinstance(text, str):
                raise TypeError(f"it gave {text!r}, which is neither a text nor None")
        except Exception as error:  # the user's own may raise anything: it is told, and the next feature has its turn
            why = clean(f"{type(error).__name__}: {error}", 300)
            self._problem, text = f"Feature {feature} got no name, because of {why}", ""
        with self._lock:
            if name := clean(text or ""):
                self._known[feature] = Label(name, self._source)
            more = self._calling = bool(self._waiting)
        self.report(now=not more)
        return 0.0


def _from_file(path: Path, d_sae: int) -> Labels:
    """Read labels from a CSV or Parquet file, whole."""
    import pandas as pd

    kind = path.suffix.lower()
    if kind not in {".csv", ".parquet"}:
        raise ValueError(f"Labels cannot be read from {path}: give a .csv or .parquet file.")
    if not path.is_file():
        raise FileNotFoundError(f"Labels cannot be read from {path}: there is no such file.")
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False) if kind == ".csv" else pd.read_parquet(path)
    except ImportError as error:
        raise ValueError(f"{path} cannot be read without pyarrow: pip install pyarrow, or give a .csv.") from error
    except Exception as error:  # the parsers' own errors have no common class
        raise ValueError(f"Labels cannot be read from {path}: {clean(str(error), 300)}") from error
    numbers, texts = (_column(table, names, path) for names in (_NUMBERS, _TEXTS))
    told = (without_apostrophe(text) if isinstance(text, str) else _empty(text) for text in texts)
    pairs = zip(numbers, told, strict=True)
    return GivenLabels(pairs, f"labels in {path.name}", d_sae)


def _column(table: pd.DataFrame, names: tuple[str, ...], path: Path) -> list[Any]:
    found = [column for column in table.columns if str(column).strip().lower() in names]
    if len(found) != 1:
        raise ValueError(f"{path} must have one column named {', '.join(names[:-1])} or {names[-1]}.")
    return cast("list[Any]", table[found[0]].tolist())


def _empty(text: object) -> object:
    """Take pandas' ways to say that nothing is there for None."""
    return None if text is None or text != text else text  # only NaN differs from itself


def _number(given: object, source: str, d_sae: int) -> int:
    """Read a feature's number: a whole number, or a text or float that is one."""
    try:
        # pandas writes whole numbers as 3.0 where a row of their column is empty.
        value = float(given) if isinstance(given, str) else cast("Any", given)
        feature = int(value)
        whole = feature == value and not isinstance(given, bool)
    except (TypeError, ValueError, OverflowError):
        feature, whole = -1, False
    if not whole:
        raise ValueError(f"In the {source}, {given!r} is not the number of a feature.")
    if not 0 <= feature < d_sae:
        raise ValueError(f"In the {source}, feature {feature} does not exist: this SAE has features 0 to {d_sae - 1}.")
    return feature
