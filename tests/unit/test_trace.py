import json
import sys
import threading

import pandas as pd
import pytest

from axon_widget.trace import (
    Alternative,
    Feature,
    Fit,
    Origin,
    SAEOrigin,
    Steer,
    Steered,
    Steering,
    TokenStep,
    Trace,
)


def step(n, **fields):
    known = {
        "token": f" w{n}",
        "token_id": 100 + n,
        "position": n,
        "step": n,
        "generated": n > 1,
        "logprob": -0.5 * n,
        "rank": 1 + n,
        "alternatives": (Alternative(" a", 1, 0.5), Alternative("\u2028\n", 2, 0.25)),
        "features": tuple(Feature(10 * n + i, 2.5 - i, 3, f"label {i} é 😀" if i else "") for i in range(3)),
        "fits": (Fit(0.9, 0.95, 3),),
        "milliseconds": 7.25,
    }
    return TokenStep(**{**known, **fields})


@pytest.fixture
def trace():
    first = step(0, token="", special=True, logprob=None, rank=None, alternatives=(), features=(), fits=())
    sae = SAEOrigin("embedded/x", "blocks.3.hook_resid_pre", 3, 2304, 256)
    origin = Origin("stories15M", (sae,), "Once", 7, {"temperature": 0.8})
    return Trace(origin, [first, *(step(n) for n in range(1, 5))], "length")


@pytest.fixture
def branch(trace):
    """A branch of a run with two SAEs, steered and read through them."""
    saes = (trace.origin.saes[0], SAEOrigin("own/y", "blocks.4.hook_resid_pre", 4, 512))
    parent = Trace(Origin("stories15M", saes, "Once", 7, {"temperature": 0.8}), trace[:4])
    made = parent.branch(4)
    features = (Feature(7, 2.0, 3, "one"), Feature(7, 1.5, 4, "another", 1))
    steered = (Steered(9, 0.0, 4.5, 3), Steered(7, 3.0, 1.5, 4, 1))
    fits = (Fit(0.9, 0.95, 1), Fit(-0.5, 0.1, 1))
    made.append(step(4, features=features, fits=fits, steered=steered, clean_logprob=-3.5))
    made.steering = {3: Steering((Steer(0, 9, 4.5), Steer(1, 7, 0.5, scale=True)), reconstruct=True), 4: Steering()}
    made.changes = {4: {"temperature": 1.5}}
    made.put_in = " w4"
    return made


def test_it_grows_one_step_at_a_time_and_in_order(trace):
    with pytest.raises(ValueError, match="Step 7 cannot follow 5"):
        trace.append(step(7))
    with pytest.raises(ValueError, match="Step 4 cannot follow 5"):
        trace.append(step(4))
    trace.append(step(5))
    assert len(trace) == 6
    assert trace[-1].step == 5


def test_what_stands_cannot_be_changed(trace):
    with pytest.raises(TypeError):
        trace[0] = step(0)
    with pytest.raises(AttributeError):
        trace[0].token = "x"
    trace[1:].clear()
    assert len(trace) == 5


def test_text_is_what_was_read_and_written(trace):
    assert trace.text == " w1 w2 w3 w4"
    assert trace.generated == " w2 w3 w4"


@pytest.fixture
def hasty():
    """Threads take turns after nearly every instruction."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.usefixtures("hasty")
def test_many_may_read_while_one_writes():
    trace, total = Trace(), 3000
    wrong, rounds = [], [0] * 3
    done = threading.Event()

    def read(reader):
        try:
            read_on(reader)
        except Exception as error:
            wrong.append(error)

    def read_on(reader):
        while not done.is_set():
            seen = list(trace)
            rounds[reader] += 1
            if [s.step for s in seen] != list(range(len(seen))) or (seen and trace[len(seen) - 1] is not seen[-1]):
                wrong.append(len(seen))
            _ = trace.text, len(trace), trace[:3], repr(trace), trace.steering_at(len(seen))
            if rounds[reader] % 50 == 1:
                trace.to_json()

    readers = [threading.Thread(target=read, args=(reader,)) for reader in range(3)]
    for thread in readers:
        thread.start()
    for n in range(total):
        trace.steering[n] = Steering((Steer(0, 1, n),))
        trace.changes[n] = {"temperature": 1.0}
        trace.append(step(n))
    done.set()
    for thread in readers:
        thread.join()
    assert not wrong
    assert len(trace) == total
    assert min(rounds) > 0


def test_json_round_trip(trace, tmp_path):
    path = trace.to_json(tmp_path / "trace.json")
    text = path.read_text(encoding="utf-8")
    assert Trace.from_json(text) == trace
    assert Trace.from_json(tmp_path / "trace.json") == trace
    assert Trace.from_json(str(tmp_path / "trace.json")) == trace
    assert Trace.from_json(text).to_json() == text


def test_json_round_trip_of_a_branch(branch):
    text = branch.to_json()
    again = Trace.from_json(text)
    assert again == branch
    assert (again.fork, again.steering, again.changes) == (branch.fork, branch.steering, branch.changes)
    assert (again[4].features, again[4].steered) == (branch[4].features, branch[4].steered)
    assert again.to_json() == text


def test_two_saes_may_have_features_of_one_number(branch):
    labels = [feature.label for feature in Trace.from_json(branch.to_json())[4].features]
    assert labels == ["one", "another"]


def test_json_round_trip_of_a_real_run(tracer):
    trace = tracer.run("Tom said 😀", temperature=1, max_tokens=12, seed=1)
    again = Trace.from_json(trace.to_json())
    assert again == trace
    assert any(feature.label for s in again for feature in s.features)


def test_an_unfinished_and_an_empty_trace_round_trip():
    for trace in (Trace(), Trace(Origin(), [step(0, fits=())], "")):
        assert Trace.from_json(trace.to_json()) == trace


def test_equality_sees_every_part(trace):
    text = trace.to_json()
    for change in (
        lambda d: d["origin"].update(seed=8),
        lambda d: d.update(finish="eos"),
        lambda d: d["steps"].pop(),
        lambda d: d["steps"][2]["features"][0].__setitem__(1, 9.5),
        lambda d: d["labels"].clear(),
    ):
        data = json.loads(text)
        change(data)
        assert Trace.from_json(json.dumps(data)) != trace


def test_equality_sees_steering_and_the_fork(branch):
    for change in (
        lambda d: d.update(fork=3),
        lambda d: d.update(put_in=" other"),
        lambda d: d["steering"].pop(),
        lambda d: d["steering"][0][1][1].__setitem__(2, 0.25),
        lambda d: d["steering"][0].__setitem__(2, False),
        lambda d: d["steps"][4]["steered"].pop(),
        lambda d: d["steps"][4].update(clean_logprob=None),
        lambda d: d["steps"][4]["fits"][1].__setitem__(0, 0.5),
        lambda d: d["origin"]["saes"][1].__setitem__(4, 128),
        lambda d: d["changes"].clear(),
    ):
        data = json.loads(branch.to_json())
        change(data)
        assert Trace.from_json(json.dumps(data)) != branch


@pytest.mark.parametrize("step", range(6))
def test_what_was_in_force_on_a_token_is_the_last_that_was_set(branch, step):
    strong, none = branch.steering[3], Steering()
    assert branch.steering_at(step) == [none, none, none, strong, none, none][step]
    assert bool(branch.steering_at(step)) == (step == 3)


DAMAGES = {
    "an older version": lambda d: d.update(version=1),
    "a newer version": lambda d: d.update(version=3),
    "no version": lambda d: d.pop("version"),
    "another schema": lambda d: d.update(schema="something/else"),
    "no schema": lambda d: d.pop("schema"),
    "no steps": lambda d: d.pop("steps"),
    "steps that are no list": lambda d: d.update(steps={"0": 1}),
    "steps that are a number": lambda d: d.update(steps=4),
    "steps that are text": lambda d: d.update(steps="abc"),
    "steps of null": lambda d: d.update(steps=[None]),
    "no origin": lambda d: d.pop("origin"),
    "an origin that is text": lambda d: d.update(origin="x"),
    "an origin that lacks its model": lambda d: d["origin"].pop("model"),
    "a prompt that is a number": lambda d: d["origin"].update(prompt=4),
    "a seed that is text": lambda d: d["origin"].update(seed="7"),
    "sampling that is a list": lambda d: d["origin"].update(sampling=[1]),
    "sampling of text": lambda d: d["origin"].update(sampling={"temperature": "hot"}),
    "labels that are a list": lambda d: d.update(labels=[1]),
    "a label that is a number": lambda d: d["labels"].update({"0:11": 5}),
    "an unknown finish": lambda d: d.update(finish="exploded"),
    "a finish that is a list": lambda d: d.update(finish=[]),
    "a token that is a number": lambda d: d["steps"][1].update(token=5),
    "a token id that is text": lambda d: d["steps"][1].update(token_id="5"),
    "a token id that is true": lambda d: d["steps"][1].update(token_id=True),
    "a position with a fraction": lambda d: d["steps"][1].update(position=1.5),
    "a flag that is a number": lambda d: d["steps"][1].update(generated=1),
    "a log-probability that is text": lambda d: d["steps"][1].update(logprob="low"),
    "a rank with a fraction": lambda d: d["steps"][1].update(rank=1.5),
    "milliseconds that are null": lambda d: d["steps"][1].update(milliseconds=None),
    "a step missing": lambda d: d["steps"].pop(2),
    "a step twice": lambda d: d["steps"].insert(2, d["steps"][2]),
    "a field missing": lambda d: d["steps"][1].pop("fits"),
    "a feature cut short": lambda d: d["steps"][1]["features"].append([1, 2.0]),
    "a feature that is a number": lambda d: d["steps"][1]["features"].append(7),
    "an activation that is text": lambda d: d["steps"][1]["features"].append([1, "2", 3, 0]),
    "an activation of 0": lambda d: d["steps"][1]["features"].append([1, 0, 3, 0]),
    "an activation that is not finite": lambda d: d["steps"][1]["features"].append([1, float("inf"), 3, 0]),
    "a feature that fires twice": lambda d: d["steps"][4]["features"].append([7, 1.0, 4, 1]),
    "fits without SAEs": lambda d: d.update(
        origin=d["origin"] | {"saes": []}, steering=[], steps=d["steps"][:4], fork=4
    ),
    "alternatives that are null": lambda d: d["steps"][1].update(alternatives=None),
    "a huge number": lambda d: d["steps"][1].update(milliseconds=10**400),
    "no steering": lambda d: d.pop("steering"),
    "steering that is a number": lambda d: d.update(steering=3),
    "steering without a step": lambda d: d["steering"].append([[], False]),
    "steering by a negative step": lambda d: d["steering"].append([-1, [], False]),
    "steering that is cut short": lambda d: d["steering"].append([4, [[0, 1, 2.0]], False]),
    "steering of an SAE that is not there": lambda d: d["steering"].append([4, [[2, 1, 2.0, False]], False]),
    "steering of a feature that is not there": lambda d: d["steering"].append([4, [[1, 512, 2.0, False]], False]),
    "steering to a text": lambda d: d["steering"].append([4, [[0, 1, "2", False]], False]),
    "a scale that is a number": lambda d: d["steering"].append([4, [[0, 1, 2.0, 1]], False]),
    "a reconstruction that is a number": lambda d: d["steering"].append([4, [], 1]),
    "no fork": lambda d: d.pop("fork"),
    "no token that was put in": lambda d: d.pop("put_in"),
    "a token put in that is a number": lambda d: d.update(put_in=4),
    "a fork that is text": lambda d: d.update(fork="4"),
    "a fork at nothing": lambda d: d.update(fork=0),
    "a fork beyond the end": lambda d: d.update(fork=6),
    "saes that are text": lambda d: d["origin"].update(saes="ab"),
    "an SAE cut short": lambda d: d["origin"]["saes"].append(["a", "b", 1, 2]),
    "an SAE whose size is text": lambda d: d["origin"]["saes"].append(["a", "b", 1, "2", None]),
    "an SAE whose context is true": lambda d: d["origin"]["saes"].append(["a", "b", 1, 2, True]),
    "a feature of an SAE that is not there": lambda d: d["steps"][4]["features"].append([1, 2.0, 3, 2]),
    "a feature that its SAE does not have": lambda d: d["steps"][4]["features"].append([512, 2.0, 4, 1]),
    "a feature of SAE true": lambda d: d["steps"][4]["features"].append([1, 2.0, 3, True]),
    "a fit cut short": lambda d: d["steps"][4]["fits"].append([0.5, 0.5]),
    "a fit too many": lambda d: d["steps"][4]["fits"].append([0.5, 0.5, 3]),
    "a fit of text": lambda d: d["steps"][4].update(fits=[["0.5", 0.5, 3]]),
    "steered features that are null": lambda d: d["steps"][4].update(steered=None),
    "a steered feature cut short": lambda d: d["steps"][4]["steered"].append([1, 2.0, 3.0, 4]),
    "a steered feature of an SAE that is not there": lambda d: d["steps"][4]["steered"].append([1, 2.0, 3.0, 3, 2]),
    "a clean log-probability that is text": lambda d: d["steps"][4].update(clean_logprob="low"),
    "no clean log-probability": lambda d: d["steps"][4].pop("clean_logprob"),
    "changes that are a number": lambda d: d.update(changes=1),
    "changes of text": lambda d: d["changes"].append([4, {"temperature": "hot"}]),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_trace_is_refused(branch, damage):
    data = json.loads(branch.to_json())
    DAMAGES[damage](data)
    with pytest.raises(ValueError, match=r"trace.*\.$"):
        Trace.from_json(json.dumps(data))


def test_a_trace_written_before_there_were_ranks_is_read(branch):
    data = json.loads(branch.to_json())
    assert [row.pop("rank") for row in data["steps"]] == [None, 2, 3, 4, 5]
    made = Trace.from_json(json.dumps(data))
    assert [step.rank for step in made] == [None] * 5
    assert [step.logprob for step in made] == [step.logprob for step in branch]


def test_signed_activations_and_steering_to_nothing_are_read(branch):
    """As AbsTopK autoencoders give them, and as a feature that is switched off has them."""
    features = (Feature(7, 2.0, 3, "one"), Feature(8, -1.5, 3))
    branch.append(step(5, features=features, steered=(Steered(9, 0.0, 0.0, 3), Steered(7, 2.0, 0.0, 3))))
    assert Trace.from_json(branch.to_json()) == branch


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_none_are_refused(trace, number):
    with pytest.raises(ValueError, match="trace"):
        Trace.from_json(trace.to_json().replace("7.25", number))


@pytest.mark.parametrize(
    "text", ["", "not JSON", "[1, 2]", "null", '"text"', "5", "[" * 100_000, '{"a":' * 100_000, "{}", "\x00\xff{"]
)
def test_a_file_that_holds_something_else_is_refused(tmp_path, text):
    path = tmp_path / "file.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match="Not a trace"):
        Trace.from_json(path)


def test_a_file_cut_short_anywhere_is_refused(trace, tmp_path):
    text = trace.to_json()
    for length in range(0, len(text), 97):
        (tmp_path / "cut.json").write_text(text[:length], encoding="utf-8")
        with pytest.raises(ValueError, match="Not a trace"):
            Trace.from_json(tmp_path / "cut.json")


def test_bytes_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "x.json").write_bytes(bytes(range(256)) * 20)
    with pytest.raises(ValueError, match="Not a trace"):
        Trace.from_json(tmp_path / "x.json")


def test_a_newer_version_is_named_and_says_what_to_do(trace):
    data = json.loads(trace.to_json()) | {"version": 9}
    with pytest.raises(ValueError, match=r"version 9.*reads version 2.*Install"):
        Trace.from_json(json.dumps(data))


def test_a_missing_file_is_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        Trace.from_json(tmp_path / "none.json")
    with pytest.raises(FileNotFoundError):
        Trace.from_json("none.json")


@pytest.mark.parametrize("text", ["[" + "1, " * 2_000 + "1]", "no JSON " * 1_000, "a\x00b", "\ud800"])
def test_a_text_that_is_neither_a_trace_nor_a_path_is_refused(text):
    with pytest.raises(ValueError, match=r"Not a trace: give the JSON object .* or the path of a file"):
        Trace.from_json(text)


def test_what_is_no_file_is_told_as_it_is(tmp_path):
    with pytest.raises(OSError, match="directory"):
        Trace.from_json(tmp_path)


def test_what_is_not_finite_is_never_written(trace):
    trace.append(step(5, milliseconds=float("nan")))
    with pytest.raises(ValueError, match="JSON"):
        trace.to_json()


def test_a_table_with_a_row_for_each_feature(trace):
    table = trace.to_pandas()
    assert len(table) == sum(s.l0 for s in trace) == 12
    row = table.iloc[4]
    assert (row.step, row.token, row.id, row.activation, row.layer, row.label) == (2, " w2", 21, 1.5, 3, "label 1 é 😀")
    assert table[table.step == 0].empty


def test_a_table_with_a_row_for_each_token(trace):
    table = trace.to_pandas("token")
    assert list(table.step) == [0, 1, 2, 3, 4]
    assert list(table.l0) == [0, 3, 3, 3, 3]
    assert list(table.generated) == [False, False, True, True, True]
    assert pd.isna(table.explained_variance[0])
    assert table.milliseconds.sum() == pytest.approx(5 * 7.25)


def test_tables_of_an_empty_trace_have_their_columns():
    assert list(Trace().to_pandas().columns) == [
        "step",
        "position",
        "token",
        "generated",
        "id",
        "activation",
        "layer",
        "label",
        "sae",
    ]
    assert Trace().to_pandas("token").empty


def test_another_kind_of_table_is_refused(trace):
    with pytest.raises(ValueError, match="'feature', 'token' or 'layer'"):
        trace.to_pandas("head")
