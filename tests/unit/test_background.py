"""Work in the background: called while there is something to do, and only as long as somebody wants it."""

import threading
import time
import weakref

import pytest

from axon_widget.background import Background
from tests.unit.test_neuronpedia import until


class Worker:
    """Does what `answers` say: waits to give back, or functions to call first."""

    def __init__(self, *answers, threads=1):
        self.answers, self.calls = list(answers), []
        self.background = Background(self.step, threads)

    def step(self):
        self.calls.append((time.monotonic(), threading.current_thread()))
        answer = self.answers.pop(0) if self.answers else None
        return answer() if callable(answer) else answer


def test_it_is_called_until_there_is_nothing_to_do():
    worker = Worker(0.0, 0.0, None, 0.0)
    assert worker.calls == []
    worker.background.wake()
    until(lambda: worker.background._running == 0)
    assert len(worker.calls) == 3
    assert all(thread.daemon and thread is not threading.current_thread() for _, thread in worker.calls)
    worker.background.wake()
    until(lambda: worker.background._running == 0)
    assert len(worker.calls) == 5


def test_a_call_during_the_last_step_is_not_lost():
    worker = Worker(lambda: worker.background.wake())
    worker.background.wake()
    until(lambda: worker.background._running == 0)
    assert len(worker.calls) == 2


def test_it_waits_as_long_as_it_was_told():
    worker = Worker(0.3)
    worker.background.wake()
    until(lambda: worker.background._running == 0)
    (first, _), (second, _) = worker.calls
    assert 0.3 <= second - first < 1


def test_at_most_so_many_threads():
    go = threading.Event()
    worker = Worker(*[lambda: go.wait(10) and None] * 9, threads=3)
    for _ in range(9):
        worker.background.wake()
    until(lambda: len(worker.calls) == 3)
    time.sleep(0.02)
    assert len(worker.calls) == 3
    go.set()
    until(lambda: worker.background._running == 0)


def test_it_ends_when_nobody_holds_the_object():
    worker = Worker(60.0)
    worker.background.wake()
    calls, gone = worker.calls, weakref.ref(worker)
    until(lambda: calls)
    ((_, thread),) = calls
    del worker
    until(lambda: gone() is None)
    until(lambda: not thread.is_alive(), 2)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_after_an_error_it_can_be_woken_again():
    worker = Worker(lambda: 1 / 0)
    worker.background.wake()
    until(lambda: worker.background._running == 0)
    worker.background.wake()
    until(lambda: len(worker.calls) == 2)
