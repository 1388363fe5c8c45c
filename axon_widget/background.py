"""Work that goes on in the background for as long as somebody wants its result."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, TypeAlias
from weakref import WeakMethod

Step: TypeAlias = Callable[[], "float | None"]

_GLANCE = 0.25  # seconds: how often a thread that waits looks whether its owner still lives


class Background:
    """Repeats a bound method in daemon threads, until it has nothing left to do or its object is gone.

    The threads end when they are idle and hold the object only while the method runs, so that nothing has to be closed.

    Parameters
    ----------
    step
        The method. It gives the seconds to wait before it is to be called again, or None when nothing is left to do.
    threads
        Call it in at most so many threads at once.
    """

    def __init__(self, step: Step, threads: int = 1) -> None:
        bound: Any = step
        self._step = WeakMethod(bound)
        self._most, self._running, self._called = threads, 0, False
        self._lock = threading.Lock()

    def wake(self) -> None:
        """Say that there is something to do."""
        with self._lock:
            self._called = True  # a thread that is just about to end goes on
            if self._running == self._most:
                return
            self._running += 1
        threading.Thread(target=self._work, name="axon-background", daemon=True).start()

    def _work(self) -> None:
        while (step := self._step()) is not None:
            with self._lock:
                self._called = False
            try:
                wait = step()
            except BaseException:
                with self._lock:
                    self._running -= 1
                raise
            del step
            with self._lock:
                if wait is None and not self._called:
                    self._running -= 1
                    return
            until = time.monotonic() + (wait or 0.0)
            while (left := until - time.monotonic()) > 0 and self._step() is not None:
                time.sleep(min(left, _GLANCE))
