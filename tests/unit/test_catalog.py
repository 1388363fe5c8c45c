"""Which SAEs exist, and which one a name means."""

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from sae_lens import TemporalSAE, TemporalSAEConfig, Transcoder
from sae_lens.loading.pretrained_saes_directory import get_pretrained_saes_directory
from sae_lens.registry import get_sae_class
from transformer_lens.supported_models import MODEL_ALIASES

from axon_widget import available_saes, catalog, directory
from axon_widget.catalog import DEFAULT_MODEL

DEFAULT_SAE = "gpt2-small-res-jb/blocks.8.hook_resid_pre"
ROOT = Path(__file__).parents[2]


def best_of(count, action):
    """Seconds of processor time, which other processes do not change."""
    took = []
    for _ in range(count):
        start = time.process_time()
        action()
        took.append(time.process_time() - start)
    return min(took)


def test_it_holds_every_sae_of_saelens_directory():
    directory = get_pretrained_saes_directory()
    table = available_saes()
    assert len(table) == sum(len(release.saes_map) for release in directory.values()) > 10_000
    assert set(table.release) == set(directory)
    assert set(table.model) == {release.model for release in directory.values()}
    assert not table.name.duplicated().any()
    assert (table.name == table.release + "/" + table.id).all()


def test_what_was_not_reported_is_not_made_up():
    directory, table = get_pretrained_saes_directory(), available_saes()
    for column, source, filler in (
        ("explained_variance", "expected_var_explained", 1.0),
        ("l0", "expected_l0", 0.0),
    ):
        reported = table[table[column] != "not reported"]
        assert 0 < len(reported) < len(table)
        for row in reported.itertuples():
            assert getattr(row, column) == getattr(directory[row.release], source)[row.id] != filler
    assert (table.width == "not reported").any()
    assert table.layer.dtype == int
    assert not table.isna().any().any()


def test_it_can_be_filtered():
    table = available_saes()
    for chosen, rows in (
        (available_saes("gpt2-small"), table.model == "gpt2-small"),
        (available_saes(model="gpt2-small", layer=8), (table.model == "gpt2-small") & (table.layer == 8)),
        (available_saes(hook="resid_pre"), table.hook.str.contains("resid_pre")),
        (available_saes(labelled=True), table.neuronpedia != ""),
        (available_saes(labelled=False, layer=3), (table.neuronpedia == "") & (table.layer == 3)),
    ):
        assert 0 < len(chosen) < len(table)
        assert chosen.to_numpy().tolist() == table[rows].to_numpy().tolist()
    assert available_saes("gpt2-small", layer=99).empty


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("gpt2", "gpt2-small"),
        ("openai-community/gpt2", "gpt2-small"),
        ("google/gemma-2-2b", "gemma-2-2b"),
        ("EleutherAI/pythia-70m-deduped", "pythia-70m-deduped"),
        ("Llama-3.1-8B", "meta-llama/Llama-3.1-8B"),
        ("llama3.1-8b", "meta-llama/Llama-3.1-8B"),
        ("mistralai/Mistral-7B-v0.1", "mistral-7b"),
        ("Qwen/Qwen3-4B", "qwen3-4b"),
    ],
)
def test_a_model_may_be_called_by_any_of_its_names(name, model):
    assert set(available_saes(name).model) == {model}


def test_every_model_is_found_by_its_own_and_its_aliases_names_alone():
    models = {entry.model for entry in catalog.entries()}
    for model in models:
        assert set(available_saes(model).model) == {model}
    for official, aliases in MODEL_ALIASES.items():
        for known in models & {official, *aliases}:
            for name in {official, *aliases} - models:
                assert set(available_saes(name).model) == {known}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gpt2-smal", ["gpt2-small"]),
        ("gemma-2-2", ["gemma-2-2b"]),
        ("pythia-70m", ["pythia-70m-deduped"]),
        ("gpt2-medium", ["gpt2-medium"]),
        ("", ["available_saes()"]),
        ("xyzzy", ["available_saes()", "axon saes"]),
    ],
)
def test_a_model_without_saes_is_an_error_that_helps(name, words):
    for ask in (available_saes, catalog.default_sae, catalog.find):
        with pytest.raises(ValueError, match="no SAE") as error:
            ask(name)
        assert all(word in str(error.value) for word in words)


def test_the_default_exists_and_can_be_found():
    entry = catalog.find(DEFAULT_SAE)
    assert (entry.model, entry.name) == (DEFAULT_MODEL, DEFAULT_SAE)
    assert entry.neuronpedia == "gpt2-small/8-res-jb"
    assert (entry.hook, entry.layer) == ("blocks.8.hook_resid_pre", 8)
    assert entry in catalog.entries()


@pytest.mark.parametrize(
    ("short", "name"),
    [
        ("gpt2-small", DEFAULT_SAE),
        ("gpt2-small@8", DEFAULT_SAE),
        ("gpt2@8", DEFAULT_SAE),
        ("gpt2-small@11", "gpt2-small-res-jb/blocks.11.hook_resid_pre"),
        ("gpt2-small-res-jb@3", "gpt2-small-res-jb/blocks.3.hook_resid_pre"),
        ("gemma-2-2b@12", "gemma-scope-2b-pt-res-canonical/layer_12/width_16k/canonical"),
        ("google/gemma-2-2b@0", "gemma-scope-2b-pt-res-canonical/layer_0/width_16k/canonical"),
        ("pythia-70m-deduped@3", "pythia-70m-deduped-res-sm/blocks.3.hook_resid_post"),
        ("meta-llama/Llama-3.1-8B@15", "llama_scope_lxr_8x/l15r_8x"),
        ("mistral-7b", "mistral-7b-res-wg/blocks.16.hook_resid_pre"),
        ("embedded", "embedded/blocks.3.hook_resid_pre"),
        ("stories15M@3", "embedded/blocks.3.hook_resid_pre"),
    ],
)
def test_short_forms(short, name):
    assert catalog.find(short).name == name


def test_every_model_has_a_default_that_can_be_traced_or_says_why_not():
    of_model = {}
    for entry in catalog.entries():
        of_model.setdefault(entry.model, []).append(entry)
    for model, entries in of_model.items():
        if not any(not catalog.refusal(entry) for entry in entries):
            with pytest.raises(ValueError, match=r"none that can be traced.*transcoder"):
                catalog.default_sae(model)
            continue
        default = catalog.default_sae(model)
        assert default.model == model
        assert not catalog.refusal(default)
        residual = [entry for entry in entries if "resid" in entry.hook]
        assert not residual or "resid" in default.hook
        assert default.labelled or not any(entry.labelled and not catalog.refusal(entry) for entry in entries)
        # Near two thirds of the layers, where there is a choice.
        layers = {entry.layer for entry in residual if entry.labelled == default.labelled}
        assert len(layers) < 10 or 0.5 <= default.layer / max(layers) <= 0.8


def test_a_release_of_one_needs_no_id():
    alone = next(r for r, release in get_pretrained_saes_directory().items() if len(release.saes_map) == 1)
    assert catalog.find(alone).release == alone


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gpt2-smal@8", ["gpt2-small@8"]),
        ("gpt2-small-res-jbb/blocks.8.hook_resid_pre", [DEFAULT_SAE]),
        ("gpt2-small-res-jb/blocks.8.hook_resid_prr", [DEFAULT_SAE]),
        ("gpt2-small-res-jb", ["13 SAEs", "blocks.0.hook_resid_pre"]),
        ("gpt2-small-res-jb@11", ["2 SAEs", "blocks.11.hook_resid_pre", "blocks.11.hook_resid_post"]),
        ("gpt2-small-res-jb@40", ["layer 40", "layers 0-11."]),
        ("gpt2-small@40", ["layer 40", "layers 0-11."]),
        ("mistral-7b@9", ["layer 9", "layers 8, 16, 24."]),
        ("gpt2-small@eight", ["@", "number of a layer"]),
        ("gpt2-small@", ["number of a layer"]),
        ("qwen3-4b", ["transcoder"]),
        ("", ["no SAE"]),
    ],
)
def test_a_name_that_means_nothing_or_too_much_says_what_to_do(name, words):
    with pytest.raises(ValueError, match=r"\S") as error:
        catalog.find(name)
    for word in words:
        assert word in str(error.value)


def test_a_search_holds_every_word():
    everything = {entry.name for entry in (*catalog.entries(), *directory.shipped_entries())}
    found, total = catalog.search("", limit=None)
    assert {entry.name for entry in found} == everything
    assert total == len(found) == len(everything)
    found, total = catalog.search("GEMMA canonical res", limit=None)
    assert total == len(found) > 100
    for entry in found:
        text = f"{entry.name} {entry.model} {entry.hook} {entry.neuronpedia}".lower()
        assert all(word in text for word in ("gemma", "canonical", "res"))
    some, total = catalog.search("gemma", limit=5)
    assert (len(some), total) == (5, len(catalog.search("gemma", limit=None)[0]))
    assert catalog.search("no such thing") == ([], 0)


@pytest.mark.parametrize("text", ["gpt2 layer 1", "gpt2 @1", "gpt2@1", "Layer_1 gpt2"])
def test_a_search_for_a_layer_finds_that_layer_alone(text):
    found, total = catalog.search(text, limit=None)
    assert total > 5
    assert {(entry.layer, entry.model) for entry in found} == {(1, "gpt2-small")}


def test_a_search_gives_defaults_first_and_what_cannot_be_traced_last():
    found, _ = catalog.search("", limit=None)
    names = [entry.name for entry in found]
    here = catalog.cached(found)
    assert set(names[: len(here)]) == here
    models = {entry.model for entry in found if not catalog.refusal(entry)}
    others = {catalog.default_sae(model).name for model in models} - here
    assert set(names[len(here) :][: len(others)]) == others
    refused = [catalog.refusal(entry) != "" for entry in found]
    assert refused == sorted(refused)
    found, _ = catalog.search("gpt2-small", limit=None)
    assert found[0].name == DEFAULT_SAE
    labelled = [entry.labelled for entry in found]
    assert labelled == sorted(labelled, reverse=True)
    assert catalog.search("gemma-2-2b @12")[0][0] == catalog.find("gemma-2-2b@12")


def test_a_search_can_be_filtered_like_the_table():
    found, total = catalog.search("post", limit=None, model="gpt2", layer=3, labelled=True)
    table = available_saes("gpt2", layer=3, labelled=True)
    assert {entry.name for entry in found} == set(table.name[table.name.str.contains("post")])
    assert total == len(found) > 0


def test_exactly_what_saelens_holds_for_a_transcoder_or_a_temporal_sae_is_refused():
    reasons = {}
    for entry in catalog.entries():
        if entry.architecture:
            reasons.setdefault(entry.architecture, set()).add(catalog.refusal(entry).replace(entry.name, "") != "")
    assert {"jumprelu", "standard", "topk", "gated", "transcoder", "temporal"} <= set(reasons)
    for architecture, refused in reasons.items():
        made = get_sae_class(architecture)[0]
        assert refused == {issubclass(made, (Transcoder, TemporalSAE))}, architecture
    assert "blocks.3.ln2.hook_normalized" in catalog.refusal(
        next(e for e in catalog.entries() if e.release == "gemma-scope-2b-pt-transcoders" and e.layer == 3)
    )


def test_a_temporal_sae_does_not_read_each_token_by_itself():
    config = TemporalSAEConfig(
        d_in=8,
        d_sae=16,
        n_heads=2,
        bottleneck_factor=1,
        kval_topk=4,
        activation_normalization_factor=1.0,
        dtype="float32",
        device="cpu",
    )
    torch.manual_seed(0)
    sae = TemporalSAE(config)
    for weights in sae.parameters():
        torch.nn.init.normal_(weights)
    text = torch.randn(1, 5, 8)
    assert not torch.allclose(sae.encode(text)[:, -1:], sae.encode(text[:, -1:]), rtol=0.01)
    assert not torch.allclose(sae(text), sae.decode(sae.encode(text)), rtol=0.01)


def test_it_is_quick_and_needs_no_torch():
    available_saes()
    catalog.search("gpt2")
    assert best_of(5, available_saes) < 0.3
    assert best_of(5, lambda: catalog.search("gemma res layer 12")) < 0.03
    script = (
        "import sys; from axon_widget import available_saes, catalog; available_saes('gpt2-small'); "
        "catalog.find('gpt2-small@8'); catalog.search('gpt2'); "
        "assert not {'torch', 'sae_lens', 'transformer_lens'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


def readme_rows():
    """The table of AXON's models in the README: model, releases by name, number of SAEs, number labelled."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w.-]+)` \| (none|`[\w.-]+`[^|]*) \| (\d+) \| (\d+) \|$", text, flags=re.MULTILINE)
    return [
        (model, re.findall(r"`([\w.-]+)`", release)[:1], int(n), int(labelled)) for model, release, n, labelled in rows
    ]


def test_the_table_in_the_readme_is_true():
    rows = readme_rows()
    assert {model for model, *_ in rows} == {
        *("gpt2-small", "gpt2-medium", "gpt2-large", "gpt2-xl"),
        *("pythia-70m", "pythia-160m", "pythia-410m", "gemma-2-2b"),
    }
    for model, releases, count, labelled in rows:
        if not releases:
            with pytest.raises(ValueError, match="no SAE of a model"):
                available_saes(model)
            assert (count, labelled) == (0, 0)
            continue
        found = [entry for entry in catalog.entries() if entry.release == releases[0]]
        assert (count, labelled) == (len(found), sum(entry.labelled for entry in found))
        assert {entry.model for entry in found} <= {model, f"{model}-deduped"}
