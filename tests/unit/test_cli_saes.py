"""``axon saes``."""

import argparse
import csv
import io
import json
import os
import sys

import pytest

from axon_widget import available_saes, catalog, directory
from axon_widget.cli import saes


@pytest.fixture
def run(capsys):
    """Gives a function that runs the command and returns what it printed."""

    def command(*arguments):
        parser = argparse.ArgumentParser()
        saes.add_arguments(parser)
        assert saes.run(parser.parse_args(arguments)) == 0
        return capsys.readouterr().out

    return command


def names(out):
    """The names in the printed table."""
    table = out.split("\n\n")[1].splitlines()
    assert table[0].split()[0] == "name"
    return [line.split()[0] for line in table[1:]]


def test_the_table_shows_the_first_forty_and_how_to_load_one(run):
    out = run()
    shipped = directory.shipped_entries()
    count, models = len(available_saes()) + len(shipped), {*available_saes().model, *(sae.model for sae in shipped)}
    assert out.startswith(f"{count:,} SAEs of {len(models)} models\n")
    assert names(out) == [entry.name for entry in catalog.search(limit=40)[0]]
    assert "embedded/blocks.3.hook_resid_pre" in names(out)
    assert "--all" in out
    assert f'axon "Some text" --sae {names(out)[0]}' in out


def test_it_can_be_narrowed(run):
    out = run("--model", "gpt2", "--layer", "8", "--hook", "resid_pre", "--labelled")
    table = available_saes("gpt2-small", layer=8, hook="resid_pre", labelled=True)
    assert sorted(names(out)) == sorted(table.name)
    assert "--all" not in out
    line = next(line for line in out.splitlines() if line.startswith("gpt2-small-res-jb/blocks.8.hook_resid_pre"))
    assert line.split()[1:] == ["8", "yes", "60", "90%", "blocks.8.hook_resid_pre", "gpt2-small"]
    assert names(run("gpt2-small", "res-jb", "layer", "8"))[0] == "gpt2-small-res-jb/blocks.8.hook_resid_pre"
    assert len(names(run("gpt2-small", "--all"))) == len(available_saes("gpt2-small")) > 40


def test_what_cannot_be_traced_is_marked(run):
    out = run("--model", "qwen3-4b")
    assert "* cannot be traced" in out
    assert "--sae" not in out
    assert "mwhanna-qwen3-4b-transcoders/layer_0 *" in out
    assert "cannot be traced" not in run("--model", "gpt2-small")


def test_nothing_found_is_said(run):
    assert run("no", "such", "sae") == "0 SAEs of 0 models\n"


def test_only_what_is_on_this_machine(run, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("AXON_CACHE_DIR", str(tmp_path))
    own = [entry.name for entry in directory.shipped_entries() if entry.release == "embedded"]
    assert sorted(names(run("--cached"))) == sorted(own)
    assert "embedded/blocks.3.hook_resid_pre" in own


@pytest.mark.parametrize("width", [40, 90, 120, 200])
def test_the_table_fits_the_terminal(run, monkeypatch, width):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((width, 24)))
    out = run("--model", "gpt2-small", "--hook", "resid_mid")
    assert len(names(out)) == 24
    table = out.split("\n\n")[1].splitlines()
    longest = max(map(len, names(out)))
    assert max(map(len, table)) <= max(width, longest)
    assert ("model" in table[0]) == (width == 200)


def test_json_and_csv_hold_all_that_is_known(run):
    entries = {entry.name: entry for entry in catalog.search("pythia", limit=None)[0]}
    records = json.loads(run("--json", "pythia"))
    rows = list(csv.DictReader(io.StringIO(run("--csv", "pythia"))))
    assert {record["name"] for record in records} == {row["name"] for row in rows} == set(entries)
    for record, row in zip(records, rows, strict=True):
        entry = entries[record["name"]]
        for field, value in entry._asdict().items():
            assert record[field] == (None if value == "" else value)
            assert row[field] == ("" if value is None else str(value))
        assert record["cached"] is False
        assert record["refused"] is None
    assert json.loads(run("--json", "qwen3-4b"))[0]["refused"] == catalog.refusal(catalog.search("qwen3-4b")[0][0])


def test_a_misspelt_model_is_an_error_that_names_the_right_one(run):
    with pytest.raises(ValueError, match="gpt2-small"):
        run("--model", "gpt2-smal")
