"""Training: several hook points at once, taken up again where it was, saved as what was trained."""

from argparse import Namespace
from dataclasses import replace

import pytest
import torch
from sae_lens import SAE, TopKTrainingSAE, TopKTrainingSAEConfig
from sae_lens.saes.sae import TrainStepInput

from axon_widget.embedded import SMOLLM2, train
from axon_widget.embedded import __main__ as make
from axon_widget.embedded.recipes import RECIPES
from axon_widget.embedded.sparse_topk import SparseTopKTrainingSAE

HOOKS = ("blocks.1.hook_resid_pre", "blocks.5.hook_resid_post")


def test_it_is_taken_up_again_where_it_was(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(train, "MIXED", 4096)
    monkeypatch.setattr(train, "CHUNK", 1)
    recipe = replace(RECIPES["stories15m"], hooks=HOOKS, width=64, k=4)
    rows = torch.randint(3, 32_000, (40, 256), generator=torch.Generator().manual_seed(0), dtype=torch.int16)
    options = Namespace(model="stories15m", tokens=30_000, seed=0, device="cpu", work=tmp_path)
    fit, steps = train.MultiSAETrainer._checkpoint_if_needed, []

    def interrupted(trainer):
        steps.append(trainer.n_training_samples)
        if len(steps) == 5:
            raise KeyboardInterrupt
        fit(trainer)

    monkeypatch.setattr(train.MultiSAETrainer, "_checkpoint_if_needed", interrupted)
    with pytest.raises(SystemExit, match="the same command goes on"):
        train.train(recipe, options, rows, tmp_path / "made")
    [kept] = (tmp_path / "checkpoints").iterdir()
    assert [saved.name for saved in kept.iterdir()] == [str(steps[4])]
    (kept / str(steps[4] + 1) / HOOKS[0]).mkdir(parents=True)  # one that was cut off is none
    with caplog.at_level("INFO", logger=train.log.name):
        saes = train.train(recipe, options, rows, tmp_path / "made")
    assert f"going on after {steps[4]} tokens" in caplog.text
    assert steps[5] == steps[4] + train.SAMPLES
    assert steps[-1] >= options.tokens
    assert not kept.exists()
    assert {path.name for path in (tmp_path / "made").iterdir()} == set(HOOKS)
    assert {name: sae.cfg.metadata.hook_name for name, sae in saes.items()} == {hook: hook for hook in HOOKS}
    assert saes[HOOKS[0]].W_dec.norm(dim=1).std() < 1e-3 * saes[HOOKS[0]].W_dec.norm(dim=1).mean()


def test_what_was_seen_is_left_out(monkeypatch):
    monkeypatch.setattr(train, "CHUNK", 1)
    rows = torch.arange(64)[:, None].expand(64, 8).contiguous()
    monkeypatch.setattr(train, "read", lambda model, hooks, tokens: {hook: tokens[..., None].float() for hook in hooks})
    recipe = replace(RECIPES["stories15m"], hooks=("one",), counted=lambda rows: torch.ones_like(rows).bool())

    def seen(skip, chunks):
        source = train.activations(recipe, None, rows, seed=3, skip=skip)
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


@pytest.mark.parametrize("kept_at_one", [True, False])
def test_what_is_saved_reads_as_what_was_trained(kept_at_one, tmp_path):
    torch.manual_seed(0)
    config = TopKTrainingSAEConfig(d_in=16, d_sae=64, k=4, rescale_acts_by_decoder_norm=not kept_at_one)
    sae = TopKTrainingSAE(config)
    with torch.no_grad():
        sae.W_dec *= 1 / sae.W_dec.norm(dim=1, keepdim=True) if kept_at_one else torch.rand(64, 1) + 0.5
        sae.b_enc += torch.rand(64) * 0.01
    if kept_at_one:
        sae.fold_activation_norm_scaling_factor(0.1)  # as at the end of training
    x = torch.randn(100, 16)
    with torch.no_grad():
        # What is added for a feature is its activation times a vector of norm 1, in the residual stream's own scale.
        acts, expected = sae.encode(x) * (10 if kept_at_one else 1), sae(x)
    train.save(sae, tmp_path)
    assert (tmp_path / "sae_weights.safetensors").stat().st_size < 2 * 2 * 16 * 64 + 4096
    loaded = SAE.load_from_disk(tmp_path, device="cpu", dtype="float32")
    assert (loaded.cfg.architecture(), loaded.cfg.k, loaded.cfg.normalize_activations) == ("topk", 4, "none")
    assert torch.allclose(loaded.W_dec.norm(dim=1), torch.ones(64), atol=1e-3)
    with torch.no_grad():
        again = loaded.encode(x)
        assert ((again > 0) == (acts > 0)).float().mean() > 0.999
        assert torch.allclose(again[again > 0].sum(), acts[acts > 0].sum(), rtol=2e-3)
        assert ((loaded(x) - expected).norm() / expected.norm()) < 5e-3


def test_what_is_trained_is_known_by_its_command(tmp_path):
    recipe = replace(RECIPES["stories15m"], width=64, k=4)
    options = Namespace(model="stories15m", tokens=5000, seed=0, device="cpu")
    assert not train.is_trained(tmp_path, recipe, options)
    (tmp_path / "CARD.md").write_text("of another one")
    train.save(train.build_sae(recipe, HOOKS[0], options, 16), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cfg.json", "sae_weights.safetensors"]
    assert train.is_trained(tmp_path, recipe, options)
    assert not train.is_trained(tmp_path, replace(recipe, k=5), options)
    assert not train.is_trained(tmp_path, recipe, Namespace(**{**vars(options), "seed": 1}))
    assert not train.is_trained(tmp_path, recipe, Namespace(**{**vars(options), "tokens": 5001}))
    (tmp_path / "cfg.json").write_text("[]")
    assert not train.is_trained(tmp_path, recipe, options)


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


@pytest.mark.parametrize("dead", [0, 3, 40])
def test_a_sparse_step_is_saelens_own(dead):
    torch.manual_seed(1)
    config = TopKTrainingSAEConfig(d_in=16, d_sae=64, k=4, rescale_acts_by_decoder_norm=False)
    own, sparse = TopKTrainingSAE(config), SparseTopKTrainingSAE(config)
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
