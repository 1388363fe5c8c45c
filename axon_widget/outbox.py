"""All that goes to the view, numbered, so that what did not arrive can be asked for."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from axon_widget.runs import Message

KEPT = 2000
"""How many messages can be asked for again; a view that missed more gets the whole anew."""

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
        self._kept: deque[tuple[int, Message]] = deque(maxlen=KEPT)
        self._changed: dict[str, int] = {}  # traits, with the number of the newest message that holds them
        self.count = 0

    def send(self, message: Message, deliver: Callable[[Message], None]) -> None:
        """Deliver a message of ipywidgets' protocol, with its number."""
        with self._lock:
            deliver(self._numbered(message))

    def since(self, number: int) -> Missed | None:
        """Give what was sent after a message; None where that is no longer known."""
        with self._lock:
            if number < self._forgotten:
                return None
            kept = [item for item in self._kept if item[0] > number]
            more = len(kept) > CHUNK
            last = kept[CHUNK - 1][0] if more else self.count
            traits = [name for name, n in self._changed.items() if n > number]
            return Missed(kept[:CHUNK], traits, last, more)

    def traits(self) -> list[str]:
        """Name the traits that were ever sent."""
        with self._lock:
            return list(self._changed)

    @property
    def _forgotten(self) -> int:
        return self._kept[0][0] - 1 if len(self._kept) == KEPT else 0

    def _numbered(self, message: Message) -> Message:
        if message["method"] == "custom":
            content = cast("Message", message["content"])
            if content.get("kind") == _ANSWER:
                return message
            self.count += 1
            self._kept.append((self.count, content))
            return {**message, "content": {**content, "sent": self.count}}
        if message["method"] != "update":
            return message
        self.count += 1
        state = cast("dict[str, Any]", message["state"])
        for name, value in state.items():
            if name == "step":  # each is worth having, of other traits only the newest
                if value:
                    self._kept.append((self.count, {"kind": "steps", "run": value["run"], "steps": [value]}))
            elif name not in _ASSETS:
                self._changed[name] = self.count
        return {**message, "state": {**state, "_sent": self.count}}
