"""Loading from a hub: what is asked for and in which order, what the cache spares, and all that can go wrong."""

import shutil
import time
from pathlib import Path

import pytest
from huggingface_hub import _tree_cache, constants, hf_hub_download
from sae_lens.loading import pretrained_sae_loaders

from axon_widget.engine import hub as client
from axon_widget.engine import memory
from axon_widget.engine import tracer as engine
from tests.standins import small
from tests.standins.hub import Hub
from tests.unit import tiny

WEIGHTS = "sae_weights.safetensors"


@pytest.fixture
def hub(small_repositories, monkeypatch, tmp_path):
    monkeypatch.setattr(client, "_PROBE_SECONDS", 0.5)
    monkeypatch.setattr(client, "_WORTH_TELLING", 1)
    with Hub(*small_repositories) as running:
        small.connect(monkeypatch, running, tmp_path / "cache")
        yield running


def load(*names, said=None, **keywords):
    engine._loaded.clear()  # what is in memory would not be looked for
    report = (said if said is not None else []).append
    names = names or ("gpt2-small", small.RESIDUAL)
    return engine.Tracer.load(*names, device="cpu", labels=False, progress=report, **keywords)


def writes(tracer):
    trace = tracer.run(tiny.PROMPT, max_tokens=4, temperature=0)
    assert any(step.features for step in trace)
    return [(step.token, [(f.id, f.activation) for f in step.features]) for step in trace]


def test_configuration_then_model_then_weights_each_once_and_told(hub, capfd):
    said = []
    made = load(said=said)
    files = ("cfg.json", "model.safetensors", WEIGHTS)
    got = [name for path in hub.paths("GET") for name in files if path.endswith("/" + name)]
    assert got == list(files)
    assert any(sentence.startswith("gpt2, 100 % of ") for sentence in said)
    assert any(sentence.startswith(f"{small.RESIDUAL}, 100 % of ") for sentence in said)
    assert made.info["neuronpedia"] == "gpt2-small/1-res-jb"
    assert not any("README" in path for path in hub.paths())
    assert "|" not in capfd.readouterr().err, "a progress bar was drawn"
    first = writes(made)

    hub.requests.clear()
    for names in (("gpt2-small@1", None), ("gpt2", small.RESIDUAL), (None, "gpt2-small@1")):
        assert writes(load(*names)) == first
    assert hub.requests == [], "what is cached was asked for again"


def test_offline_what_is_cached_loads_and_what_is_not_is_named(hub, monkeypatch):
    first = writes(load())
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.requests.clear()
    assert writes(load("gpt2", small.RESIDUAL)) == first
    with pytest.raises(
        ConnectionError, match=r"hook_z is not .*in the cache.*HF_HUB_OFFLINE=1.*hf download ckkissane/"
    ):
        load("gpt2-small", small.HEADS)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", constants.HF_HUB_CACHE + "-empty")
    with pytest.raises(ConnectionError, match="HF_HUB_OFFLINE=1"):
        load(None, small.RESIDUAL)
    assert hub.requests == []


def test_offline_the_default_gives_way_to_the_embedded_model(hub, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    made = load(None, None)
    assert made.info["model"] == "stories15M"
    assert "gpt2-small is neither cached nor reachable" in made.fallback


def test_a_hub_that_is_silent_is_given_up_soon_and_spares_what_is_cached(hub):
    first = writes(load())
    hub.fault("dead", "")
    assert writes(load("gpt2", small.RESIDUAL)) == first
    began = time.monotonic()
    with pytest.raises(ConnectionError, match=r"neither in the cache nor reachable.*model='embedded'"):
        load("gpt2-small", small.HEADS)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("kind", ["hangs up", "broken", "portal"])
def test_a_hub_that_fails_is_no_crash(hub, kind):
    hub.fault(kind, "/api/models/")
    with pytest.raises(ConnectionError, match="neither in the cache nor reachable"):
        load()


TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt")


@pytest.mark.parametrize("missing", [("model.safetensors",), TOKENIZER], ids=["weights", "tokenizer"])
def test_what_is_half_in_the_cache_is_completed(hub, missing):
    first = writes(load())
    cache = Path(constants.HF_HUB_CACHE) / "models--gpt2"
    # The client notes what belongs to a model, but only where it was asked for a whole one.
    shutil.rmtree(cache / "trees")
    _tree_cache._IN_MEMORY_TREE_CACHE.clear()
    [snapshot] = cache.glob("snapshots/*")
    for name in missing:
        (snapshot / name).unlink()
    assert writes(load()) == first


def test_a_slow_hub_is_waited_for(hub):
    hub.fault("slow", "", value=0.1)
    writes(load())


def test_a_download_that_breaks_goes_on_where_it_broke(hub, monkeypatch):
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 4096)  # what came is kept in such pieces
    hub.fault("cut", "model.safetensors", times=1)
    writes(load())
    ranges = [wanted for method, path, wanted in hub.requests if method == "GET" and path.endswith("model.safetensors")]
    assert len(ranges) == 2
    assert ranges[0] == ""
    assert int(ranges[1].removeprefix("bytes=").rstrip("-")) > 1000


@pytest.mark.parametrize("file", ["model.safetensors", WEIGHTS])
def test_a_file_of_the_wrong_size_is_not_kept(hub, file):
    hub.fault("short", file, times=1)
    with pytest.raises(ConnectionError, match=r"came incomplete.*load it again"):
        load()
    writes(load())


def test_gated_models_and_saes_say_what_to_do(hub):
    hub.fault("gated", "/openai-community/gpt2/")
    with pytest.raises(
        ValueError, match=r"gpt2 is gated: accept its licence at https://huggingface\.co/gpt2 .*hf auth"
    ):
        load()
    assert not any(path.endswith(WEIGHTS) for path in hub.paths())
    hub.faults.clear()
    hub.fault("gated", "/jbloom/")
    with pytest.raises(ValueError, match=r"is gated: .*huggingface\.co/jbloom/GPT2-Small-SAEs-Reformatted .*hf auth"):
        load("gpt2", small.RESIDUAL)
    assert pretrained_sae_loaders.hf_hub_download is hf_hub_download, "SAELens was left changed"


def test_a_model_in_a_directory_takes_an_sae_from_the_hub(hub, tiny_model):
    assert writes(load(str(tiny_model), small.RESIDUAL)) == writes(load())
    with pytest.raises(ValueError, match=r"is a directory.*name one with sae="):
        load(str(tiny_model))


def test_what_is_missing_on_the_hub_is_named(hub, tmp_path):
    hub.fault("missing", "sparsity.safetensors")
    writes(load())
    hub.fault("missing", "_cfg.json")
    with pytest.raises(ValueError, match=r"hook_z lacks a file on the hub: .*_cfg\.json"):
        load("gpt2-small", small.HEADS)
    with pytest.raises(ValueError, match="hub has no 'EleutherAI/pythia-70m-deduped'"):
        load("EleutherAI/pythia-70m-deduped", tiny.save_sae(tmp_path / "sae", "blocks.1.hook_resid_pre"))


def test_a_model_without_safetensors_is_refused(hub, small_repositories, tmp_path):
    (tmp_path / "old").mkdir()
    for name in ("config.json", "vocab.json", "merges.txt"):
        (tmp_path / "old" / name).write_bytes((small_repositories[0].folder / name).read_bytes())
    (tmp_path / "old" / "pytorch_model.bin").write_bytes(b"no pickles")
    hub.repositories["gpt2"] = small.Repository("gpt2", tmp_path / "old")
    with pytest.raises(ValueError, match="gpt2 has no weights in the safetensors format"):
        load()
    assert not any(path.endswith(".bin") for path in hub.paths())


def test_what_cannot_be_traced_is_refused_before_anything_is_asked_for(hub):
    with pytest.raises(ValueError, match=r"cannot be traced\. A transcoder"):
        load(None, "gemma-scope-2b-pt-transcoders/layer_0/width_16k/average_l0_76")
    assert hub.requests == []


def test_saes_of_two_models_are_refused_before_the_model_is_asked_for(hub):
    other = "gemma-scope-2b-pt-res-canonical/layer_12/width_16k/canonical"
    with pytest.raises(ValueError, match=r"SAE of gemma-2-2b, not of gpt2-small"):
        load(None, [small.RESIDUAL, other])
    with pytest.raises(ValueError, match=r"SAE of gpt2-small, not of google/gemma-2-2b"):
        load("google/gemma-2-2b", small.RESIDUAL)
    assert not any("gpt2/" in path or "gemma" in path for path in hub.paths())


def test_the_saes_own_word_for_its_model_counts(hub):
    # SAELens' directory lists it under gemma-2-9b; its configuration takes no download.
    sae = "gemma-scope-9b-it-res/layer_20/width_16k/average_l0_91"
    for model in (None, "gemma-2-9b-it", "google/gemma-2-9b-it"):
        with pytest.raises(ValueError, match="hub has no 'google/gemma-2-9b-it'"):
            load(model, sae)
    with pytest.raises(ValueError, match="SAE of gemma-2-9b-it, not of gemma-2-2b"):
        load("gemma-2-2b", sae)


def test_a_model_that_cannot_fit_is_refused_before_it_is_downloaded(hub, monkeypatch):
    monkeypatch.setattr(memory, "room", lambda device: (10_000, 100_000))
    with pytest.raises(RuntimeError, match=r"gpt2-small needs .* MB of memory, but cpu has 0 MB.*bfloat16.*half"):
        load()
    assert not any(path.endswith(".safetensors") for path in hub.paths())
