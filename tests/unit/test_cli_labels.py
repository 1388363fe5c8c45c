"""The ``axon labels`` command."""

import argparse
import json
import sys

import pandas as pd
import pytest

from axon_widget import cli
from axon_widget.catalog import find
from axon_widget.cli import labels as command
from axon_widget.cli import main
from axon_widget.labels.sources import source_of
from axon_widget.labels.store import Store
from tests.standins.neuronpedia import HOSTILE, HOSTILE_CLEAN, Neuronpedia

SAE = "gpt2-small-res-jb/blocks.8.hook_resid_pre"
FILES = 16  # batches of both kinds


@pytest.fixture
def host(monkeypatch, tmp_path):
    monkeypatch.setitem(cli._COMMANDS, "labels", "fetch, export and count labels")
    with Neuronpedia() as running:
        for name in ("AXON_NEURONPEDIA_URL", "AXON_NEURONPEDIA_DATASETS_URL"):
            monkeypatch.setenv(name, running.url)
        for name in ("HF_HUB_OFFLINE", "AXON_OFFLINE"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("AXON_CACHE_DIR", str(tmp_path / "cache"))
        yield running


@pytest.fixture
def run(host, capsys):
    def ran(*arguments):
        code = main(["labels", *map(str, arguments)])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return code, out, err

    return ran


def test_the_names_of_saes_are_those_of_the_catalog(host):
    assert find(SAE).neuronpedia == host.address


def test_fetch_brings_all_labels_once(host, run):
    code, out, err = run("fetch", SAE)
    assert (code, err) == (0, "")
    assert "900 labels" in out
    asked = host.asked(".jsonl.gz")
    assert asked == FILES
    assert run("fetch", SAE)[0] == 0
    assert host.asked(".jsonl.gz") == asked
    labels = source_of(None, find(SAE).neuronpedia, 24_576, None)
    assert labels.name(5) == "references to things of kind 5"
    labels.start()  # asks nobody
    assert host.asked(".jsonl.gz") == asked


def test_several_at_once_and_none_of_them_if_one_is_wrong(host, run):
    code, _, err = run("fetch", SAE, "gpt2-small-res-jb/blocks.99.hook_resid_pre")
    assert code == 1
    assert "blocks.99" in err
    assert host.paths == []


def test_a_terminal_sees_a_bar(host, run, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    _, _, err = run("fetch", SAE)
    assert "gpt2-small/8-res-jb features" in err
    assert "8/8" in err


def test_it_goes_on_where_it_was_stopped(host, run):
    code, out, err = run("fetch", SAE, "--limit-requests", 9)
    assert code == 1
    assert out == ""
    assert "No more requests" in err
    stored = len(Store().batches(host.address))
    assert 0 < stored < FILES
    assert host.asked() == 9
    code, out, _ = run("fetch", SAE)
    assert code == 0
    assert "900 labels" in out
    assert host.asked(".jsonl.gz") == FILES


def test_the_limit_is_for_all_of_them(host, run):
    assert run("fetch", SAE, SAE, "--limit-requests", 24)[0] == 1
    assert host.asked() == 24  # the first needs 22


def test_an_interrupt_keeps_what_is_there(host, run, monkeypatch):
    put, count = Store.put_batch, []

    def interrupted(*arguments):
        put(*arguments)
        count.append(1)
        if len(count) == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(Store, "put_batch", interrupted)
    assert run("fetch", SAE)[0] == 130
    monkeypatch.setattr(Store, "put_batch", put)
    assert len(Store().batches(host.address)) == 5
    assert run("fetch", SAE)[0] == 0
    assert host.asked(".jsonl.gz") == FILES


@pytest.mark.parametrize(
    ("fault", "word"),
    [
        (("batch-3", "truncated", {}), "2 batches"),
        (("list-type", "html", {}), "list of batches"),
        (("list-type", "status", {"status": 403}), "403"),
    ],
)
def test_what_cannot_be_completed_is_told(host, run, fault, word):
    part, what, more = fault
    host.fault(part, what, **more)
    code, out, err = run("fetch", SAE)
    assert code == 1
    assert out == ""
    assert word in err
    assert err.startswith("axon: ")
    host.heal()
    assert run("fetch", SAE)[0] == 0


def test_a_dead_host_is_told(host, run, monkeypatch):
    host.__exit__()
    code, _, err = run("fetch", SAE)
    assert code == 1
    assert "cannot be reached" in err
    assert "run this again" in err


def test_a_limit_is_waited_for(host, run):
    host.fault("batch-3", "limit", times=1, headers={"Retry-After": "1"})
    assert run("fetch", SAE)[0] == 0
    assert host.asked(".jsonl.gz") == FILES + 1


def test_offline_is_told(host, run, monkeypatch):
    monkeypatch.setenv("AXON_OFFLINE", "1")
    code, _, err = run("fetch", SAE)
    assert code == 1
    assert "AXON_OFFLINE" in err
    assert host.paths == []


def test_a_store_that_cannot_be_written_is_told(host, run, tmp_path):
    (tmp_path / "cache").touch()
    code, _, err = run("fetch", SAE)
    assert code == 1
    assert "Labels are not kept" in err


@pytest.mark.parametrize("arguments", [("fetch", "gpt2-smal-res-jb"), ("fetch", SAE, "--limit-requests", 0)])
def test_bad_input_is_one_clear_sentence(run, host, arguments):
    code, out, err = run(*arguments)
    assert (code, out) == (1, "")
    assert err.startswith("axon: ")
    assert host.paths == []


def test_an_sae_without_labels_is_told(run):
    code, _, err = run("fetch", "embedded")
    assert code == 1
    assert "no labels on Neuronpedia" in err


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_what_is_exported_can_be_given_as_labels(host, run, tmp_path, ending):
    host.descriptions = {1: HOSTILE, 2: "=1+1", 4: "-ing"}
    run("fetch", SAE)
    stored = source_of(None, host.address, 24_576, None)
    file = tmp_path / f"own.{ending}"
    code, out, _ = run("export", SAE, file)
    assert code == 0
    assert str(file) in out
    given = source_of(file, "", 24_576, None)
    assert dict(given.names()) == dict(stored.names())
    assert given.name(1) == HOSTILE_CLEAN
    table = pd.read_csv(file) if ending == "csv" else pd.read_parquet(file)
    assert list(table["index"]) == list(range(1_000))
    assert (given.name(2), given.name(4)) == ("=1+1", "-ing")
    assert list(table["label"][[2, 4]]) == (["'=1+1", "'-ing"] if ending == "csv" else ["=1+1", "-ing"])
    row = table.iloc[25]
    assert row["frequency"] == 0.001
    assert row["explainer"] == "gpt-3.5-turbo"
    boosts, others = row["boosts"], row["others"]
    assert (json.loads(boosts) if ending == "csv" else list(boosts)) == [" yes25", "↵", "evil"]
    assert (json.loads(others) if ending == "csv" else list(others)) == ["another view of 25"]
    assert list(table[table["dense"]]["index"]) == list(range(99, 1_000, 100))


def test_export_as_json(host, run, tmp_path):
    run("fetch", SAE)
    run("export", SAE, tmp_path / "own.json")
    rows = json.loads((tmp_path / "own.json").read_text(encoding="utf-8"))
    assert len(rows) == 1_000
    assert rows[5]["label"] == "references to things of kind 5"
    assert (rows[3]["label"], rows[3]["score"], rows[3]["fetched"]) == ("", None, "")


@pytest.mark.parametrize(("file", "word"), [("own.txt", ".parquet"), ("no/folder/own.csv", "no directory")])
def test_a_file_that_cannot_be_written_is_told(run, tmp_path, file, word):
    code, _, err = run("export", SAE, tmp_path / file)
    assert code == 1
    assert word in err


def test_nothing_stored_is_told(run, tmp_path):
    for arguments in (("export", SAE, tmp_path / "own.csv"), ("stats",), ("stats", SAE)):
        code, _, err = run(*arguments)
        assert code == 1
        assert "axon labels fetch" in err
    assert not (tmp_path / "own.csv").exists()


def test_stats_count_what_is_stored(host, run):
    run("fetch", SAE)
    Store().put_answer("gpt2-small/9-res-jb", 3, "2026-02-02", [], None)
    code, out, _ = run("stats")
    assert code == 0
    lines = [line.split() for line in out.splitlines()]
    assert lines[1][:6] == ["gpt2-small/8-res-jb", "900", "0", "0", "1,000", str(FILES)]
    assert lines[2] == ["gpt2-small/9-res-jb", "0", "1", "1", "0", "0", "not", "yet"]
    assert str(Store().path) in out
    assert "9-res-jb" not in run("stats", SAE)[1]


def test_its_arguments_have_words():
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    assert parser.parse_args(["fetch", "a", "b"]).sae == ["a", "b"]


def test_labels_that_come_with_the_package_are_exported(run, tmp_path):
    from axon_widget.embedded import STORIES
    from axon_widget.labels import bundle

    assert run("export", "embedded/" + STORIES.hook, tmp_path / "own.json")[0] == 0
    rows = json.loads((tmp_path / "own.json").read_text(encoding="utf-8"))
    known = bundle.summaries(STORIES.sae_dir(STORIES.hook) / bundle.LABELS)
    assert {row["index"]: (row["label"], row["score"]) for row in rows} == {
        feature: (one.label, one.score) for feature, one in known.items()
    }
    assert all(len(row["boosts"]) == 8 for row in rows)
