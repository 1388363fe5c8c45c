"""What features are called."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from axon_widget.labels import Watched
from axon_widget.trace import Trace

if TYPE_CHECKING:
    from axon_widget.engine.features import FeatureReader
    from axon_widget.labels.logits import LogitLabels

_DIGITS = 20  # more are no feature's number, and Python refuses to read very many


class Names(Watched):
    """What features are called: by their labels or, while there are none, by the tokens they boost.

    Asking for a name costs nothing. To find the tokens a feature boosts reads the whole unembedding, so that is done
    by `fill`, off the token's path and some at a time, for those that `lack` a name.

    Parameters
    ----------
    readers
        The SAEs with their labels. When labels come in, the traces that are kept get them, and who watches hears.
    boosts
        Gives an SAE's fall-back, None where it has none.
    """

    def __init__(self, readers: Sequence[FeatureReader], boosts: Callable[[int], LogitLabels | None]) -> None:
        super().__init__()
        self._readers, self._boosts = readers, boosts
        self._found: dict[tuple[int, int], str] = {}
        self._lacking: dict[tuple[int, int], None] = {}
        self._traces: list[weakref.ref[Trace]] = []
        self._renaming = threading.RLock()  # labels come in from threads of their own
        for reader in readers:
            reader.labels.watch(self.renew)

    def __call__(self, sae: int, feature: int) -> str:
        """Give a feature's name, empty where it has none yet."""
        return self._readers[sae].labels.name(feature) or self._found.get((sae, feature), "")

    def keep(self, trace: Trace) -> None:
        """Give a trace the names that come in later, as long as somebody holds it."""
        with self._renaming:
            others = [held for held in self._traces if (known := held()) is not None and known is not trace]
            self._traces = [*others, weakref.ref(trace)]

    def leave(self, traces: Iterable[Trace]) -> None:
        """Give traces the names that are known by now, and none that come in later."""
        left = {id(trace): trace for trace in traces}
        with self._renaming:
            self._traces = [held for held in self._traces if (known := held()) is not None and id(known) not in left]
            for trace in left.values():
                trace.rename(self)

    def renew(self) -> None:
        """Give the traces the names that are known by now, and tell those who watch."""
        with self._renaming:
            for held in self._traces:
                trace = held()
                if trace is not None:
                    trace.rename(self)
        self.tell()

    def lack(self, features: Iterable[tuple[int, int]]) -> None:
        """Note which of some features, each named by (sae, id), have no name: before those that were noted earlier."""
        new = [key for key in features if key not in self._found and not self._readers[key[0]].labels.name(key[1])]
        self._lacking = dict.fromkeys([*new, *self._lacking])

    def fill(self, count: int) -> bool:
        """Name some of the features that lack a name, those noted last first; tell whether there were any."""
        some = list(self._lacking)[:count]
        self._found.update(dict.fromkeys(some, ""))  # what cannot be named is not tried again
        for key in some:
            self._lacking.pop(key, None)
        for sae in {sae for sae, _ in some}:
            features = [feature for of, feature in some if of == sae]
            boosts = self._boosts(sae)
            names = boosts.names_of(features) if boosts else [""] * len(features)
            self._found.update({(sae, f): name for f, name in zip(features, names, strict=True)})
        return bool(some)

    def search(self, text: str, limit: int = 50) -> list[tuple[int, int, str]]:
        """Find features by their label, or by their number, whether or not they ever fired.

        Parameters
        ----------
        text
            Words that the label holds, all of them; or a feature's number.
        limit
            Give at most so many.

        Returns
        -------
        list of (int, int, str)
            The place of the SAE, the feature and its name; those first that hold the text as it stands.
        """
        digits, phrase = text.strip().removeprefix("#"), text.casefold().strip()
        number = int(digits) if digits.isdecimal() and len(digits) < _DIGITS else None
        numbered = [
            (sae, number, self(sae, number))
            for sae, reader in enumerate(self._readers)
            if number is not None and number < reader.d_sae
        ]
        labelled = [(i, *row) for i, reader in enumerate(self._readers) for row in reader.labels.search(text, limit)]
        labelled.sort(key=lambda row: phrase not in row[2].casefold())
        return list(dict.fromkeys([*numbered, *labelled]))[:limit]

    @property
    def status(self) -> str:
        """How far the labels are, as a sentence; empty where there is nothing to say."""
        return " ".join(dict.fromkeys(filter(None, (reader.labels.status for reader in self._readers))))
