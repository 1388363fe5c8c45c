"""One model and one generation at a time, in a worker thread."""

from __future__ import annotations

import atexit
import gc
import logging
import queue
import threading
import weakref
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from axon_widget.trace import TokenStep, Trace

if TYPE_CHECKING:
    from axon_widget.engine.tracer import Tracer

Begin: TypeAlias = "Callable[[Tracer, Callable[[], bool]], tuple[Trace, Generator[TokenStep]] | None]"
"""Begins a run, or none where there is nothing to do any more."""

State = Literal["idle", "loading", "running", "stopping", "failed", "closed"]


class Listener(Protocol):
    """Who hears of what the session does. Called from the worker thread (`on_state` from any thread)."""

    def on_state(self, state: State, detail: str) -> None:
        """Hear that the state or its detail changed."""
        ...

    def on_loaded(self, tracer: Tracer) -> None:
        """Hear that a model is loaded."""
        ...

    def on_start(self, trace: Trace) -> None:
        """Hear that a run begins, before its first step."""
        ...

    def on_step(self, step: TokenStep) -> None:
        """Hear of a new step."""
        ...

    def on_finish(self, trace: Trace) -> None:
        """Hear that the run ended."""
        ...

    def on_error(self, sentence: str) -> None:
        """Hear that something went wrong, as a sentence for the user."""
        ...


class Session:
    """Loads a model and writes with it, in one daemon thread that takes commands in order.

    Parameters
    ----------
    listener
        Hears of everything.
    """

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._commands: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._actions: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._change = threading.Condition(threading.RLock())
        self._pending = 0  # loads and generations asked for and not ended
        self._writing = False  # one of them is a generation
        self._loads = 0  # asked for so far
        self._state: State = "idle"
        self._error = ""  # of what was asked for last
        self._cause: BaseException | None = None
        self._load_error = ""
        self._cut_short = False  # closed with something pending
        self._stop = threading.Event()
        self.tracer: Tracer | None = None
        self._thread = threading.Thread(target=self._work, name="axon-widget", daemon=True)
        self._thread.start()
        _alive.add(self)

    @property
    def state(self) -> State:
        """What the session does now."""
        return self._state

    def load(self, make: Callable[[Callable[[str], None]], Tracer]) -> None:
        """Load a model in the worker; a generation under way is stopped first, and a load that is under way is dropped.

        Parameters
        ----------
        make
            Gives the tracer; called with a function that takes a sentence on how far it is.
        """
        with self._change:
            self.stop()
            self._loads += 1
            self._submit(partial(self._load, make, self._loads))
            if not self._writing:
                self._set("loading")

    def generate(self, begin: Begin, accepted: Callable[[], None] = lambda: None) -> None:
        """Write in the worker, once it is done with what it does.

        Parameters
        ----------
        begin
            Begins the run when its turn has come: is given the tracer and what asks whether to stop, and gives the
            trace and its steps.
        accepted
            Called before the worker can begin.

        Raises
        ------
        RuntimeError
            If a generation is under way or the session is closed.
        """
        with self._change:
            self._check_open()
            if self._writing:
                if self._stop.is_set():
                    raise RuntimeError("The model is finishing its last token: call wait() first.")
                raise RuntimeError("The model is still writing: call stop() or wait() first.")
            accepted()
            self._stop.clear()
            self._writing = True
            self._submit(lambda: self._generate(begin))
            if self._state != "loading":
                self._set("running")

    def call(self, action: Callable[[], object]) -> None:
        """Run something in the worker, between two tokens if it writes; at once where the worker has ended.

        An action may call this itself, to go on after the next token.
        """
        self._actions.put(action)
        self._commands.put(self._act)
        if self._state == "closed":
            self._act()

    def stop(self) -> None:
        """End the generation under way after the token it works on."""
        with self._change:
            if self._writing:
                self._stop.set()
                if self._state == "running":
                    self._set("stopping")

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing is under way. An interrupt stops what is.

        Parameters
        ----------
        timeout
            At most so many seconds.

        Returns
        -------
        bool
            Whether all has ended in time.

        Raises
        ------
        RuntimeError
            If what was waited for failed, or the wait is made in the worker itself.
        """
        if threading.current_thread() is self._thread:
            raise RuntimeError("wait() cannot be called by an observer: it runs in the thread that writes.")
        try:
            with self._change:
                ended = self._change.wait_for(lambda: not self._pending or self._state == "closed", timeout)
                if ended and self._error:
                    raise RuntimeError(self._error) from self._cause
                if self._cut_short:
                    raise RuntimeError("This widget was closed before it had ended.")
        except KeyboardInterrupt:
            self.stop()
            raise
        return ended

    def close(self, timeout: float = 0) -> None:
        """End the worker after the token it works on; what it is loading is dropped.

        Parameters
        ----------
        timeout
            Wait at most so many seconds for it.
        """
        with self._change:
            self._stop.set()
            self._cut_short = self._cut_short or self._pending > 0
            self._set("closed")
        self._commands.put(None)
        if timeout:
            self._thread.join(timeout)

    def _check_open(self) -> None:
        if self._state == "closed":
            raise RuntimeError("This widget is closed: make a new one.")

    def _submit(self, command: Callable[[], None]) -> None:
        self._check_open()
        self._pending += 1
        self._error, self._cause = "", None  # whose frames hold on to the run that failed
        self._commands.put(command)

    def _set(self, state: State, detail: str = "") -> None:
        with self._change:
            if self._state == "closed":
                return
            self._state = state
            self._change.notify_all()
            self._listener.on_state(state, detail)

    def _work(self) -> None:
        while (command := self._commands.get()) is not None and self._state != "closed":
            try:
                command()
            except BaseException as error:  # of an observer of the user's, told of the state
                self._tell(sentence(error))
        self._act()
        self.tracer = self._cause = None  # either may hold a model, and this session may be held for long

    def _tell(self, sentence: str) -> None:
        """Tell the listener of an error; whatever it does with that, the worker lives on."""
        try:
            self._listener.on_error(sentence)
        except BaseException as another:
            _log.warning("an observer of the error failed", exc_info=another)

    def _act(self) -> None:
        """Run the actions that wait, not those that they ask for in turn."""
        for _ in range(self._actions.qsize()):
            try:
                action = self._actions.get_nowait()
            except queue.Empty:
                return
            try:
                action()
            except Exception as error:
                self._tell(sentence(error))

    @contextmanager
    def _pending_one(self, *, writing: bool = False) -> Generator[None]:
        """Do one thing that was asked for, then say how the session stands. The worker outlives any error."""
        try:
            yield
        except BaseException as error:
            self._error, self._cause = sentence(error), error
            self._tell(self._error)
        finally:
            with self._change:
                self._pending -= 1
                if writing:
                    self._writing = False
                if self._pending and not self._writing:
                    self._set("loading")
                elif self._pending and self.tracer is not None:
                    self._set("running")
                elif self.tracer is not None:
                    self._set("idle", self.tracer.fallback)
                else:
                    self._set("failed", self._load_error)

    def _load(self, make: Callable[[Callable[[str], None]], Tracer], number: int) -> None:
        with self._pending_one():
            try:
                self._report(number, "")
                tracer = make(partial(self._report, number))
            except _Dropped:
                return
            except Exception as error:
                self._load_error = sentence(error)
                raise
            if self._state != "closed":
                swapped = self.tracer not in (None, tracer)
                self.tracer = tracer
                self._error, self._cause = "", None  # an earlier load that failed does not matter any more
                self._listener.on_loaded(tracer)
                if swapped:
                    gc.collect()  # models are full of cycles: the old one would keep its memory until Python looks

    def _report(self, number: int, sentence: str) -> None:
        # What is to be written by the model that is being loaded needs it all the same.
        if self._state == "closed" or (number < self._loads and not self._writing):
            raise _Dropped
        self._set("loading", sentence)

    def _generate(self, begin: Begin) -> None:
        with self._pending_one(writing=True):
            if self.tracer is None:
                raise RuntimeError(f"No model is loaded, so nothing can be written. {self._load_error}".strip())
            begun = begin(self.tracer, self._stop.is_set)
            if begun is None:
                return
            trace, steps = begun
            try:
                self._listener.on_start(trace)
                for step in steps:
                    self._listener.on_step(step)
                    self._act()
            except BaseException as error:
                trace.finish = "error"  # which steps that have not begun do not say
                steps.throw(error)  # an observer's error ends the run as one of the engine's would
            finally:
                self._listener.on_finish(trace)


class _Dropped(BaseException):
    """Nobody waits for what is being loaded. No error, so that nothing on the way takes it for one."""


def sentence(error: BaseException) -> str:
    """Say to the user what went wrong; the whole traceback goes to the log."""
    _log.debug("in the worker", exc_info=error)
    written_for_users = isinstance(error, (ValueError, RuntimeError, ConnectionError)) and str(error)
    return str(error) if written_for_users else f"{type(error).__name__}: {error}"


_log = logging.getLogger(__name__)

_alive: weakref.WeakSet[Session] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """End the workers before the interpreter goes: a daemon thread caught inside torch would crash it."""
    for session in list(_alive):
        session.close(timeout=2)
