"""Asking other people's servers, politely: few at once, slower when they say so, and not at all while they are down."""

from __future__ import annotations

import functools
import http.client
import io
import json
import os
import re
import tempfile
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import IO, Any, NamedTuple, cast
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

from axon_widget import __version__
from axon_widget.labels.text import clean

_AT_ONCE = 4  # of one host: one that is slow keeps nobody from another
_GRACE = 30.0  # seconds that an answer may fall behind the slowest pace
_SLOWEST = 4 << 10  # bytes a second
_PATIENCE = 3  # failures in a row after which a host is left alone
_LONGEST = 600.0  # seconds that a host is left alone at most, unless it asks for more
_WINDOW = 3_600.0
_IN_MEMORY = 8 << 20
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}


class UnreachableError(ConnectionError):
    """A host that did not answer, or is not to be asked for a while.

    Parameters
    ----------
    why
        A sentence without its full stop.
    wait
        Seconds until it may be asked again.
    tried
        Whether it was asked now.
    limited
        Whether it said itself that it wants to be asked less.
    """

    def __init__(self, why: str, wait: float = 0.0, tried: bool = False, limited: bool = False) -> None:
        super().__init__(why)
        self.wait, self.tried, self.limited = wait, tried, limited


class RefusedError(ConnectionError):
    """A request that has no use: the answer would be, or was, of the wrong kind."""


class Answer(NamedTuple):
    """A whole answer: found (status 200) or not (404). The body may be packed with gzip."""

    status: int
    kind: str
    body: IO[bytes]


@dataclass
class _Host:
    name: str
    failures: int = 0
    refusals: int = 0
    down_until: float = 0.0
    limited_until: float = 0.0
    why: str = ""
    slots: threading.BoundedSemaphore = field(default_factory=lambda: threading.BoundedSemaphore(_AT_ONCE))


class _Paced(io.RawIOBase):
    """What a host sends, while that comes at some pace: a socket's own timeout begins anew with every byte."""

    def __init__(self, source: io.RawIOBase) -> None:
        self._source, self._until = source, time.monotonic() + _GRACE

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int | None:
        count = self._source.readinto(buffer)
        now = time.monotonic()
        if now > self._until:
            raise TimeoutError("it sends too slowly")
        self._until = min(self._until + (count or 0) / _SLOWEST, now + _GRACE)  # what came fast makes up for no drip
        return count

    def close(self) -> None:
        self._source.close()
        super().close()


class _Response(http.client.HTTPResponse):
    """An answer that is paced from the first byte of its headers on."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fp = io.BufferedReader(_Paced(self.fp.detach()))


@functools.cache
def _paced(connection: type[Any]) -> type[Any]:
    return type(connection.__name__, (connection,), {"response_class": _Response})


class _Adapter(HTTPAdapter):
    """Has every kind of connection, those through a proxy too, read its answers paced."""

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
        if pool.ConnectionCls.response_class is not _Response:
            pool.ConnectionCls = _paced(pool.ConnectionCls)
        return pool


class _Retry(urllib3.Retry):
    """Tries again by itself, but not when a host says how long to wait: that may be too long to sleep through."""

    def is_retry(self, method: str, status_code: int, has_retry_after: bool = False) -> bool:
        return not has_retry_after and super().is_retry(method, status_code, has_retry_after)


class Web:
    """What this process asks other hosts for. Threads share it.

    Parameters
    ----------
    connect, read
        Seconds to wait for a connection, and for the next bytes. A host that goes on sending less than 4 kB a second
        is left too.
    backoff
        Seconds before a request is repeated; doubled each time.
    pause
        Seconds that a host is left alone after some failures in a row; doubled with each further one.
    requests_left
        Ask at most so often.
    """

    def __init__(
        self,
        connect: float = 5.0,
        read: float = 20.0,
        backoff: float = 0.5,
        pause: float = 30.0,
        requests_left: int | None = None,
    ) -> None:
        self._timeout, self._pause, self._left = (connect, read), pause, requests_left
        self._lock = threading.Lock()
        self._hosts: dict[str, _Host] = {}
        retry = _Retry(
            total=3,
            connect=2,
            read=1,
            status=2,
            other=0,
            redirect=0,
            status_forcelist=(500, 502, 503, 504),
            backoff_factor=backoff,
            respect_retry_after_header=False,
            raise_on_status=False,
        )
        self._session = requests.Session()
        self._session.headers.update({"User-Agent": f"axon-widget/{__version__}", "Accept-Encoding": "gzip"})
        adapter = _Adapter(pool_maxsize=_AT_ONCE, max_retries=retry)
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, adapter)

    def fetch(self, url: str, params: dict[str, str] | None = None, limit: int = 64 << 20) -> Answer:
        """Get an answer of at most `limit` bytes. Redirects are not followed.

        Raises
        ------
        UnreachableError
            If the host does not answer, or too slowly, or is not to be asked now.
        RefusedError
            If the answer is none that could be used, or no network may be used.
        """
        if forbidden := offline():
            raise RefusedError(f"{forbidden} is set, so no network is used")
        name = urlsplit(url).netloc
        with self._lock:
            host = self._hosts.setdefault(name, _Host(name))
        with host.slots:
            self._enter(host)
            try:
                with self._session.get(
                    url, params=params, timeout=self._timeout, stream=True, allow_redirects=False
                ) as response:
                    body = _read(response, limit)
            except (OSError, urllib3.exceptions.HTTPError) as error:  # requests' own are OSErrors
                if isinstance(error, RefusedError):
                    raise
                raise self._failed(host, f"{host.name} cannot be reached ({type(error).__name__})") from error
        if response.status_code == 429 or (response.status_code == 503 and "Retry-After" in response.headers):
            raise self._limited(host, response, body)
        if response.status_code >= 500:
            raise self._failed(host, f"{host.name} is out of order (status {response.status_code})")
        with self._lock:
            host.failures = host.refusals = 0
            host.down_until = 0.0
        if response.status_code not in (200, 404):
            leads = f", to {clean(response.headers['Location'], 200)}" if "Location" in response.headers else ""
            raise RefusedError(f"{host.name} answered with status {response.status_code}{leads}")
        return Answer(response.status_code, response.headers.get("Content-Type", ""), body)

    def _enter(self, host: _Host) -> None:
        """Find out whether a host may be asked now."""
        now = time.monotonic()
        with self._lock:
            if (left := host.limited_until - now) > 0:
                raise UnreachableError(host.why, left, limited=True)
            if (left := host.down_until - now) > 0:
                raise UnreachableError(host.why, left)
            if self._left is not None:
                if self._left == 0:
                    raise RefusedError("No more requests are allowed")
                self._left -= 1
            if host.failures >= _PATIENCE:  # this is the one trial: others wait for what comes of it
                host.down_until = now + min(sum(self._timeout), self._pause)

    def _failed(self, host: _Host, why: str) -> UnreachableError:
        with self._lock:
            host.failures += 1
            host.why = why
            beyond = host.failures - _PATIENCE
            wait = min(self._pause * 2.0 ** min(beyond, 30), _LONGEST) if beyond >= 0 else 0.0
            host.down_until = time.monotonic() + wait
        return UnreachableError(why, wait, tried=True)

    def _limited(self, host: _Host, response: requests.Response, body: IO[bytes]) -> UnreachableError:
        told = _json(body)
        window = _seconds(str(told.get("requestWindow", ""))) or _WINDOW
        with self._lock:
            # Where nothing is said about when to come back: a sixtieth of its window, then longer and longer.
            wait = _retry_after(response.headers.get("Retry-After", ""))
            if wait is None:
                wait = min(window / 60 * 2.0 ** min(host.refusals, 30), window)
            host.refusals += 1
            says = clean(str(told.get("error", "")), 300).rstrip(".") or "it has had too many requests"
            host.why = f"{host.name} asks to wait: {says}"
            host.limited_until = max(host.limited_until, time.monotonic() + wait)
        return UnreachableError(host.why, wait, tried=True, limited=True)


@functools.cache
def shared() -> Web:
    """Give the one that all of this process shares."""
    return Web()


def offline() -> str:
    """Give the environment variable that forbids the network, or an empty text."""
    for name in ("AXON_OFFLINE", "HF_HUB_OFFLINE"):
        if os.environ.get(name, "").upper() in {"1", "ON", "YES", "TRUE"}:
            return name
    return ""


def _read(response: requests.Response, limit: int) -> IO[bytes]:
    """Read a body as it was sent, packed or not."""
    body = cast("IO[bytes]", tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY))  # noqa: SIM115 - whoever reads has it
    size = 0
    for chunk in response.raw.stream(1 << 16, decode_content=False):
        size += len(chunk)
        if size > limit:
            raise RefusedError(f"{urlsplit(response.url).netloc} sent more than {limit >> 20} MB")
        body.write(chunk)
    body.seek(0)
    return body


def _json(body: IO[bytes]) -> dict[str, Any]:
    try:
        told = json.loads(body.read(1 << 16))
    except ValueError:
        return {}
    return cast("dict[str, Any]", told) if isinstance(told, dict) else {}


def _seconds(window: str) -> float | None:
    """Read a duration such as "60 m"."""
    found = re.fullmatch(r"\s*(\d{1,6})\s*(ms|s|m|h|d)\s*", window)
    return int(found[1]) * _UNITS[found[2]] if found else None


def _retry_after(header: str) -> float | None:
    """Read a Retry-After header: seconds, or a date. Never at once, or two would go round in circles."""
    if header.strip().isdecimal():
        return float(min(max(int(header), 1), 86_400))
    try:
        date = parsedate_to_datetime(header)
    except ValueError:
        return None
    date = date if date.tzinfo else date.replace(tzinfo=timezone.utc)
    return min(max((date - datetime.now(timezone.utc)).total_seconds(), 1.0), 86_400.0)
