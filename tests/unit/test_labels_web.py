"""Manners towards other people's servers."""

import io
import socket
import threading
import time
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from types import SimpleNamespace

import pytest

from axon_widget import __version__
from axon_widget.labels import web as module
from axon_widget.labels.web import RefusedError, UnreachableError, Web
from tests.standins.neuronpedia import Neuronpedia


@pytest.fixture(autouse=True)
def _network(monkeypatch):
    for name in ("HF_HUB_OFFLINE", "AXON_OFFLINE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def host():
    with Neuronpedia(width=50) as running:
        yield running


@pytest.fixture
def web():
    return Web(connect=0.5, read=0.3, backoff=0.0, pause=0.3)


def feature(host, number=1):
    return f"{host.url}/api/feature/{host.address}/{number}"


def fails(web, url, **fields):
    with pytest.raises(UnreachableError) as caught:
        web.fetch(url)
    for name, value in fields.items():
        assert getattr(caught.value, name) == value
    return caught.value


def test_at_most_four_at_once_of_each_host_and_connections_are_used_again(web):
    with Neuronpedia(width=50) as one, Neuronpedia(width=50) as two:
        one.delay = two.delay = 0.02
        urls = [feature(host, i) for i in range(20) for host in (one, two)]
        threads = [threading.Thread(target=web.fetch, args=(url,)) for url in urls]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for host in (one, two):
            assert host.at_once == 4
            assert len(host.paths) == 20
            assert host.connections <= 4
            assert host.agents == {f"axon-widget/{__version__}"}


@contextmanager
def dripping(start):
    """A host that begins each answer at once and then goes on byte by byte; gives its address."""
    closing, taken = threading.Event(), []

    def drip(caller):
        with caller, suppress(OSError):
            caller.recv(1 << 16)
            caller.sendall(start)
            for _ in range(500):  # as it was before, this would be ten seconds
                if closing.wait(0.02):
                    return
                caller.sendall(b"x")

    def take(listening):
        with suppress(OSError):
            while True:
                taken.append(listening.accept()[0])
                threading.Thread(target=drip, args=(taken[-1],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=take, args=(listening,), daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        closing.set()


DRIPS = {
    "the status": b"HTTP/1.1 2",
    "the headers": b"HTTP/1.1 200 OK\r\nX-Long: ",
    "the body": b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n",
    "a body without end": b"HTTP/1.1 200 OK\r\n\r\n",
}


@pytest.mark.parametrize("part", DRIPS)
def test_a_host_that_drips_is_left_and_holds_up_no_other(web, host, monkeypatch, part):
    monkeypatch.setattr(module, "_GRACE", 0.5)
    with dripping(DRIPS[part]) as url:
        start, told = time.monotonic(), []
        threads = [threading.Thread(target=lambda: told.append(fails(web, url, tried=True))) for _ in range(4)]
        for thread in threads:
            thread.start()
        assert web.fetch(feature(host)).status == 200
        assert time.monotonic() - start < 0.4
        for thread in threads:
            thread.join()
        assert time.monotonic() - start < 4
        assert ["cannot be reached" in str(error) for error in told] == [True] * 4


class Line(io.RawIOBase):
    """A connection that brings so many bytes after so many seconds, again and again."""

    def __init__(self, clock, pieces):
        self.clock, self.pieces = clock, iter(pieces)

    def readable(self):
        return True

    def readinto(self, buffer):
        count, seconds = next(self.pieces, (0, 0))
        self.clock.now += seconds
        return count


@pytest.mark.parametrize(
    ("pieces", "whole"),
    {
        "slow": ([(5_000, 1)] * 8_000, True),
        "slower": ([(3_000, 1)] * 8_000, False),
        "in bursts": ([(100_000, 19)] * 400, True),
        "small and late": ([(1, 19), (500, 1)], True),
        "fast, then a drip": ([(1 << 20, 0.01)] * 30 + [(1, 1)] * 60, False),
    }.values(),
)
def test_a_slow_line_is_not_a_drip(monkeypatch, pieces, whole):
    clock = SimpleNamespace(now=1_000.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(module, "time", clock)
    line = module._Paced(Line(clock, pieces))
    buffer, count = bytearray(1 << 20), 0
    try:
        while read := line.readinto(buffer):
            count += read
    except TimeoutError:
        assert not whole
        assert clock.now - 1_000 < 200
    else:
        assert whole
        assert count == sum(size for size, _ in pieces)


def test_through_a_proxy_too(host, monkeypatch):
    monkeypatch.setattr(module, "_GRACE", 0.3)
    with dripping(DRIPS["the body"]) as url:
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("http_proxy", url)
        start = time.monotonic()
        fails(Web(connect=0.5, read=0.3, backoff=0.0), "http://neuronpedia.invalid/", tried=True)
        assert time.monotonic() - start < 4


def test_this_process_has_one(host):
    assert module.shared() is module.shared()


@pytest.mark.parametrize("what", ["hang up", "timeout"])
def test_a_passing_failure_is_got_over(web, host, what):
    host.fault("/api", what, times=1)
    assert web.fetch(feature(host)).status == 200
    assert host.asked() == 2


def test_a_passing_error_of_the_server_is_got_over(web, host):
    host.fault("/api", "status", times=2, status=502)
    assert web.fetch(feature(host)).status == 200
    assert host.asked() == 3


def test_not_found_is_an_answer(web, host):
    host.fault("/api", "status", status=404)
    assert web.fetch(feature(host)).status == 404
    assert host.asked() == 1


@pytest.mark.parametrize("status", [400, 403])
def test_a_refusal_is_not_repeated(web, host, status):
    host.fault("/api", "status", status=status)
    for _ in range(5):
        with pytest.raises(RefusedError, match=str(status)):
            web.fetch(feature(host))
    assert host.asked() == 5
    host.heal()
    assert web.fetch(feature(host)).status == 200


def test_redirects_are_not_followed(web, host):
    with Neuronpedia(width=50) as other:
        host.fault("/api", "redirect", to=feature(other))
        with pytest.raises(RefusedError, match=f"302, to {other.url}"):
            web.fetch(feature(host))
        assert other.paths == []


def test_a_host_that_is_down_is_left_alone_then_tried_once(web, host):
    host.fault("/api", "status", status=500)
    url = feature(host)
    for _ in range(2):
        fails(web, url, tried=True, wait=0)
    assert fails(web, url, tried=True).wait == pytest.approx(0.3)
    asked = host.asked()
    assert 0 < fails(web, url, tried=False, limited=False).wait <= 0.3
    assert host.asked() == asked
    time.sleep(0.32)
    assert fails(web, url, tried=True).wait == pytest.approx(0.6)  # it is left alone longer
    assert host.asked() == asked + 3  # one trial, with its repetitions
    fails(web, url, tried=False)
    host.heal()
    time.sleep(0.62)
    host.delay = 0.1
    trial = threading.Thread(target=web.fetch, args=(url,))
    trial.start()
    time.sleep(0.03)
    fails(web, url, tried=False)  # while one tries, the others wait
    trial.join()
    assert web.fetch(url).status == 200
    host.fault("/api", "status", status=500)
    fails(web, url, tried=True, wait=0)  # all is forgiven


def test_one_host_that_is_down_does_not_close_another(web, host):
    with Neuronpedia(width=50) as other:
        host.fault("/", "hang up")
        for _ in range(4):
            fails(web, feature(host))
        assert web.fetch(feature(other)).status == 200


def test_nobody_there(web):
    with Neuronpedia(width=50) as gone:
        url = feature(gone)
    assert "cannot be reached" in str(fails(web, url, tried=True))


def test_a_host_that_says_when_to_come_back_is_obeyed(web, host):
    host.fault("/api", "limit", times=1, headers={"Retry-After": "1"})
    assert fails(web, feature(host), tried=True, limited=True).wait == 1
    for _ in range(4):
        assert 0 < fails(web, feature(host), tried=False, limited=True).wait <= 1
        time.sleep(0.2)
    assert host.asked() == 1
    time.sleep(0.25)
    assert web.fetch(feature(host)).status == 200


def test_a_date_to_come_back_at(web, host):
    date = format_datetime(datetime.now(timezone.utc) + timedelta(seconds=90), usegmt=True)
    host.fault("/api", "limit", headers={"Retry-After": date})
    assert fails(web, feature(host), limited=True).wait == pytest.approx(90, abs=3)
    assert host.asked() == 1


def test_neuronpedias_own_limit_names_only_its_window(web, host):
    host.fault("/api", "limit")
    told = fails(web, feature(host), limited=True)
    assert told.wait == 60  # of 60 minutes
    assert "Rate limit exceeded" in str(told)
    with Neuronpedia(width=50) as other:
        other.fault("/api", "limit", window="6 s")
        waits = []
        for _ in range(9):
            waits.append(fails(web, feature(other)).wait)
            web._hosts[other.url.removeprefix("http://")].limited_until = 0.0
        assert waits == [pytest.approx(min(0.1 * 2**i, 6)) for i in range(9)]


def test_a_busy_server_that_says_when_to_come_back_is_obeyed(web, host):
    host.fault("/api", "status", status=503, headers={"Retry-After": "7"})
    assert fails(web, feature(host), tried=True, limited=True).wait == 7
    assert host.asked() == 1


@pytest.mark.parametrize("header", ["soon", "-5", "0", "", "9" * 30, "Wed, 99 Foo 2026"])
def test_a_strange_time_to_come_back_does_no_harm(web, host, header):
    host.fault("/api", "limit", headers={"Retry-After": header})
    assert 1 <= fails(web, feature(host), limited=True).wait <= 86_400


def test_an_answer_that_is_cut_off_is_none(web, host):
    host.fault("batch-0", "cut off", times=1)
    fails(web, f"{host.url}/{host.key('features', 0)}", tried=True)
    assert web.fetch(f"{host.url}/{host.key('features', 0)}").body.read() == host.batch("features", 0)


def test_an_answer_that_is_too_large_is_refused_early(web, host):
    url = f"{host.url}/{host.key('features', 0)}"
    size = len(host.batch("features", 0))
    assert len(web.fetch(url, limit=size).body.read()) == size
    with pytest.raises(RefusedError, match="more than 0 MB"):
        web.fetch(url, limit=size - 1)


def test_only_so_many_requests(host):
    web = Web(requests_left=2)
    web.fetch(feature(host))
    web.fetch(feature(host))
    with pytest.raises(RefusedError, match="No more"):
        web.fetch(feature(host))
    assert host.asked() == 2


@pytest.mark.parametrize("name", ["AXON_OFFLINE", "HF_HUB_OFFLINE"])
@pytest.mark.parametrize("value", ["1", "true", "ON"])
def test_offline_there_are_no_requests(web, host, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(RefusedError, match=name):
        web.fetch(feature(host))
    monkeypatch.setenv(name, "0")
    web.fetch(feature(host))
    assert host.asked() == 1
