"""`AxonWidget()` as it stands, in a real kernel: from a hub and Neuronpedia to the graph, and again without them."""

from __future__ import annotations

from pathlib import Path

from tests.kernel.front_end import FrontEnd, Model, start
from tests.standins import gpt2
from tests.standins.hub import Hub, Repository
from tests.standins.neuronpedia import Neuronpedia, count_names

# Libraries read these once, on import, so the cell that sets them comes first.
SETTINGS = """
import os
os.environ.update(
    HF_ENDPOINT={url!r}, HF_HOME={home!r}, HF_HUB_OFFLINE={offline!r}, AXON_CACHE_DIR={home!r}, OMP_NUM_THREADS="1",
    AXON_NEURONPEDIA_URL={labels!r}, AXON_NEURONPEDIA_DATASETS_URL={labels!r},
)
os.environ.pop("HF_HUB_CACHE", None)
from axon_widget import AxonWidget
"""
WRITE = """
w.generate("The capital of France is", max_tokens=6, seed=1)
trace = w.wait()
"""


def begin(kernel: FrontEnd, url: str, labels: str, home: Path, offline: str) -> Model:
    made = kernel.run(SETTINGS.format(url=url, labels=labels, home=str(home), offline=offline))
    assert not made.failed, made.error
    return kernel.widget("w = AxonWidget()\nw")


def write(kernel: FrontEnd, model: Model) -> dict:
    kernel.until(lambda: model.word in ("idle", "failed"))
    assert model.word == "idle", model.state["status"]
    assert model.state["info"]["sae"] == "gpt2-small-res-jb/blocks.8.hook_resid_pre"
    assert (model.state["info"]["model"], model.state["info"]["fallback"]) == ("gpt2-small", "")
    cell = kernel.run(WRITE)
    assert not cell.failed, cell.error
    kernel.until(lambda: len(model.steps()) >= 12)
    assert kernel.ask("len(w.graph.nodes())") > 20
    assert [text for _, name, text in kernel.streams if name == "stderr"] == []
    return {step["step"]: [(f["id"], f["activation"]) for f in step["features"]] for step in model.steps()}


def labelled(kernel: FrontEnd, model: Model, expected: Neuronpedia) -> None:
    """Wait until every feature that has a label bears it, in the trace and in the view."""
    count = count_names(expected)
    kernel.until(lambda: kernel.ask("len(list(w.tracer.readers[0].labels.names()))") == count)
    kernel.until(lambda: model.state["label_status"] == "")
    names = {int(feature): name for feature, name in kernel.ask("dict(w.tracer.readers[0].labels.names())").items()}
    assert all(name in expected.names(feature) for feature, name in names.items())
    shown = {f["id"]: f["label"] for step in model.steps() for f in step["features"]}
    shown |= {feature: label for told in model.of_kind("labels") for _, feature, label in told["labels"]}
    assert {feature: shown[feature] for feature in shown if feature in names} == {
        feature: name for feature, name in names.items() if feature in shown
    }
    table = kernel.ask("w.trace.to_pandas()[['id', 'label']].drop_duplicates().values.tolist()")
    assert len(table) > 50
    assert all(label == names.get(feature, label) for feature, label in table)
    # Those that nobody named bear the tokens they boost, once there was time for it.
    kernel.until(lambda: all(name for name in kernel.ask("[f['label'] for f in w.step['features']]")))


def test_from_the_hub_to_the_graph_and_again_offline(
    gpt2_repositories: tuple[Repository, Repository], tmp_path: Path
) -> None:
    home, first_kernel, second_kernel = (tmp_path / name for name in ("home", "first", "second"))
    first_kernel.mkdir()
    second_kernel.mkdir()
    try:
        with Hub(*gpt2_repositories) as hub, Neuronpedia(width=gpt2.FEATURES, rows=1_024, page=1_000) as host:
            with start(first_kernel) as kernel:
                model = begin(kernel, hub.url, host.url, home, "0")
                first = write(kernel, model)
                labelled(kernel, model, host)
                said = [state["status"] for _, state, _ in model.updates if "status" in state]
                assert any("100 % of 151 MB" in status for status in said)
                assert any("gpt2, " in status and "MB" in status for status in said)
            hub.requests.clear()
            host.paths.clear()
            with start(second_kernel) as kernel:
                model = begin(kernel, hub.url, host.url, home, "1")
                assert write(kernel, model) == first
                assert "are stored" in model.state["label_status"]
                label = kernel.ask("[w.search('things of kind 4821').label[0], w.feature(4821).text]")
                assert label == ["references to things of kind 4821"] * 2
            assert hub.requests == host.paths == []
    finally:
        gpt2.remove(home)
