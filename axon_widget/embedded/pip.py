"""Fetching a wheel with pip, in a process of its own, through whatever index the user has configured."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

_GLANCE = 0.1  # seconds: how often the child is looked after


class PipError(Exception):
    """pip could not fetch the wheel. Its text is what pip says, or why pip cannot be run."""


def download(requirement: str, folder: Path, look: Callable[[int], None]) -> Path:
    """Download a wheel, without what it depends on; nothing of it is installed or run.

    Parameters
    ----------
    requirement
        Its name and version.
    folder
        An empty folder. pip writes nowhere else, but for its own cache.
    look
        Is called ten times a second with the number of bytes that are there; what it raises ends the download.

    Raises
    ------
    PipError
        If that fails.
    """
    if importlib.util.find_spec("pip") is None:
        raise PipError(f"{sys.executable} has no pip: `{sys.executable} -m ensurepip` installs it")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input"]
    command += ["--progress-bar=off", "--disable-pip-version-check", "--dest", str(folder), requirement]
    inside = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(folder))
    with tempfile.TemporaryFile() as said:
        child = subprocess.Popen(
            command,
            env={**os.environ, **inside},
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # an interrupt of the kernel is meant for a cell
        )
        try:
            while child.poll() is None:
                look(_bytes(folder))
                try:
                    child.wait(_GLANCE)
                except subprocess.TimeoutExpired:
                    continue
        finally:
            child.kill()
            child.wait()
        said.seek(0)
        lines = said.read().decode(errors="replace").splitlines()
    found = list(folder.glob("*.whl"))
    if child.returncode or len(found) != 1:
        errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
        raise PipError([f"it ended with {child.returncode}", *filter(str.strip, lines), *errors][-1])
    return found[0]


def _bytes(folder: Path) -> int:
    """Give the size of the largest file, which is the wheel, wherever pip has it at the time."""
    sizes = [0]
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                sizes.append(os.path.getsize(os.path.join(place, name)))
            except OSError:  # it was moved just now
                continue
    return max(sizes)
