"""What the view asks for by message, and what it gets."""

from __future__ import annotations

import pytest

from tests.kernel.front_end import FrontEnd, Model


@pytest.fixture
def fast(kernel: FrontEnd) -> Model:
    return kernel.loaded("w = AxonWidget(tracer=FakeTracer())")


@pytest.fixture
def slow(kernel: FrontEnd) -> Model:
    """Writes 20 tokens a second, for at most 25 seconds."""
    return kernel.loaded("w = AxonWidget(tracer=FakeTracer(pace=0.05), max_tokens=500)")


def written(kernel: FrontEnd, model: Model, count: int) -> None:
    kernel.until(lambda: len(model.steps()) >= count)


def ended(kernel: FrontEnd, model: Model, run: int = 1) -> str:
    return kernel.until(lambda: [end["finish"] for end in model.of_kind("end") if end["run"] == run])[0]


def held(model: Model, run: int) -> list[int]:
    """The steps that came in answers, not as they were written."""
    return [frame["step"] for answer in model.of_kind("steps") for frame in answer["steps"] if frame["run"] == run]


def test_hello_is_answered_with_the_whole_run(kernel: FrontEnd, fast: Model) -> None:
    kernel.run("w.generate('x', max_tokens=250)\n_ = w.wait()")
    kernel.send(fast, kind="hello")
    kernel.until(lambda: len(held(fast, 1)) == 250)
    [answer] = fast.of_kind("snapshot")
    [told] = answer["runs"]
    assert (answer["run"], told["run"], told["total"], told["finish"]) == (1, 1, 250, "length")
    # A view that joins late sees the edges as one that saw the end.
    assert told["edges"] == fast.of_kind("end")[0]["edges"] != []
    assert [len(answer["steps"]) for answer in fast.of_kind("steps")] == [100, 100, 50]
    sent = [frame for answer in fast.of_kind("steps") for frame in answer["steps"]]
    assert sent == fast.steps(1)


def test_hello_before_anything_was_written(kernel: FrontEnd, fast: Model) -> None:
    kernel.send(fast, kind="hello")
    [answer] = kernel.until(lambda: fast.of_kind("snapshot"))
    empty = {"run": 0, "parent": None, "from": 0, "token": None, "total": 0, "finish": "", "edges": []}
    assert answer == {"kind": "snapshot", "run": 0, "runs": [empty]}


def test_hello_while_it_writes_leaves_no_gap(kernel: FrontEnd, slow: Model) -> None:
    kernel.send(slow, kind="generate", prompt="x")
    written(kernel, slow, 10)
    kernel.send(slow, kind="hello")
    [answer] = kernel.until(lambda: slow.of_kind("snapshot"))
    at = next(time for time, content in slow.messages if content["kind"] == "snapshot")
    [told] = answer["runs"]
    assert told["finish"] == ""
    assert told["total"] >= 10
    # One more may have been written while it was answered.
    kernel.until(lambda: len(held(slow, 1)) >= told["total"])
    assert held(slow, 1) == list(range(len(held(slow, 1))))
    written(kernel, slow, told["total"] + 3)
    after = [state["step"]["step"] for time, state, _ in slow.updates if state.get("step") and time >= at]
    assert after[0] <= len(held(slow, 1))


def test_pull_gives_what_is_missing(kernel: FrontEnd, fast: Model) -> None:
    kernel.run("w.generate('x', max_tokens=150)\n_ = w.wait()")
    kernel.send(fast, kind="pull", run=1, **{"from": 30})
    kernel.until(lambda: held(fast, 1) == list(range(30, 150)))


def test_pull_of_an_older_run_gives_the_newest(kernel: FrontEnd, fast: Model) -> None:
    kernel.run("w.generate('x', max_tokens=20)\n_ = w.wait()\nw.generate('x', max_tokens=5)\n_ = w.wait()")
    kernel.send(fast, kind="pull", run=1, **{"from": 7})
    kernel.until(lambda: held(fast, 2) == list(range(5)))
    assert held(fast, 1) == []


def test_generate_and_stop(kernel: FrontEnd, slow: Model) -> None:
    kernel.send(slow, kind="generate", prompt="from the view")
    written(kernel, slow, 5)
    assert slow.state["prompt"] == "from the view"
    assert slow.word == "running"
    kernel.send(slow, kind="stop")
    assert ended(kernel, slow) == "stopped"
    kernel.until(lambda: slow.word == "idle")
    assert kernel.ask("[w.trace.finish, len(w.trace) < 400]") == ["stopped", True]


def test_generate_while_it_writes_is_refused_and_disturbs_nothing(kernel: FrontEnd, slow: Model) -> None:
    kernel.send(slow, kind="generate", prompt="first")
    written(kernel, slow, 5)
    kernel.send(slow, kind="generate", prompt="second")
    kernel.until(lambda: "still writing" in slow.state["error"])
    assert slow.state["prompt"] == "first"
    written(kernel, slow, len(slow.steps()) + 5)
    assert {frame["run"] for frame in slow.steps()} == {1}
    refused = kernel.run("w.generate('third')")
    assert refused.error.startswith("RuntimeError: The model is still writing")


@pytest.mark.parametrize("prompt", ["", "  \n\t "])
def test_blank_prompt_is_refused(kernel: FrontEnd, fast: Model, prompt: str) -> None:
    kernel.send(fast, kind="generate", prompt=prompt)
    kernel.until(lambda: "prompt is empty" in fast.state["error"])
    kernel.send(fast, kind="generate", prompt="better")
    assert ended(kernel, fast) == "length"
    assert fast.state["error"] == ""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", 1.5),
        ("top_k", 0),
        ("top_p", 0.5),
        ("repetition_penalty", 1.25),
        ("max_tokens", 77),
        ("feature_k", 29),
        ("activation_threshold", 0.55),
        ("seed", 11),
        ("seed", None),
    ],
)
def test_settings(kernel: FrontEnd, fast: Model, name: str, value: float | None) -> None:
    kernel.send(fast, kind="set", name=name, value=value)
    # A round trip through the kernel: messages are handled in the order they were sent.
    assert kernel.ask(f"w.{name}") == value
    assert fast.state["error"] == ""


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("temperature", 2.5, "from 0.0 to 2.0"),
        ("temperature", None, "temperature"),
        ("top_k", -1, "from 0 to 200"),
        ("top_k", 1.5, "top_k"),
        ("max_tokens", "many", "max_tokens"),
        ("feature_k", None, "feature_k"),
        ("status", "idle", "status"),
        ("_esm", "alert(1)", "_esm"),
    ],
)
def test_bad_settings_change_nothing(kernel: FrontEnd, fast: Model, name: str, value: object, sentence: str) -> None:
    before = kernel.ask(f"str(w.{name})")
    kernel.send(fast, kind="set", name=name, value=value)
    kernel.until(lambda: sentence in fast.state["error"])
    assert kernel.ask(f"str(w.{name})") == before


def test_a_setting_acts_on_the_very_next_token(kernel: FrontEnd, slow: Model) -> None:
    kernel.send(slow, kind="generate", prompt="x")
    written(kernel, slow, 5)
    kernel.send(slow, kind="set", name="feature_k", value=28)
    kernel.until(lambda: slow.state["feature_k"] == 28)
    written(kernel, slow, len(slow.steps()) + 5)
    # In the order of arrival: frames before the trait changed have 15 features, frames after it 28. One may have
    # been under way.
    order = [state for _, state, _ in slow.updates if state.get("step") or "feature_k" in state]
    place = next(i for i, state in enumerate(order) if "feature_k" in state)
    counts = [len(state["step"]["features"]) for state in order if state.get("step")]
    assert set(counts[:place]) == {15}
    assert set(counts[place + 1 :]) == {28}


def test_max_tokens_acts_while_it_writes(kernel: FrontEnd, slow: Model) -> None:
    kernel.send(slow, kind="generate", prompt="x")
    written(kernel, slow, 3)
    kernel.send(slow, kind="set", name="max_tokens", value=12)
    assert ended(kernel, slow) == "length"
    assert kernel.ask("len(w.trace)") == 12


def test_a_trait_set_in_python_acts_on_the_next_token(kernel: FrontEnd, slow: Model) -> None:
    kernel.run("w.generate('x')")
    written(kernel, slow, 3)
    kernel.run("w.activation_threshold = 1.0")
    known = len(slow.steps()) + 2
    written(kernel, slow, known + 2)
    assert {len(frame["features"]) for frame in slow.steps()[:3]} == {15}
    shown = [[feature["activation"] for feature in frame["features"]] for frame in slow.steps()[known:]]
    assert all(len(activations) == 14 and min(activations) >= 1 for activations in shown)


def test_select(kernel: FrontEnd, fast: Model) -> None:
    kernel.send(fast, kind="select", sae=0, id=77)
    assert kernel.ask("[w.selected_feature, w.selected_sae]") == [77, 0]
    kernel.until(lambda: fast.state["selected_feature"] == 77)
    kernel.send(fast, kind="select", sae=0, id=None)
    assert kernel.ask("w.selected_feature") is None
    kernel.send(fast, kind="select", sae=0, id=500)
    kernel.until(lambda: "no feature 500" in fast.state["error"])
    assert kernel.ask("w.selected_feature") is None


def test_feature_details(kernel: FrontEnd, slow: Model) -> None:
    kernel.send(slow, kind="generate", prompt="x")
    written(kernel, slow, 3)
    # Answered between two tokens, not at the end of the run.
    kernel.send(slow, kind="feature", id=7, sae=0)
    [answer] = kernel.until(lambda: slow.of_kind("feature"))
    assert slow.word == "running"
    assert answer == {
        "kind": "feature",
        "id": 7,
        "sae": 0,
        "layer": 3,
        "label": "feature number 7",
        "source": "a fake",
        "explainer": "",
        "method": "",
        "score": None,
        "scored_by": "",
        "others": [],
        "fetched": "",
        "fires_on": [[" t7", 1.0]],
        "boosts": [],
        "suppresses": [],
        "contexts": [],
        "nearest": [[0, 8, 0.4, "feature number 8"]],
        "frequency": None,
        "max_activation": None,
        "dense": False,
        "url": "",
    }
    kernel.send(slow, kind="feature", id=9999, sae=0)
    kernel.until(lambda: "no feature 9999" in slow.state["error"])


def test_reset(kernel: FrontEnd, slow: Model) -> None:
    kernel.send(slow, kind="generate", prompt="x")
    written(kernel, slow, 5)
    kernel.send(slow, kind="reset")
    [answer] = kernel.until(lambda: slow.of_kind("reset"))
    assert answer == {"kind": "reset", "run": 2}
    kernel.until(lambda: slow.word == "idle")
    assert kernel.ask("[len(w.trace), w.text, w.step]") == [0, "", {}]
    known = len(slow.steps())
    kernel.send(slow, kind="generate", prompt="x")
    written(kernel, slow, known + 3)
    assert {frame["run"] for frame in slow.steps()[known:]} == {3}


def test_what_makes_no_sense_is_told_and_ends_nothing(kernel: FrontEnd, fast: Model) -> None:
    for message in (
        {"kind": "dance"},
        {},
        {"kind": "generate"},
        {"kind": "set", "name": "top_k"},
        {"kind": "feature", "id": "seven", "sae": 0},
        {"kind": "pull"},
        {"kind": "select", "id": "seven", "sae": 0},
        {"kind": "steer", "sae": 0, "id": 7, "value": "much", "scale": False},
        {"kind": "steering", "action": "dance"},
        {"kind": "branch", "run": 5, "step": 1, "token_id": None},
        {"kind": "why", "run": 0, "step": "one", "token_id": None, "exact": True},
        {"kind": "edge", "run": 0, "a": [0, 1], "b": [0, 2]},
        {"kind": "similar", "run": 0, "least": "much"},
        {"kind": "compare", "a": 0},
    ):
        kernel.run("w.error = ''")
        kernel.send(fast, **message)
        kernel.until(lambda: fast.state["error"] != "", 20)
    kernel.send(fast, kind="generate", prompt="x")
    assert ended(kernel, fast) == "length"


def test_an_error_of_the_engine_reaches_the_view(kernel: FrontEnd) -> None:
    model = kernel.loaded("w = AxonWidget(tracer=FakeTracer(fail_at=4))")
    kernel.send(model, kind="generate", prompt="x")
    assert ended(kernel, model) == "error"
    kernel.until(lambda: model.state["error"] == "The fake engine broke, as it was told to.")
    kernel.until(lambda: model.word == "idle")
    assert kernel.run("w.wait()").error == "RuntimeError: The fake engine broke, as it was told to."
    assert len(model.steps()) == 4
    kernel.run("w.tracer.fail_at = None")
    kernel.send(model, kind="generate", prompt="x")
    assert ended(kernel, model, 2) == "length"
    assert model.state["error"] == ""


def test_an_error_before_the_first_token_reaches_the_view(kernel: FrontEnd, fast: Model) -> None:
    kernel.send(fast, kind="generate", prompt="refuse this")
    kernel.until(lambda: fast.state["error"] == "The prompt is refused.")
    kernel.until(lambda: fast.word == "idle")


def test_labels_that_come_in_while_it_writes_reach_the_view_and_python(kernel: FrontEnd, slow: Model) -> None:
    kernel.send(slow, kind="generate", prompt="x")
    written(kernel, slow, 5)
    # From a thread of their own, as those that are fetched.
    kernel.run(
        "import threading\n"
        "labels = w.tracer.readers[0].labels\n"
        "threading.Thread(target=labels.become, args=('late {}'.format, 'half of them')).start()"
    )
    [told] = kernel.until(lambda: slow.of_kind("labels"))
    assert all(label == f"late {feature}" for _, feature, label in told["labels"])
    kernel.until(lambda: slow.state["label_status"] == "half of them")
    # What is written from here on has them, and so has what was written before.
    kernel.until(lambda: slow.steps()[-1]["features"][0]["label"].startswith("late"))
    shown = {(f["sae"], f["id"]) for frame in slow.steps() for f in frame["features"] if f["label"][:4] != "late"}
    assert {(sae, feature) for sae, feature, _ in told["labels"]} == shown
    kernel.run("w.stop(); _ = w.wait(); assert set(w.trace.to_pandas().label.str.split().str[0]) == {'late'}")
    kernel.send(slow, kind="hello")
    kernel.until(lambda: len(held(slow, 1)) == slow.of_kind("end")[-1]["total"])
    sent = [frame for answer in slow.of_kind("steps") for frame in answer["steps"]]
    assert {f["label"] for frame in sent for f in frame["features"]} == {
        f"late {f['id']}" for frame in sent for f in frame["features"]
    }


def test_a_search_while_it_writes_is_answered(kernel: FrontEnd, slow: Model) -> None:
    kernel.send(slow, kind="generate", prompt="x")
    written(kernel, slow, 3)
    kernel.send(slow, kind="search", text="number 499")
    [answer] = kernel.until(lambda: slow.of_kind("found"))
    rows = [[0, 499, "feature number 499"]]
    assert answer == {
        "kind": "found",
        "text": "number 499",
        "rows": rows,
        "more": False,
        "token": "",
        "boosting": [],
    }
