"""The card of an SAE: what lies beside it, in words."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from axon_widget import card, catalog, directory, embedded
from axon_widget.cli import main
from axon_widget.embedded import SHIPPED, STORIES
from axon_widget.engine.tracer import Tracer
from tests.unit import tiny

README = Path(__file__).parents[2] / "README.md"
HOOK = "blocks.1.hook_resid_pre"
METRICS = {
    "tokens": 200_123,
    "explained_variance": 0.91234,
    "l0": 32.0,
    "dead_share": 0.0123,
    "loss_recovered": 0.9871,
    "labels_live": 3000,
    "labels_clear": 2500,
    "labels_mean_score": 0.871,
}
STABILITY = {"found_again": 0.62, "matched": 0.58, "second_seed": 1, "second_tokens": 2_000_000}


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    model = replace(STORIES, name="made-up", aliases=(), release="made-up-saes", saes=tmp_path, hook=HOOK)
    monkeypatch.setattr(embedded, "SHIPPED", (model,))
    (tmp_path / HOOK).mkdir()
    config = {"metadata": {"dataset": "a\x1b text", "training_tokens": 10_000_000, "context_size": 256}}
    (tmp_path / HOOK / "cfg.json").write_text(json.dumps(config))
    (tmp_path / HOOK / "metrics.json").write_text(json.dumps(METRICS))
    return f"made-up-saes/{HOOK}"


def entry(name):
    release, _, hook = name.partition("/")
    return catalog.CatalogEntry(release, hook, "made-up", hook, 1, 3072, "topk", None, 32.0, "", True)


def test_a_card_tells_what_was_measured_and_what_was_not(shipped):
    told = dict(card.of_entry(entry(shipped)))
    assert told == {
        "model": "made-up",
        "hook point": HOOK,
        "architecture": "topk",
        "features": "3,072",
        "trained on": "a text",
        "training tokens": "10,000,000",
        "text length": "256 tokens",
        "explained variance": "0.912",
        "L0": "32",
        "dead features": "1.2%",
        "loss recovered": "0.987",
        "found again in a second seed": "not measured",
        "labels' detection score": "0.871 on average; chance .5",
        "measured on": "200,123 held-out tokens",
        "clear labels": "2,500 of 3,000 features that fired",
    }


def test_a_card_tells_how_stable_the_features_are(shipped, tmp_path):
    (tmp_path / HOOK / "metrics.json").write_text(json.dumps(METRICS | STABILITY))
    told = dict(card.of_entry(entry(shipped)))
    assert (told["found again in a second seed"], told["… one-to-one"]) == ("62.0%", "58.0%")
    assert told["… trained on"] == "2,000,000 tokens"


@pytest.mark.parametrize("text", ["", "[]", '{"explained_variance": "<b>", "tokens": [1], "l0": {"a": 1}}'])
def test_a_damaged_file_leaves_the_rest_of_the_card(shipped, tmp_path, text):
    (tmp_path / HOOK / "metrics.json").write_text(text)
    told = dict(card.of_entry(entry(shipped)))
    assert told["features"] == "3,072"
    assert "explained variance" not in told


def test_an_sae_from_elsewhere_has_what_its_catalog_tells():
    told = dict(card.of_entry(catalog.find("gpt2-small-res-jb/blocks.8.hook_resid_pre")))
    assert told["hook point"] == "blocks.8.hook_resid_pre"
    assert told["labels"] == "Neuronpedia gpt2-small/8-res-jb"
    assert "loss recovered" not in told


def test_a_loaded_sae_has_a_card(tiny_model, tmp_path):
    sae = tiny.save_sae(tmp_path, HOOK)
    told = dict(Tracer.load(str(tiny_model), sae).info["saes"][0]["card"])
    assert told["features"] == f"{tiny.FEATURES:,} over {tiny.WIDTH:,} dimensions"
    assert "explained variance" not in told
    (sae / "metrics.json").write_text(json.dumps(METRICS))
    assert dict(Tracer.load(str(tiny_model), sae).info["saes"][0]["card"])["explained variance"] == "0.912"


def test_the_command_shows_the_card_of_one_sae(capsys):
    name = f"{STORIES.release}/{STORIES.hook}"
    assert STORIES in SHIPPED
    assert main(["saes", name]) == 0
    out = capsys.readouterr().out
    for term, words in card.of_entry(catalog.find(name)):
        assert f"{term:<30}  {words}\n" in out
    assert "explained variance " in out
    assert main(["saes", "gpt2-small-res-jb"]) == 0
    assert "hook point  " not in capsys.readouterr().out  # several have no card


@pytest.mark.parametrize("name", [entry.name for entry in directory.shipped_entries()])
def test_the_readme_tells_what_was_measured(name):
    folder = embedded.folder_of(name)
    found = json.loads((folder / "metrics.json").read_text())
    width = json.loads((folder / "cfg.json").read_text())["d_sae"]
    numbers = [
        *(f"{width:,}", f"{found['l0']:.0f}", f"{found['explained_variance']:.3f}", f"{found['loss_recovered']:.3f}"),
        *(f"{found['dead_share']:.1%}", f"{found['found_again']:.0%}" if "found_again" in found else "–"),
        f"{found['labels_clear'] / found['labels_live']:.0%}",
    ]
    assert f"| `{name}` | {' | '.join(numbers)} |" in README.read_text(encoding="utf-8")
