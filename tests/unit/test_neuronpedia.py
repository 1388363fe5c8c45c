"""Labels from Neuronpedia: all of them in bulk, single ones on demand, and nothing that holds anybody up."""

import gc
import gzip
import json
import os
import subprocess
import sys
import threading
import time
import weakref
from datetime import date, timedelta
from pathlib import Path

import pytest

from axon_widget.labels import neuronpedia as module
from axon_widget.labels import rows
from axon_widget.labels.neuronpedia import NeuronpediaLabels
from axon_widget.labels.store import Store
from axon_widget.labels.web import UnreachableError, Web
from tests.standins.neuronpedia import ENDLESS, HOSTILE, HOSTILE_CLEAN, Neuronpedia, count_names

ROOT = Path(__file__).parents[2]
BATCHES = 8  # of 128 rows: 900 features of 1,000 have names, 40 of them a second one


@pytest.fixture
def host(monkeypatch):
    with Neuronpedia() as running:
        for name in ("AXON_NEURONPEDIA_URL", "AXON_NEURONPEDIA_DATASETS_URL"):
            monkeypatch.setenv(name, running.url)
        for name in ("HF_HUB_OFFLINE", "AXON_OFFLINE"):
            monkeypatch.delenv(name, raising=False)
        yield running


@pytest.fixture
def make(host, tmp_path):
    """Makes the labels of one more session, which shares nothing with those before but the store."""

    sessions = weakref.WeakSet()

    def made(directory=tmp_path, read=10.0):
        web = Web(connect=5.0, read=read, backoff=0.0, pause=0.2)
        session = NeuronpediaLabels(host.address, host.width, Store(directory), web)
        sessions.add(session)
        return session

    yield made
    for session in sessions:
        session._download = None  # what goes on must not ask the next test's host


def until(condition, seconds=40):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.005)


def idle(labels):
    return labels._bulk._running == labels._look_ups._running == 0


def bring(labels):
    """Start, and wait until nothing is under way."""
    labels.start()
    until(lambda: idle(labels))
    return labels


def look_up(labels, *features):
    for feature in features:
        labels.ask(feature)
    until(lambda: idle(labels))
    return labels.get(features[0])


def expected(host, *without):
    return {i: host.names(i)[0] for i in range(host.width) if host.names(i) and i not in without}


def test_all_labels_come_in_bulk(host, make):
    labels = make()
    assert labels.get(5) is None
    assert labels.name(5) == ""
    assert host.paths == []
    bring(labels)
    assert dict(labels.names()) == expected(host)
    assert labels.status == ""
    five = labels.get(5)
    assert five.text == labels.name(5) == "references to things of kind 5"
    assert five.source == labels.source == "Neuronpedia gpt2-small/8-res-jb"
    assert (five.explainer, five.method) == ("gpt-3.5-turbo", "oai_token-act-pair")
    assert (five.score, five.scored_by) == (None, "")
    assert (five.frequency, five.max_activation) == (0.001, 0.5)
    assert five.boosts == (" yes5", "↵", "evil")
    assert five.suppresses == tuple(f" no{i}" for i in range(10))
    assert five.fetched == date.today().isoformat()
    assert labels.get(25).others == (("another view of 25", "gpt-3.5-turbo", None),)
    kinds = [77, *(i for i in range(770, 780) if i != 773)]
    assert labels.search("KIND 77")[:10] == [(i, host.names(i)[0]) for i in kinds]
    # What the batches do not name has its statistics, and no name.
    assert (labels.get(3).text, labels.get(3).frequency, labels.get(3).fetched) == ("", 0.001, "")
    assert not host.asked("/api/feature")


def text_of(tokens, values):
    """A text as Neuronpedia has it."""
    at = max(range(len(values)), key=values.__getitem__)
    return {"tokens": tokens, "values": values, "maxValue": max(values), "maxValueTokenIndex": at, "dfaValues": []}


def test_a_look_up_tells_where_a_feature_fires_most(host, make):
    long = text_of([f" w{i}" for i in range(64)], [0.0] * 40 + [7.25] + [0.5] * 23)
    short = text_of(["<b>", "\n", "\u202ex"], [0, 9, 1e-5])
    weak = [text_of([f" weak{i}"], [i / 10]) for i in (1, 3, 2)]
    nothing = text_of([" a"], [0.0])
    wrong = [3, {}, {"tokens": "abc", "values": [1]}, text_of([" a"], [True]), text_of([7], [1.0])]
    odd = [text_of([" a"], [float("nan")]), text_of([" a"], [-1.0]), {"tokens": [" a"], "values": ["1"]}]
    host.fault("/api/feature", "change", activations=[*wrong, *weak, nothing, long, long, *odd, short])
    labels = make()
    told = look_up(labels, 5).contexts
    assert told[0] == (("<b>", 0.0), ("↵", 9.0), ("x", 1e-5))
    assert told[1] == tuple((f" w{i}", 7.25 if i == 40 else 0.5 if i > 40 else 0.0) for i in range(30, 47))
    assert told[2] == ((" weak3", 0.3),)
    assert len(told) == 3
    assert make().get(5).contexts == told  # the next session
    assert labels.get(5).text == host.names(5)[0]


def test_dense_features_fire_four_times_as_often_as_the_mean(host, make):
    labels = bring(make())
    mean = sum(host.frequency(i) for i in range(1_000)) / 1_000
    assert 3.5 * mean < host.frequency(50) < 4 * mean
    dense = [i for i, label in labels.known() if label.dense]
    assert dense == [i for i in range(1_000) if host.frequency(i) > 4 * mean] == list(range(99, 1_000, 100))


def test_the_next_session_asks_nobody(host, make):
    bring(make())
    asked = host.asked()
    again = make()
    assert dict(again.names()) == expected(host)
    assert again.get(99).dense
    bring(again)
    assert host.asked() == asked


def test_new_batches_are_looked_for_after_a_week_and_only_those_that_changed_are_fetched(host, make, monkeypatch):
    bring(make())
    host.paths.clear()
    host.descriptions[1] = "something new"
    host.table.cache_clear(), host.batch.cache_clear()
    monkeypatch.setattr(module, "_FRESH", 0)
    labels = make()
    assert labels.name(1) == "references to things of kind 1"
    bring(labels)
    assert labels.name(1) == "something new"
    assert labels.get(1).others == ()
    assert host.asked(".jsonl.gz") == 1
    assert host.asked("list-type=2") == 2 * -(-(BATCHES + 0) // host.page)


def test_labels_are_on_their_way_until_all_have_come(host, make, monkeypatch):
    labels = make()
    assert not labels.coming
    labels.start()
    assert labels.coming
    until(lambda: not labels.coming)
    assert len(list(labels.names())) == 900
    monkeypatch.setenv("AXON_OFFLINE", "1")
    offline = make()
    offline.start()
    assert not offline.coming


def test_what_is_in_is_not_fetched_again(host, make):
    host.fault("batch-5", "hang up")
    labels = make()
    labels.start()
    until(lambda: "cannot be reached" in labels.status)
    until(lambda: len(make()._have.batches) >= 7)
    labels._download = None  # as if the process were gone
    host.heal()
    until(lambda: idle(labels))
    stored = set(make()._have.batches)
    host.paths.clear()
    again = bring(make())
    assert dict(again.names()) == expected(host)
    assert host.asked(".jsonl.gz") == 2 * BATCHES - len(stored)
    assert not any(path.lstrip("/") in stored for path in host.paths)


def bad_rows(**change):
    return "rows", {"row": 100, "change": change}


BAD = {
    "cut short": ("truncated", {}),
    "a page": ("html", {}),
    "not packed right": ("bytes", {"body": b"\x1f\x8b rubbish"}),
    "a line that is not JSON": ("bytes", {"body": gzip.compress(b'{"modelId":\n')}),
    "a line that is no object": ("bytes", {"body": gzip.compress(b"[]\n")}),
    "nested without end": ("bytes", {"body": gzip.compress(b"[" * 100_000)}),
    "no UTF-8": ("bytes", {"body": gzip.compress(b'{"description": "\xff\xfe"}\n')}),
    "another model": bad_rows(modelId="gpt2-medium"),
    "another SAE": bad_rows(layer="7-res-jb"),
    "a feature beyond": bad_rows(index="1000"),
    "a negative feature": bad_rows(index="-1"),
    "half a feature": bad_rows(index=1.5),
    "no feature": bad_rows(index=None),
    "a truth for a feature": bad_rows(index=True),
    "no description": bad_rows(description=None),
    "a description that is no text": bad_rows(description={"html": "<b>"}),
}


@pytest.mark.parametrize(("what", "more"), BAD.values(), ids=BAD)
def test_a_bad_batch_is_told_and_nothing_of_it_is_kept(host, make, what, more):
    host.fault("explanations/batch-2.", what, **more)
    labels = bring(make())
    row = [json.loads(line)["index"] for line in gzip.decompress(host.batch("explanations", 2)).splitlines()]
    assert len(row) == 128
    inside = {int(index) for index in row}
    got = dict(labels.names())
    assert {i: name for i, name in expected(host).items() if i not in inside}.items() <= got.items()
    assert all(labels.name(i) == "" for i in inside - {int(row[0]), int(row[-1])})
    assert "1 of its batches could not be used (explanations/batch-2.jsonl.gz" in labels.status
    assert dict(make().names()) == got
    assert host.asked("explanations/batch-2.") == 1
    # It is asked for again the next time, and alone.
    host.heal()
    host.paths.clear()
    again = bring(make())
    assert dict(again.names()) == expected(host)
    assert again.status == ""
    assert host.asked(".jsonl.gz") == 1


@pytest.mark.parametrize(
    "change", [{"frac_nonzero": "often"}, {"pos_str": "abc"}, {"pos_str": [1]}, {"maxActApprox": True}], ids=str
)
def test_a_bad_batch_of_features_is_told_too(host, make, change):
    host.fault("features/batch-1.", "rows", row=0, change=change)
    labels = bring(make())
    assert dict(labels.names()) == expected(host)
    assert sum(label.frequency is not None for _, label in labels.known()) == 1_000 - 128
    assert "features/batch-1.jsonl.gz" in labels.status


def test_what_nobody_measured_is_unknown(host, make):
    host.fault(
        "features/batch-0.", "rows", row=0, change={"frac_nonzero": None, "maxActApprox": float("nan"), "pos_str": None}
    )
    labels = bring(make())
    assert (labels.get(0).frequency, labels.get(0).max_activation, labels.get(0).boosts) == (None, None, ())
    assert labels.status == ""


def test_a_batch_that_unpacks_to_too_much_is_bad(host, make, monkeypatch):
    monkeypatch.setattr(module, "Apart", lambda: rows.read_batch)  # in this process, where the bound is lowered
    monkeypatch.setattr(rows, "_LARGEST", 1 << 20)
    host.fault("features/batch-1.", "bytes", body=gzip.compress(b" " * 65_535 * 20 + b"\n" * 200_000))
    host.fault("features/batch-2.", "bytes", body=gzip.compress(b"\n" * 2_000_000))
    assert "2 of its batches could not be used" in bring(make()).status


def test_peoples_own_vectors_among_the_features_are_passed_over(host, make, tmp_path):
    host.vectors = [12_345_678, 99_999_999]
    labels = bring(make())
    assert dict(labels.names()) == expected(host)
    assert labels.status == ""
    of_any_width = NeuronpediaLabels(host.address, None, Store(tmp_path / "other"), Web())
    assert dict(bring(of_any_width).names()) == expected(host)


def test_a_cut_connection_is_got_over(host, make):
    host.fault(".jsonl.gz", "cut off", times=2)
    host.fault("list-type", "cut off", times=1)
    labels = bring(make())
    assert dict(labels.names()) == expected(host)
    assert labels.status == ""


@pytest.mark.parametrize(
    "body",
    [
        b"<html></html>",
        b"not XML",
        b"<!DOCTYPE x [<!ENTITY a 'aaaa'>]><ListBucketResult>&a;</ListBucketResult>",
        b"<a/>",
    ],
)
def test_a_list_that_is_none_is_told(host, make, body):
    host.fault("list-type", "raw", body=body)
    labels = bring(make())
    assert "cannot be fetched" in labels.status
    assert "list of batches" in labels.status
    assert dict(labels.names()) == {}


def test_a_list_without_end_is_told(host, make):
    host.page = 0
    assert "no end" in bring(make()).status


def test_an_sae_without_an_export_says_so(host, make, tmp_path):
    labels = NeuronpediaLabels("gpt2-small/77-res-jb", 10, Store(tmp_path), Web())
    assert "no labels of it in bulk" in bring(labels).status
    asked = host.asked()
    again = bring(NeuronpediaLabels("gpt2-small/77-res-jb", 10, Store(tmp_path), Web()))
    assert "no labels of it in bulk" in again.status
    assert host.asked() == asked


def test_hostile_text_is_cleaned_once_and_for_all(host, make):
    host.descriptions = {1: HOSTILE, 2: ENDLESS, 4: "\x00\r\n \u202e"}
    labels = bring(make())
    assert labels.name(1) == HOSTILE_CLEAN
    assert len(labels.name(2)) == 2_000
    assert labels.name(2).endswith("…")
    assert 4 not in dict(labels.names())
    assert dict(make().names()) == dict(labels.names())
    assert look_up(labels, 1).text == HOSTILE_CLEAN
    assert look_up(labels, 4).text == ""
    for _, label in labels.known():
        texts = [label.text, label.explainer, *label.boosts, *label.suppresses, *(text for text, *_ in label.others)]
        assert not any(
            c < " " or "\u202a" <= c <= "\u202e" or "\u2066" <= c <= "\u2069" for text in texts for c in text
        )


@pytest.mark.parametrize("bulk", [True, False])
def test_a_look_up_brings_scores_and_the_best_is_first(host, make, bulk):
    labels = bring(make()) if bulk else make()
    label = look_up(labels, 50)
    assert (label.text, label.score, label.scored_by) == ("another view of 50", 0.4, "eleuther_fuzz")
    assert label.others == (("references to things of kind 50", "gpt-4o-mini", 0.1),)
    assert label.explainer == "gpt-4o-mini"
    assert label.boosts[0] == " yes50"
    assert label.max_activation == 5.0
    ten = look_up(labels, 10)
    assert (ten.score, ten.scored_by) == (pytest.approx(0.2), "recall_alexander")
    assert look_up(labels, 7).score is None
    again = make()
    assert again.get(50) == label
    assert host.asked("/api/feature") == 3
    look_up(again, 50)
    assert host.asked("/api/feature") == 3


def test_a_look_up_outlasts_a_later_download(host, make):
    host.fault(f"/api/feature/{host.address}/8", "status", status=404)
    labels = make()
    look_up(labels, 50, 8)
    bring(labels)
    assert labels.get(50).score == 0.4
    assert len(labels.get(50).others) == 1
    assert labels.name(8) == ""  # it has been withdrawn since
    assert dict(labels.names()).keys() == expected(host, 8).keys()
    assert dict(make().known()) == dict(labels.known())


def test_an_old_look_up_is_repeated(host, make, monkeypatch):
    labels = make()
    old = (date.today() - timedelta(days=31)).isoformat()
    labels._store.put_answer(host.address, 5, old, [], None)
    again = make()
    assert again.get(5).fetched == old
    assert look_up(again, 5).text == "references to things of kind 5"
    look_up(again, 5)
    assert host.asked("/api/feature") == 1


@pytest.mark.parametrize(
    "unknown", [("status", {"status": 404}), ("null", {}), (None, {})], ids=["404", "null", "none"]
)
def test_a_feature_without_explanations_is_confirmed_to_have_none(host, make, unknown):
    what, more = unknown
    if what == "null":
        host.fault("/api/feature", "raw", body=b"null")
    elif what:
        host.fault("/api/feature", what, **more)
    label = look_up(make(), 3)
    assert (label.text, label.fetched) == ("", date.today().isoformat())
    again = make()
    assert again.get(3).fetched
    look_up(again, 3)
    assert host.asked("/api/feature") == 1


FAILURES = {
    "a page": ("html", {}),
    "a page that is not there": ("html", {"status": 404}),
    "another feature": ("change", {"index": "6"}),
    "another SAE": ("change", {"layer": "7-res-jb"}),
    "another model": ("change", {"modelId": "gpt2-medium"}),
    "no explanations": ("change", {"explanations": None}),
    "explanations that are none": ("change", {"explanations": ["cats"]}),
    "scores that are none": ("change", {"explanations": [{"description": "x", "scores": {"value": 1}}]}),
    "a score that is none": ("change", {"explanations": [{"description": "x", "scores": [{"value": "high"}]}]}),
    "forbidden": ("status", {"status": 403}),
    "broken": ("status", {"status": 500}),
    "hanging up": ("hang up", {}),
    "silence": ("timeout", {}),
    "limited": ("limit", {}),
}


@pytest.mark.parametrize(("what", "more"), FAILURES.values(), ids=FAILURES)
def test_a_failure_is_told_and_never_stored(host, make, what, more):
    host.fault("/api/feature", what, **more)
    labels = make(read=0.2)
    labels.ask(5)
    until(lambda: labels.status)
    assert labels.get(5) is None
    assert make().get(5) is None
    host.heal()
    assert look_up(make(), 5).text == "references to things of kind 5"


def test_an_answer_of_ten_megabytes_is_fine_and_a_larger_one_is_refused(host, make, monkeypatch):
    host.fault("/api/feature", "large", megabytes=10)
    assert look_up(make(), 5).text == "references to things of kind 5"
    monkeypatch.setattr(rows, "_LONGEST_LINE", 5_000_000)
    labels = make()
    assert look_up(labels, 6) is None
    assert "could not be looked up" in labels.status


def test_many_are_looked_up_two_at_a_time(host, make):
    host.delay = 0.01
    labels = make()
    look_up(labels, *range(40))
    assert host.asked("/api/feature") == 40
    assert host.at_once == 2
    assert all(labels.get(i) for i in range(40))


def test_of_very_many_asked_for_the_newest_are_looked_up(host, make):
    host.delay = 0.01
    labels = make()
    features = [*range(1_000), 950]
    for feature in features:
        labels.ask(feature)
        assert len(labels._asked) <= 64
    until(lambda: idle(labels))
    assert all(labels.get(i) for i in range(937, 1_000))
    assert host.asked("/api/feature") < 200
    assert host.asked("/api/feature/gpt2-small/8-res-jb/950") == 1
    assert look_up(labels, 500).text  # it can be asked for again


@pytest.mark.parametrize(("newer", "kept"), [(0, True), (10, True), (64, False)])
def test_one_that_is_tried_again_is_the_oldest_of_those_that_wait(host, make, monkeypatch, newer, kept):
    labels = make()
    monkeypatch.setattr(labels, "_look_ups", type("Asleep", (), {"wake": lambda self: None, "_running": 0})())
    labels.ask(0)

    def limited(*_, **__):
        for feature in range(1, 1 + newer):  # while it is under way
            labels.ask(feature)
        raise UnreachableError("it asks to wait", 1.0, tried=True, limited=True)

    monkeypatch.setattr(labels, "_web", type("Limited", (), {"fetch": staticmethod(limited)}))
    assert labels._look_up() == 1.0
    assert list(labels._asked) == [0] * kept + list(range(1, 1 + newer))


@pytest.mark.parametrize("feature", [-1, 1_000])
def test_a_feature_that_is_none_is_refused(make, feature):
    with pytest.raises(ValueError, match=str(feature)):
        make().ask(feature)
    assert make().get(feature) is None


@pytest.mark.parametrize("address", ["", "gpt2-small", "a/b/c", "../x", "a/b?c=d", "a /b"])
def test_an_address_that_is_none_is_refused(address):
    with pytest.raises(ValueError, match="model/source"):
        NeuronpediaLabels(address, 10)


def test_offline_there_is_what_is_stored(host, make, monkeypatch):
    bring(make())
    asked = host.asked()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    labels = bring(make())
    labels.ask(5)
    assert dict(labels.names()) == expected(host)
    assert "HF_HUB_OFFLINE" in labels.status
    assert "900" in labels.status
    assert host.asked() == asked
    assert "none are stored" in make(directory=Path(os.devnull)).status


def test_a_host_that_comes_back_is_found_again(host, make):
    host.fault("list-type", "status", status=500)
    labels = make()
    labels.start()
    until(lambda: "it is asked again in" in labels.status)
    assert "out of order" in labels.status
    host.heal()
    until(lambda: idle(labels))
    assert dict(labels.names()) == expected(host)
    assert labels.status == ""


@pytest.mark.parametrize("what", ["timeout", "hang up"])
def test_names_never_wait_for_the_network(host, make, what):
    host.fault("/", what)
    labels = make()
    start = time.perf_counter()
    labels.start()
    slowest = 0.0
    for feature in range(1_000):
        labels.ask(feature % 100)
        before = time.perf_counter()
        labels.name(feature), labels.get(feature)
        slowest = max(slowest, time.perf_counter() - before)
    assert slowest < 0.1
    assert time.perf_counter() - start < 1


def test_without_a_store_all_is_in_memory(host, make, tmp_path):
    (tmp_path / "file").touch()
    labels = bring(make(directory=tmp_path / "file"))
    assert dict(labels.names()) == expected(host)
    assert labels.status.count("Labels are not kept") == 1
    assert look_up(labels, 50).score == 0.4


def test_sessions_at_the_same_time_share_the_work(host, make):
    host.delay = 0.02
    first = make()
    first.start()
    until(lambda: len(first._store.batches(host.address)) >= 5)
    second = make()
    second.start()
    until(lambda: idle(first) and idle(second))
    for session in (first, second):
        assert dict(session.names()) == expected(host)
        assert session.get(5).frequency == 0.001
    # Each alone would fetch all; what is stored by one the other does not ask for.
    assert 2 * BATCHES <= host.asked(".jsonl.gz") <= 2 * 2 * BATCHES - 5


class Listener:
    def __init__(self, labels):
        self.labels, self.seen, self.times = labels, [], []
        labels.watch(self.heard)

    def heard(self):
        self.seen.append((len(list(self.labels.names())), self.labels.status))
        self.times.append(time.monotonic())


def test_those_who_watch_hear_of_progress_but_not_of_every_batch(host, make):
    host.rows = 16
    host.delay = 0.005
    labels = make()
    listener = Listener(labels)
    start = time.monotonic()
    bring(labels)
    assert host.asked(".jsonl.gz") > 100
    assert 2 <= len(listener.seen) <= 2.2 * (time.monotonic() - start) + 3
    assert listener.seen[-1] == (900, "")
    assert any("batches of labels are here" in status for _, status in listener.seen)
    look_up(labels, 3)
    assert len(listener.seen) >= 3


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_listener_that_fails_stops_nothing_for_good(host, make):
    labels = make()
    listener = Listener(labels)
    listener.labels = None  # now it raises
    labels.start()
    until(lambda: idle(labels))
    assert len(dict(labels.names())) < 900
    listener.labels = labels
    assert dict(bring(labels).names()) == expected(host)


def test_nobody_holding_them_ends_the_download(host, make):
    host.delay = 0.05
    labels = make()
    labels.start()
    until(lambda: host.asked(".jsonl.gz") > 1)
    gone = weakref.ref(labels)
    del labels
    until(lambda: gone() is None, 3)
    asked = host.asked()
    time.sleep(0.2)
    assert host.asked() <= asked + 1
    assert host.asked(".jsonl.gz") < 2 * BATCHES


def test_nobody_holding_them_ends_the_wait_for_a_host(host, make):
    host.fault("/", "limit", headers={"Retry-After": "3600"})
    labels = make()
    labels.start()
    gone = weakref.ref(labels)
    until(lambda: "asks to wait" in gone().status)
    threads = [thread for thread in threading.enumerate() if thread.name == "axon-background"]
    assert threads
    del labels
    gc.collect()
    assert gone() is None
    until(lambda: not any(thread.is_alive() for thread in threads), 2)


def test_leaving_python_waits_for_nobody(host, tmp_path):
    host.fault("/", "timeout")
    script = (
        "from axon_widget.labels.neuronpedia import NeuronpediaLabels\n"
        f"labels = NeuronpediaLabels('{host.address}', 1000); labels.start(); labels.ask(5); labels.ask(6)\n"
        "import time; time.sleep(0.3); print('bye')"
    )
    environment = os.environ | {"AXON_CACHE_DIR": str(tmp_path)}
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "bye\n", "")
    assert time.monotonic() - start < 5
    assert host.asked() >= 2


def test_the_stand_in_itself(host):
    assert host.count("explanations") == BATCHES == host.count("features")
    assert count_names(host) == 900
    indices = [row["index"] for row in host.table("features")]
    assert indices[:4] == ["0", "1", "10", "100"]
