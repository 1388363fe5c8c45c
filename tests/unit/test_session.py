"""The worker thread, with a tracer that needs no model."""

import gc
import threading
import time
import weakref

import pytest

from axon_widget.engine.sampling import Sampling
from axon_widget.session import Session
from axon_widget.trace import Steering, Trace
from tests.unit.fakes import FakeTracer, Notes


@pytest.fixture
def notes():
    return Notes()


@pytest.fixture
def fake():
    return FakeTracer()


@pytest.fixture
def session(notes):
    made = Session(notes)
    yield made
    made.close(timeout=10)


def load(session, tracer):
    session.load(lambda _report: tracer)
    assert session.wait(10)


def writing(prompt, sampling, seed=7):
    """What begins a run, as a session takes it."""

    def begin(tracer, stop):
        trace = Trace()
        return trace, tracer.stream(prompt, sampling, seed=seed, stop=stop, trace=trace, steering=Steering)

    return begin


def generate(session, prompt="a b", **settings):
    settings = {"max_tokens": 4} | settings
    session.generate(writing(prompt, lambda: Sampling(**settings)))


def pause(session, fake, prompt="a b", **settings):
    """Begin to write and come to a stand before the first token."""
    fake.gate.clear()
    generate(session, prompt, **settings)
    assert fake.waits.acquire(timeout=10)


def test_states_come_in_order(session, notes, fake):
    load(session, fake)
    assert notes.states == ["loading", "idle"]
    generate(session)
    assert session.wait(10)
    assert notes.states == ["loading", "idle", "running", "idle"]
    assert [step.token for step in notes.steps] == [" a", " b", " 1", " 2", " 3", " 4"]
    assert notes.finishes == ["length"]
    assert notes.errors == []
    assert notes.loaded == [fake]
    assert fake.seeds == [7]


def test_progress_and_the_reason_of_a_fallback_are_told(session, notes):
    def make(report):
        report("weights, 40 %")
        return FakeTracer(fallback="another model instead")

    session.load(make)
    session.wait(10)
    assert "weights, 40 %" in notes.details
    assert notes.details[-1] == "another model instead"


def test_a_generation_may_be_asked_for_while_loading(session, notes, fake):
    go = threading.Event()
    session.load(lambda _report: go.wait(10) and fake)
    generate(session)
    assert session.state == "loading"
    go.set()
    assert session.wait(10)
    assert notes.states == ["loading", "running", "idle"]
    assert len(notes.steps) == 6


def test_one_generation_at_a_time(session, notes, fake):
    load(session, fake)
    pause(session, fake)
    with pytest.raises(RuntimeError, match="still writing"):
        generate(session, "c d")
    fake.gate.set()
    assert session.wait(10)
    assert len(notes.traces) == 1
    generate(session, "c d")
    assert session.wait(10)
    assert notes.traces[1].text == " c d 1 2 3 4"


def test_what_is_to_be_done_first_is_done_before_the_worker_begins(session, notes, fake):
    load(session, fake)
    order = []

    def begin(tracer, stop):
        order.append(("begun", threading.current_thread().name))
        return writing("a", lambda: Sampling(max_tokens=1))(tracer, stop)

    session.generate(begin, lambda: order.append(("accepted", session.state)))
    assert session.wait(10)
    assert order == [("accepted", "idle"), ("begun", "axon-widget")]


def test_what_cannot_be_done_first_begins_nothing(session, notes, fake):
    load(session, fake)

    def refuse():
        raise ValueError("out of range")

    with pytest.raises(ValueError, match="out of range"):
        session.generate(writing("a", Sampling), refuse)
    assert session.state == "idle"
    generate(session)
    assert session.wait(10)
    assert len(notes.traces) == 1


def test_a_refused_generation_is_not_accepted(session, fake):
    load(session, fake)
    pause(session, fake)
    accepted = []
    with pytest.raises(RuntimeError, match="still writing"):
        session.generate(writing("c", Sampling), lambda: accepted.append(True))
    assert accepted == []
    fake.gate.set()
    assert session.wait(10)


def test_stop_ends_it_after_the_token_under_way(session, notes, fake):
    load(session, fake)
    pause(session, fake, max_tokens=500)
    fake.one()
    fake.one()
    session.stop()
    assert session.state == "stopping"
    fake.gate.set()
    assert session.wait(10)
    assert notes.finishes == ["stopped"]
    assert sum(step.generated for step in notes.steps) == 2
    assert notes.states[-3:] == ["running", "stopping", "idle"]
    generate(session)
    session.wait(10)
    assert notes.finishes == ["stopped", "length"]


def test_stop_with_nothing_under_way_does_not_stop_the_next(session, notes, fake):
    session.stop()
    load(session, fake)
    session.stop()
    generate(session)
    session.wait(10)
    assert notes.finishes == ["length"]


def test_settings_are_asked_for_at_every_token(session, notes, fake):
    load(session, fake)
    current = [Sampling(temperature=0.5, max_tokens=3)]
    fake.gate.clear()
    session.generate(writing("a", lambda: current[0], seed=None))
    fake.waits.acquire(timeout=10)
    fake.one()
    current[0] = Sampling(temperature=1.5, max_tokens=3)
    fake.gate.set()
    session.wait(10)
    assert [s.temperature for s in fake.used] == [0.5, 1.5, 1.5]
    assert fake.seeds == [None]


def test_an_action_runs_between_two_tokens_and_between_runs(session, notes, fake):
    load(session, fake)
    seen = []
    pause(session, fake)
    session.call(lambda: seen.append((len(notes.steps), threading.current_thread().name)))
    fake.one()
    assert seen == [(3, "axon-widget")]
    fake.gate.set()
    session.wait(10)
    session.call(lambda: seen.append(len(notes.steps)))
    load(session, fake)
    assert seen[1] == 6


def test_an_action_that_asks_for_another_lets_a_token_pass_first(session, notes, fake):
    load(session, fake)
    seen = []

    def go_on():
        seen.append(len(notes.steps))
        if len(seen) < 4:
            session.call(go_on)

    pause(session, fake, max_tokens=6)
    session.call(go_on)
    for _ in range(3):
        fake.one()
    assert seen == [3, 4, 5]
    fake.gate.set()
    session.wait(10)
    assert seen == [3, 4, 5, 6]


def test_an_action_that_asks_for_another_goes_on_where_nothing_is_written(session, fake):
    load(session, fake)
    seen, done = [], threading.Event()

    def go_on():
        seen.append(threading.current_thread().name)
        if len(seen) < 50:
            session.call(go_on)
        else:
            done.set()

    session.call(go_on)
    assert done.wait(10)
    assert seen == ["axon-widget"] * 50


def test_what_is_asked_for_after_the_end_is_done_at_once(session):
    session.close(timeout=10)
    seen = []
    session.call(lambda: seen.append(threading.current_thread()))
    assert seen == [threading.current_thread()]


def test_actions_keep_their_order_and_one_that_fails_harms_none(session, notes, fake):
    seen = []

    def fail():
        raise ValueError("This action cannot be done.")

    for n in range(20):
        session.call(lambda n=n: seen.append(n))
        session.call(fail)
    load(session, fake)
    assert seen == list(range(20))
    assert notes.errors == ["This action cannot be done."] * 20
    assert session.state == "idle"


def test_a_load_that_fails_is_told_and_another_works(session, notes, fake):
    def fail(_report):
        raise ValueError("There is no such model.")

    session.load(fail)
    with pytest.raises(RuntimeError, match="There is no such model"):
        session.wait(10)
    assert (session.state, notes.errors) == ("failed", ["There is no such model."])
    generate(session)
    with pytest.raises(RuntimeError, match=r"No model is loaded.*There is no such model"):
        session.wait(10)
    load(session, fake)
    generate(session)
    assert session.wait(10)
    assert notes.finishes == ["length"]


def test_the_old_model_stays_where_loading_another_fails(session, notes, fake):
    load(session, fake)
    session.load(lambda _report: 1 / 0)
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        session.wait(10)
    assert session.tracer is fake
    generate(session)
    assert session.wait(10)
    assert session.state == "idle"


def test_loading_another_model_stops_what_is_written(session, notes, fake):
    other = FakeTracer()
    load(session, fake)
    pause(session, fake, max_tokens=500)
    session.load(lambda _report: other)
    fake.gate.set()
    assert session.wait(10)
    assert session.tracer is other
    assert notes.finishes == ["stopped"]


def test_a_load_gives_way_to_a_newer_one(session, notes, fake):
    begun, go, done = threading.Event(), threading.Event(), []

    def slow(report):
        begun.set()
        go.wait(10)
        report("half of it")
        done.append("slow")
        return FakeTracer()

    session.load(slow)
    assert begun.wait(10)
    session.load(lambda _report: done.append("never") or FakeTracer())
    session.load(lambda _report: done.append("last") or fake)
    go.set()
    assert session.wait(10)
    assert (done, session.tracer, notes.loaded, notes.errors) == (["last"], fake, [fake], [])
    generate(session)
    assert session.wait(10)


def test_a_load_that_a_text_waits_for_goes_on(session, notes, fake):
    begun, go, other = threading.Event(), threading.Event(), FakeTracer()

    def slow(report):
        begun.set()
        go.wait(10)
        report("half of it")
        return fake

    session.load(slow)
    assert begun.wait(10)
    generate(session)
    session.load(lambda _report: other)
    go.set()
    assert session.wait(10)
    assert notes.loaded == [fake, other]
    assert notes.finishes == ["stopped"]


def test_a_load_that_went_well_makes_good_for_one_that_failed_before(session, notes, fake):
    begun, go = threading.Event(), threading.Event()

    def fail(_report):
        begun.set()
        go.wait(10)
        raise ValueError("There is no such model.")

    session.load(fail)
    assert begun.wait(10)
    session.load(lambda _report: fake)
    go.set()
    assert session.wait(10)
    assert session.state == "idle"


def test_an_error_in_the_middle_ends_the_run_only(session, notes, fake):
    load(session, fake)
    fake.fail_at = 2
    generate(session)
    with pytest.raises(RuntimeError, match="The fake broke"):
        session.wait(10)
    assert notes.finishes == ["error"]
    assert notes.errors == ["The fake broke."]
    assert session.state == "idle"
    fake.fail_at = None
    generate(session)
    assert session.wait(10)
    assert notes.finishes == ["error", "length"]


def test_a_prompt_that_is_refused_begins_no_run(session, notes, fake):
    load(session, fake)
    generate(session, "x" * 300)
    with pytest.raises(RuntimeError, match="shorten it"):
        session.wait(10)
    assert notes.traces == []
    generate(session)
    assert session.wait(10)


def test_an_observer_that_raises_does_not_end_the_worker(session, notes, fake):
    load(session, fake)
    notes.raise_at = 3
    generate(session)
    with pytest.raises(RuntimeError, match="observer's own mistake"):
        session.wait(10)
    assert notes.finishes[0] in ("error", "stopped"), "a run that was cut off must not look as if it went on"
    notes.raise_at = None
    generate(session)
    assert session.wait(10)
    assert notes.finishes[-1] == "length"


@pytest.mark.parametrize("deaf_to", ["on_state", "on_loaded", "on_start", "on_finish", "on_error"])
def test_the_worker_outlives_any_mistake_of_its_listener(session, notes, fake, deaf_to):
    load(session, fake)

    def fail(*_arguments):
        raise KeyError("mistake")

    setattr(notes, deaf_to, fail)
    for action in (lambda: session.load(lambda _report: fake), lambda: generate(session, "x" * 300)):
        try:
            action()
            session.wait(10)
        except (RuntimeError, KeyError):
            pass
    delattr(notes, deaf_to)
    deadline = time.monotonic() + 10
    while True:
        try:
            generate(session)
            break
        except RuntimeError:
            assert time.monotonic() < deadline, "it still says that it writes"
            time.sleep(0.01)
    assert session.wait(10)
    assert notes.finishes[-1] == "length"


def test_wait_gives_up_in_time(session, fake):
    load(session, fake)
    pause(session, fake)
    start = time.monotonic()
    assert session.wait(0.05) is False
    assert time.monotonic() - start < 5
    fake.gate.set()
    assert session.wait(10) is True


def test_wait_in_the_worker_is_refused(session, notes, fake):
    load(session, fake)
    session.call(session.wait)
    load(session, fake)
    [sentence] = notes.errors
    assert "wait() cannot be called by an observer" in sentence


def test_close_while_loading_drops_what_is_loaded(notes):
    session, go, begun = Session(notes), threading.Event(), threading.Event()

    def make(_report):
        begun.set()
        go.wait(10)
        return FakeTracer()

    session.load(make)
    assert begun.wait(10)
    session.close()
    assert session.state == "closed"
    with pytest.raises(RuntimeError, match="closed before"):
        session.wait(10)
    go.set()
    session.close(timeout=10)
    assert session.tracer is None
    assert notes.loaded == []
    assert notes.states[-1] == "closed"


def test_close_while_writing_ends_it(notes, fake):
    session = Session(notes)
    load(session, fake)
    pause(session, fake, max_tokens=500)
    session.close()
    fake.gate.set()
    session.close(timeout=10)
    assert notes.finishes == ["stopped"]
    assert not session._thread.is_alive()
    for late in (lambda: generate(session), lambda: session.load(lambda _report: fake)):
        with pytest.raises(RuntimeError, match="closed"):
            late()
    session.stop()
    with pytest.raises(RuntimeError, match="closed before"):
        session.wait(1)


def test_forty_sessions_leave_no_threads():
    sessions = [Session(Notes()) for _ in range(40)]
    threads = [session._thread for session in sessions]
    assert all(thread.is_alive() and thread.daemon for thread in threads)
    for n, session in enumerate(sessions):
        if n % 2:
            session.load(lambda _report: FakeTracer())
        session.close()
        session.close()
    for thread in threads:
        thread.join(10)
    assert not set(threads) & set(threading.enumerate())


def test_a_model_that_was_replaced_gives_its_memory_back(session, notes):
    gc.collect()
    old = FakeTracer()
    old.itself = old  # as models are: their parts know them
    gone = weakref.ref(old)
    load(session, old)
    session.wait(10)
    notes.loaded.clear()
    del old
    gc.disable()
    try:
        load(session, FakeTracer())
        session.wait(10)
        assert gone() is None
    finally:
        gc.enable()


def test_a_session_that_is_closed_holds_no_model_that_failed(session, notes):
    def fails(tracer, stop):
        raise MemoryError("out of memory")

    failed = FakeTracer()
    gone = weakref.ref(failed)
    load(session, failed)
    del failed
    session.generate(fails)
    with pytest.raises(RuntimeError, match="out of memory"):
        session.wait(10)
    notes.loaded.clear()
    session.close(timeout=10)
    gc.collect()
    assert gone() is None


def test_who_cannot_hear_of_a_run_that_begins_hears_of_its_end(session, notes, fake):
    load(session, fake)
    starts, notes.on_start = notes.on_start, lambda trace: starts(trace) or 1 / 0
    generate(session)
    with pytest.raises(RuntimeError, match="division"):
        session.wait(10)
    assert notes.finishes == ["error"]
