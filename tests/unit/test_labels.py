"""What features are called: from the weights and from the file beside an autoencoder."""

import sqlite3
import zlib
from contextlib import closing

import numpy as np
import pytest
import torch

from axon_widget.embedded import STORIES
from axon_widget.engine.features import FeatureReader
from axon_widget.engine.tracer import Tracer
from axon_widget.labels import bundle
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
    path = STORIES.sae_dir(STORIES.hook) / bundle.LABELS
    known = bundle.summaries(path)
    trace = tracer.run("Once upon a time, there was a cat", temperature=0, max_tokens=5)
    shown = {feature.id: feature.label for step in trace for feature in step.features}
    assert len(shown) > 50
    told = [feature for feature in shown if feature in known]
    assert len(told) > 0.9 * len(shown)
    for feature in told:
        assert shown[feature] == known[feature].label
    for feature in told[:5]:
        label = tracer.describe(feature)
        assert label.source == bundle.about(path)["source"]
        assert label.frequency == known[feature].frequency
        assert label.contexts
        peak = max(activation for _, activation in label.contexts[0])
        assert peak == pytest.approx(label.max_activation, rel=0.01)


def bundled(tmp_path, features, texts=None, **about):
    """Write labels beside an SAE that is not there, and the text beside them."""
    sae = tmp_path / "hook"
    sae.mkdir(exist_ok=True)
    rows, tokens = texts or (np.arange(40).reshape(2, 20), ["", *(f" t{i}" for i in range(1, 40))])
    bundle.write_texts(tmp_path, rows, tokens)
    told = {"source": "by a rule", "scored_by": "a measure", "digest": bundle.digest(rows)}
    bundle.write_labels(sae, told | about, features)
    return sae / bundle.LABELS


NOTHING = bundle.More((), (), (), ())


def test_what_is_written_is_read_again(tmp_path):
    place, values = 23, [0.0] * 12 + [1.0, 0.0, 0.01, 4.0] + [0.0] * 6  # 23 is the fourth token of the second row
    more = bundle.More([(7, 1.5)], [3, 9], [4], [(place, values), (1, [0.0] * 15 + [2.0] + [0.0] * 6)])
    path = bundled(tmp_path, [(5, bundle.Summary("dog", "dog, cat", 0.9, 0.25, 4.0), more)])
    labels = BundledLabels(path)
    assert (list(labels.names()), labels.name(5), labels.name(4), labels.get(4)) == ([(5, "dog")], "dog", "", None)
    label = labels.full(5)
    assert (label.text, label.method, label.score, label.scored_by) == ("dog", "dog, cat", 0.9, "a measure")
    assert (label.frequency, label.max_activation, label.source) == (0.25, 4.0, "by a rule")
    assert (label.fires_on, label.boosts, label.suppresses) == (((" t7", 1.5),), (" t3", " t9"), (" t4",))
    first, second = label.contexts
    assert [token for token, _ in first] == [f" t{i}" for i in range(20, 30)]  # no further than its row
    assert first[3] == (" t23", 4.0)
    assert first[2][1] == pytest.approx(4 / 255)  # what fires at all is not silent
    assert first[0][1] == pytest.approx(1, abs=0.02)
    assert second[0] == (" t1", pytest.approx(2, abs=0.02))  # the special token before it says nothing
    assert list(labels.known()) == [(5, label)]


def test_contexts_are_read_when_they_are_asked(tmp_path, monkeypatch):
    summary = bundle.Summary("dog", "dog", 0.9, 0.25, 4.0)
    path = bundled(tmp_path, [(i, summary, NOTHING) for i in range(3)])
    opened = []
    monkeypatch.setattr(bundle, "more", lambda *a: opened.append(a))
    labels = BundledLabels(path)
    assert len(list(labels.names())) == 3
    assert labels.get(1).frequency == 0.25
    (tmp_path / bundle.TEXTS).write_bytes(b"not read")
    assert labels.get(2).text == "dog"
    assert opened == []
    assert labels.full(1).text == "dog"
    assert opened == [(path, 1, 4.0)]


def test_names_are_read_without_the_rest_of_the_file(tmp_path):
    one = bundle.Summary("dog", "dog", 0.9, 0.25, 1.0)
    path = bundled(tmp_path, [(i, one, NOTHING) for i in range(3)])
    with closing(sqlite3.connect(path)) as db:
        db.execute("DROP TABLE more")
    labels = BundledLabels(path)
    assert len(list(labels.names())) == 3
    assert labels.full(1) == labels.get(1)


def test_labels_without_their_text_have_no_contexts(tmp_path):
    more = bundle.More([(7, 1.5)], [3], [4], [(23, [0.0] * 15 + [4.0] + [0.0] * 6)])
    path = bundled(tmp_path, [(5, bundle.Summary("dog", "dog", 0.9, 0.25, 4.0), more)])
    assert len(BundledLabels(path).full(5).contexts) == 1
    bundle.write_texts(tmp_path, np.zeros((2, 20), int), ["", "x"])  # another text
    assert BundledLabels(path).full(5) == BundledLabels(path).get(5)
    (tmp_path / bundle.TEXTS).unlink()
    assert BundledLabels(path).full(5).contexts == ()


def test_dense_features_fire_four_times_as_often_as_the_mean(tmp_path):
    frequencies = [0.01] * 18 + [0.0699, 0.11]
    rows = [(i, bundle.Summary(f"l{i}", "", None, f, 1.0), NOTHING) for i, f in enumerate(frequencies)]
    labels = BundledLabels(bundled(tmp_path, rows))
    mean = sum(frequencies) / 20
    assert [i for i in range(20) if labels.get(i).dense] == [i for i, f in enumerate(frequencies) if f > 4 * mean]
    assert labels.get(19).dense
    assert labels.get(20) is None
    assert labels.get(-1) is None


@pytest.mark.parametrize("content", [b"", b"[]", b"SQLite format 3\0" + b"x" * 4096, None])
def test_a_file_beside_an_sae_that_holds_no_labels_is_an_error_at_once(tiny_model, tmp_path, content):
    sae = tiny.save_sae(tmp_path, HOOK)
    if content is None:  # of another kind
        with closing(sqlite3.connect(sae / bundle.LABELS)) as db:
            db.execute("CREATE TABLE about (key, value)")
    else:
        (sae / bundle.LABELS).write_bytes(content)
    with pytest.raises(ValueError, match="labels=False for none"):
        Tracer.load(str(tiny_model), sae)
    assert Tracer.load(str(tiny_model), sae, labels=False).names(0, 3) == ""


def test_what_a_label_from_elsewhere_holds_does_no_harm(tmp_path):
    wild = "a\x1b[2J\u202eb\nc"
    more = bundle.More([(1, 1.0)], [1], [], [(1, [0.0] * 15 + [1.0] + [0.0] * 6)])
    texts = (np.array([[0, 1, 1]]), ["", wild])
    rows = [(i, bundle.Summary(wild, wild, 0.5, 0.5, 2.0), more) for i in (1, 2, 3)]
    path = bundled(tmp_path, rows, texts, source="by\nme", scored_by="me\x1b")
    with closing(sqlite3.connect(path)) as db:
        bomb = zlib.compress(bytes(1 << 24))
        db.execute("UPDATE more SET packed = ? WHERE feature = 2", (bomb,))
        db.execute("UPDATE more SET packed = 'text' WHERE feature = 3")
        db.commit()
    labels = BundledLabels(path)
    assert (labels.name(1), labels.source, labels.get(1).scored_by) == ("a[2Jb c", "by me", "me")
    told = labels.full(1)
    assert (told.method, told.boosts, told.contexts[0][0][0]) == ("a[2Jb c", ("a[2Jb↵c",), "a[2Jb↵c")
    assert labels.full(2) == labels.get(2)  # what is damaged is left out
    assert labels.full(3) == labels.get(3)
    assert labels.get(0) is labels.get(-1) is labels.full(0) is None
    assert labels.search("2J")[0] == (1, "a[2Jb c")


def test_texts_of_a_vocabulary_that_is_too_large_are_refused(tmp_path):
    with pytest.raises(ValueError, match="65,536"):
        bundle.write_texts(tmp_path, np.zeros((1, 2), int), ["x"] * 65_537)
    assert list(tmp_path.iterdir()) == []
