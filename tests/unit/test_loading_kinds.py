"""SAEs of every kind as SAELens loads them; what they say of their model; where models go and what does not fit."""

import json

import psutil
import pytest
import torch
from sae_lens.analysis.sae_transformer_bridge import SAETransformerBridge
from sae_lens.saes import BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig
from sae_lens.saes.sae import SAE, SAEMetadata
from transformers import AutoModelForCausalLM

from axon_widget.engine import loading, memory
from axon_widget.engine import tracer as engine
from axon_widget.engine.asked import AskedSAE, Place
from axon_widget.engine.tracer import Tracer
from tests.standins import small
from tests.standins.hub import Hub, Repository
from tests.unit import tiny
from tests.unit.test_features import assert_same, saelens

HOOK = "blocks.1.hook_resid_pre"


@pytest.fixture
def hub(small_repositories, monkeypatch, tmp_path):
    engine._loaded.clear()
    with Hub(*small_repositories) as running:
        small.connect(monkeypatch, running, tmp_path / "cache")
        yield running


@pytest.mark.parametrize("name", [name for name in small.KINDS if name != small.RESIDUAL])
def test_features_are_those_of_saelens(hub, tiny_model, name):
    hook, _ = small.KINDS[name]
    tracer = Tracer.load(None, name, device="cpu", labels=False)
    assert tracer.readers[0].hook == hook
    trace = tracer.run(tiny.PROMPT, max_tokens=12, seed=2)
    sae = SAE.from_pretrained(*name.split("/", 1), device="cpu")
    assert sae.cfg.normalize_activations == ("layer_norm" if "v5" in name else "none")
    bridge = SAETransformerBridge.boot_transformers(str(tiny_model), device="cpu", dtype=torch.float32)
    ids = torch.tensor([[step.token_id for step in trace]])
    with torch.inference_mode():
        _, cache = bridge.run_with_cache_with_saes(ids, saes=[sae], use_error_term=True)
    assert_same(trace, cache[bridge.get_sae_hook_name(sae, "hook_sae_acts_post")][0], tiny.FEATURES)


def test_several_kinds_of_one_model_are_read_in_one_pass(hub):
    names = list(small.KINDS)
    tracer = Tracer.load("gpt2-small", names, device="cpu", labels=[{0: name} for name in names])
    assert {reader.name: reader.labels.name(0) for reader in tracer.readers} == {name: name for name in names}
    assert len(hub.paths("GET")) == len(set(hub.paths("GET"))) + len(names), "only the probes come twice"
    step = tracer.run(tiny.PROMPT, max_tokens=1)[2]
    assert {feature.sae for feature in step.features} == set(range(len(names)))
    with pytest.raises(ValueError, match=f"holds 2 sources for {len(names)} SAEs"):
        Tracer.load("gpt2-small", names, labels=[None, None])


def test_what_saelens_saves_loads_and_knows_its_model(hub, tiny_model, tmp_path):
    metadata = SAEMetadata(hook_name=HOOK, model_name="gpt2-small", neuronpedia_id="gpt2-small/1-res-jb")
    torch.manual_seed(1)
    config = BatchTopKTrainingSAEConfig(d_in=tiny.WIDTH, d_sae=tiny.FEATURES, k=5, metadata=metadata)
    sae = BatchTopKTrainingSAE(config)
    sae.W_enc.data.mul_(20)
    sae.topk_threshold.fill_(0.5)
    sae.save_inference_model(tmp_path / "sae")
    tracer = Tracer.load(None, tmp_path / "sae", device="cpu", labels=False)
    assert tracer.model_name == "gpt2-small"
    assert tracer.info["neuronpedia"] == "gpt2-small/1-res-jb"
    trace = tracer.run(tiny.PROMPT, max_tokens=6)
    assert_same(trace, saelens(tiny_model, tmp_path / "sae", trace)[1], tiny.FEATURES)


REFUSED = {
    "unknown": (HOOK, {"load_in_8bit": True}, r"load_in_8bit=True.*not known"),
    "a checkpoint": (HOOK, {"checkpoint_value": 512}, r"checkpoint_value=512.*not known"),
    "folded": ("blocks.0.ln2.hook_normalized", {"fold_ln": True}, r"fold_ln=True, which changes what blocks\.0\.ln2"),
    "biases": ("blocks.0.attn.hook_z", {"fold_value_biases": True}, r"fold_value_biases=True, which changes"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_model_loaded_in_an_unknown_way_is_refused(hub, tmp_path, case):
    hook, kwargs, reason = REFUSED[case]
    with pytest.raises(ValueError, match=reason):
        Tracer.load("gpt2-small", tiny.save_sae(tmp_path, hook, kwargs=kwargs))
    assert hub.requests == []


def test_processing_that_changes_nothing_at_the_hook_point_is_none(tiny_model, tmp_path):
    harmless = {
        "fold_ln": True,
        "center_unembed": True,
        "fold_value_biases": False,
        "n_devices": 2,
        "dtype": "bfloat16",
    }
    found = [
        Tracer.load(str(tiny_model), tiny.save_sae(tmp_path / str(bool(kwargs)), HOOK, kwargs=kwargs), device="cpu")
        for kwargs in ({}, harmless)
    ]
    one, other = (
        [(f.id, f.activation) for step in tracer.run(tiny.PROMPT, max_tokens=3, seed=1) for f in step.features]
        for tracer in found
    )
    assert one == other


def test_a_models_revision_is_the_one_asked_for(hub, tmp_path):
    sae = tiny.save_sae(tmp_path / "a", HOOK, kwargs={"revision": "step512"})
    with pytest.raises(ValueError, match="gpt2 has no such revision"):
        Tracer.load("gpt2-small", sae)
    assert "/api/models/gpt2/revision/step512" in hub.paths()
    with pytest.raises(ValueError, match="different revisions of gpt2-small"):
        Tracer.load("gpt2-small", [sae, tiny.save_sae(tmp_path / "b", HOOK)])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"metadata": {"hook_name": HOOK, "hook_name_out": "blocks.1.hook_mlp_out"}}, "is a transcoder: it reads"),
        ({"architecture": "temporal"}, "is a temporal SAE"),
        ({"normalize_activations": "expected_average_only_in"}, r"scaled as a whole.*fold them into it"),
        ({"metadata": {"hook_name": HOOK, "model_class_name": "HookedMamba"}}, "of a HookedMamba"),
    ],
)
def test_what_a_directory_holds_is_looked_at_before_the_model_is_asked_for(hub, tmp_path, change, reason):
    path = tiny.save_sae(tmp_path, HOOK) / "cfg.json"
    config = json.loads(path.read_text())
    change = {**change, "metadata": {**config["metadata"], **change.get("metadata", {})}}
    path.write_text(json.dumps({**config, **change}))
    with pytest.raises(ValueError, match=reason):
        Tracer.load("gpt2-small", tmp_path)
    assert hub.requests == []


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_reads_nearly_the_same(tiny_model, tmp_path, dtype):
    sae = tiny.save_sae(tmp_path, HOOK)
    whole, half = (Tracer.load(str(tiny_model), sae, device="cpu", dtype=kind) for kind in ("float32", dtype))
    assert half.readers[0].sae.W_dec.dtype == next(half.model.plain.parameters()).dtype == getattr(torch, dtype)
    one, other = (tracer.run(tiny.PROMPT, max_tokens=1)[3] for tracer in (whole, half))
    strongest = {feature.id: feature.activation for feature in one.features[:5]}
    for feature in other.features:
        if feature.id in strongest:
            assert feature.activation == pytest.approx(strongest.pop(feature.id), rel=0.05)
    assert not strongest


@pytest.mark.parametrize("device_map", ["cpu", "auto", {"": "cpu"}])
def test_a_device_map_is_handed_on(tiny_model, tmp_path, monkeypatch, device_map):
    handed = []
    load = AutoModelForCausalLM.from_pretrained
    monkeypatch.setattr(
        AutoModelForCausalLM,
        "from_pretrained",
        lambda *args, **kwargs: handed.append(kwargs["device_map"]) or load(*args, **kwargs),
    )
    tracer = Tracer.load(str(tiny_model), tiny.save_sae(tmp_path, HOOK), device_map=device_map)
    assert handed == [device_map]
    assert tracer.readers[0].sae.W_dec.device.type == "cpu"
    assert len(tracer.run(tiny.PROMPT, max_tokens=3)) > 3


def test_with_a_device_map_an_sae_goes_where_its_block_is(tiny_model, tmp_path):
    tracer = Tracer.load(str(tiny_model), tiny.save_sae(tmp_path, HOOK), device="cpu")
    tracer.model.plain.transformer.h[1].to("meta")  # stands for another device
    everywhere = loading._Target(None, torch.float32, "auto", print)
    for hook, device in ((HOOK, "meta"), ("blocks.0.attn.hook_z", "cpu"), ("hook_embed", "cpu")):
        sae = AskedSAE(Place(hook), {"metadata": {"hook_name": hook}})
        assert loading._device_of(tracer.model, sae, everywhere).type == device


def test_a_device_map_needs_accelerate_and_no_device(tiny_model, tmp_path, monkeypatch):
    sae = tiny.save_sae(tmp_path, HOOK)
    with pytest.raises(ValueError, match=r"either device='cpu' or device_map"):
        Tracer.load(str(tiny_model), sae, device="cpu", device_map="auto")
    monkeypatch.setattr(loading.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install accelerate"):
        Tracer.load(str(tiny_model), sae, device_map="auto")


NO_ROOM = [
    MemoryError(),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
]


@pytest.mark.parametrize("error", NO_ROOM, ids=lambda error: type(error).__name__)
def test_out_of_memory_says_how_much_and_what_else(hub, monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", fail)
    # Numbers of the tiny model and SAE: those of the header, and two matrices and two vectors.
    file = hub.repositories["gpt2"].folder / "model.safetensors"
    needed = 4 * (sum(memory.weights([file]).values()) + 2 * tiny.FEATURES * (tiny.WIDTH + 1))
    name = "gpt2-small-resid-post-v5-128k/blocks.0.hook_resid_post"
    with pytest.raises(RuntimeError, match=r"Out of memory: gpt2-small with .* needs .* MB.*bfloat16") as raised:
        Tracer.load(None, name, device="cpu", labels=False)
    assert f"needs {needed / 1e6:.0f} MB" in str(raised.value)


def test_another_error_stays_what_it_is(tiny_model, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("size mismatch for wte")

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", fail)
    with pytest.raises(RuntimeError, match=r"^size mismatch for wte$"):
        Tracer.load(str(tiny_model), tiny.save_sae(tmp_path, HOOK))


def test_a_narrower_sae_of_the_same_hook_point_is_named(hub, monkeypatch):
    monkeypatch.setattr(memory, "room", lambda device: (0, 0))
    hub.repositories["google/gemma-2-2b"] = Repository("google/gemma-2-2b", hub.repositories["gpt2"].folder)
    with pytest.raises(RuntimeError, match=r"What needs less: .*width_16k/\S* has 16384 features in place of 262144"):
        Tracer.load("gemma-2-2b", "gemma-scope-2b-pt-res/layer_12/width_262k/average_l0_121")


def test_what_may_not_fit_is_told_and_tried(tiny_model, tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(memory, "room", lambda device: (1000, 10**12))
    Tracer.load(str(tiny_model), tiny.save_sae(tmp_path, HOOK), device="cpu", progress=said.append)
    assert any("MB of memory, 0 MB are free" in sentence for sentence in said)


def test_the_room_there_is():
    free, total = memory.room(torch.device("cpu")) or pytest.skip("this system does not tell")
    assert total == psutil.virtual_memory().total + psutil.swap_memory().total
    assert free == pytest.approx(psutil.virtual_memory().available, rel=0.2)


def test_memory_of_weights_is_that_of_the_parameters(tiny_model):
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    counts = memory.weights([tiny_model / "model.safetensors"])
    numbers = sum(parameter.numel() for parameter in model.parameters())
    assert memory.size(counts, torch.float32) == 4 * numbers
    assert memory.size(counts, torch.bfloat16) == 2 * numbers
