"""The store of labels: what goes in comes out, whoever shares it, is killed at it, or has damaged it."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from axon_widget.labels import store as module
from axon_widget.labels.store import Explanation, Passage, Statistics, Store

ROOT = Path(__file__).parents[2]
SAE = "gpt2-small/8-res-jb"
KEY = "v1/gpt2-small/8-res-jb/explanations/batch-{}.jsonl.gz"
WRITER = """
import sys
from axon_widget.labels.store import Explanation, Statistics, Store
store, first, count = Store(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
for number in range(first, first + count):
    rows = [(number * 100 + i, Explanation(f"name {number} {i}")) for i in range(100)]
    store.put_batch("gpt2-small/8-res-jb", f"b/explanations/batch-{number}", "e", "2026-01-01", rows)
    print(store.notice, flush=True)
"""


def writer(directory, first, count):
    command = [sys.executable, "-c", WRITER, str(directory), str(first), str(count)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def put(store, number, rows, etag="e", sae=SAE):
    store.put_batch(sae, KEY.format(number), etag, "2026-01-01", rows)


def check(path):
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@contextmanager
def unprivileged():
    """Nobody's rights: root may write where nobody may."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_directory(tmp_path):
    """A directory that others may read, though pytest's own are closed to them."""
    way = [folder for folder in (tmp_path, *tmp_path.parents) if folder.stat().st_mode & 0o5 != 0o5]
    modes = [parent.stat().st_mode for parent in way]
    for parent in way:
        parent.chmod(0o755)
    yield tmp_path
    for parent, mode in zip(way, modes, strict=True):
        parent.chmod(mode)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


def test_a_feature_has_a_label_or_none_or_was_never_fetched(store):
    put(store, 0, [(1, Explanation("cats", "gpt-4", "oai_token-act-pair")), (2, Explanation("dogs"))])
    store.put_answer(SAE, 3, "2026-02-02", [], Statistics(0.25, 12.5, " a\n b", ""))
    found = Store(store.path.parent).load(SAE)
    assert found.explanations[1] == (Explanation("cats", "gpt-4", "oai_token-act-pair", fetched="2026-01-01"),)
    assert set(found.explanations) == {1, 2}
    assert found.answered == {3: "2026-02-02"}
    assert found.statistics == {3: Statistics(0.25, 12.5, " a\n b", "")}
    assert found.batches == {KEY.format(0): "e"}
    assert 4 not in found.explanations
    assert 4 not in found.answered
    assert not store.notice


def test_where_a_feature_fires_is_kept_with_its_answer(store):
    first, second = Passage(" a\n b", "0 1.5"), Passage(" c", "2")
    store.put_answer(SAE, 3, "2026-02-02", [], None, [first, second])
    store.put_answer(SAE, 4, "2026-02-02", [], None, [second])
    store.put_answer(SAE, 900, "2026-02-02", [], None, [second])
    store.put_answer(SAE, 4, "2026-03-02", [], None)
    assert Store(store.path.parent).load(SAE, 100).contexts == {3: (first, second)}


def test_a_file_of_an_earlier_version_has_no_contexts_until_some_come(store):
    put(store, 0, [(1, Explanation("cats"))])
    with closing(sqlite3.connect(store.path)) as db:
        db.execute("DROP TABLE contexts")
    assert (store.load(SAE).contexts, len(store.load(SAE).explanations), store.notice) == ({}, 1, "")
    store.put_answer(SAE, 3, "2026-02-02", [], None, [Passage(" a", "1")])
    assert (list(store.load(SAE).contexts), len(store.load(SAE).explanations), store.notice) == ([3], 1, "")


def test_sources_do_not_mix(store):
    put(store, 0, [(1, Explanation("cats"))])
    put(store, 0, [(1, Explanation("dogs"))], sae="gpt2-small/9-res-jb")
    store.put_answer("gemma-2-2b/8-res-jb", 1, "2026-02-02", [], None)
    names = {sae: store.load(sae).explanations for sae in (SAE, "gpt2-small/9-res-jb", "gemma-2-2b/8-res-jb")}
    assert [names[sae][1][0].text if names[sae] else None for sae in names] == ["cats", "dogs", None]
    assert store.load("other/sae").batches == {}


def test_the_best_scored_explanation_is_first_and_the_unscored_last(store):
    given = [Explanation("a"), Explanation("b", score=0.1), Explanation("c", score=-0.3), Explanation("d", score=0.9)]
    store.put_answer(SAE, 7, "2026-02-02", given, None)
    assert [e.text for e in store.load(SAE).explanations[7]] == ["d", "b", "c", "a"]


def test_explanations_of_one_feature_in_two_batches_are_joined_once_each(store):
    put(store, 0, [(1, Explanation("cats", "gpt-4")), (1, Explanation("pets", "gpt-4"))])
    put(store, 1, [(1, Explanation("pets", "gpt-4")), (1, Explanation("cats", "claude"))])
    found = store.load(SAE).explanations[1]
    assert [(e.text, e.explainer) for e in found] == [("cats", "gpt-4"), ("pets", "gpt-4"), ("cats", "claude")]


def test_a_single_look_up_counts_more_than_batches_even_later_ones(store):
    put(store, 0, [(1, Explanation("old")), (2, Explanation("gone"))])
    store.put_answer(SAE, 1, "2026-02-02", [Explanation("scored", score=0.5)], None)
    store.put_answer(SAE, 2, "2026-02-02", [], None)
    put(store, 0, [(1, Explanation("old")), (2, Explanation("gone"))], etag="f")
    found = store.load(SAE)
    assert found.explanations == {1: (Explanation("scored", score=0.5, fetched="2026-02-02"),)}
    assert set(found.answered) == {1, 2}


def test_a_newer_batch_replaces_its_rows_and_no_others(store):
    put(store, 0, [(1, Explanation("a")), (2, Explanation("b"))])
    put(store, 1, [(3, Explanation("c"))])
    put(store, 0, [(1, Explanation("new"))], etag="f")
    found = store.load(SAE)
    assert {i: e[0].text for i, e in found.explanations.items()} == {1: "new", 3: "c"}
    assert found.batches == {KEY.format(0): "f", KEY.format(1): "e"}


def test_what_is_no_longer_published_goes_when_all_is_in(store):
    put(store, 0, [(1, Explanation("a"))])
    put(store, 1, [(2, Explanation("b"))])
    store.put_batch(
        SAE, KEY.format(0).replace("explanations", "features"), "e", "2026-01-01", [(1, Statistics(0.1, 1))]
    )
    store.finish(SAE, "explanations", [KEY.format(1)], "2026-03-03")
    found = store.load(SAE)
    assert set(found.explanations) == {2}
    assert len(found.batches) == 2
    assert found.listed == {"explanations": "2026-03-03"}


def test_it_counts(store):
    put(store, 0, [(1, Explanation("a")), (2, Explanation("b"))])
    store.put_answer(SAE, 2, "2026-02-02", [], Statistics(0.1, 1))
    store.finish(SAE, "explanations", [KEY.format(0)], "2026-03-03")
    assert store.tallies() == [(SAE, 1, 1, 1, 1, 1, "")]
    store.finish(SAE, "features", [], "2026-03-02")
    assert store.tallies()[0].complete == "2026-03-02"


def test_all_labels_of_gpt2_load_in_no_time(store):
    tokens = "\n".join(f" token{i}" for i in range(10))
    for number in range(24):
        features = range(number * 1024, number * 1024 + 1024)
        name = "references to things of kind {} and others that stand in a sentence of usual length"
        put(store, number, [(i, Explanation(name.format(i), "gpt-3.5-turbo", "oai_token-act-pair")) for i in features])
        put(store, 100 + number, [(i, Statistics(0.001, 12.5, tokens, tokens)) for i in features])
    took = []
    for _ in range(3):
        start = time.process_time()  # what others do on this machine does not count
        found = store.load(SAE)
        took.append(time.process_time() - start)
    assert len(found.explanations) == len(found.statistics) == 24_576
    assert min(took) < 0.5  # measured: 0.16 s


def test_several_processes_write_and_read_it_at_once(tmp_path):
    writers = [writer(tmp_path, first, 12) for first in (0, 12, 24, 36)]
    store = Store(tmp_path)
    while any(process.poll() is None for process in writers):
        for features in store.batches(SAE):
            assert features
        assert all(len(store.load(SAE).explanations) % 100 == 0 for _ in range(2))
    assert [process.communicate()[0] for process in writers] == ["\n" * 12] * 4
    found = store.load(SAE)
    assert len(found.batches) == 48
    assert {i: e[0].text for i, e in found.explanations.items()} == {
        i: f"name {i // 100} {i % 100}" for i in range(4800)
    }
    check(store.path)
    assert not store.notice
    assert len(list(tmp_path.glob("labels-*"))) == 0


def test_killed_writers_corrupt_nothing(tmp_path):
    store, before = Store(tmp_path), 0
    for round_ in range(12):
        process = writer(tmp_path, round_ * 10_000, 10_000)
        for _ in range(2 + round_ % 5):
            assert process.stdout.readline() == "\n"
        time.sleep(0.0007 * round_)  # somewhere within its next write
        process.send_signal(signal.SIGKILL)
        process.communicate()
        batches = len(store.batches(SAE))
        assert not store.notice
        with closing(sqlite3.connect(store.path)) as db:
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            # A batch is there whole, or not at all.
            rows = db.execute("SELECT count(*) FROM explanations GROUP BY batch").fetchall()
        assert rows == [(100,)] * batches
        assert batches >= before
        before = batches
    assert before >= 12 * 2


@pytest.mark.parametrize("damage", ["rubbish", "cut", "middle"])
def test_a_damaged_file_is_set_aside(store, damage):
    for number in range(20):
        put(store, number, [(number * 100 + i, Explanation(f"name {i} " * 20)) for i in range(100)])
    with closing(sqlite3.connect(store.path)) as db:
        db.execute("PRAGMA journal_mode = DELETE")
    data = store.path.read_bytes()
    middle = data[:4096] + os.urandom(len(data) - 4096)
    bad = {"rubbish": b"no database " * 1000, "cut": data[: len(data) // 2], "middle": middle}[damage]
    store.path.write_bytes(bad)
    fresh = Store(store.path.parent)
    assert fresh.load(SAE).explanations == {}
    (aside,) = store.path.parent.glob("labels-*.sqlite3")
    assert aside.read_bytes() == bad
    assert str(aside) in fresh.notice
    assert "set aside" in fresh.notice
    put(fresh, 0, [(1, Explanation("again"))])
    assert Store(store.path.parent).load(SAE).explanations[1][0].text == "again"
    check(store.path)


@pytest.mark.parametrize(
    ("change", "word"),
    [("PRAGMA user_version = 99", "version 99"), ("PRAGMA application_id = 5", "another program"), (None, "another")],
)
def test_a_file_of_another_version_or_program_is_set_aside(store, change, word):
    if change:
        put(store, 0, [(1, Explanation("a"))])
    with closing(sqlite3.connect(store.path)) as db:
        db.execute(change or "CREATE TABLE something (a)")
    fresh = Store(store.path.parent)
    put(fresh, 0, [(1, Explanation("b"))])
    assert fresh.load(SAE).explanations[1][0].text == "b"
    assert word in fresh.notice
    assert len(list(store.path.parent.glob("labels-*.sqlite3"))) == 1


def test_who_finds_the_damage_second_leaves_the_new_file_alone(store):
    store.path.write_bytes(b"no database " * 1000)
    second = Store(store.path.parent)
    seen = module._identity(second.path)
    put(store, 0, [(1, Explanation("a"))])
    assert second._set_aside(seen, "it is damaged")
    assert second.load(SAE).explanations[1][0].text == "a"
    assert len(list(store.path.parent.glob("labels-*.sqlite3"))) == 1


def test_an_empty_file_becomes_a_store(store):
    store.path.touch()
    assert store.load(SAE).explanations == {}
    put(store, 0, [(1, Explanation("a"))])
    assert store.load(SAE).explanations
    assert not store.notice


def test_a_read_only_directory_is_told_and_still_read(open_directory):
    with unprivileged():
        nothing = Store(open_directory)
        put(nothing, 0, [(1, Explanation("a"))])
        assert nothing.load(SAE).explanations == {}
    assert nothing.notice.count("Labels are not kept") == 1
    assert str(nothing.path) in nothing.notice
    put(Store(open_directory), 0, [(1, Explanation("a"))])
    with unprivileged():
        store = Store(open_directory)
        assert store.load(SAE).explanations[1][0].text == "a"
        assert not store.notice
        put(store, 1, [(2, Explanation("b"))])
        assert "Labels are not kept" in store.notice
        assert set(store.load(SAE).explanations) == {1}
    put(Store(open_directory), 1, [(2, Explanation("b"))])
    check(store.path)


def test_a_cache_that_is_no_directory_is_told(tmp_path):
    (tmp_path / "file").write_text("x")
    store = Store(tmp_path / "file" / "cache")
    put(store, 0, [(1, Explanation("a"))])
    assert store.load(SAE).explanations == {}
    assert "Labels are not kept" in store.notice


FULL = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
from axon_widget.labels.store import Explanation, Store
store = Store(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
for number in range(40):
    rows = [(number * 100 + i, Explanation("long name " * 20)) for i in range(100)]
    store.put_batch("gpt2-small/8-res-jb", f"b/explanations/batch-{number}", "e", "2026-01-01", rows)
print(store.notice)
"""


def test_a_full_disk_is_told_and_damages_nothing(tmp_path):
    told = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert told.count("Labels are not kept") == 1
    assert len(told.splitlines()) == 1
    store = Store(tmp_path)
    found = store.load(SAE)
    assert 0 < len(found.batches) < 40
    assert len(found.explanations) == 100 * len(found.batches)
    check(store.path)
    put(store, 0, [(1, Explanation("a"))])
    assert not store.notice


def test_a_file_that_another_process_holds_is_told_until_it_lets_go(store, monkeypatch):
    put(store, 0, [(1, Explanation("a"))])
    monkeypatch.setattr(module, "_BUSY", 0.05)
    holder = sqlite3.connect(store.path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    put(store, 1, [(2, Explanation("b"))])
    assert "locked" in store.notice
    assert store.load(SAE).explanations[1]  # reading goes on
    holder.execute("ROLLBACK")
    holder.close()
    put(store, 1, [(2, Explanation("b"))])
    assert not store.notice
    assert set(store.load(SAE).explanations) == {1, 2}


def test_where_it_lies(tmp_path, monkeypatch):
    monkeypatch.setenv("AXON_CACHE_DIR", str(tmp_path / "a"))
    assert Store().path.parent == tmp_path / "a"
    assert Store(tmp_path / "b").path.parent == tmp_path / "b"
    monkeypatch.delenv("AXON_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "c"))
    if sys.platform == "linux":
        assert Store().path.parent == tmp_path / "c" / "axon-widget"
