"""Training: several hook points at once, taken up again where it was, saved as what was trained."""

from argparse import Namespace
from dataclasses import replace

import pytest
import torch
from sae_lens import (
    SAE,
    BatchTopKTrainingSAE,
    BatchTopKTrainingSAEConfig,
    JumpReLUSAE,
    JumpReLUSAEConfig,
    TopKTrainingSAE,
    TopKTrainingSAEConfig,
)
from sae_lens.saes.sae import TrainStepInput

from axon_widget.embedded import SMOLLM2, train
from axon_widget.embedded import __main__ as make
from axon_widget.embedded.activations import load_model, read
from axon_widget.embedded.finetune import finetune, set_threshold
from axon_widget.embedded.recipes import RECIPES, Design
from axon_widget.embedded.sparse_topk import SparseBatchTopKTrainingSAE, SparseTopKTrainingSAE

HOOKS = ("blocks.1.hook_resid_pre", "blocks.5.hook_resid_post")
RECIPE = RECIPES["stories15m"]
SMALL = Design(width=64, k=4, tokens=30_000)
OWN = {False: (TopKTrainingSAE, TopKTrainingSAEConfig), True: (BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig)}
SPARSE = {False: SparseTopKTrainingSAE, True: SparseBatchTopKTrainingSAE}


def some_rows(count):
    return torch.randint(3, 32_000, (count, 256), generator=torch.Generator().manual_seed(0), dtype=torch.int16)


@pytest.fixture(autouse=True)
def _little_memory(monkeypatch):
    monkeypatch.setattr(train, "MIXED", 4096)
    monkeypatch.setattr(train, "CHUNK", 1)


def test_it_is_taken_up_again_where_it_was(tmp_path, monkeypatch, caplog):
    options = Namespace(model="stories15m", tokens=None, seed=0, device="cpu", work=tmp_path)
    fit, steps = train.MultiSAETrainer._checkpoint_if_needed, []

    def interrupted(trainer):
        steps.append(trainer.n_training_samples)
        if len(steps) == 5:
            raise KeyboardInterrupt
        fit(trainer)

    monkeypatch.setattr(train.MultiSAETrainer, "_checkpoint_if_needed", interrupted)
    with pytest.raises(SystemExit, match="the same command goes on"):
        train.train(RECIPE, SMALL, HOOKS, options, some_rows(40), tmp_path / "made")
    [kept] = (tmp_path / "checkpoints").iterdir()
    assert [saved.name for saved in kept.iterdir()] == [str(steps[4])]
    (kept / str(steps[4] + 1) / HOOKS[0]).mkdir(parents=True)  # one that was cut off is none
    with caplog.at_level("INFO", logger=train.log.name):
        saes = train.train(RECIPE, SMALL, HOOKS, options, some_rows(40), tmp_path / "made")
    assert f"going on after {steps[4]} tokens" in caplog.text
    assert steps[5] == steps[4] + train.SAMPLES
    assert steps[-1] >= SMALL.tokens
    assert not kept.exists()
    assert {path.name for path in (tmp_path / "made").iterdir()} == set(HOOKS)
    assert {name: sae.cfg.metadata.hook_name for name, sae in saes.items()} == {hook: hook for hook in HOOKS}
    assert saes[HOOKS[0]].W_dec.norm(dim=1).std() < 1e-3 * saes[HOOKS[0]].W_dec.norm(dim=1).mean()


def test_what_was_seen_is_left_out(monkeypatch):
    rows = torch.arange(64)[:, None].expand(64, 8).contiguous()
    monkeypatch.setattr(train, "read", lambda model, hooks, tokens: {hook: tokens[..., None].float() for hook in hooks})
    recipe = replace(RECIPE, counted=lambda rows: torch.ones_like(rows).bool())

    def seen(skip, chunks):
        source = train.activations(recipe, None, ["one"], rows, seed=3, skip=skip)
        return torch.cat([next(source)["one"] for _ in range(chunks)])[:, 0]

    whole = seen(0, 8)  # two passes of four chunks of 16 rows
    assert len(whole) == 2 * 64 * 8
    assert torch.equal(whole[:512].sort().values, whole[512:].sort().values)
    assert not torch.equal(whole[:512], whole[512:])
    # Ten rows were seen; in the second pass nothing is left out.
    later = seen(10 * 8, 5)
    assert torch.equal(later[: 54 * 8], whole[10 * 8 : 512])
    assert torch.equal(later[54 * 8 : 70 * 8], whole[512 : 512 + 16 * 8])
    assert torch.equal(seen(64 * 8 + 3 * 8, 1), whole[512 + 3 * 8 : 512 + 19 * 8])


@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("kept_at_one", [True, False])
@pytest.mark.parametrize("stored", [torch.float16, torch.float8_e4m3fn])
def test_what_is_saved_reads_as_what_was_trained(batch, kept_at_one, stored, tmp_path):
    torch.manual_seed(0)
    kind, of = OWN[batch]
    sae = kind(of(d_in=16, d_sae=64, k=4, rescale_acts_by_decoder_norm=not kept_at_one, decoder_init_norm=1.0))
    with torch.no_grad():
        sae.W_dec *= 1 / sae.W_dec.norm(dim=1, keepdim=True) if kept_at_one else torch.rand(64, 1) + 0.5
        sae.b_enc += torch.rand(64) * 0.01
    if kept_at_one:
        sae.fold_activation_norm_scaling_factor(0.1)  # as at the end of training
    x = torch.randn(100, 16)
    with torch.no_grad():
        if batch:  # that of all these together
            hidden = sae.encode_with_hidden_pre(x)[1].flatten()
            sae.topk_threshold = hidden.topk(401).values[-1].double()
        # What is added for a feature is its activation times a vector of norm 1, in the residual stream's own scale.
        acts, expected = sae.encode(x) * (10 if kept_at_one else 1), sae(x)
    train.save(sae, tmp_path, stored)
    assert (tmp_path / "sae_weights.safetensors").stat().st_size < stored.itemsize * 2 * 16 * 64 + 1024
    loaded = SAE.load_from_disk(tmp_path, device="cpu", dtype="float32")
    assert (loaded.cfg.architecture(), loaded.cfg.normalize_activations) == ("jumprelu" if batch else "topk", "none")
    assert batch or loaded.cfg.k == 4
    short = stored == torch.float8_e4m3fn
    assert torch.allclose(loaded.W_dec.norm(dim=1), torch.ones(64), atol=0.05 if short else 1e-3)
    with torch.no_grad():
        again = loaded.encode(x)
        assert ((again > 0) == (acts > 0)).float().mean() > (0.965 if short else 0.999)
        assert torch.allclose(again[again > 0].sum(), acts[acts > 0].sum(), rtol=0.03 if short else 2e-3)
        # An activation right at the threshold may be lost.
        assert ((loaded(x) - expected).norm() / expected.norm()) < (0.2 if short else 0.05 if batch else 5e-3)


def test_what_is_trained_is_known_by_its_command(tmp_path):
    options = Namespace(model="stories15m", tokens=5000, seed=0, device="cpu")
    assert not train.is_trained(tmp_path, SMALL, options)
    (tmp_path / "CARD.md").write_text("of another one")
    train.save(train.build_sae(RECIPE, SMALL, HOOKS[0], options, 16), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cfg.json", "sae_weights.safetensors"]
    assert train.is_trained(tmp_path, SMALL, options)
    assert not train.is_trained(tmp_path, replace(SMALL, k=5), options)
    assert not train.is_trained(tmp_path, SMALL, Namespace(**{**vars(options), "seed": 1}))
    assert not train.is_trained(tmp_path, SMALL, Namespace(**{**vars(options), "tokens": 5001}))
    (tmp_path / "cfg.json").write_text("[]")
    assert not train.is_trained(tmp_path, SMALL, options)


def test_one_stage_begins_with_what_the_one_before_made(tmp_path, monkeypatch):
    narrow = replace(SMALL, tokens=9000)
    wide = replace(narrow, width=96, k=3.5, batch=True, begin=narrow, stored=torch.float8_e4m3fn)
    tuned = replace(wide, tokens=2000, begin=wide, divergence=0.1)
    recipe = replace(RECIPE, hooks={HOOKS[0]: tuned}, rows=lambda *given: some_rows(given[3] // 225))
    monkeypatch.setitem(RECIPES, "stories15m", recipe)
    taken = []
    for name in ("train", "tune"):
        step = getattr(train, name)
        monkeypatch.setattr(train, name, lambda *given, step=step: (taken.append(given[1]), step(*given)))
    given = ["--work", str(tmp_path), "--out", str(tmp_path / "made")]
    train.main(given)
    assert taken == [narrow, wide, tuned]
    widths = [
        SAE.load_from_disk(tmp_path / folder / HOOKS[0], device="cpu").cfg.d_sae
        for folder in ("stories15m-stage0-seed0", "stories15m-stage1-seed0", "made")
    ]
    assert widths == [64, 96, 96]
    train.main(given)  # all is there
    assert len(taken) == 3


@torch.no_grad()
def test_a_widened_one_begins_as_the_narrow_one_did():
    torch.manual_seed(0)
    narrow = SAE.from_dict(
        {"d_in": 16, "d_sae": 64, "k": 4, "architecture": "topk", "dtype": "float32", "device": "cpu"}
    )
    for weights in narrow.parameters():
        weights.copy_(torch.randn_like(weights))
    narrow.W_dec /= narrow.W_dec.norm(dim=1, keepdim=True)
    x = 3 * torch.randn(500, 16)
    wide = TopKTrainingSAE(TopKTrainingSAEConfig(d_in=16, d_sae=80, k=4, rescale_acts_by_decoder_norm=False))
    train.widen(wide, narrow, x)
    scale = 16**0.5 / x.norm(dim=1).mean()
    hidden = wide.encode_with_hidden_pre(x * scale)[1]
    assert torch.allclose(hidden[:, :64], scale * ((x - narrow.b_dec) @ narrow.W_enc + narrow.b_enc), atol=1e-4)
    left = x[:16] - narrow(x[:16])
    assert torch.allclose(wide.W_dec[64:], left / left.norm(dim=1, keepdim=True), atol=1e-5)
    cosines = torch.nn.functional.cosine_similarity(wide.W_enc[:, 64:].T, wide.W_dec[64:])
    assert torch.allclose(cosines, torch.ones(16), atol=1e-5)


def test_fine_tuning_brings_predictions_nearer():
    torch.manual_seed(0)
    model, hook = load_model(RECIPE.directory()), HOOKS[1]
    rows = some_rows(136)[:, :64]
    x = read(model, [hook], rows[:16].long())[hook][:, 1:].flatten(0, 1).clone()
    sae = JumpReLUSAE(JumpReLUSAEConfig(d_in=288, d_sae=64))
    with torch.no_grad():
        directions = torch.linalg.svd(x - x.mean(0), full_matrices=False).Vh[:32]
        sae.W_dec.copy_(torch.cat([directions, -directions]))
        sae.W_enc.copy_(sae.W_dec.T)
        sae.b_dec.copy_(x.mean(0))
        set_threshold(sae, x, 8)
        assert (sae.encode(x) > 0).sum(1).float().mean() == pytest.approx(8, abs=0.01)

    def measured():
        def splice(values, hook):
            return torch.where(torch.arange(64)[:, None] > 0, sae(values), values)

        tokens = rows[:8].long()
        with torch.no_grad():
            clean = model.bridge(tokens, return_type="logits").log_softmax(-1)
            spliced = model.bridge.run_with_hooks(
                tokens, return_type="logits", fwd_hooks=[(model.resolve(hook), splice)]
            ).log_softmax(-1)
            error = (sae(x) - x).square().sum() / (x - x.mean(0)).square().sum()
        return float((clean.exp() * (clean - spliced)).sum(-1)[:, 1:].mean()), float(error)

    begun, found = {name: value.clone() for name, value in sae.state_dict().items()}, {}
    for weight in (0.0, 1.0):
        sae.load_state_dict(begun)
        finetune(sae, model, hook, rows[8:], RECIPE.counted, weight=weight, lr=1e-3)
        found[weight] = measured()
    assert found[1.0][0] < 0.97 * found[0.0][0]
    assert found[1.0][1] > found[0.0][1]
    assert torch.allclose(sae.W_dec.norm(dim=1), torch.ones(64), atol=1e-5)


def test_one_command_takes_all_steps(tmp_path, monkeypatch):
    taken = []
    for step in ("train", "label", "evaluate"):
        monkeypatch.setattr(getattr(make, step), "main", lambda given, step=step: taken.append((step, *given)))
    monkeypatch.setattr("sys.argv", ["make", "--model", "smollm2-135m", "--work", str(tmp_path), "--device", "cuda"])
    make.main()
    assert [step for step, *_ in taken] == ["train", "train", "label", "evaluate"]
    assert all({"smollm2-135m", "cuda", str(tmp_path)} <= set(given) for given in taken)
    own, second = str(SMOLLM2.saes), str(tmp_path / "smollm2-135m-seed1")
    outs = [given[given.index("--out") + 1] for given in taken]
    assert outs == [own, second, own, own]
    assert taken[1][-4:] == ("--seed", "1", "--tokens", str(RECIPES["smollm2-135m"].again))
    assert taken[3][-2:] == ("--second", second)


@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("dead", [0, 3, 40])
def test_a_sparse_step_is_saelens_own(batch, dead):
    torch.manual_seed(1)
    kind, of = OWN[batch]
    config = of(d_in=16, d_sae=64, k=4, rescale_acts_by_decoder_norm=False)
    own, sparse = kind(config), SPARSE[batch](config)
    with torch.no_grad():
        for weights in own.parameters():
            weights += 0.1 * torch.randn_like(weights)
    sparse.load_state_dict(own.state_dict())
    step = TrainStepInput(
        sae_in=torch.randn(32, 16),
        coefficients={},
        dead_neuron_mask=torch.arange(64) < dead,
        n_training_steps=0,
        is_logging_step=False,
    )
    expected, found = own.training_forward_pass(step), sparse.training_forward_pass(step)
    assert found.losses.keys() == expected.losses.keys()
    for name, loss in expected.losses.items():
        assert torch.allclose(found.losses[name], loss, rtol=1e-5)
    assert torch.allclose(found.sae_out, expected.sae_out, atol=1e-5)
    assert torch.allclose(found.feature_acts.to_dense(), expected.feature_acts, atol=1e-5)
    expected.loss.backward()
    found.loss.backward()
    for (name, one), other in zip(own.named_parameters(), sparse.parameters(), strict=True):
        assert torch.allclose(other.grad, one.grad, atol=1e-5), name
    if batch:
        assert 0 < sparse.topk_threshold == own.topk_threshold
