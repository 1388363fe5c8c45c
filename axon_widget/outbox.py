"""All that goes to the view, numbered, so that what did not arrive can be asked for."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from axon_widget.runs import Message

KEPT = 2000
"""How many messages can be asked for again; a view that missed more gets the whole anew."""

BYTES = 16_000_000
"""How many bytes of messages are kept at most, but for the newest."""

CHUNK = 100
"""The most messages in one answer."""

_ASSETS = ("_esm", "_css")  # large, and never another
_ANSWER = "missed"  # answers a question, and is asked for again by asking that again


@dataclass(frozen=True)
class Missed:
    """What was sent after a message.

    Parameters
    ----------
    messages
        Messages with their numbers, the oldest first, at most `CHUNK`.
    traits
        The traits that changed.
    last
        The number up to which this is all.
    more
        Whether there is more.
    """

    messages: list[tuple[int, Message]]
    traits: list[str]
    last: int
    more: bool


class Outbox:
    """Numbers messages and traits in the order they go out, and keeps them for a while.

    Some front ends drop what is sent while none of their requests is being handled: a view there hears nothing of a
    thread that writes unless it asks.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._kept: deque[tuple[int, Message, int]] = deque()  # with the bytes of each
        self._bytes = 0
        self._forgotten = 0  # the number of the newest message that is kept no more
        self._changed: dict[str, int] = {}  # traits, with the number of the newest message that holds them
        self.count = 0

    def send(self, message: Message, deliver: Callable[[Message], None]) -> None:
        """Deliver a message of ipywidgets' protocol, with its number. One that cannot be delivered leaves no trace."""
        with self._lock:
            number = self.count + 1
            numbered = _numbered(message, number)
            deliver(numbered)
            if numbered is not message:
                self.count = number
                self._keep(message)

    def since(self, number: int) -> Missed | None:
        """Give what was sent after a message; None where that is no longer known."""
        with self._lock:
            if number < self._forgotten:
                return None
            kept = [item for item in self._kept if item[0] > number]
            more = len(kept) > CHUNK
            last = kept[CHUNK - 1][0] if more else self.count
            traits = [name for name, n in self._changed.items() if n > number]
            return Missed([(n, message) for n, message, _ in kept[:CHUNK]], traits, last, more)

    def traits(self) -> list[str]:
        """Name the traits that were ever sent."""
        with self._lock:
            return list(self._changed)

    def clear(self) -> None:
        """Forget all messages: a view that missed any gets the whole anew."""
        with self._lock:
            self._kept.clear()
            self._bytes, self._forgotten = 0, self.count

    def _keep(self, message: Message) -> None:
        if message["method"] == "custom":
            self._append(cast("Message", message["content"]))
            return
        for name, value in cast("dict[str, Any]", message["state"]).items():
            if name == "step":  # each is worth having, of other traits only the newest
                if value:
                    self._append({"kind": "steps", "run": value["run"], "steps": [value]})
            elif name not in _ASSETS:
                self._changed[name] = self.count

    def _append(self, content: Message) -> None:
        # What was delivered can be written as JSON, if only with help.
        size = len(json.dumps(content, default=str))
        self._kept.append((self.count, content, size))
        self._bytes += size
        while len(self._kept) > KEPT or (self._bytes > BYTES and len(self._kept) > 1):
            self._forgotten, _, gone = self._kept.popleft()
            self._bytes -= gone


def _numbered(message: Message, number: int) -> Message:
    """Give a message with its number; as it is where it is no news."""
    if message["method"] == "custom":
        content = cast("Message", message["content"])
        return message if content.get("kind") == _ANSWER else {**message, "content": {**content, "sent": number}}
    if message["method"] != "update":
        return message
    return {**message, "state": {**cast("dict[str, Any]", message["state"]), "_sent": number}}
