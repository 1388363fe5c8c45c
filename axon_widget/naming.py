"""Names that come in while the view is open, from labels or from the tokens that features boost."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from axon_widget.session import Session
from axon_widget.trace import Trace

if TYPE_CHECKING:
    from axon_widget.engine.names import Names
    from axon_widget.engine.tracer import Tracer

_BESIDE, _AT_REST = 8, 32  # features that are named in one go while the model writes, and while it does not
_SHARE = 0.1  # of the time, at most, while it writes
_SECONDS = 0.5  # between two reports of what was named


class Naming:
    """Names what is shown and has no label, in the worker, and tells of names that have come in.

    Parameters
    ----------
    session
        Where the worker is.
    tell
        Is called in the worker when names have come in.
    """

    def __init__(self, session: Session, tell: Callable[[Tracer], None]) -> None:
        self._session, self._tell_of = session, tell
        self._names: Callable[[], Names | None] = lambda: None  # held weakly: they hold the SAEs
        self._next = 0.0
        self._unnamed: Trace | None = None
        self._told = 0.0
        self._untold = False  # something was named since
        self._telling = False  # the worker was asked to tell

    def follow(self, tracer: Tracer, traces: Iterable[Trace]) -> None:
        """Hear of the names of what was loaded, and give them to the runs that stay: they may be other ones."""
        traces = list(traces)
        self.end(traces)
        self._names = weakref.ref(tracer.names)
        tracer.names.watch(self._hear)
        for trace in traces:
            tracer.names.keep(trace)
        tracer.names.renew()
        if self._session.state == "closed":  # meanwhile
            self.end(traces)

    def end(self, traces: Iterable[Trace]) -> None:
        """Hear of names no more, and give runs those that are known by now: they get no later ones. In any thread.

        Whoever holds a closed widget holds its runs, and to rename them all each time would cost more with each widget.
        """
        if names := self._names():
            names.unwatch(self._hear)
            names.leave(traces)

    def after_token(self, shown: Iterable[tuple[int, int]]) -> None:
        """Name some of the features that are shown, each named by (sae, id), if it is time: the next token waits."""
        tracer = self._session.tracer
        if tracer:
            tracer.names.lack(shown)
            if time.monotonic() >= self._next:
                self._session.call(lambda: self._name_beside(tracer))  # where that fails, the run goes on

    def want(self, keys: Iterable[tuple[int, int]]) -> None:
        """Name features that are told of, each named by (sae, id), when it is time; who waits hears of it then."""
        tracer = self._session.tracer
        if tracer:
            tracer.names.lack(keys)
            self._session.call(self._name_more)  # where nothing is written; else the next tokens see to it

    def _name_beside(self, tracer: Tracer) -> None:
        start = time.monotonic()
        self._name(tracer, _BESIDE)
        end = time.monotonic()
        self._next = end + (end - start) * (1 / _SHARE - 1)

    def at_rest(self, trace: Trace) -> None:
        """Name all others of a run that has ended, some at a time, so that whatever is asked for has its turn."""
        if self._session.state == "closed":  # it may have begun, or gone on, after that
            self.end([trace])
            return
        self._unnamed = trace
        self._session.call(self._name_more)

    def _name_more(self) -> None:
        tracer = self._session.tracer
        if self._session.state != "idle" or not tracer:
            return
        if not self._name(tracer, _AT_REST):
            if self._unnamed is None:
                return
            # Those that are shown have their names: now the others.
            tracer.names.lack((f.sae, f.id) for step in self._unnamed for f in step.features)
            self._unnamed = None
        self._session.call(self._name_more)

    def _name(self, tracer: Tracer, count: int) -> bool:
        """Name so many; tell whether any had no name."""
        named = tracer.names.fill(count)
        self._untold = self._untold or named
        if self._untold and (not named or time.monotonic() - self._told > _SECONDS):
            self._told, self._untold = time.monotonic(), False
            tracer.names.renew()
        return named

    def _hear(self) -> None:
        """Hear, in any thread, that names have come in."""
        if not self._telling:
            self._telling = True
            self._session.call(self._tell)

    def _tell(self) -> None:
        self._telling = False
        if self._session.tracer:
            self._tell_of(self._session.tracer)
