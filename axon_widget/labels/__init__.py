"""What features are called, and where the name comes from. A label is a hypothesis and may be hostile text."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from weakref import WeakMethod

from axon_widget.labels.text import whole

DENSE = 4.0
"""A dense feature fires more often than so many times the SAE's mean."""
_HUSH = 0.5  # seconds between two reports


@dataclass(frozen=True)
class Label:
    """What is known of a feature.

    Parameters
    ----------
    text
        Its name; empty where there is none.
    source
        Where the name comes from, as a sentence.
    explainer, method
        Who or what wrote the name, such as a model, and how; empty where that is not known.
    score, scored_by
        How well the name predicts when the feature fires, and by which measure; None where nobody scored it.
    others
        Other names it was given, each with its explainer and score.
    fires_on
        Tokens it fires on, with its mean activation there.
    boosts, suppresses
        Tokens its decoder direction makes likelier and less likely.
    contexts
        Texts in which it fires most where it was labelled: each as tokens with their activations.
    frequency
        The share of tokens it fires on.
    max_activation
        The largest activation seen where it was labelled.
    dense
        Whether it fires more than four times as often as the SAE's mean.
    fetched
        When this was fetched, as an ISO 8601 date; empty where it was not.
    """

    text: str = ""
    source: str = ""
    explainer: str = ""
    method: str = ""
    score: float | None = None
    scored_by: str = ""
    others: tuple[tuple[str, str, float | None], ...] = ()
    fires_on: tuple[tuple[str, float], ...] = ()
    boosts: tuple[str, ...] = ()
    suppresses: tuple[str, ...] = ()
    contexts: tuple[tuple[tuple[str, float], ...], ...] = ()
    frequency: float | None = None
    max_activation: float | None = None
    dense: bool = False
    fetched: str = ""

    def __post_init__(self) -> None:
        """Take what cannot be encoded out of the text: it may come from anybody's own source of labels."""
        for name in ("text", "source"):
            object.__setattr__(self, name, whole(getattr(self, name)))


class Watched:
    """Something that others watch: they hear when what it tells has changed."""

    def __init__(self) -> None:
        self._watchers: list[WeakMethod[Callable[[], None]]] = []
        self._watching = threading.Lock()

    def watch(self, heard: Callable[[], None]) -> None:
        """Have a bound method called, from any thread, when something has changed.

        It is held weakly: whoever goes away hears no more.
        """
        bound: Any = heard
        new = WeakMethod(bound)
        with self._watching:
            self._watchers = [*(old for old in self._watchers if old() is not None and old != new), new]

    def unwatch(self, heard: Callable[[], None]) -> None:
        """Have a bound method called no more."""
        bound: Any = heard
        gone = WeakMethod(bound)
        with self._watching:
            self._watchers = [old for old in self._watchers if old() is not None and old != gone]

    def tell(self) -> None:
        """Tell those who watch."""
        for watcher in list(self._watchers):
            heard = watcher()
            if heard is not None:
                heard()


class Labels(Watched):
    """A source of labels for the features of one SAE. As it stands, it knows none.

    `get` and `name` are asked on every token and answer at once with what is known; what has to be fetched or computed
    comes later, in the background, and those who watch hear of it.
    """

    _reported = 0.0

    def report(self, now: bool = False) -> None:
        """Tell those who watch, unless they just were: they look at every name each time. `now` says it is the last."""
        if now or time.monotonic() - self._reported >= _HUSH:
            self._reported = time.monotonic()
            self.tell()

    @property
    def source(self) -> str:
        """Where the labels come from, as a sentence; empty where there are none."""
        return ""

    def get(self, feature: int) -> Label | None:
        """Give what is known of a feature, or None where this source knows nothing of it (yet)."""
        return None

    def full(self, feature: int) -> Label | None:
        """Give all that is known of a feature, what has to be read from a file included: not on a token's path."""
        return self.get(feature)

    def name(self, feature: int) -> str:
        """Give a feature's name, empty where it has none (yet)."""
        label = self.get(feature)
        return label.text if label else ""

    def names(self) -> Iterable[tuple[int, str]]:
        """Give every feature that has a name, and the name."""
        return ()

    def start(self) -> None:
        """Begin to bring the labels in, in the background, where they are not here yet."""

    def ask(self, feature: int) -> None:
        """Have all that can be known of a feature looked up, in the background."""

    @property
    def coming(self) -> bool:
        """Whether labels are on their way."""
        return False

    @property
    def status(self) -> str:
        """How far the labels are, or why they do not come, as a sentence; empty where there is nothing to say."""
        return ""

    def search(self, text: str, limit: int = 50) -> list[tuple[int, str]]:
        """Find the features whose names hold all words of a text, those that hold it as it stands first.

        Parameters
        ----------
        text
            What to look for; upper and lower case are the same.
        limit
            Give at most so many.

        Returns
        -------
        list of (int, str)
            Features with their names.
        """
        phrase = text.casefold().strip()
        words = phrase.split()
        if not words:
            return []
        found = [
            (phrase not in folded, len(name), feature, name)
            for feature, name in self.names()
            if all(word in (folded := name.casefold()) for word in words)
        ]
        return [(feature, whole(name)) for *_, feature, name in sorted(found)[:limit]]
