"""Labels from Neuronpedia: all of an SAE's from its public export, single features with their scores on demand."""

from __future__ import annotations

import os
import re
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from urllib.parse import quote

from axon_widget.background import Background
from axon_widget.labels import DENSE, Label, Labels
from axon_widget.labels.apart import Apart
from axon_widget.labels.exports import Landed, download
from axon_widget.labels.rows import Answer, answer
from axon_widget.labels.store import Explanation, Passage, Statistics, Store, best_first
from axon_widget.labels.web import RefusedError, UnreachableError, Web, offline, shared

_HOST = "https://www.neuronpedia.org"
_LARGEST = 64 << 20  # bytes of the answer to a look-up
_FRESH = 7  # days before new batches are looked for
_STALE = 30  # days before a feature is looked up again
_LOOK_UPS = 2  # at once: the host's others are left to the batches
_WAITING = 64  # look-ups, of a megabyte each


class NeuronpediaLabels(Labels):
    """The labels of an SAE on Neuronpedia. What is stored is here at once; `start` brings in the rest.

    Parameters
    ----------
    address
        The SAE, as ``"model/source"``: ``"gpt2-small/8-res-jb"``.
    d_sae
        How many features it has; left out, any number may be a feature.
    store
        Where labels are kept; left out, in the user's cache.
    web
        Who asks; left out, what this process shares.
    """

    def __init__(
        self, address: str, d_sae: int | None = None, store: Store | None = None, web: Web | None = None
    ) -> None:
        super().__init__()
        if not re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", address):
            raise ValueError(f"{address!r} is no Neuronpedia SAE: give 'model/source', such as 'gpt2-small/8-res-jb'.")
        self.address, self.d_sae = address, d_sae
        self._store, self._web = store or Store(), web or shared()
        self._lock = threading.Lock()
        self._explanations: dict[int, tuple[Explanation, ...]] = {}
        self._statistics: dict[int, Statistics] = {}
        self._contexts: dict[int, tuple[Passage, ...]] = {}
        self._answered: dict[int, str] = {}
        self._dense_from = float("inf")
        self._asked = OrderedDict[int, None]()
        self._download: Iterator[Landed] | None = None
        self._progress = self._problem = self._trouble = ""
        self._lost: list[str] = []
        self._bulk, self._look_ups = Background(self._bring), Background(self._look_up, threads=_LOOK_UPS)
        self._load()

    @property
    def source(self) -> str:
        """Where the labels come from."""
        return f"Neuronpedia {self.address}"

    def get(self, feature: int) -> Label | None:
        """Give what is known of a feature, or None where nothing is (yet)."""
        explanations = self._explanations.get(feature, ())
        statistics = self._statistics.get(feature)
        answered = self._answered.get(feature, "")
        if not explanations and not statistics and not answered:
            return None
        best = explanations[0] if explanations else Explanation("", fetched=answered)
        frequency = statistics.frequency if statistics else None
        return Label(
            text=best.text,
            source=self.source,
            explainer=best.explainer,
            method=best.method,
            score=best.score,
            scored_by=best.scored_by,
            others=tuple((other.text, other.explainer, other.score) for other in explanations[1:]),
            boosts=_lines(statistics.boosts) if statistics else (),
            suppresses=_lines(statistics.suppresses) if statistics else (),
            contexts=tuple(map(_context, self._contexts.get(feature, ()))),
            frequency=frequency,
            max_activation=statistics.max_activation if statistics else None,
            dense=frequency is not None and frequency > self._dense_from,
            fetched=best.fetched,
        )

    def name(self, feature: int) -> str:
        """Give a feature's name, empty where it has none (yet)."""
        explanations = self._explanations.get(feature)
        return explanations[0].text if explanations else ""

    def names(self) -> Iterable[tuple[int, str]]:
        """Give every feature that has a name, and the name."""
        with self._lock:
            known = list(self._explanations.items())
        return [(feature, explanations[0].text) for feature, explanations in known]

    def known(self) -> Iterator[tuple[int, Label]]:
        """Give every feature of which anything is known, in order, and what that is."""
        with self._lock:
            features = sorted({*self._explanations, *self._statistics, *self._answered})
        for feature in features:
            if label := self.get(feature):
                yield feature, label

    def start(self) -> None:
        """Begin to bring in all labels, in the background, where they are not stored yet."""
        if offline():
            return
        with self._lock:
            if self._download is None:
                self._lost = []
                self._download = download(self.address, self.d_sae, self._store, self._web, self._have, Apart(), _FRESH)
        self._bulk.wake()

    def ask(self, feature: int) -> None:
        """Have a feature looked up alone, in the background: its scores, its other names, or that it has none.

        Only the 64 asked for last wait for it: of more, those asked for first are dropped, and can be asked for again.
        """
        if feature < 0 or (self.d_sae is not None and feature >= self.d_sae):
            raise ValueError(f"There is no feature {feature} in {self.address}.")
        stale = (date.today() - timedelta(days=_STALE)).isoformat()
        if offline() or self._answered.get(feature, "") > stale:
            return
        with self._lock:
            self._asked[feature] = None
            self._asked.move_to_end(feature)
            if len(self._asked) > _WAITING:
                self._asked.popitem(last=False)
        self._look_ups.wake()

    @property
    def coming(self) -> bool:
        """Whether labels are on their way."""
        return self._download is not None

    @property
    def status(self) -> str:
        """How far the labels are, or why they do not come; empty where there is nothing to say."""
        progress = self._progress
        if forbidden := offline():
            count = f"{len(self._explanations):,}" if self._explanations else "none"
            progress = f"{forbidden} is set, so no network is used: of {self.source}'s labels {count} are stored."
        return " ".join(part for part in (progress, self._problem, self._trouble, self._store.notice) if part)

    def _load(self) -> None:
        """Take what is stored."""
        stored = self._store.load(self.address, self.d_sae)
        if self._explanations and not stored.explanations:  # the file is no longer what it was
            return
        with self._lock:
            self._have = stored
            self._explanations, self._statistics = stored.explanations, stored.statistics
            self._answered, self._contexts = stored.answered, stored.contexts
            self._weigh()

    def _take(self, landed: Landed) -> None:
        """Take what has just come."""
        today = date.today().isoformat()
        with self._lock:
            for feature, one in landed.rows:
                if isinstance(one, Statistics):
                    self._statistics[feature] = one
                elif feature not in self._answered:  # the look-up told all there is, with scores
                    known = (*self._explanations.get(feature, ()), one._replace(fetched=today))
                    self._explanations[feature] = best_first(known)
            self._weigh()

    def _weigh(self) -> None:
        """Find out which frequency is that of a dense feature."""
        known = [found.frequency for found in self._statistics.values() if found.frequency is not None]
        self._dense_from = DENSE * sum(known) / len(known) if known else float("inf")

    def _bring(self) -> float | None:
        """Go one step on with the download. Only one thread does."""
        if self._download is None:
            return None
        try:
            landed = next(self._download, None)
        except Exception as error:  # nobody else would hear of it in this thread
            return self._end(f"The labels of {self.source} cannot be fetched: {str(error).rstrip('.')}.")
        if landed is None:
            return self._end(_end_of(self.source, self._lost, bool(self._explanations)))
        if landed.problem:
            self._lost.append(landed.problem)
        self._progress = _progress(self.source, landed)
        if landed.elsewhere:
            self._load()
        else:
            self._take(landed)
        if landed.waiting and landed.waiting.wait:
            self.report(now=True)
            return landed.waiting.wait
        self.report()
        return 0.0

    def _end(self, problem: str) -> None:
        self._download, self._progress, self._problem = None, "", problem
        self.report(now=True)

    def _look_up(self) -> float | None:
        """Look up the next feature that was asked for. Several threads may do so."""
        with self._lock:
            if not self._asked:
                return None
            feature, _ = self._asked.popitem(last=False)
        url = f"{os.environ.get('AXON_NEURONPEDIA_URL', _HOST).rstrip('/')}/api/feature/{quote(self.address)}/{feature}"
        try:
            found = self._web.fetch(url, limit=_LARGEST)
            # Only its own "not found" counts: that of a proxy says nothing about the feature.
            if found.status == 404 and "json" not in found.kind:
                raise RefusedError("Neuronpedia has no such page")
            told = Answer() if found.status == 404 else answer(found.body, self.address, feature)
        except UnreachableError as error:
            self._trouble = _again(error)
            if error.limited or not error.tried:
                with self._lock:
                    # It was asked for before those that wait: where they are many, it is the one to drop.
                    if feature not in self._asked and len(self._asked) < _WAITING:
                        self._asked[feature] = None
                        self._asked.move_to_end(feature, last=False)
            self.report(now=True)
            return error.wait
        except (RefusedError, ValueError) as error:
            self._trouble = f"Feature {feature} of {self.source} could not be looked up: {error}."
            self.report(now=True)
            return 0.0
        today = date.today().isoformat()
        self._store.put_answer(self.address, feature, today, *told)
        with self._lock:
            self._trouble = ""
            self._answered[feature] = today
            self._explanations.pop(feature, None)
            self._contexts[feature] = told.contexts
            if told.explanations:
                self._explanations[feature] = tuple(one._replace(fetched=today) for one in told.explanations)
            if told.statistics:
                self._statistics[feature] = told.statistics
            self._weigh()
            more = bool(self._asked)
        self.report(now=not more)
        return 0.0


_BATCHES = {"explanations": "labels", "features": "statistics"}


def _progress(source: str, landed: Landed) -> str:
    if landed.waiting and landed.waiting.wait:
        return _again(landed.waiting)
    return f"{source}: {landed.done} of {landed.total} batches of {_BATCHES[landed.kind]} are here."


def _end_of(source: str, lost: list[str], labelled: bool) -> str:
    if lost:
        return f"{source}: {len(lost)} of its batches could not be used ({lost[0]})."
    return "" if labelled else f"{source}: there are no labels of it in bulk, only of single features."


def _again(error: UnreachableError) -> str:
    return f"{error}; it is asked again in {error.wait:.0f} s." if error.wait else f"{error}."


def _context(passage: Passage) -> tuple[tuple[str, float], ...]:
    return tuple(zip(passage.tokens.split("\n"), map(float, passage.activations.split()), strict=False))


def _lines(text: str) -> tuple[str, ...]:
    return tuple(text.split("\n")) if text else ()
