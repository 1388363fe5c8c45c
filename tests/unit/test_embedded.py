import json
from types import SimpleNamespace

import pytest
import torch
from sae_lens import SAE
from safetensors import safe_open
from transformers import AutoModelForCausalLM

from axon_widget.embedded import STORIES
from axon_widget.embedded.activations import load_model, read
from axon_widget.embedded.convert import split
from axon_widget.embedded.evaluate import measure, stability
from axon_widget.embedded.recipes import RECIPES
from axon_widget.embedded.stories import BOS, UNK, counted, write_stories
from axon_widget.labels import bundle
from axon_widget.labels.bundled import BundledLabels

PROMPT = "Once upon a time, there was a little"
CONTINUATION = " girl named Lily. She loved to play outside in the sunshine."
HOOK = "blocks.3.hook_resid_pre"
HOOKS = sorted(folder.name for folder in STORIES.saes.glob("blocks.*"))


@pytest.fixture(scope="module", autouse=True)
def no_network():
    """Let every attempt to reach another host fail the test that makes it."""
    with pytest.MonkeyPatch.context() as patch:

        def refuse(*_args, **_options):
            raise AssertionError("the embedded model reached for the network")

        patch.setattr("socket.socket.connect", refuse)
        patch.setattr("socket.getaddrinfo", refuse)
        yield


@pytest.fixture(scope="module")
def model():
    return AutoModelForCausalLM.from_pretrained(
        STORIES.directory(), dtype=torch.float32, attn_implementation="eager"
    ).eval()


@pytest.fixture(scope="module")
def hooked():
    return load_model(STORIES.directory())


@pytest.fixture(scope="module")
def sae():
    return SAE.load_from_disk(STORIES.sae_dir(HOOK))  # as anyone would, without saying in which precision


@pytest.fixture(scope="module")
def fresh(model, tokenizer):
    return write_stories(model, tokenizer, count=16, seed=20, context=96).long()


@pytest.mark.parametrize(
    "text",
    [
        PROMPT,
        " leading and trailing ",
        "two  spaces   and\ttabs",
        "a line\nanother\n\nand one more\n",
        "汉字和日本語のテキスト",
        "emoji 😀 family 👩‍👩‍👧 and é ü ß",
        "x = [1, 2]; print('q')",
        "",
    ],
)
def test_tokenizer_gives_a_text_back(tokenizer, text):
    ids = tokenizer(text)["input_ids"]
    assert ids[0] == BOS
    assert BOS not in ids[1:]
    assert UNK not in ids
    assert tokenizer.decode(ids, skip_special_tokens=True) == text


def test_tokenizer_is_fast_and_splits_as_llama_does(tokenizer):
    assert tokenizer.is_fast
    assert tokenizer("Once upon a time")["input_ids"] == [1, 9038, 2501, 263, 931]
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id) == (1, 2)


def test_bytes_stand_for_what_has_no_token(tokenizer):
    pieces = tokenizer.convert_ids_to_tokens(tokenizer("😀")["input_ids"])
    assert pieces[-4:] == ["<0xF0>", "<0x9F>", "<0x98>", "<0x80>"]


def test_greedy_continuation(model, tokenizer):
    ids = torch.tensor([tokenizer(PROMPT)["input_ids"]])
    out = model.generate(ids, max_new_tokens=16, do_sample=False)
    text = tokenizer.decode(out[0], skip_special_tokens=True)
    assert text == PROMPT + CONTINUATION


def test_a_story_ends_at_the_next_ones_beginning(model, tokenizer):
    assert model.generation_config.eos_token_id == [1, 2]
    out = model.generate(torch.tensor([tokenizer(PROMPT)["input_ids"]]), max_length=256, do_sample=False)
    assert out[0, -1] == BOS
    assert out.shape[1] < 256


def test_weights_are_half_precision_safetensors():
    with safe_open(STORIES.directory() / "model.safetensors", framework="pt") as weights:
        assert {str(weights.get_tensor(name).dtype) for name in weights.keys()} == {"torch.float16"}  # noqa: SIM118
    assert not [path for path in STORIES.directory().iterdir() if path.suffix in {".bin", ".pt", ".pkl", ".py"}]


def test_bridge_gives_the_models_own_logits(model, hooked, tokenizer):
    ids = torch.tensor([tokenizer(PROMPT + CONTINUATION)["input_ids"]])
    with torch.inference_mode():
        assert torch.equal(hooked.bridge(ids, return_type="logits"), model(ids).logits)


def test_what_is_read_is_what_the_bridge_gives(hooked, fresh):
    names = [hooked.resolve(hook) for hook in HOOKS]
    with torch.inference_mode():
        _, cache = hooked.bridge.run_with_cache(fresh[:2], names_filter=names)
    found = read(hooked, HOOKS, fresh[:2])
    assert all(torch.allclose(found[hook], cache[name], atol=1e-4) for hook, name in zip(HOOKS, names, strict=True))


def test_read_refuses_an_unknown_hook(hooked):
    with pytest.raises(ValueError, match="no hook point"):
        read(hooked, ["blocks.3.hook_resid_mid_pre"], torch.tensor([[1, 9038]]))


def test_stories_repeat_with_their_seed(model, tokenizer):
    once, again = (write_stories(model, tokenizer, count=2, seed=3, context=48) for _ in range(2))
    assert torch.equal(once, again)


def test_what_counts_in_a_story(fresh):
    assert (fresh[:, 0] == BOS).all()
    assert not counted(fresh)[:, 0].any()
    assert counted(fresh).sum() > 1000  # few of the stories are shorter than the context


def test_there_is_one_for_every_place():
    assert set(HOOKS) == {*(f"blocks.{layer}.hook_resid_pre" for layer in range(6)), "blocks.5.hook_resid_post"}


@pytest.mark.parametrize("hook", HOOKS)
def test_an_sae_keeps_its_cards_word(hook, hooked, fresh):
    folder = STORIES.sae_dir(hook)
    assert (folder / "sae_weights.safetensors").stat().st_size <= 4_000_000
    sae = SAE.load_from_disk(folder)
    assert sae.W_dec.dtype == torch.float32
    known = sae.cfg.metadata
    assert (known.model_name, known.hook_name, known.prepend_bos) == ("stories15M", hook, True)
    assert (known.context_size, sae.cfg.d_in) == (256, 288)
    x = read(hooked, [hook], fresh)[hook][counted(fresh)]
    with torch.inference_mode():
        features = sae.encode(x)
        error = (x - sae.decode(features)).square().sum()
    explained = float(1 - error / (x - x.mean(0)).square().sum())
    l0 = float((features > 0).sum(1).float().mean())
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["l0"] <= 32
    least, recovered = (0.92, 0.98) if hook in HOOKS[:4] else (0.85, 0.97)
    assert metrics["explained_variance"] >= least
    assert metrics["loss_recovered"] >= recovered
    assert metrics["dead_share"] <= 0.02
    assert explained == pytest.approx(metrics["explained_variance"], abs=0.03)
    assert l0 == pytest.approx(metrics["l0"], rel=0.15)
    assert f"{metrics['explained_variance']:.4f}" in (folder / "CARD.md").read_text()


@pytest.mark.parametrize("hook", HOOKS)
def test_labels_fit_their_sae(hook):
    folder = STORIES.sae_dir(hook)
    about = bundle.about(folder / bundle.LABELS)
    assert (about["model"], about["hook"]) == ("stories15M", folder.name)
    assert about["digest"] == bundle.about(STORIES.saes / bundle.TEXTS)["digest"]
    assert about["weights"] == bundle.digest_of(folder / "sae_weights.safetensors")
    assert int(about["tokens"]) >= 200_000
    labels = BundledLabels(folder / bundle.LABELS)
    names, width = dict(labels.names()), json.loads((folder / "cfg.json").read_text())["d_sae"]
    assert 0.9 * width <= len(names) <= width
    assert max(names) < width
    for feature in list(names)[:: len(names) // 20]:
        label = labels.full(feature)
        assert 0 < len(label.text) < 80
        assert (len(label.boosts), len(label.suppresses)) == (8, 5)
        assert 0 < label.frequency <= 1
        assert 1 <= len(label.contexts) <= 10
        assert all(0 <= value <= label.max_activation for context in label.contexts for _, value in context)
        assert max(value for _, value in label.contexts[0]) == pytest.approx(label.max_activation, rel=0.01)
        clear = label.score is not None and label.score >= float(about["clear"])
        assert clear == (label.text != f"unclear #{feature}" and not label.text.startswith("dense"))


def test_an_evaluation_is_what_the_bare_model_gives(model, hooked, sae, fresh):
    stories = fresh[:4]
    [measured] = measure(hooked, {HOOK: sae}, RECIPES["stories15m"], stories, 3).values()
    mask = counted(stories)
    with torch.inference_mode():
        x = model(stories, output_hidden_states=True).hidden_states[3]
        features = sae.encode(x)
        error = (x - sae.decode(features))[mask].double().square().sum()
        spread = (x[mask].double() - x[mask].double().mean(0)).square().sum()

        def loss(change):
            block = model.model.layers[3]
            hook = block.register_forward_pre_hook(
                lambda _, args, kw: ((change(args[0]), *args[1:]), kw), with_kwargs=True
            )
            logits = model(stories[:3]).logits
            hook.remove()
            each = torch.nn.functional.cross_entropy(
                logits[:, :-1].flatten(0, 1), stories[:3, 1:].flatten(), reduction="none"
            )
            return float(each[(mask[:3, :-1] & mask[:3, 1:]).flatten()].mean())

        clean, zeroed = loss(lambda x: x), loss(torch.zeros_like)
        spliced = loss(lambda x: torch.where(mask[:3, :, None], sae.decode(sae.encode(x)), x))
        expected = {
            "tokens": int(mask.sum()),
            "explained_variance": float(1 - error / spread),
            "l0": float((features[mask] > 0).sum(1).double().mean()),
            "cossim": float(torch.cosine_similarity(x, sae.decode(features), dim=-1)[mask].mean()),
            "dead_share": float((features[mask] > 0).any(0).logical_not().double().mean()),
            "loss_tokens": int((mask[:3, :-1] & mask[:3, 1:]).sum()),
            "loss_clean": clean,
            "loss_spliced": spliced,
            "loss_zeroed": zeroed,
            "loss_recovered": (zeroed - spliced) / (zeroed - clean),
        }
    assert measured == {name: pytest.approx(value, rel=2e-4) for name, value in expected.items()}


def test_stability_is_the_share_of_features_that_are_found_again():
    def sae(rows, seed=0):
        return SimpleNamespace(
            W_dec=torch.tensor(rows),
            cfg=SimpleNamespace(metadata=SimpleNamespace(training_seed=seed, training_tokens=70)),
        )

    one = sae([[1.0, 0.0], [0.9, 0.1], [0.0, 5.0], [-1.0, -1.0]])
    other = sae([[2.0, 0.0], [0.6, 0.8], [0.0, -1.0], [0.0, -1.0]], seed=3)
    # The first two have but one partner, the third a cosine of .8, the last cosines of .707.
    assert stability(one, other) == {"second_seed": 3, "second_tokens": 70, "found_again": 1.0, "matched": 0.75}
    assert stability(one, sae([[0.0, 1.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]]))["found_again"] == 0.25


def test_licence_names_both_sources():
    text = (STORIES.directory() / "LICENSE").read_text()
    assert "Copyright (c) 2023 Andrej Karpathy" in text
    assert "Copyright (c) 2024 Sang Park" in text


def test_convert_refuses_another_file():
    with pytest.raises(ValueError, match="sha256"):
        split(b"something else")
