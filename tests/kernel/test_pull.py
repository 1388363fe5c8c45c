"""A front end that drops what comes of no request of its own has everything by asking."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import pytest

from tests.kernel.front_end import FrontEnd, Model


@pytest.fixture(params=["_kernel", "_old_kernel"])
def deaf(request: pytest.FixtureRequest) -> Iterator[FrontEnd]:
    """A kernel of today and Colab's, each with a front end that drops messages."""
    kernel: FrontEnd = request.getfixturevalue(request.param)
    kernel.drops = True
    yield kernel
    kernel.run("w.close()\ndel w")
    kernel.drops, kernel.dropped = False, 0


@contextmanager
def asking(kernel: FrontEnd, model: Model) -> Iterator[None]:
    """Ask ten times a second for what was missed."""
    done = threading.Event()

    def ask() -> None:
        while not done.wait(0.1):
            kernel.send(model, kind="poll", seen=model.seen)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def frames(model: Model) -> list[tuple[int, int]]:
    """The run and the step of every frame that came; the same one twice where it came twice."""
    answered = [frame for content in model.of_kind("steps") for frame in content["steps"]]
    return sorted((frame["run"], frame["step"]) for frame in model.steps() + answered)


def test_nothing_comes_by_itself_and_everything_by_asking(deaf: FrontEnd) -> None:
    model = deaf.widget("w = AxonWidget(tracer=FakeTracer(pace=0.02), max_tokens=60)")
    deaf.send(model, kind="generate", prompt="from the view")
    deaf.until(lambda: deaf.dropped > 40)
    assert len(frames(model)) <= 2
    with asking(deaf, model):
        deaf.until(lambda: model.of_kind("end") and model.word == "idle")
        assert frames(model) == [(1, step) for step in range(60)]
        assert model.state["prompt"] == "from the view"
        # What takes the worker's time, a run's branch and its end, what is cleared.
        deaf.send(model, kind="feature", sae=0, id=3)
        deaf.until(lambda: model.of_kind("feature"))
        deaf.send(model, kind="branch", run=1, step=9, token_id=None)
        deaf.until(lambda: len(model.of_kind("end")) == 2 and model.word == "idle")
        assert [told["run"] for told in model.of_kind("branch")] == [2]
        assert frames(model)[60:] == [(2, step) for step in range(10, 70)]
        deaf.send(model, kind="generate", prompt="refuse this")
        deaf.until(lambda: model.state["error"] == "The prompt is refused.")
    # What a thread of the user's sets while nothing is asked arrives with the next question.
    deaf.run("import threading\nthreading.Timer(0.2, lambda: setattr(w, 'temperature', 1.5)).start()")
    time.sleep(0.5)
    assert model.state["temperature"] != 1.5
    with asking(deaf, model):
        deaf.until(lambda: model.state["temperature"] == 1.5)


def test_a_run_is_seen_while_it_is_written(deaf: FrontEnd) -> None:
    model = deaf.widget("w = AxonWidget(tracer=FakeTracer(pace=0.05), max_tokens=60)")
    with asking(deaf, model):
        deaf.until(lambda: model.word == "idle")
        deaf.send(model, kind="generate", prompt="x")
        came = []
        for count in range(5, 60, 5):
            deaf.until(lambda count=count: len(frames(model)) >= count)
            came.append(time.monotonic())
        deaf.until(lambda: model.of_kind("end"))
    assert deaf.dropped > 40
    # Five tokens take a quarter of a second to write; they come with the next answer.
    gaps = [later - sooner for sooner, later in pairwise(came)]
    assert max(gaps) < 1
    assert sorted(gaps)[len(gaps) // 2] < 0.45


def test_what_comes_by_itself_during_a_cell_and_what_does_not_are_one_whole(deaf: FrontEnd) -> None:
    model = deaf.widget("w = AxonWidget(tracer=FakeTracer(pace=0.02), max_tokens=50)")
    cell = deaf.run("w.generate('x')")
    assert cell.ended - cell.started < 0.7
    cell = deaf.run("_ = w.wait()\nw.generate('y')\nimport time\ntime.sleep(0.5)")
    assert cell.error == ""
    with asking(deaf, model):
        deaf.until(lambda: len(model.of_kind("end")) == 2)
    assert frames(model) == [(run, step) for run in (1, 2) for step in range(50)]
