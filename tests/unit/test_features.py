"""Features against SAELens itself, on the embedded model and on small random ones of every kind."""

import pytest
import torch
from sae_lens.analysis.hooked_sae_transformer import HookedSAETransformer
from sae_lens.analysis.sae_transformer_bridge import SAETransformerBridge
from sae_lens.saes.sae import SAE
from transformer_lens import HookedTransformerConfig
from transformer_lens.pretrained.weight_conversions import convert_gpt2_weights
from transformers import GPT2LMHeadModel

from axon_widget.embedded import STORIES
from axon_widget.engine.tracer import Tracer
from tests.unit import tiny

INSIDE = ["blocks.0.attn.hook_z", "blocks.1.hook_mlp_out", "blocks.1.hook_resid_mid", "blocks.0.hook_attn_out"]
BETWEEN = ["blocks.0.hook_resid_pre", "blocks.1.hook_resid_pre", "blocks.1.hook_resid_post"]


def dense(trace, d_sae):
    """The trace's features as a matrix, tokens by features."""
    found = torch.zeros(len(trace), d_sae)
    for step in trace:
        for feature in step.features:
            assert found[step.step, feature.id] == 0, "a feature twice on one token"
            found[step.step, feature.id] = feature.activation
    return found


def kept(trace):
    return torch.tensor([not step.special for step in trace])


def saelens(model_directory, sae_directory, trace):
    """What SAELens gives for the trace's tokens, all at once: activations in, and features."""
    sae = SAE.load_from_disk(sae_directory)
    bridge = SAETransformerBridge.boot_transformers(str(model_directory), device="cpu", dtype=torch.float32)
    ids = torch.tensor([[step.token_id for step in trace]])
    with torch.inference_mode():
        _, cache = bridge.run_with_cache_with_saes(ids, saes=[sae], use_error_term=True)
        return [cache[bridge.get_sae_hook_name(sae, name)][0] for name in ("hook_sae_input", "hook_sae_acts_post")]


def assert_same(trace, expected, d_sae, rtol=0.0):
    found, real = dense(trace, d_sae), kept(trace)
    assert (expected[real] > 0).sum() > 2 * real.sum(), "too few features fire for this to show anything"
    assert not found[~real].any()
    torch.testing.assert_close(found[real], expected[real].float(), atol=1e-4, rtol=rtol)


def test_the_embedded_models_features_are_saelens_own(tracer):
    trace = tracer.run("Once upon a time, there was a cat", temperature=0.8, max_tokens=60, seed=1)
    assert sum(step.generated for step in trace) > 20
    _, features = saelens(STORIES.directory(), STORIES.sae_dir(STORIES.hook), trace)
    assert_same(trace, features, tracer.readers[0].d_sae)


CASES = [("standard", hook) for hook in BETWEEN + INSIDE]
CASES += [(kind, hook) for kind in ("jumprelu", "topk", "gated") for hook in (BETWEEN[1], INSIDE[1])]


@pytest.mark.parametrize(("architecture", "hook"), CASES)
def test_a_random_models_features_are_saelens_own(tiny_model, tmp_path, architecture, hook):
    sae = tiny.save_sae(tmp_path, hook, architecture)
    trace = Tracer.load(str(tiny_model), sae).run(tiny.PROMPT, max_tokens=20, seed=2)
    _, features = saelens(tiny_model, sae, trace)
    assert_same(trace, features, tiny.FEATURES)


@pytest.mark.parametrize(
    "config",
    [
        {"normalize_activations": "layer_norm"},
        {"normalize_activations": "constant_norm_rescale"},
        {"apply_b_dec_to_input": False},
    ],
    ids=str,
)
def test_what_an_sae_does_to_its_input_is_done_and_undone(tiny_model, tmp_path, config):
    sae = tiny.save_sae(tmp_path, "blocks.1.hook_resid_pre", **config)
    trace = Tracer.load(str(tiny_model), sae).run(tiny.PROMPT, max_tokens=10, seed=2)
    x, features = saelens(tiny_model, sae, trace)
    assert_same(trace, features, tiny.FEATURES)
    assert_quality(trace, x, SAE.load_from_disk(sae))


def test_an_sae_over_attention_heads(tiny_model, tmp_path):
    hook = "blocks.1.attn.hook_z"
    sae = tiny.save_sae(tmp_path, hook, reshape_activations="hook_z")
    trace = Tracer.load(str(tiny_model), sae).run(tiny.PROMPT, max_tokens=10, seed=2)
    _, features = saelens(tiny_model, sae, trace)
    assert_same(trace, features, tiny.FEATURES)


@pytest.fixture(scope="module")
def centred_model(tiny_model):
    """TransformerLens' own model over the tiny one's weights, its writing weights centred by TransformerLens."""
    model = GPT2LMHeadModel.from_pretrained(tiny_model)
    config = HookedTransformerConfig(
        n_layers=tiny.LAYERS,
        d_model=tiny.WIDTH,
        n_ctx=tiny.CONTEXT,
        n_heads=4,
        d_head=tiny.WIDTH // 4,
        d_vocab=model.config.vocab_size,
        act_fn="gelu_new",
        normalization_type="LN",
        device="cpu",
    )
    centred = HookedSAETransformer(config)
    centred.load_and_process_state_dict(
        convert_gpt2_weights(model, config),
        fold_ln=False,
        center_writing_weights=True,
        center_unembed=False,
        fold_value_biases=False,
    )
    return centred


@pytest.mark.parametrize("hook", BETWEEN + INSIDE)
def test_an_sae_of_centred_weights_reads_plain_ones(tiny_model, centred_model, tmp_path, hook):
    directory = tiny.save_sae(tmp_path, hook, kwargs={"center_writing_weights": True})
    trace = Tracer.load(str(tiny_model), directory).run(tiny.PROMPT, max_tokens=20, seed=2)
    ids = torch.tensor([[step.token_id for step in trace]])
    with torch.inference_mode():
        _, cache = centred_model.run_with_cache(ids, names_filter=hook)
        features = SAE.load_from_disk(directory).encode(cache[hook].flatten(2))[0]
    assert_same(trace, features, tiny.FEATURES, rtol=1e-3)


@torch.inference_mode()
def assert_quality(trace, x, sae):
    """Compare explained variance and cosine with their definitions, in double precision."""
    recons = sae(x).double()
    # Normalising SAEs note a scale while encoding that the next decoding uses up.
    empty = sae.decode(torch.zeros_like(sae.encode(x))).double()
    x = x.double()
    for step in trace:
        if step.special:
            assert step.explained_variance is None
            assert step.cosine is None
            continue
        a, b, c = x[step.step], recons[step.step], empty[step.step]
        assert step.cosine == pytest.approx(float(a @ b / (a.norm() * b.norm())), abs=1e-4)
        explained = 1 - float((a - b).square().sum() / (a - c).square().sum())
        assert step.explained_variance == pytest.approx(explained, abs=1e-4)


def test_explained_variance_and_cosine(tracer):
    trace = tracer.run("Once upon a time, there was a cat", temperature=0, max_tokens=30)
    x, _ = saelens(STORIES.directory(), STORIES.sae_dir(STORIES.hook), trace)
    assert_quality(trace, x, SAE.load_from_disk(STORIES.sae_dir(STORIES.hook)))
    explained = [step.explained_variance for step in trace if not step.special]
    assert 0.6 < sum(explained) / len(explained) < 1


def test_features_are_strongest_first_and_l0_counts_them(tracer):
    for step in tracer.run("Once upon a time", temperature=0, max_tokens=5):
        activations = [feature.activation for feature in step.features]
        assert activations == sorted(activations, reverse=True)
        assert all(a > 0 for a in activations)
        assert step.l0 == len(activations)


def test_special_tokens_carry_no_features(tracer, tokenizer):
    trace = tracer.run("Tom ran.</s>He fell", temperature=0, max_tokens=3)
    special = [step for step in trace if step.token_id in tokenizer.all_special_ids]
    assert {step.token_id for step in special} >= {tokenizer.bos_token_id}
    assert all(step.special and not step.features and step.l0 == 0 and step.token == "" for step in special)
    assert all(step.features for step in trace if step not in special)
