"""Batches read in a process of their own.

Taking thousands of lines apart is Python's work: in a thread beside the model it would hold up every token.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
import threading
from collections.abc import Sequence
from typing import IO, Any, cast

from axon_widget.apart import Process, stand_back
from axon_widget.labels.rows import read_batch
from axon_widget.labels.store import Explanation, Row, Statistics

_MADE = {"explanations": Explanation, "features": Statistics}


class Apart:
    """Reads batches in another process, which begins with the first of them and ends with this object."""

    def __init__(self) -> None:
        self._process: Process | None = None
        self._lock = threading.Lock()

    def __call__(self, kind: str, body: IO[bytes], address: str, width: int | None) -> Sequence[Row]:
        """Read a batch, see `read_batch`; here, where no other process can be had."""
        with self._lock:
            try:
                answer = self._ask(kind, body, address, width)
            except (OSError, ValueError):  # it could not be started, or was killed
                self.close()
                body.seek(0)
                return read_batch(kind, body, address, width)
        if "error" in answer:
            raise ValueError(answer["error"])
        return cast("Sequence[Row]", [(feature, _MADE[kind](*values)) for feature, values in answer["rows"]])

    def _ask(self, kind: str, body: IO[bytes], address: str, width: int | None) -> dict[str, Any]:
        if self._process is None:
            self._process = Process("axon_widget.labels.apart")
        to, back = self._process.to, self._process.back
        request = {"kind": kind, "address": address, "width": width, "size": body.seek(0, os.SEEK_END)}
        body.seek(0)
        to.write(json.dumps(request).encode() + b"\n")
        shutil.copyfileobj(body, to)
        to.flush()
        return json.loads(back.readline())

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            process.close()

    def __del__(self) -> None:
        self.close()


def main() -> None:
    """Read batches that come on standard input, until it ends as the other process does."""
    stand_back(10)
    while header := sys.stdin.buffer.readline():
        request = json.loads(header)
        body = io.BytesIO(sys.stdin.buffer.read(request["size"]))
        try:
            answer: Any = {"rows": read_batch(request["kind"], body, request["address"], request["width"])}
        except ValueError as error:
            answer = {"error": str(error)}
        sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
