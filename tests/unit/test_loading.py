"""Finding models and autoencoders by name, and what is said where they cannot be found."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from axon_widget.embedded import STORIES
from axon_widget.engine.tracer import Tracer
from axon_widget.widget import AxonWidget
from tests.unit import tiny
from tests.unit.fakes import message

HOOK = "blocks.1.hook_resid_pre"


def test_the_embedded_model_by_its_names(tracer):
    again = Tracer.load("stories15M", f"embedded/{STORIES.hook}", device="cpu")
    assert again.info == tracer.info
    card = tracer.info["saes"][0]["card"]  # see test_card.py
    assert ["features", f"{tracer.readers[0].d_sae:,} over 288 dimensions"] in card
    sae = {
        "hook": STORIES.hook,
        "layer": 3,
        "d_sae": tracer.readers[0].d_sae,
        "neuronpedia": "",
        "labels": tracer.readers[0].labels.source,
    }
    assert tracer.info == {
        "model": "stories15M",
        "sae": f"embedded/{STORIES.hook}",
        **sae,
        "context": 256,
        "device": "cpu",
        "fallback": "",
        "saes": [{"name": f"embedded/{STORIES.hook}", "title": "layer 3", "context": 256, "card": card, **sae}],
    }
    assert tracer.info["d_sae"] > 1000
    assert "stories" in tracer.info["labels"]


def test_directories(tiny_model, tmp_path):
    sae = tiny.save_sae(tmp_path, HOOK)
    loaded = Tracer.load(str(tiny_model), sae, device="cpu")
    [reader] = loaded.readers
    assert (reader.hook, reader.layer, reader.d_sae) == (HOOK, 1, tiny.FEATURES)
    assert loaded.info["context"] == tiny.CONTEXT
    assert loaded.run(tiny.PROMPT, max_tokens=2).origin.saes == ((str(sae), HOOK, 1, tiny.FEATURES, None),)


@pytest.mark.parametrize("name", tiny.FAMILIES)
def test_every_family_of_models_loads_and_writes_as_transformers_does(family, tmp_path, name):
    tracer = Tracer.load(str(family(name)), tiny.save_sae(tmp_path, HOOK))
    trace = tracer.run(tiny.PROMPT, temperature=1, max_tokens=15, seed=1)
    plain = AutoModelForCausalLM.from_pretrained(family(name)).eval()
    with torch.inference_mode():
        expected = plain(torch.tensor([[step.token_id for step in trace]]), use_cache=False).logits[0].log_softmax(-1)
    for before, step in zip(expected[:-1], trace[1:], strict=True):
        assert step.logprob == pytest.approx(float(before[step.token_id]), abs=1e-4)


def test_several_saes_are_loaded_in_the_order_of_their_depth(tiny_model, tmp_path):
    hooks = ["blocks.1.hook_resid_post", "blocks.0.hook_resid_pre", HOOK]
    paths = [tiny.save_sae(tmp_path / hook, hook) for hook in hooks]
    tracer = Tracer.load(str(tiny_model), paths)
    assert [reader.hook for reader in tracer.readers] == [hooks[1], hooks[2], hooks[0]]
    assert [sae["hook"] for sae in tracer.info["saes"]] == [hooks[1], hooks[2], hooks[0]]
    assert tracer.info["hook"] == hooks[1]


def test_no_sae_at_all_is_refused(tiny_model):
    with pytest.raises(ValueError, match="list of SAEs is empty"):
        Tracer.load(str(tiny_model), [])


def test_a_name_that_is_none_is_refused(tiny_model):
    with pytest.raises(TypeError, match="text or a path"):
        Tracer.load(str(tiny_model), [3])
    with pytest.raises(TypeError, match="text or a path"):
        Tracer.load(3)


def test_progress_is_told(tiny_model, tmp_path):
    said = []
    Tracer.load(str(tiny_model), tiny.save_sae(tmp_path, HOOK), progress=said.append)
    assert any(str(tiny_model) in sentence for sentence in said)


def refuse_fields(tiny_model, tmp_path):
    directory = tmp_path / "sae"
    (tmp_path / "empty").mkdir()
    cut = tiny.save_sae(tmp_path / "cut", HOOK)
    (cut / "sae_weights.safetensors").write_bytes((cut / "sae_weights.safetensors").read_bytes()[:-100])

    def damaged(name, **changes):
        folder = tiny.save_sae(tmp_path / name, HOOK)
        config = json.loads((folder / "cfg.json").read_text()) | changes
        (folder / "cfg.json").write_text(json.dumps({k: v for k, v in config.items() if v is not None}))
        return str(tiny_model), folder

    half = damaged("half")
    (half[1] / "cfg.json").write_text('{"d_sae": 96,')
    return {
        "weights cut short": ((str(tiny_model), cut), r"cut is damaged.*Safetensor"),
        "a configuration cut short": (half, r"half is damaged"),
        "no width": (damaged("wideless", d_sae=None), r"wideless is damaged.*d_sae"),
        "metadata that are a text": (damaged("text", metadata="x"), r"text is damaged"),
        "an unknown architecture": (damaged("evil", architecture="evil"), r"evil is damaged.*evil"),
        "an unknown model": (("gpt2-smal", None), r"gpt2-smal.*Did you mean.*gpt2-small"),
        "a model without autoencoders": (("bert-base", None), r"bert-base"),
        "an unknown release": ((None, "gpt2-small-res-jx/blocks.8.hook_resid_pre"), r"no SAE.*Did you mean.*res-jb"),
        "an unknown id": ((None, "gpt2-small-res-jb/blocks.88.hook_resid_pre"), r"no SAE.*Did you mean.*blocks\.8\."),
        "a release of many": ((None, "gpt2-small-res-jb"), r"holds \d+ SAEs.*gpt2-small-res-jb/ID"),
        "a layer and an autoencoder": (("gpt2-small@8", "gpt2-small@3"), r"names an SAE already"),
        "an unknown embedded one": (("embedded", "blocks.9.hook_resid_pre"), rf"no SAE.*{STORIES.hook}"),
        "a directory without one": ((str(tiny_model), tmp_path / "empty"), r"no cfg\.json"),
        "an autoencoder without its model": ((None, tiny.save_sae(directory, HOOK)), r"which model.*model="),
        "a hook point too deep": (
            (str(tiny_model), tiny.save_sae(tmp_path / "deep", "blocks.7.hook_resid_pre")),
            r"no hook point 'blocks\.7\.hook_resid_pre' \(2 blocks\)",
        ),
        "a hook point misspelt": (
            (str(tiny_model), tiny.save_sae(tmp_path / "misspelt", "blocks.1.hook_residpre")),
            r"no hook point.*Did you mean.*blocks\.1\.hook_resid_pre",
        ),
        "the wrong width": (
            (str(tiny_model), tiny.save_sae(tmp_path / "wide", HOOK, width=48)),
            r"reads 48 dimensions.*has 32",
        ),
        "another model's autoencoder": (
            ("embedded", str(tiny.save_sae(tmp_path / "other", "blocks.3.hook_resid_pre"))),
            r"reads 32 dimensions.*has 288",
        ),
    }


CASES = [
    "weights cut short",
    "a configuration cut short",
    "no width",
    "metadata that are a text",
    "an unknown architecture",
    "an unknown model",
    "a model without autoencoders",
    "an unknown release",
    "an unknown id",
    "a release of many",
    "a layer and an autoencoder",
    "an unknown embedded one",
    "a directory without one",
    "an autoencoder without its model",
    "a hook point too deep",
    "a hook point misspelt",
    "the wrong width",
    "another model's autoencoder",
]


@pytest.mark.parametrize("case", CASES)
def test_what_cannot_be_loaded_is_refused_with_its_reason(tiny_model, tmp_path, case):
    (model, sae), reason = refuse_fields(tiny_model, tmp_path)[case]
    with pytest.raises(ValueError, match=reason):
        Tracer.load(model, sae, device="cpu")


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "tpu", "", 0, None])
def test_an_unknown_device_is_refused(device):
    with pytest.raises(ValueError, match="device"):
        Tracer.load("embedded", device=device)


def test_a_gpu_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ValueError, match=r"'cuda:2': this PyTorch sees cuda:0, cuda:1\."):
        Tracer.load("embedded", device="cuda:2")


def test_an_unknown_dtype_is_refused():
    with pytest.raises(ValueError, match=r"int8.*float32"):
        Tracer.load("embedded", dtype="int8")


def test_the_widget_says_it_and_then_loads_another(tiny_model, tmp_path):
    sae = tiny.save_sae(tmp_path / "good", HOOK)
    widget = AxonWidget(model="gpt2-smal")
    try:
        with pytest.raises(RuntimeError, match="Did you mean"):
            widget.wait(60)
        assert "Did you mean" in widget.error
        assert widget.status.startswith("failed: ")
        widget.load(str(tiny_model), tiny.save_sae(tmp_path / "wide", HOOK, width=48))
        with pytest.raises(RuntimeError, match="reads 48 dimensions"):
            widget.wait(60)
        widget.load(str(tiny_model), sae)
        assert widget.generate(tiny.PROMPT, max_tokens=3) is None
        assert widget.wait(60).finish in ("length", "eos")
        widget.load(str(tiny_model), str(tmp_path / "none"))
        with pytest.raises(RuntimeError, match="no SAE"):
            widget.wait(60)
        assert widget.status.startswith("idle")
        widget.generate(tiny.PROMPT, max_tokens=3)
        widget.wait(60)
        assert widget.error == ""
    finally:
        widget.close()


def test_what_failed_to_load_is_loaded_again_where_the_view_asks_for_it(tiny_model, tmp_path):
    widget = AxonWidget(model=str(tiny_model), sae=str(tmp_path / "late"))
    try:
        with pytest.raises(RuntimeError, match="no SAE"):
            widget.wait(60)
        assert widget.status.startswith("failed: ")
        tiny.save_sae(tmp_path / "late", HOOK)
        message(widget, kind="reload")
        widget.wait(60)
        assert (widget.status, widget.error) == ("idle", "")
        assert widget.info["model"] == str(tiny_model)
    finally:
        widget.close()


def test_closing_while_a_real_model_loads():
    widget = AxonWidget(model="embedded")
    widget.close()
    assert widget.status == "closed"
    widget._session.close(timeout=60)
    assert not widget._session._thread.is_alive()
    assert widget.tracer is None


def test_several_load_at_once(tiny_model, tmp_path):
    sae, found, wrong = tiny.save_sae(tmp_path, HOOK), [], []

    def load():
        try:
            found.append(Tracer.load(str(tiny_model), sae))
        except Exception as error:
            wrong.append(error)

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    texts = {tracer.run(tiny.PROMPT, temperature=0, max_tokens=5).text for tracer in found}
    assert len(texts) == 1


DEFAULT = """
from axon_widget import AxonWidget
w = AxonWidget()
w.wait(100)
assert w.status.startswith("idle: "), w.status
assert "stories15M" in w.status and "gpt2-small" in w.status and "neither cached nor reachable" in w.status, w.status
assert w.info["model"] == "stories15M" and w.info["fallback"] in w.status, w.info
assert w.error == "", w.error
w.generate("Once upon a time", max_tokens=3, temperature=0)
trace = w.wait(100)
assert trace.finish == "length" and trace.origin.model == "stories15M"
assert "neither cached nor reachable" in w.status, w.status
"""

BY_NAME = """
from axon_widget import AxonWidget, Tracer
for arguments in ({"model": "gpt2-small"}, {"sae": "gpt2-small-res-jb/blocks.8.hook_resid_pre"}):
    try:
        Tracer.load(**arguments)
    except ConnectionError as error:
        assert "gpt2" in str(error) and "neither in the cache nor reachable" in str(error), error
        assert "model='embedded'" in str(error), error
    else:
        raise AssertionError("it loaded")
w = AxonWidget(model="gpt2-small")
try:
    w.wait(100)
except RuntimeError as error:
    assert "neither in the cache nor reachable" in str(error), error
else:
    raise AssertionError("it loaded")
assert w.status.startswith("failed: ") and w.error, w.status
w.load("embedded")
w.generate("Once upon a time", max_tokens=2)
w.wait(100)
assert w.info["model"] == "stories15M"
"""


def test_without_a_hub(tmp_path):
    # The hub's client reads these once, on import: hence a process of its own.
    settings = {
        **os.environ,
        "HF_HOME": str(tmp_path),
        "HF_ENDPOINT": "http://127.0.0.1:9",  # nobody listens there
        "HF_HUB_OFFLINE": "0",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    settings.pop("HF_HUB_CACHE", None)
    done = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "-c", DEFAULT + BY_NAME],
        env=settings,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_what_is_loaded_is_shared_but_a_directory_is_read_anew(tiny_model, tmp_path):
    assert Tracer.load("embedded", device="cpu") is Tracer.load("embedded", device="cpu")
    sae = tiny.save_sae(tmp_path, "blocks.1.hook_resid_pre")
    assert Tracer.load(str(tiny_model), sae) is not Tracer.load(str(tiny_model), sae)
