"""Batches that are read in another process are those that are read in this one."""

import gzip
import io
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from axon_widget.labels import apart
from axon_widget.labels.apart import Apart
from axon_widget.labels.rows import read_batch
from tests.standins.neuronpedia import HOSTILE, Neuronpedia

HOST = Neuronpedia(width=300, rows=100)
HOST.descriptions[7] = HOSTILE


@pytest.fixture
def reader():
    made = Apart()
    yield made
    made.close()


def read(how, kind, number=0, body=None):
    return how(kind, io.BytesIO(body or HOST.batch(kind, number)), HOST.address, HOST.width)


@pytest.mark.parametrize("kind", ["explanations", "features"])
def test_the_rows_are_the_same(reader, kind):
    for number in range(HOST.count(kind)):
        rows = read(reader, kind, number)
        assert rows == read(read_batch, kind, number)
        assert {type(row) for _, row in rows} == {type(row) for _, row in read(read_batch, kind, number)}
    assert len(rows) > 10


@pytest.mark.parametrize(
    "body",
    [b"no gzip", HOST.batch("features", 0)[:500], gzip.compress(b"{]\n")],
    ids=["no gzip", "broken off", "no JSON"],
)
def test_what_is_wrong_is_said_and_the_next_is_read(reader, body):
    with pytest.raises(ValueError, match=r"\w") as here:
        read(read_batch, "features", body=body)
    with pytest.raises(ValueError, match=r"\w") as there:
        read(reader, "features", body=body)
    assert str(there.value) == str(here.value)
    assert read(reader, "features", 1) == read(read_batch, "features", 1)


def test_one_process_reads_all_and_ends_with_its_object(reader):
    read(reader, "features")
    process = reader._process
    read(reader, "explanations")
    assert reader._process is process
    assert process.popen.poll() is None
    made = Apart()
    read(made, "features")
    other = made._process
    del made
    assert other.popen.poll() is not None


def test_a_process_that_was_killed_or_cannot_be_started_is_done_without(reader, monkeypatch):
    read(reader, "features")
    reader._process.popen.kill()
    reader._process.popen.wait()
    assert read(reader, "features", 1) == read(read_batch, "features", 1)
    assert read(reader, "features", 2) == read(read_batch, "features", 2)
    assert reader._process is not None  # another one
    reader.close()
    monkeypatch.setattr(apart.sys, "executable", "/nowhere/python")
    assert read(reader, "features") == read(read_batch, "features")
    assert reader._process is None


@pytest.mark.skipif(os.name != "posix", reason="signals are sent")
def test_an_interrupt_does_not_end_it(reader):
    read(reader, "features")
    reader._process.popen.send_signal(signal.SIGINT)
    time.sleep(0.1)
    process = reader._process
    assert read(reader, "features", 1) == read(read_batch, "features", 1)
    assert reader._process is process


def test_it_ends_when_the_process_that_made_it_is_killed():
    script = (
        "import io, sys, time\n"
        "from axon_widget.labels.apart import Apart\n"
        "made = Apart()\n"
        "try: made('features', io.BytesIO(b'x'), 'a/b', 3)\n"
        "except ValueError: pass\n"
        "print(made._process.popen.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        child = int(parent.stdout.readline())
        assert is_running(child)
        parent.kill()
    deadline = time.monotonic() + 10
    while is_running(child):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_running(pid):
    """Whether a process is there and not merely waiting to be noticed as ended."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
