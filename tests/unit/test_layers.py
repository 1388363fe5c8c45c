"""Several autoencoders in one pass: each reads what it would read alone."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from axon_widget.embedded import STORIES
from axon_widget.engine.features import FeatureReader
from axon_widget.engine.tracer import Tracer
from axon_widget.trace import Origin, SAEOrigin, Steer, Steering, Trace
from tests.unit import tiny
from tests.unit.reference import Reference, counted

HOOKS = (
    "blocks.0.hook_resid_pre",
    "blocks.0.attn.hook_z",
    "blocks.0.hook_mlp_out",
    "blocks.1.hook_resid_pre",
    "blocks.1.hook_resid_mid",
    "blocks.1.hook_resid_post",
)
BETWEEN = (HOOKS[0], HOOKS[3], HOOKS[5])
SETTINGS = {"max_tokens": 12, "seed": 2}


def features_of(trace, sae):
    return [[(f.id, f.activation, f.layer) for f in step.features if f.sae == sae] for step in trace]


@pytest.mark.parametrize("hooks", [BETWEEN, HOOKS], ids=["between blocks", "inside too"])
def test_each_reads_what_it_reads_alone(pair, hooks):
    together, _ = pair("gpt2", *hooks)
    trace = together.run(tiny.PROMPT, **SETTINGS)
    assert [reader.hook for reader in together.readers] == list(hooks)
    for sae, reader in enumerate(together.readers):
        alone = Tracer(together.model, together.vocabulary.tokenizer, [FeatureReader(reader.sae)])
        alone._loop._eos = set()
        expected = alone.run(tiny.PROMPT, **SETTINGS)
        assert [step.token_id for step in trace] == [step.token_id for step in expected]
        for mine, its in zip(features_of(trace, sae), features_of(expected, 0), strict=True):
            assert [f[0] for f in mine] == [f[0] for f in its]
            assert [f[1] for f in mine] == pytest.approx([f[1] for f in its], abs=1e-5)
            assert all(f[2] == reader.layer for f in mine)
        for step, other in zip(trace, expected, strict=True):
            if not step.special:
                assert step.fits[sae] == pytest.approx(other.fits[0], abs=1e-5)
    assert all(len(step.fits) == (0 if step.special else len(hooks)) for step in trace)
    assert sum(len(features) for features in features_of(trace, 1)) > 50


def test_features_stand_by_sae_and_strongest_first(pair):
    tracer, _ = pair("gpt2", *BETWEEN)
    for step in tracer.run(tiny.PROMPT, **SETTINGS):
        order = [(f.sae, -f.activation) for f in step.features]
        assert order == sorted(order)
        assert step.l0 == sum(fit.l0 for fit in step.fits) == len(step.features)
        if step.fits:
            assert (step.explained_variance, step.cosine) == step.fits[0][:2]


def test_how_each_sees_a_token_is_told(pair):
    tracer, reference = pair("gpt2", *BETWEEN)
    trace = tracer.run(tiny.PROMPT, **SETTINGS)
    run = reference.run([step.token_id for step in trace])
    for step in trace[1:]:
        for sae, fit in enumerate(step.fits):
            x = run.read[sae][step.step]
            taken = reference.take(sae, x)
            recons = taken.bias + taken.features
            explained = 1 - float((x - recons).square().sum() / (x - taken.bias).square().sum())
            assert fit.explained_variance == pytest.approx(explained, abs=1e-4)
            assert fit.cosine == pytest.approx(float(x @ recons / (x.norm() * recons.norm())), abs=1e-4)
            assert fit.l0 == len(taken.ids)


def test_all_are_read_in_one_pass(pair):
    tracer, _ = pair("gpt2", *BETWEEN)
    with counted(tracer) as lengths:
        trace = tracer.run(tiny.PROMPT, **SETTINGS)
    assert lengths == [len(trace) - 12] + [1] * 12


def test_all_of_the_embedded_model_in_one_pass(tracer):
    hooks = [*(f"blocks.{layer}.hook_resid_pre" for layer in range(6)), "blocks.5.hook_resid_post"]
    seven = Tracer.load("embedded", hooks, device="cpu")
    assert [reader.layer for reader in seven.readers] == [0, 1, 2, 3, 4, 5, 5]
    with counted(seven) as lengths:
        trace = seven.run("Once upon a time", temperature=0, max_tokens=6)
    assert lengths == [5] + [1] * 6
    alone = tracer.run("Once upon a time", temperature=0, max_tokens=6)
    for mine, its in zip(features_of(trace, 3), features_of(alone, 0), strict=True):
        assert [f[0] for f in mine] == [f[0] for f in its]
        assert [f[1] for f in mine] == pytest.approx([f[1] for f in its], abs=1e-4)
    reference = Reference(STORIES.directory(), *map(STORIES.sae_dir, hooks))
    run = reference.run([step.token_id for step in trace])
    for sae in range(7):
        expected = reference.take(sae, run.read[sae][-1]).activations
        found = {f.id: f.activation for f in trace[-1].features if f.sae == sae}
        assert found == pytest.approx({int(i): float(expected[i]) for i in expected.nonzero()}, abs=1e-3)
        assert found
    assert {f.label for f in trace[-1].features if f.sae == 3} == {f.label for f in alone[-1].features}
    assert all(f.label for f in trace[-1].features)


def test_they_stand_in_the_order_of_their_depth(family, tmp_path):
    deep = [
        "blocks.0.hook_resid_pre",
        "blocks.0.attn.hook_z",
        "blocks.0.hook_attn_out",
        "blocks.0.hook_resid_mid",
        "blocks.0.hook_mlp_out",
        "blocks.0.hook_resid_post",
        "blocks.1.hook_resid_pre",
    ]
    paths = [tiny.save_sae(tmp_path / deep[i], deep[i]) for i in (5, 3, 6, 2, 0, 1, 4)]
    tracer = Tracer.load(str(family("gpt2")), paths, device="cpu")
    assert [reader.hook for reader in tracer.readers] == deep


@pytest.mark.parametrize(
    ("shallow", "deep"),
    [
        ("blocks.0.attn.hook_z", "blocks.0.mlp.hook_pre"),
        ("blocks.0.hook_resid_mid", "blocks.0.mlp.hook_in"),
        ("blocks.0.ln1.hook_normalized", "blocks.0.attn.hook_z"),
        ("blocks.0.hook_resid_mid", "blocks.0.ln2.hook_normalized"),
        ("blocks.1.hook_resid_post", "ln_final.hook_normalized"),
        ("embed.hook_out", "blocks.0.hook_resid_pre"),
    ],
)
def test_hook_points_that_are_read_more_seldom_have_their_depth_too(family, tmp_path, shallow, deep):
    for hook in (shallow, deep):
        width = 4 * tiny.WIDTH if hook.endswith("mlp.hook_pre") else tiny.WIDTH
        tiny.save_sae(tmp_path / hook, hook, width=width)
    tracer = Tracer.load(str(family("gpt2")), [tmp_path / deep, tmp_path / shallow], device="cpu")
    assert [reader.hook for reader in tracer.readers] == [shallow, deep]


def test_a_feature_is_found_by_its_place(pair):
    tracer, _ = pair("gpt2", *BETWEEN)
    assert tracer.address((0, 7)) == (0, 7)
    assert tracer.address(("blocks.0.hook_resid_pre", 7)) == (0, 7)
    assert tracer.address(("blocks.1.hook_resid_post", 95)) == (2, 95)
    assert tracer.address((tracer.readers[1].name, 3)) == (1, 3)
    for feature, reason in (
        (7, r"Several SAEs.*blocks\.0\.hook_resid_pre, blocks\.1\.hook_resid_pre.*\(hook point, number\)"),
        ((1, 7), "Several SAEs"),  # of block 1 there are two
        ((2, 7), "No such SAE"),
        (("blocks.9.hook_resid_pre", 7), "No such SAE"),
        (("", 7), "No such SAE"),
        ((0, 96), "no feature 96.*0 to 95"),
        ((0, -1), "no feature -1"),
    ):
        with pytest.raises(ValueError, match=reason):
            tracer.address(feature)


def test_with_one_sae_its_features_number_is_enough(pair):
    tracer, _ = pair("gpt2", "blocks.1.hook_resid_pre")
    assert tracer.address(7) == tracer.address((1, 7)) == tracer.address(("blocks.1.hook_resid_pre", 7)) == (0, 7)
    for feature in (96, -1):
        with pytest.raises(ValueError, match="0 to 95"):
            tracer.address(feature)
    with pytest.raises(ValueError, match="No such SAE"):
        tracer.address((0, 7))


@pytest.mark.parametrize(
    "feature", ["7", 7.0, None, True, (1,), (1, 2, 3), (1, "7"), (1.0, 7), (True, 7), (1, True), [1, 7]]
)
def test_what_names_no_feature_is_refused(pair, feature):
    tracer, _ = pair("gpt2", "blocks.1.hook_resid_pre")
    with pytest.raises(TypeError, match="named by its number"):
        tracer.address(feature)


@pytest.mark.parametrize(
    ("hooks", "titles"),
    [
        (["blocks.1.hook_resid_pre"], ["layer 1"]),
        (list(BETWEEN[:2]), ["layer 0", "layer 1"]),
        (["blocks.1.hook_resid_pre", "blocks.1.hook_resid_post"], ["layer 1 pre", "layer 1 post"]),
        (list(BETWEEN), ["layer 0", "layer 1 pre", "layer 1 post"]),
        (
            ["blocks.0.attn.hook_z", "blocks.0.hook_mlp_out", "blocks.1.hook_resid_pre"],
            ["layer 0 attn.z", "layer 0 mlp_out", "layer 1"],
        ),
    ],
)
def test_titles_tell_saes_of_one_layer_apart(pair, hooks, titles):
    tracer, _ = pair("gpt2", *hooks)
    assert [sae["title"] for sae in tracer.info["saes"]] == titles
    assert tracer.run(tiny.PROMPT, max_tokens=1).origin.titles == titles


def test_titles_tell_saes_of_one_hook_point_apart(family, tmp_path):
    hook = "blocks.1.hook_resid_pre"
    model = Tracer.load(str(family("gpt2")), [tiny.save_sae(tmp_path / name, hook) for name in "ab"], device="cpu")
    names = ("wide/blocks.1", "narrow/blocks.1")
    readers = [FeatureReader(reader.sae, name) for reader, name in zip(model.readers, names, strict=True)]
    tracer = Tracer(model.model, model.vocabulary.tokenizer, readers)
    titles = [sae["title"] for sae in tracer.info["saes"]]
    assert len(set(titles)) == 2
    assert all(name in title for name, title in zip(("wide", "narrow"), titles, strict=True))
    assert tracer.address(("narrow/blocks.1", 4)) == (1, 4)
    with pytest.raises(ValueError, match=r"wide/blocks\.1, narrow/blocks\.1.*\(name of the SAE, number\)"):
        tracer.address((hook, 4))


@pytest.mark.parametrize(
    ("names", "titles"),
    [
        (["res/wide/l0_71", "res/narrow/l0_71"], ["wide", "narrow"]),
        (["res/layer_1/16k/l0_71", "res/layer_1/65k/l0_114"], ["16k/l0_71", "65k/l0_114"]),
        (["/home/me/a", "/home/me/b"], ["a", "b"]),
    ],
)
def test_titles_of_one_hook_point_are_what_the_names_do_not_share(names, titles):
    saes = tuple(SAEOrigin(name, "blocks.1.hook_resid_post", 1) for name in names)
    assert Origin(saes=saes).titles == [f"layer 1 post, {title}" for title in titles]


def test_a_table_with_a_row_for_each_layer_of_each_token(pair):
    tracer, reference = pair("gpt2", *BETWEEN)
    trace = tracer.run(tiny.PROMPT, **SETTINGS)
    table = trace.to_pandas("layer")
    assert len(table) == 3 * (len(trace) - 1)  # none for BOS
    run = reference.run([step.token_id for step in trace])
    for row in table.itertuples():
        assert (row.token, row.position) == (trace[row.step].token, row.step)
        assert row.layer == (0, 1, 1)[row.sae]
        activations = reference.take(row.sae, run.read[row.sae][row.step]).activations.sort(descending=True).values
        assert row.peak == pytest.approx(float(activations[0]), abs=1e-4)
        assert row.top5 == pytest.approx(float(activations[:5].sum()), abs=1e-4)
        assert row.l0 == int((activations > 0).sum())
        fit = trace[row.step].fits[row.sae]
        assert (row.explained_variance, row.cosine) == fit[:2]
    assert list(zip(table.step, table.sae, strict=True)) == [(s, i) for s in range(1, len(trace)) for i in range(3)]


def test_tables_of_features_name_their_sae(pair):
    tracer, _ = pair("gpt2", *BETWEEN)
    trace = tracer.run(tiny.PROMPT, **SETTINGS)
    table = trace.to_pandas()
    counts = table.groupby("sae").size()
    assert list(counts) == [sum(step.fits[sae].l0 for step in trace[1:]) for sae in range(3)]
    assert set(zip(table.sae, table.layer, strict=True)) == {(0, 0), (1, 1), (2, 1)}
    assert list(trace.to_pandas("token").l0) == [step.l0 for step in trace]


def test_several_layers_and_steering_and_a_fork_survive_a_file(pair):
    tracer, _ = pair("gpt2", *BETWEEN)
    steering = Steering((Steer(0, 3, 2.5), Steer(2, 3, 0.5, scale=True)), reconstruct=True)
    parent = tracer.run(tiny.PROMPT, steering=steering, **SETTINGS)
    trace = parent.branch(12)
    for step in tracer.resume(trace, 50, max_tokens=6, steering=lambda: Steering() if len(trace) > 14 else steering):
        assert step.generated
    again = Trace.from_json(trace.to_json())
    assert again == trace
    assert (again.fork, again.parent) == (12, None)
    assert again.steering == trace.steering == {0: steering, 14: Steering()}
    assert again[13].steered == trace[13].steered != ()
    assert again[13].clean_logprob == trace[13].clean_logprob is not None
    assert again.origin.saes == tracer.saes
    assert [again[13].fits[sae] for sae in range(3)] == [trace[13].fits[sae] for sae in range(3)]
    pd.testing.assert_frame_equal(again.to_pandas("layer"), trace.to_pandas("layer"))
    assert not math.isnan(again.to_pandas("layer").top5.sum())


def test_a_feature_is_described_by_its_own_sae(pair):
    tracer, _ = pair("gpt2", *BETWEEN)
    boosts = [tracer.describe(7, sae).boosts for sae in range(3)]
    assert len(set(boosts)) == 3
    for feature, sae in ((96, 0), (0, 3), (-1, 0), (0, -1)):
        with pytest.raises(ValueError, match=r"no (feature|SAE)"):
            tracer.describe(feature, sae)


def test_a_feature_inside_a_block_is_no_direction_of_the_stream(pair):
    tracer, _ = pair("gpt2", "blocks.0.attn.hook_z", "blocks.0.hook_mlp_out")
    assert tracer.describe(7, 0).boosts == ()
    assert tracer.describe(7, 0).source == "this SAE has no labels"
    assert len(tracer.describe(7, 1).boosts) == 8


def test_cosines_are_between_decoder_directions_of_one_space(pair):
    tracer, reference = pair("gpt2", "blocks.0.hook_resid_pre", "blocks.0.attn.hook_z", "blocks.0.hook_mlp_out")
    features = [(0, 3), (1, 3), (2, 3), (0, 90), (2, 3), (1, 50)]
    found = tracer.cosines(features)
    assert found.shape == (6, 6)
    for row, (sae, i) in zip(found.tolist(), features, strict=True):
        for cosine, (other, j) in zip(row, features, strict=True):
            a, b = (reference.saes[place].W_dec[k].double() for place, k in ((sae, i), (other, j)))
            same_space = (sae == 1) == (other == 1)
            expected = float(a @ b / (a.norm() * b.norm())) if same_space else 0
            assert cosine == pytest.approx(expected, abs=1e-5)
    assert tracer.cosines([]).shape == (0, 0)


def test_dense_features_are_those_the_labels_call_so(tracer, pair):
    labels = tracer.readers[0].labels
    dense = [i for i in range(tracer.readers[0].d_sae) if tracer.dense(i)]
    assert dense == [i for i in range(tracer.readers[0].d_sae) if labels.get(i) and labels.get(i).dense]
    assert 0 < len(dense) < 0.2 * tracer.readers[0].d_sae
    assert not pair("gpt2", *BETWEEN)[0].dense(3, 1)


def test_the_nearest_features_are_those_of_the_largest_cosines(pair):
    hooks = ("blocks.0.hook_resid_pre", "blocks.0.attn.hook_z", "blocks.1.hook_resid_pre", "blocks.1.hook_mlp_out")
    tracer, reference = pair("gpt2", *hooks)
    with torch.no_grad():
        reference.saes[2].W_dec[17] = reference.saes[2].W_dec[5] + 0.1 * reference.saes[3].W_dec[9]
        tracer.readers[2].sae.W_dec.copy_(reference.saes[2].W_dec)
        tracer.readers[3].sae.W_dec[4] = 0.0  # a dead one
        reference.saes[3].W_dec[4] = 0.0
    rows = [sae.W_dec.detach().double().numpy() for sae in reference.saes]
    asked = [(2, 5), (3, 9), (0, 1), (2, 17), (2, 5), (1, 3)]
    found = tracer.nearest(asked, 6)
    for (sae, feature), near in zip(asked, found, strict=True):
        # Its own SAE and those beside it, where they write to the same space.
        others = {0: [0], 1: [1], 2: [2, 3], 3: [2, 3]}[sae]
        d = rows[sae][feature]
        cosines = {}
        for other in others:
            lengths = np.linalg.norm(rows[other], axis=1) * np.linalg.norm(d)
            values = rows[other] @ d / np.where(lengths == 0, 1, lengths)
            cosines |= {(other, i): value for i, value in enumerate(values) if (other, i) != (sae, feature)}
        best = sorted(cosines, key=cosines.__getitem__, reverse=True)[:6]
        assert [(of, i) for of, i, _ in near] == best
        assert [cosine for *_, cosine in near] == pytest.approx([cosines[key] for key in best], abs=1e-5)
    assert found[0][0][:2] == (2, 17)
    assert tracer.nearest(asked[:1], 6) == found[:1]  # from memory
    assert len(tracer.nearest([(0, 1)], 1000)[0]) == len(rows[0]) - 1
    assert tracer.nearest([]) == []
