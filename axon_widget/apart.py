"""Work in a process of its own, where it holds up no token: how such a process begins, stands back and ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from typing import IO, cast


class Process:
    """Another process that runs a module of this package and talks over pipes. It ends with `close`.

    Parameters
    ----------
    module
        The module.

    Raises
    ------
    OSError
        If it cannot be started.
    """

    def __init__(self, module: str) -> None:
        self.popen = subprocess.Popen(
            [sys.executable or "python", "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            creationflags=int(getattr(subprocess, "IDLE_PRIORITY_CLASS", 0)),  # on Windows
        )
        self.to, self.back = cast("IO[bytes]", self.popen.stdin), cast("IO[bytes]", self.popen.stdout)

    def close(self) -> None:
        """End it. What it has not read is lost."""
        self.popen.kill()
        with suppress(OSError):
            self.popen.communicate()


def stand_back(nice: int) -> None:
    """Let the model go first. The process itself calls this."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt of the kernel is meant for a cell
    with suppress(AttributeError, OSError):  # Windows has no such thing: there it begins so
        os.nice(nice)
