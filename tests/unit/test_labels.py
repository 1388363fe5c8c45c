"""What features are called: from the weights and from the file beside an autoencoder."""

import json

import pytest
import torch

from axon_widget.embedded import sae_dir
from axon_widget.engine.features import FeatureReader
from axon_widget.engine.loading import EMBEDDED_HOOK
from axon_widget.engine.tracer import Tracer
from axon_widget.labels.bundled import BundledLabels
from tests.unit import tiny

HOOK = "blocks.1.hook_resid_pre"


@pytest.mark.parametrize("feature", [0, 41, 95])
def test_tokens_a_feature_boosts_in_a_layernorm_model(tiny_model, tmp_path, feature):
    tracer = Tracer.load(str(tiny_model), tiny.save_sae(tmp_path, HOOK))
    label = tracer.describe(feature)
    d = tracer.readers[0].sae.W_dec[feature].double()
    model = tracer.model.plain
    norm = torch.nn.LayerNorm(tiny.WIDTH, elementwise_affine=False, dtype=torch.float64)
    # The norm's direction alone: its scale multiplies all tokens alike, its bias belongs to no feature.
    direction = norm(d) * model.transformer.ln_f.weight.double()
    order = (model.lm_head.weight.double() @ direction).argsort(descending=True).tolist()
    texts = [tracer.vocabulary.tokenizer.decode([token]) for token in order]
    assert list(label.boosts) == texts[: len(label.boosts)]
    assert list(label.suppresses) == texts[::-1][: len(label.suppresses)]
    assert label.source
    assert label.score is None
    assert label.frequency is None


def test_tokens_a_feature_boosts_in_an_rmsnorm_model(tracer):
    d = tracer.readers[0].sae.W_dec[5].double()
    model = tracer.model.plain
    weights = model.lm_head.weight.double() @ (d * model.model.norm.weight.double())
    order = weights.argsort(descending=True)[:3].tolist()
    bare = Tracer(tracer.model, tracer.vocabulary.tokenizer, [FeatureReader(tracer.readers[0].sae)])
    assert [bare.vocabulary.name(token) for token in order] == list(bare.describe(5).boosts)[:3]


def test_the_features_that_boost_a_token_most(tiny_model, tmp_path):
    tracer = Tracer.load(str(tiny_model), tiny.save_sae(tmp_path, HOOK))
    model = tracer.model.plain
    norm = torch.nn.LayerNorm(tiny.WIDTH, elementwise_affine=False, dtype=torch.float64)
    decoder = tracer.readers[0].sae.W_dec.double()
    d = decoder - decoder.mean(-1, keepdim=True)
    rows = model.lm_head.weight.double()
    weights = (d * model.transformer.ln_f.weight.double()) @ (rows - rows.mean(0)).T
    # As the names have it: up to the norm's own scale, which is one for each feature.
    scaled = norm(decoder[7]) * model.transformer.ln_f.weight.double() @ (rows - rows.mean(0)).T
    assert torch.allclose(scaled / scaled.norm(), weights[7] / weights[7].norm())
    for token in (3, 50):
        best = weights[:, token].argsort(descending=True)[:5].tolist()
        assert tracer.boosting(token) == [(0, i) for i in best if weights[i, token] > 0]


@pytest.mark.parametrize("feature", [-1, 10**6])
def test_a_feature_that_is_none_is_refused(tracer, feature):
    with pytest.raises(ValueError, match="features 0 to"):
        tracer.describe(feature)


def test_the_embedded_labels_stand_in_the_trace(tracer):
    file = json.loads((sae_dir(EMBEDDED_HOOK) / "labels.json").read_text(encoding="utf-8"))
    trace = tracer.run("Once upon a time, there was a cat", temperature=0, max_tokens=5)
    shown = {feature.id: feature.label for step in trace for feature in step.features}
    assert len(shown) > 50
    for feature, label in shown.items():
        row = file["features"][feature]
        assert label == (row["label"] if row else "")
        if row:
            assert tracer.describe(feature).source == file["source"]
            assert tracer.describe(feature).frequency == row["frequency"]


def test_dense_features_fire_four_times_as_often_as_the_mean(tmp_path):
    rows = [
        {"label": f"l{i}", "fires_on": [], "boosts": [], "suppresses": [], "frequency": f, "max_activation": 1.0}
        for i, f in enumerate([0.01] * 18 + [0.0699, 0.11])
    ]
    path = tmp_path / "labels.json"
    path.write_text(json.dumps({"source": "s", "features": [*rows, None]}), encoding="utf-8")
    labels = BundledLabels(path)
    mean = (18 * 0.01 + 0.0699 + 0.11) / 20
    assert [i for i in range(20) if labels.get(i).dense] == [i for i, r in enumerate(rows) if r["frequency"] > 4 * mean]
    assert labels.get(19).dense
    assert labels.get(20) is None
    assert labels.get(21) is None
    assert labels.get(-1) is None


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"source": 3}', '{"source": "a", "features": [3]}', '{"source": "a", "features": [{}]}']
)
def test_a_file_beside_an_sae_that_holds_no_labels_is_an_error_at_once(tiny_model, tmp_path, text):
    sae = tiny.save_sae(tmp_path, HOOK)
    (sae / "labels.json").write_text(text)
    with pytest.raises(ValueError, match="labels=False for none"):
        Tracer.load(str(tiny_model), sae)
    assert Tracer.load(str(tiny_model), sae, labels=False).names(0, 3) == ""


def test_what_a_label_from_elsewhere_holds_does_no_harm(tmp_path):
    row = {"label": "a\x1b[2J\u202eb\nc", "fires_on": [["x", 1]], "boosts": [3], "suppresses": []}
    path = tmp_path / "labels.json"
    row |= {"frequency": 0.5, "max_activation": 2}
    path.write_text(json.dumps({"source": "by\nme", "features": [None, row]}))
    labels = BundledLabels(path)
    assert (labels.name(1), labels.source, labels.get(1).boosts) == ("a[2Jb c", "by me", ("3",))
    assert labels.get(0) is labels.get(2) is labels.get(-1) is None
    assert labels.search("2J") == [(1, "a[2Jb c")]
