"""The replay page: whole, self-contained and safe with hostile text. The browser tests open it."""

import json
import re

import pytest

from axon_widget import wire
from axon_widget.export import replay_data, to_html
from axon_widget.trace import Feature, Origin, TokenStep, Trace

HOSTILE = "</script><script>alert(1)</script><!-- \ud800 \u2028"


@pytest.fixture
def trace():
    steps = [TokenStep("", 1, 0, 0, generated=False, special=True)]
    for i in range(1, 6):
        features = (Feature(7, 2.0, 3, HOSTILE), Feature(8, 1.0 + i, 3, "plain"), Feature(9, 0.05, 3, "weak"))
        steps.append(TokenStep(HOSTILE if i == 2 else f" t{i}", i, i, i, generated=i > 2, features=features))
    return Trace(Origin(model="m", sae="s", layer=3, prompt=HOSTILE, sampling={"top_k": 5}), steps, "length")


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


def test_frames_are_those_of_the_widget(trace):
    data = replay_data(trace, feature_k=5, activation_threshold=0.01)
    assert [len(frame["features"]) for frame in data["steps"]] == [0, 3, 3, 3, 3, 3]
    assert all(wire.size(frame) <= wire.BUDGET for frame in data["steps"])


def test_empty_trace_is_refused(tmp_path):
    with pytest.raises(ValueError, match="empty"):
        to_html(Trace(), tmp_path / "run.html")
