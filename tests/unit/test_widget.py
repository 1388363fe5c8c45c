"""The widget without a kernel and without a model: its traits, its messages, and what it refuses."""

import json
import math
import threading

import pytest
import traitlets

from axon_widget.trace import Trace
from axon_widget.widget import AxonWidget
from tests.unit.fakes import FakeTracer

RANGES = {
    "temperature": (0, 2),
    "top_k": (0, 200),
    "top_p": (0.05, 1),
    "repetition_penalty": (1, 2),
    "max_tokens": (1, 500),
    "feature_k": (5, 30),
    "activation_threshold": (0.01, 1),
}


@pytest.fixture
def fake():
    return FakeTracer()


@pytest.fixture
def widget(fake):
    made = AxonWidget(tracer=fake)
    made.sent = []
    made.send = lambda content, buffers=None: made.sent.append(content)
    made.wait(10)
    yield made
    fake.gate.set()
    made.close()
    made._session.close(timeout=10)


def sent(widget, kind):
    return [message for message in widget.sent if message["kind"] == kind]


def message(widget, content):
    """What the view sends, as the kernel hands it over."""
    widget._handle_custom_msg(content, [])


def settle(widget):
    """Wait until the worker has done all that was asked of it."""
    done = threading.Event()
    widget._session.call(done.set)
    assert done.wait(10)


def write(widget, fake, prompt="a b c", **settings):
    """Begin to write and come to a stand before the first token."""
    fake.gate.clear()
    widget.generate(prompt, **settings)
    assert fake.waits.acquire(timeout=10)


def still_works(widget):
    widget.generate("a b", max_tokens=3)
    trace = widget.wait(10)
    assert [step.token for step in trace] == [" a", " b", " 1", " 2", " 3"]
    assert trace.finish == "length"
    assert widget.error == ""
    assert widget.status == "idle"


def test_it_starts_with_the_published_settings(widget):
    defaults = {
        "temperature": 0.8,
        "top_k": 50,
        "top_p": 0.9,
        "repetition_penalty": 1.1,
        "max_tokens": 40,
        "feature_k": 15,
        "activation_threshold": 0.1,
        "seed": None,
        "error": "",
        "step": {},
        "selected_feature": None,
        "device": "cpu",
        "status": "idle",
    }
    assert {name: getattr(widget, name) for name in defaults} == defaults
    assert widget.info["d_sae"] == 100
    assert widget.prompt


def test_generate_returns_at_once_and_wait_gives_the_trace(widget, fake):
    write(widget, fake, max_tokens=4)
    assert widget.status == "running"
    assert [step.token for step in widget.trace] == [" a", " b", " c"]
    fake.gate.set()
    trace = widget.wait(10)
    assert trace is widget.trace
    assert trace.text == widget.text == " a b c 1 2 3 4"
    assert widget.prompt == "a b c"


def test_every_step_is_seen_once_and_in_order(widget):
    steps = []
    widget.observe(lambda change: steps.append(change["new"]), "step")
    widget.generate("a b c", max_tokens=30)
    widget.wait(10)
    numbers = [step["step"] for step in steps if step]
    assert numbers == list(range(33))
    assert {step["run"] for step in steps if step} == {1}
    [end] = sent(widget, "end")
    assert {key: end[key] for key in ("run", "finish", "total")} == {"run": 1, "finish": "length", "total": 33}


def test_a_step_is_what_the_readme_says(widget):
    widget.generate("a b c", max_tokens=1, feature_k=6)
    widget.wait(10)
    step = widget.step
    assert (step["token"], step["token_id"], step["position"], step["step"]) == (" 1", 3, 3, 3)
    assert step["features"][0] == {"id": 0, "label": "label 0", "activation": 3.0, "layer": 1}
    assert len(step["features"]) == 6
    assert len(widget.trace[3].features) == 20


@pytest.mark.parametrize("name", RANGES)
@pytest.mark.parametrize("which", ["below", "above", "nan", "inf", "text", "none"])
def test_settings_out_of_range_are_refused_and_the_old_value_stays(widget, name, which):
    low, high = RANGES[name]
    value = {"below": low - 1, "above": high + 1, "nan": math.nan, "inf": math.inf, "text": "x", "none": None}[which]
    before = getattr(widget, name)
    with pytest.raises(traitlets.TraitError, match=name):
        setattr(widget, name, value)
    with pytest.raises(traitlets.TraitError, match=name):
        widget.generate("a b", **{name: value})
    message(widget, {"kind": "set", "name": name, "value": value})
    assert name in widget.error
    assert getattr(widget, name) == before
    still_works(widget)


@pytest.mark.parametrize("name", RANGES)
def test_the_ends_of_the_ranges_can_be_set_from_python_and_from_the_view(widget, name):
    low, high = RANGES[name]
    setattr(widget, name, low)
    assert getattr(widget, name) == low
    message(widget, {"kind": "set", "name": name, "value": high})
    assert getattr(widget, name) == high
    assert widget.error == ""


@pytest.mark.parametrize("prompt", ["", "   ", "\n\t"])
def test_a_blank_prompt_is_refused(widget, prompt):
    with pytest.raises(ValueError, match="prompt is empty"):
        widget.generate(prompt)
    message(widget, {"kind": "generate", "prompt": prompt})
    assert "prompt is empty" in widget.error
    still_works(widget)


def test_a_prompt_that_is_no_text_is_refused(widget):
    with pytest.raises(TypeError):
        widget.generate(5)
    still_works(widget)


def test_a_prompt_too_long_fails_clearly(widget):
    widget.generate("x" * 300)
    with pytest.raises(RuntimeError, match="shorten it"):
        widget.wait(10)
    assert "shorten it" in widget.error
    still_works(widget)


def test_an_unknown_setting_is_refused(widget):
    with pytest.raises(TypeError, match="warmth"):
        widget.generate("a", warmth=1)
    still_works(widget)


def test_generating_while_it_writes_is_refused_and_changes_nothing(widget, fake):
    write(widget, fake, max_tokens=3)
    with pytest.raises(RuntimeError, match="still writing"):
        widget.generate("c d", temperature=2.0)
    message(widget, {"kind": "generate", "prompt": "e f"})
    assert "still writing" in widget.error
    assert (widget.prompt, widget.temperature) == ("a b c", 0.8)
    fake.gate.set()
    assert widget.wait(10).finish == "length"
    still_works(widget)


def test_an_error_in_the_middle_is_shown_and_the_widget_lives_on(widget, fake):
    fake.fail_at = 1
    widget.generate("a b")
    with pytest.raises(RuntimeError, match="The fake broke"):
        widget.wait(10)
    assert widget.error == "The fake broke."
    assert sent(widget, "end")[-1]["finish"] == "error"
    fake.fail_at = None
    still_works(widget)


def test_a_slider_moved_while_it_writes_acts_on_the_next_token(widget, fake):
    write(widget, fake, max_tokens=6)
    fake.one()
    widget.temperature = 1.75
    fake.one()
    message(widget, {"kind": "set", "name": "top_k", "value": 3})
    message(widget, {"kind": "set", "name": "feature_k", "value": 5})
    message(widget, {"kind": "set", "name": "max_tokens", "value": 4})
    fake.gate.set()
    trace = widget.wait(10)
    assert [s.temperature for s in fake.used] == [0.8, 1.75, 1.75, 1.75]
    assert [s.top_k for s in fake.used] == [50, 50, 3, 3]
    assert len(widget.step["features"]) == 5
    assert trace.finish == "length"


def test_stop_ends_it_from_python_and_from_the_view(widget, fake):
    for stop in (widget.stop, lambda: message(widget, {"kind": "stop"})):
        write(widget, fake, max_tokens=400)
        fake.one()
        stop()
        assert widget.status == "stopping"
        fake.gate.set()
        assert widget.wait(10).finish == "stopped"
        assert sum(step.generated for step in widget.trace) == 1
    still_works(widget)


def test_reset_clears_and_stops(widget, fake):
    write(widget, fake, max_tokens=400)
    old = widget.trace
    widget.reset()
    assert (len(widget.trace), widget.text, widget.step) == (0, "", {})
    assert sent(widget, "reset") == [{"kind": "reset", "run": 2}]
    fake.gate.set()
    widget.wait(10)
    assert old.finish == "stopped"
    assert (len(widget.trace), widget.text, widget.step) == (0, "", {})
    assert widget.graph.tokens == 0
    widget.generate("a", max_tokens=1)
    widget.wait(10)
    assert widget.step["run"] == 3


def test_hello_brings_the_whole_run(widget):
    message(widget, {"kind": "hello"})
    settle(widget)
    assert sent(widget, "snapshot")[0]["total"] == 0
    widget.generate("a b c", max_tokens=150)
    widget.wait(10)
    widget.sent.clear()
    message(widget, {"kind": "hello"})
    settle(widget)
    [head] = sent(widget, "snapshot")
    assert (head["run"], head["total"], head["finish"]) == (1, 153, "length")
    frames = [frame for part in sent(widget, "steps") for frame in part["steps"]]
    assert [frame["step"] for frame in frames] == list(range(153))
    assert frames[-1] == widget.step
    assert [frame["token"] for frame in frames] == [step.token for step in widget.trace]


def test_hello_is_answered_while_it_writes(widget, fake):
    write(widget, fake, max_tokens=3)
    message(widget, {"kind": "hello"})
    fake.one()
    assert sent(widget, "snapshot")[0]["total"] in (3, 4)
    fake.gate.set()
    widget.wait(10)


def test_pull_brings_frames_again(widget):
    widget.generate("a b c", max_tokens=10)
    widget.wait(10)
    message(widget, {"kind": "pull", "run": 1, "from": 8})
    settle(widget)
    [part] = sent(widget, "steps")
    assert [frame["step"] for frame in part["steps"]] == [8, 9, 10, 11, 12]
    widget.sent.clear()
    message(widget, {"kind": "pull", "run": 0, "from": 8})  # of a run that is gone: all of the newest
    settle(widget)
    assert sent(widget, "steps")[0]["steps"][0]["step"] == 0


def test_a_feature_can_be_asked_for(widget):
    message(widget, {"kind": "feature", "id": 7, "layer": 1})
    settle(widget)
    [answer] = sent(widget, "feature")
    assert (answer["id"], answer["layer"], answer["label"], answer["source"]) == (7, 1, "label 7", "a fake")
    assert widget.feature(7).text == "label 7"
    with pytest.raises(ValueError, match="features 0 to 99"):
        widget.feature(100)


def test_selecting_goes_both_ways(widget):
    message(widget, {"kind": "select", "id": 12})
    assert widget.selected_feature == 12
    message(widget, {"kind": "select", "id": None})
    assert widget.selected_feature is None
    with pytest.raises(traitlets.TraitError, match="features 0 to 99"):
        widget.selected_feature = 100
    message(widget, {"kind": "select", "id": 10**30})
    assert "0 to 99" in widget.error


HOSTILE = [
    None,
    5,
    "text",
    [1, 2],
    {},
    {"kind": None},
    {"kind": "explode"},
    {"kind": ["generate"]},
    {"kind": {"a": 1}},
    {"kind": "generate"},
    {"kind": "generate", "prompt": None},
    {"kind": "generate", "prompt": 7},
    {"kind": "generate", "prompt": ["a"]},
    {"kind": "set"},
    {"kind": "set", "name": "status", "value": "idle"},
    {"kind": "set", "name": "info", "value": {}},
    {"kind": "set", "name": "_esm", "value": "x"},
    {"kind": "set", "name": ["temperature"], "value": 1},
    {"kind": "set", "name": "temperature"},
    {"kind": "set", "name": "temperature", "value": {"a": 1}},
    {"kind": "set", "name": "temperature", "value": "1"},
    {"kind": "set", "name": "seed", "value": "seven"},
    {"kind": "set", "name": "seed", "value": 10**40},
    {"kind": "set", "name": "top_k", "value": 2.5},
    {"kind": "select"},
    {"kind": "select", "id": "x"},
    {"kind": "select", "id": -1},
    {"kind": "select", "id": 1.5},
    {"kind": "feature"},
    {"kind": "feature", "id": "x", "layer": 1},
    {"kind": "feature", "id": -1, "layer": 1},
    {"kind": "feature", "id": 10**9, "layer": 1},
    {"kind": "feature", "id": None},
    {"kind": "pull"},
    {"kind": "pull", "run": "x", "from": "y"},
    {"kind": "pull", "run": 0, "from": math.inf},
]


@pytest.mark.parametrize("content", HOSTILE, ids=repr)
def test_a_message_that_makes_no_sense_is_an_error_and_no_more(widget, content):
    before = {name: getattr(widget, name) for name in (*RANGES, "seed", "status", "info", "selected_feature")}
    message(widget, content)
    settle(widget)
    assert len(widget.error.split()) > 3, f"{widget.error!r} is no sentence"
    assert {name: getattr(widget, name) for name in before} == before
    assert len(widget.trace) == 0
    still_works(widget)


def test_a_seed_from_the_view_is_used(widget, fake):
    message(widget, {"kind": "set", "name": "seed", "value": 11})
    still_works(widget)
    message(widget, {"kind": "set", "name": "seed", "value": None})
    still_works(widget)
    assert fake.seeds == [11, None]


def test_closing_while_it_writes_ends_the_worker_and_keeps_the_trace(widget, fake):
    write(widget, fake, max_tokens=400)
    widget.close()
    fake.gate.set()
    widget._session.close(timeout=10)
    assert widget.status == "closed"
    assert len(widget.trace) >= 3
    with pytest.raises(RuntimeError, match="closed"):
        widget.generate("a")
    widget.stop()
    widget.close()


def test_wait_that_takes_too_long_says_so(widget, fake):
    write(widget, fake)
    with pytest.raises(TimeoutError, match=r"running.*0\.05"):
        widget.wait(0.05)
    fake.gate.set()
    widget.wait(10)


def test_an_observer_may_stop_and_set_but_not_wait(widget):
    waits = []

    def watch(change):
        step = change["new"]
        if step.get("step") == 4:
            widget.temperature = 0.0
            with pytest.raises(RuntimeError, match="observer"):
                widget.wait()
            waits.append(True)
            widget.stop()

    widget.observe(watch, "step")
    widget.generate("a b", max_tokens=50)
    trace = widget.wait(10)
    assert waits == [True]
    assert (trace.finish, len(trace), widget.temperature) == ("stopped", 5, 0)


def test_an_observer_that_raises_is_told_and_the_widget_lives_on(widget):
    def watch(change):
        if change["new"].get("step") == 3:
            raise KeyError("the observer's own mistake")

    widget.observe(watch, "step")
    widget.generate("a b", max_tokens=50)
    with pytest.raises(RuntimeError, match="own mistake"):
        widget.wait(10)
    assert "own mistake" in widget.error
    widget.unobserve(watch, "step")
    still_works(widget)


def test_several_threads_may_drive_it(widget):
    wrong, rounds = [], 12

    def drive(which):
        for n in range(rounds):
            try:
                if which == 0:
                    widget.generate("a b", max_tokens=20)
                elif which == 1:
                    widget.temperature = (n % 20) / 10
                    message(widget, {"kind": "hello"})
                elif which == 2:
                    widget.reset() if n % 4 == 3 else widget.stop()
                else:
                    _ = widget.text, widget.trace.to_json(), widget.graph.edges(), widget.graph.nodes()
            except RuntimeError as error:
                if "still writing" not in str(error):
                    wrong.append(error)
            except Exception as error:
                wrong.append(error)

    threads = [threading.Thread(target=drive, args=(which,)) for which in (0, 0, 1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    widget.stop()
    widget.wait(10)
    assert wrong == []
    still_works(widget)


def test_frames_are_json_and_stand_for_the_trace(widget):
    widget.generate("a b c", max_tokens=20)
    trace = widget.wait(10)
    assert isinstance(trace, Trace)
    assert widget.graph.tokens == 23
    json.dumps(widget.get_state(["step", "info", "status", "error"]), allow_nan=False)


def test_sliders_for_any_cell_go_both_ways(widget):
    box = widget.controls()
    names = {"features": "feature_k"}
    words = [slider.description.lower().replace(" ", "_").replace("-", "_") for slider in box.children]
    sliders = {names.get(word, word): slider for word, slider in zip(words, box.children, strict=True)}
    assert list(sliders) == list(RANGES)  # in the view's order
    assert {name: (s.min, s.max) for name, s in sliders.items()} == RANGES
    sliders["temperature"].value = 1.25
    assert widget.temperature == 1.25
    widget.feature_k = 9
    assert sliders["feature_k"].value == 9
