"""``axon check``."""

import argparse
import json

import pytest

from axon_widget.checks import NAMES, contrast, running, speed, topics
from axon_widget.checks.result import Result
from axon_widget.cli import check as cli
from axon_widget.cli import main, model
from tests.standins import small
from tests.standins.hub import Hub

WRITTEN = "5"


def run(capsys, *arguments):
    code = main(["check", "--model", "embedded", "--device", "cpu", "--tokens", WRITTEN, *arguments])
    return (code, *capsys.readouterr())


@pytest.fixture
def brief(monkeypatch):
    monkeypatch.setattr(speed, "ROUNDS", 2)
    monkeypatch.setattr(speed, "MOST", 1000.0)  # how fast this machine is, is another matter


@pytest.fixture
def decided(monkeypatch):
    """Have each check find at once what it is told to; gives the verdicts and sentences to change."""
    found = {name: Result(name, "pass", f"All of {name} is well.", "a text", ("a detail",)) for name in NAMES}
    for name, module, function in (
        ("topics", topics, "check"),
        ("repeats", running, "repeats"),
        ("length", running, "length"),
        ("speed", speed, "check"),
        ("edges", running, "edges"),
        ("contrast", contrast, "check"),
    ):
        monkeypatch.setattr(module, function, lambda *_, name=name, **__: found[name])
    return found


def test_all_of_the_embedded_model(capsys, tracer, brief):
    code, out, err = run(capsys, "--json")
    told = json.loads(out)
    assert (told["model"], told["device"]) == ("stories15M", "cpu")
    assert told["saes"] == [sae.name for sae in tracer.saes]
    found = {check["name"]: check for check in told["checks"]}
    assert tuple(found) == NAMES
    for name in ("repeats", "length", "speed", "edges"):
        assert found[name]["verdict"] == "pass", found[name]
    assert found["length"]["figures"]["written"] == int(WRITTEN)
    assert found["topics"]["figures"]["labelled"] > 100
    assert found["contrast"]["figures"]["story"] > 10
    assert code == any(check["verdict"] == "fail" for check in told["checks"])
    assert "stories15M, features of" in err


def test_a_table_that_fits_eighty_columns(capsys, decided, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    long = "Figures and figures. " * 20
    decided["speed"] = Result("speed", "not judged", long, "a text", (long,))
    code, out, err = run(capsys)
    assert code == 0
    assert max(map(len, out.splitlines())) <= 80
    rows = [line for line in out.splitlines() if line[:1].isdecimal()]
    assert [row.split()[:2] for row in rows[:-1]] == [[str(n), name] for n, name in enumerate(NAMES, 1)]
    assert rows[0] == "1 topics    pass        All of topics is well."
    assert rows[3].startswith("4 speed     not judged  Figures")
    assert "Looked at: a text" in out
    assert "a detail" in out
    assert out.endswith("\n1 not judged, 5 passed.\n")
    assert "\x1b" not in out
    assert "Check " not in err  # no progress where nobody looks


def test_what_failed_is_named_and_is_the_exit_code(capsys, decided):
    decided["repeats"] = Result("repeats", "fail", "No.")
    decided["contrast"] = Result("contrast", "fail", "No.")
    code, out, _ = run(capsys)
    assert code == 1
    assert out.endswith("\n2 failed, 4 passed. Failed: repeats, contrast.\n")
    code, out, _ = run(capsys, "--json")
    assert code == 1
    assert [check["verdict"] for check in json.loads(out)["checks"]].count("fail") == 2


def test_an_interrupt_ends_it_behind_what_was_found(capsys, decided, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(speed, "check", interrupted)
    code, out, err = run(capsys)
    assert code == 130
    assert [line[0] for line in out.splitlines() if line[:1].isdecimal()] == ["1", "2", "3"]
    assert "interrupted" in err


def test_hostile_text_does_not_reach_the_terminal(capsys, decided):
    decided["topics"] = Result("topics", "pass", "a\x1b[2Jb", "c\u202ed", ("e\x07f",))
    _, out, _ = run(capsys)
    assert not {"\x1b", "\u202e", "\x07"} & set(out)
    assert "\\x1b[2J" in out


def test_colours_are_for_terminals():
    assert "\x1b[1;31mfail" in cli._row(1, Result("topics", "fail", "No."), True)
    assert "\x1b" not in cli._row(1, Result("topics", "fail", "No.", "x", ("y",)), False)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--tokens", "0"], "--tokens 0"),
        (["--device", "abacus"], "abacus"),
        (["--sae", "blocks.77.hook_resid_pre"], "blocks.77"),
        (["--layers", "77"], "77"),
    ],
)
def test_bad_input_is_one_clear_sentence(capsys, arguments, word):
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (1, "")
    assert word in err
    assert err.splitlines()[-1].startswith("axon: ")


def test_layers_choose_the_default_saes_of_a_model(capsys, decided):
    assert model._at("gpt2-small", [2, 4]) == [f"gpt2-small-res-jb/blocks.{n}.hook_resid_pre" for n in (2, 4)]
    assert model._at(None, [4]) == model._at("gpt2-small", [4])
    _, out, _ = run(capsys, "--layers", "3", "--json")
    assert json.loads(out)["saes"] == ["embedded/blocks.3.hook_resid_pre"]


def test_a_model_of_the_hub_by_its_layer(capsys, small_repositories, monkeypatch, tmp_path):
    with Hub(*small_repositories) as hub:
        small.connect(monkeypatch, hub, tmp_path / "cache")
        named = ("--model", "gpt2-small", "--layers", "1", "--no-labels")
        code = main(["check", *named, "--device", "cpu", "--tokens", "3", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert told["saes"] == [small.RESIDUAL]
    verdicts = {check["name"]: check["verdict"] for check in told["checks"]}
    assert verdicts["topics"] == verdicts["speed"] == "not judged"
    assert verdicts["repeats"] == verdicts["length"] == verdicts["edges"] == "pass"
    assert code == (verdicts["contrast"] == "fail")


def test_layers_of_a_directory_are_not_known(tmp_path):
    with pytest.raises(ValueError, match="--sae"):
        model._at(str(tmp_path), [1])


@pytest.mark.parametrize(
    ("text", "layers"), [("3", [3]), ("2,4", [2, 4]), ("0-3", [0, 1, 2, 3]), ("5, 0-2,1", [5, 0, 1, 2])]
)
def test_layers_are_numbers_and_ranges(text, layers):
    assert model._layers(text) == layers


@pytest.mark.parametrize("text", ["", "x", "3-1", "1-", "-1", "1;2", "99999999999"])
def test_what_names_no_layers_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="names no layers"):
        model._layers(text)
