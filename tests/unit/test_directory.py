"""What the names in SAELens' directory tell is what SAELens and Neuronpedia say."""

import json
import re

import pytest
from huggingface_hub import constants, try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError
from sae_lens import SAE
from sae_lens.loading import pretrained_sae_loaders as loaders
from sae_lens.loading.pretrained_saes_directory import get_pretrained_saes_directory

from axon_widget import catalog, directory
from axon_widget.embedded import STORIES

# SAELens 6.54 gives these SAEs the Neuronpedia ids of others: of an attention SAE, of layer 20, of another L0.
WRONG = {
    "pythia-70m-deduped-res-sm/blocks.0.hook_resid_pre": "pythia-70m-deduped/e-att-sm",
    "gemma-scope-9b-pt-res/layer_2/width_16k/average_l0_8": "gemma-2-9b/20-gemmascope-res-131k__l0-10",
    "gemma-scope-9b-pt-res/layer_20/width_131k/average_l0_114": "gemma-2-9b/20-gemmascope-res-131k__l0-12",
}
NEEDS_NO_NETWORK = {"gemma_2", "gemma_2_transcoder", "goodfire", "deepseek_r1", "qwen_scope"}
WIDTHS = {"4k": 2**12, "16k": 2**14, "32k": 2**15, "65k": 2**16, "128k": 2**17, "131k": 2**17, "262k": 2**18}
WIDTHS |= {"524k": 2**19, "1m": 2**20}


def of_saelens():
    """Every SAE as SAELens reads its directory, and as we do."""
    saelens = get_pretrained_saes_directory()
    for entry in directory.entries():
        yield entry, saelens[entry.release]


def test_it_says_what_saelens_says():
    assert [(entry.release, entry.id) for entry in directory.entries()] == [
        (name, sae) for name, release in get_pretrained_saes_directory().items() for sae in release.saes_map
    ]
    for entry, release in of_saelens():
        assert (entry.repo, entry.path) == (release.repo_id, release.saes_map[entry.id])
        # SAELens fills in 1.00 and 0.00 for what was not reported.
        assert (1.0 if entry.explained_variance is None else entry.explained_variance) == (
            release.expected_var_explained[entry.id]
        )
        assert (entry.l0 or 0.0) == release.expected_l0[entry.id]
        assert entry.model == release.model or (entry.model, entry.release) == (
            "gemma-2-9b-it",
            "gemma-scope-9b-it-res",
        )


def test_a_neuronpedia_id_of_another_sae_is_left_out():
    said = {entry.name: release.neuronpedia_id[entry.id] or "" for entry, release in of_saelens()}
    ours = {entry.name: entry.neuronpedia for entry in directory.entries()}
    left_out = {name: said[name] for name in said if said[name] != ours[name]}
    assert left_out == WRONG
    assert not any(ours[name] for name in left_out)
    assert all(entry.labelled == bool(entry.neuronpedia) for entry in directory.entries())


def test_no_two_saes_share_a_neuronpedia_id():
    files = {}
    for entry in directory.entries():
        if entry.neuronpedia:
            files.setdefault(entry.neuronpedia, set()).add((entry.repo, entry.path))
    assert all(len(places) == 1 for places in files.values())


def test_nearly_everything_is_known():
    everything = directory.entries()
    assert all(entry.layer is not None for entry in everything)
    assert {entry.release for entry in everything if not entry.hook} == {"mntss-gemma-2-2b-2.5m-clt-as-per-layer"}
    assert sum(entry.width is None for entry in everything) < 0.03 * len(everything)
    assert sum(not entry.architecture for entry in everything) < 0.03 * len(everything)


def test_the_rules_give_what_saelens_own_functions_give():
    checked = set()
    for entry, release in of_saelens():
        if release.conversion_func not in NEEDS_NO_NETWORK:
            continue
        getter = loaders.NAMED_PRETRAINED_SAE_CONFIG_GETTERS[release.conversion_func]
        config = getter(entry.repo, entry.path, "cpu", False, release.config_overrides)
        assert entry.hook == config["hook_name"]
        assert entry.architecture == config["architecture"]
        assert entry.model == config["model_name"]
        if release.conversion_func != "goodfire":  # whose width stands in SAELens' code alone
            assert entry.width == config["d_sae"]
        checked.add(release.conversion_func)
    assert checked == NEEDS_NO_NETWORK


def test_the_rules_give_what_saelens_infers_for_gemma_3(monkeypatch):
    def missing(*_args, **_kwargs):
        raise EntryNotFoundError("no config.json")

    monkeypatch.setattr(loaders, "hf_hub_download", missing)
    monkeypatch.setattr(
        loaders, "get_safetensors_tensor_shapes", lambda *_: {"w_enc": [640, 16384], "w_dec": [16384, 640]}
    )
    checked = 0
    for entry, release in of_saelens():
        if release.conversion_func == "gemma_3":
            config = loaders.get_gemma_3_config_from_hf(entry.repo, entry.path, "cpu")
            assert (entry.hook, entry.architecture) == (config["hook_name"], config["architecture"])
            assert entry.model == config["model_name"]
            checked += 1
    assert checked > 5000


def test_layer_and_width_are_those_in_the_neuronpedia_id():
    layers = widths = 0
    for entry, release in of_saelens():
        said = release.neuronpedia_id[entry.id]
        if not said or entry.name in WRONG:
            continue
        source = said.split("/")[1]
        # The last residual stream of gpt2-small is what a thirteenth block would read.
        assert str(entry.layer + (said == "gpt2-small/12-res-jb")) == source.split("-")[0]
        layers += 1
        if width := re.search(r"[-_](\d+[km])(?![a-z])", source):
            assert entry.width == WIDTHS[width[1]], entry
            widths += 1
    assert layers > 2400
    assert widths > 1500


def test_the_hook_point_is_the_one_in_the_id():
    named = 0
    for entry in directory.entries():
        if at := re.match(r"blocks\.\d+\.hook_[a-z]+(_[a-z]+)?", entry.id):
            assert entry.hook.replace(".attn.", ".") == at[0].rstrip("_")
            named += 1
    assert named > 900


def points():
    """The kinds of hook points, here those of the first block."""
    return {re.sub(r"\d+", "0", entry.hook) for entry in directory.entries() if not catalog.refusal(entry)}


@pytest.mark.parametrize("point", sorted(points()))
def test_every_hook_point_that_can_be_traced_exists(tracer, point):
    assert tracer.model.resolve(point) in tracer.model.bridge.hook_dict


def test_the_embedded_saes_are_told_of():
    [entry] = [sae for sae in directory.shipped_entries() if sae.name == "embedded/blocks.3.hook_resid_pre"]
    folder = STORIES.sae_dir("blocks.3.hook_resid_pre")
    sae = SAE.load_from_disk(folder)
    measured = json.loads((folder / "metrics.json").read_text())
    assert entry.model == "stories15M"
    assert (entry.hook, entry.layer) == ("blocks.3.hook_resid_pre", 3)
    assert (entry.width, entry.architecture) == (sae.cfg.d_sae, sae.cfg.architecture())
    assert (entry.explained_variance, entry.l0) == (measured["explained_variance"], measured["l0"])
    assert entry.labelled


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Gives a function that puts a file into an empty hub cache, as the hub's client lays it out."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))

    def put(repo, name, content, gone=False):
        cached = tmp_path / f"models--{repo.replace('/', '--')}"
        blob = cached / "blobs" / f"{abs(hash(name)):x}"
        link = cached / "snapshots" / "c0ffee" / name
        for path in (blob, link, cached / "refs" / "main"):
            path.parent.mkdir(parents=True, exist_ok=True)
        blob.write_text(content)
        link.symlink_to(blob)
        (cached / "refs" / "main").write_text("c0ffee")
        if gone:
            blob.unlink()
        else:
            assert try_to_load_from_cache(repo, name, cache_dir=tmp_path) == str(link)

    return put


RES_JB = "jbloom/GPT2-Small-SAEs-Reformatted"
OLD = {"hook_point": "blocks.8.hook_resid_pre", "hook_point_layer": 8, "d_in": 768, "d_sae": 24576}
NEW = {"architecture": "jumprelu", "d_sae": 24576, "metadata": {"hook_name": "blocks.8.hook_resid_pre"}}


@pytest.mark.parametrize(
    ("config", "architecture"),
    [(OLD, "standard"), (OLD | {"activation_fn_str": "topk"}, "topk"), (NEW, "jumprelu")],
)
def test_a_downloaded_configuration_tells_the_rest(hub, config, architecture):
    before = catalog.find("gpt2-small-res-jb/blocks.8.hook_resid_pre")
    assert (before.width, before.architecture) == (None, "")
    hub(RES_JB, "blocks.8.hook_resid_pre/cfg.json", json.dumps(config))
    after = catalog.find("gpt2-small-res-jb/blocks.8.hook_resid_pre")
    assert after == before._replace(width=24576, architecture=architecture)
    assert after == catalog.search("res-jb @8")[0][0]


@pytest.mark.parametrize(
    "content",
    [
        *("", "{", "[1]", "{}", '{"hook_name": "", "d_sae": "wide"}'),
        *('{"metadata": "x"}', '{"metadata": [1]}', pytest.param("[" * 100_000, id="deep")),
    ],
)
def test_a_broken_configuration_changes_nothing(hub, content):
    before = directory.entries()
    hub(RES_JB, "blocks.8.hook_resid_pre/cfg.json", content)
    assert directory.entries() == before


def test_what_is_downloaded_is_found_in_the_hubs_cache(hub, monkeypatch, tmp_path):
    assert catalog.cached(directory.entries()) == set()
    hub(RES_JB, "blocks.8.hook_resid_pre/sae_weights.safetensors", "weights")
    hub(RES_JB, "blocks.7.hook_resid_pre/cfg.json", json.dumps(OLD))
    hub(RES_JB, "blocks.6.hook_resid_pre/sparsity.safetensors", "no weights")
    hub(RES_JB, "blocks.5.hook_resid_pre/sae_weights.safetensors", "weights", gone=True)
    hub("google/gemma-scope-2b-pt-res", "layer_12/width_16k/average_l0_82/params.npz", "weights")
    hub("Qwen/SAE-Res-Qwen3-1.7B-Base-W32K-L0_50", "layer3.sae.pt", "weights")
    hub("fnlp/Llama3_1-8B-Base-LXR-8x", "Llama3_1-8B-Base-L4R-8x/checkpoints/final.safetensors", "weights")
    own = {entry.name for entry in directory.shipped_entries() if entry.release == "embedded"}
    monkeypatch.setenv("AXON_CACHE_DIR", str(tmp_path))
    assert catalog.cached([*directory.shipped_entries(), *directory.entries()]) == own | {
        "gpt2-small-res-jb/blocks.8.hook_resid_pre",
        "gemma-scope-2b-pt-res/layer_12/width_16k/average_l0_82",
        "gemma-scope-2b-pt-res-canonical/layer_12/width_16k/canonical",
        "qwen-scope-3-1.7b-base-w32k-l50/layer3",
        "llama_scope_lxr_8x/l4r_8x",
    }


def test_no_sae_lies_inside_another():
    places = {(entry.repo, entry.path) for entry in directory.entries()}
    inside = {
        (repo, path) for repo, path in places for end in re.finditer("/", path) if (repo, path[: end.start()]) in places
    }
    assert not inside
