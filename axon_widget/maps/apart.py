"""A map made in a process of its own, that takes only the time nobody else wants: the model goes first."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Iterable
from contextlib import suppress

import numpy as np

from axon_widget.apart import Process, stand_back
from axon_widget.maps.layout import Floats, arrange

_WORK = 1.5e12  # multiplications that looking for neighbours may take: about half a minute on two cores
_NARROWEST = 64


def arrange_apart(blocks: Iterable[Floats], features: int, width: int) -> Floats:
    """Lay directions out as `arrange` does, in another process.

    Parameters
    ----------
    blocks
        The directions, some rows at a time.
    features, width
        How many rows there are in all, and how wide they are.

    Raises
    ------
    RuntimeError
        If the process cannot be had or ends before it is done.
    """
    try:
        process = Process("axon_widget.maps.apart")
    except OSError as error:
        raise RuntimeError(f"The map cannot be made: no process for it could be started ({error}).") from error
    answer = b""
    try:
        with suppress(OSError):  # it was killed: the answer is missing then
            process.to.write(json.dumps({"features": features, "width": width}).encode() + b"\n")
            for block in blocks:
                process.to.write(np.ascontiguousarray(block, np.float32).tobytes())
            process.to.flush()
            # The pipe stays open until the answer is there: its end tells the process that nobody waits any more.
            answer = process.back.read()
    finally:
        process.close()
    if len(answer) != features * 2 * 4:
        raise RuntimeError("The map could not be made: the process that made it was ended.")
    return np.frombuffer(answer, np.float32).reshape(features, 2)


def main() -> None:
    """Read directions from standard input and write their places to standard output."""
    stand_back(19)
    request = json.loads(sys.stdin.buffer.readline())
    features, width = int(request["features"]), int(request["width"])
    # Of a very wide SAE the directions' shadows in fewer dimensions are compared: cosines keep within a tenth or so.
    kept = max(_NARROWEST, int(_WORK / features**2))
    shadow = None if kept >= width else np.random.default_rng(0).standard_normal((width, kept), np.float32)
    directions = np.empty((features, width if shadow is None else kept), np.float32)
    for row in range(features):
        direction = np.frombuffer(sys.stdin.buffer.read(4 * width), np.float32)
        directions[row] = direction if shadow is None else direction @ shadow
    threading.Thread(target=_leave_with_the_other, daemon=True).start()
    sys.stdout.buffer.write(arrange(np.nan_to_num(directions)).tobytes())
    sys.stdout.buffer.flush()
    os._exit(0)  # the thread above waits for a word that does not come


def _leave_with_the_other() -> None:
    os.read(0, 1)
    os._exit(1)


if __name__ == "__main__":
    main()
