"""Training: several hook points at once, taken up again where it was, saved as what was trained."""

from argparse import Namespace
from dataclasses import replace

import pytest
import torch
from sae_lens import SAE, TopKTrainingSAE, TopKTrainingSAEConfig

from axon_widget.embedded import train
from axon_widget.embedded.recipes import RECIPES

HOOKS = ("blocks.1.hook_resid_pre", "blocks.5.hook_resid_post")


def test_it_is_taken_up_again_where_it_was(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(train, "MIXED", 4096)
    monkeypatch.setattr(train, "CHUNK", 1)
    recipe = replace(RECIPES["stories15m"], hooks=HOOKS, width=64, k=4)
    rows = torch.randint(3, 32_000, (40, 256), generator=torch.Generator().manual_seed(0), dtype=torch.int16)
    options = Namespace(model="stories15m", tokens=30_000, seeds=[0, 1], device="cpu", work=tmp_path)
    fit, steps = train.MultiSAETrainer._checkpoint_if_needed, []

    def interrupted(trainer):
        steps.append(trainer.n_training_samples)
        if len(steps) == 5:
            raise KeyboardInterrupt
        fit(trainer)

    monkeypatch.setattr(train.MultiSAETrainer, "_checkpoint_if_needed", interrupted)
    with pytest.raises(SystemExit, match="the same command goes on"):
        train.train(recipe, options, rows)
    [kept] = (tmp_path / "checkpoints").iterdir()
    assert [saved.name for saved in kept.iterdir()] == [str(steps[4])]
    with caplog.at_level("INFO", logger=train.log.name):
        saes = train.train(recipe, options, rows)
    assert f"going on after {steps[4]} tokens" in caplog.text
    assert steps[5] == steps[4] + train.SAMPLES
    assert steps[-1] >= options.tokens
    assert not kept.exists()
    assert set(saes) == {*HOOKS, *(f"{hook}-seed1" for hook in HOOKS)}
    first, second = (saes[name].W_dec for name in (HOOKS[0], f"{HOOKS[0]}-seed1"))
    assert torch.cosine_similarity(first, second).abs().mean() < 0.5
    assert {saes[name].cfg.metadata.hook_name for name in saes} == set(HOOKS)


def test_what_was_seen_is_left_out(monkeypatch):
    monkeypatch.setattr(train, "CHUNK", 1)
    rows = torch.arange(64)[:, None].expand(64, 8).contiguous()
    monkeypatch.setattr(
        train, "read", lambda bridge, hooks, tokens: {hook: tokens[..., None].float() for hook in hooks}
    )
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


def test_what_is_saved_reads_as_what_was_trained(tmp_path):
    torch.manual_seed(0)
    sae = TopKTrainingSAE(TopKTrainingSAEConfig(d_in=16, d_sae=64, k=4, device="cpu", decoder_init_norm=0.1))
    with torch.no_grad():
        sae.W_dec *= torch.rand(64, 1) + 0.5
        sae.b_enc += torch.rand(64) * 0.01
    x = torch.randn(100, 16)
    with torch.no_grad():
        acts, expected = sae.encode(x), sae(x)
    train.save(sae, tmp_path)
    assert (tmp_path / "sae_weights.safetensors").stat().st_size < 2 * 2 * 16 * 64 + 4096
    loaded = SAE.load_from_disk(tmp_path, device="cpu", dtype="float32")
    assert torch.allclose(loaded.W_dec.norm(dim=1), torch.ones(64), atol=1e-3)
    with torch.no_grad():
        again = loaded.encode(x)
        assert ((again > 0) == (acts > 0)).float().mean() > 0.999
        assert torch.allclose(again[again > 0].sum(), acts[acts > 0].sum(), rtol=2e-3)
        assert ((loaded(x) - expected).norm() / expected.norm()) < 5e-3
