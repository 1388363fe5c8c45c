"""What ``labels=`` may be."""

import sys
import threading
import time

import pandas as pd
import pytest

from axon_widget.embedded import STORIES
from axon_widget.labels import Label, Labels
from axon_widget.labels.bundled import BundledLabels
from axon_widget.labels.neuronpedia import NeuronpediaLabels
from axon_widget.labels.sources import source_of
from tests.standins.neuronpedia import ENDLESS, HOSTILE, HOSTILE_CLEAN
from tests.unit.test_neuronpedia import Listener, until


def given(labels, d_sae=100):
    return source_of(labels, "", d_sae, None)


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("AXON_CACHE_DIR", str(tmp_path / "cache"))


def test_an_sae_has_its_own_file_or_neuronpedia_or_none(tmp_path):
    bundled = source_of(None, "gpt2-small/8-res-jb", 2304, STORIES.sae_dir(STORIES.hook))
    assert isinstance(bundled, BundledLabels)
    hosted = source_of(None, "gpt2-small/8-res-jb", 24_576, tmp_path)
    assert isinstance(hosted, NeuronpediaLabels)
    assert (hosted.address, hosted.d_sae) == ("gpt2-small/8-res-jb", 24_576)
    assert type(source_of(None, "", 10, None)) is Labels
    for none in (source_of(False, "gpt2-small/8-res-jb", 10, tmp_path), source_of(None, "", 10, tmp_path)):
        assert type(none) is Labels
        assert (none.name(3), none.get(3), none.status, list(none.names())) == ("", None, "", [])


def test_a_source_is_taken_as_it_is():
    class Own(Labels):
        def get(self, feature):
            return Label("half \ud800", "a \udfff")

        def names(self):
            return [(3, "half \ud800")]

    own = Own()
    assert given(own) is own
    # Only what nothing could encode is taken out.
    assert (own.name(3), own.get(3).source, own.search("half")) == ("half ?", "a ?", [(3, "half ?")])


@pytest.mark.parametrize("wrong", [5, True, 1.5, b"labels.csv", ["cats"], object()])
def test_anything_else_says_what_can_be_given(wrong):
    with pytest.raises(TypeError, match="dict of feature numbers and names"):
        given(wrong)


def test_a_dict():
    labels = given({0: "cats", 99: HOSTILE, 5: ENDLESS, 6: "", 7: None, 8: " \n"})
    assert labels.get(0) == Label("cats", "labels given as a dict")
    assert labels.name(99) == HOSTILE_CLEAN
    assert len(labels.name(5)) == 2_000
    assert dict(labels.names()).keys() == {0, 99, 5}
    assert labels.get(1) is None
    assert labels.search("CATS") == [(0, "cats")]
    assert labels.source == "labels given as a dict"


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({100: "x"}, "feature 100 does not exist: this SAE has features 0 to 99"),
        ({-1: "x"}, "feature -1 does not exist"),
        ({1.5: "x"}, "1.5 is not the number"),
        ({"cats": "x"}, "'cats' is not the number"),
        ({True: "x"}, "True is not the number"),
        ({None: "x"}, "None is not the number"),
        ({float("nan"): "x"}, "nan is not the number"),
        ({float("inf"): "x"}, "inf is not the number"),
        ({1: "a", "1": "b"}, "feature 1 stands twice"),
        ({1: 5}, "the name of feature 1 is 5, which is no text"),
    ],
)
def test_a_dict_that_cannot_be_the_labels(labels, message):
    with pytest.raises(ValueError, match=message):
        given(labels)


def test_a_function_is_called_in_the_background_once_for_each_feature():
    calls, go = [], threading.Event()

    def describe(feature):
        calls.append((feature, threading.current_thread()))
        go.wait(10)
        return f"feature {feature}" if feature % 2 else None

    labels = given(describe)
    listener = Listener(labels)
    start = time.perf_counter()
    for _ in range(50):
        assert [labels.name(feature) for feature in range(20)] == [""] * 20
    assert time.perf_counter() - start < 1
    assert listener.seen == []
    go.set()
    until(lambda: len(list(labels.names())) == 10 and listener.seen)
    assert 1 <= len(listener.seen) < 20  # not with each of them
    assert [labels.name(feature) for feature in range(20)] == [f"feature {i}" if i % 2 else "" for i in range(20)]
    assert sorted(feature for feature, _ in calls) == list(range(20))
    assert threading.current_thread() not in {thread for _, thread in calls}
    assert labels.get(3) == Label("feature 3", "labels given by describe")
    assert labels.status == ""
    labels.ask(3)
    assert labels.get(100) is None
    assert labels.get(-1) is None
    time.sleep(0.05)
    assert len(calls) == 20


@pytest.mark.parametrize("wrong", ["raises", "number"])
def test_a_function_that_fails_is_told_and_the_others_have_their_turn(wrong):
    def describe(feature):
        if feature == 1 and wrong == "raises":
            raise KeyError(HOSTILE)
        return 5 if feature == 1 else HOSTILE

    labels = given(describe)
    labels.get(1)
    until(lambda: labels.status)
    assert "Feature 1 got no name" in labels.status
    assert "KeyError" in labels.status or "5" in labels.status
    assert labels.status.isprintable()
    labels.get(2)
    until(lambda: labels.get(2))
    assert labels.name(2) == HOSTILE_CLEAN
    assert labels.name(1) == ""


FILES = {
    "csv": lambda table, path: table.to_csv(path, index=False),
    "parquet": lambda table, path: table.to_parquet(path, index=False),
}


@pytest.fixture(params=FILES)
def write(request, tmp_path):
    def written(**columns):
        path = tmp_path / f"own.{request.param}"
        FILES[request.param](pd.DataFrame(columns), path)
        return path

    return written


@pytest.mark.parametrize("number", ["index", "feature", "id", "Index"])
@pytest.mark.parametrize("text", ["label", "description", "explanation"])
def test_a_file_with_a_number_and_a_text(write, number, text):
    path = write(**{number: [3, 0, 99], "more": [1.5, 2.5, 3.5], text: ["cats, dogs\nand more", "NA", "5"]})
    labels = given(str(path))
    assert dict(labels.names()) == {3: "cats, dogs and more", 0: "NA", 99: "5"}
    assert labels.get(3).source == labels.source == f"labels in {path.name}"
    assert dict(given(path).names()) == dict(labels.names())


def test_a_file_may_leave_names_out(write):
    assert dict(given(write(index=[1, 2, 3], label=["cats", None, ""])).names()) == {1: "cats"}


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"number": [1], "label": ["x"]}, "one column named index, feature or id"),
        ({"index": [1], "name": ["x"]}, "one column named label, description or explanation"),
        ({"index": [1], "id": [1], "label": ["x"]}, "one column named index, feature or id"),
        ({"index": [1, 100], "label": ["x", "y"]}, "feature 100 does not exist"),
        ({"index": [1, 2, 1], "label": ["x", "y", "z"]}, "feature 1 stands twice"),
        ({"index": [1.5], "label": ["x"]}, "1.5'? is not the number"),
        ({"index": ["one"], "label": ["x"]}, "'one' is not the number"),
    ],
)
def test_a_file_that_cannot_be_the_labels(write, columns, message):
    with pytest.raises(ValueError, match=message):
        given(write(**columns))


def test_a_file_that_is_not_there_or_not_of_its_kind(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        given(str(tmp_path / "none.csv"))
    with pytest.raises(ValueError, match=r"\.csv or \.parquet"):
        given("gpt2-small")
    for name in ("empty.csv", "rubbish.parquet"):
        (tmp_path / name).write_bytes(b"" if "csv" in name else b"rubbish")
        with pytest.raises(ValueError, match="cannot be read"):
            given(tmp_path / name)
    (tmp_path / "binary.csv").write_bytes(b"index,label\n1,\xff\xfe\n")
    with pytest.raises(ValueError, match="cannot be read"):
        given(tmp_path / "binary.csv")


def test_parquet_without_its_reader_says_what_to_install(tmp_path, monkeypatch):
    path = tmp_path / "own.parquet"
    pd.DataFrame({"index": [1], "label": ["x"]}).to_parquet(path)
    for name in [name for name in sys.modules if name.split(".")[0] in {"pyarrow", "fastparquet"}]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "fastparquet", None)
    with pytest.raises(ValueError, match="pip install pyarrow"):
        given(path)
