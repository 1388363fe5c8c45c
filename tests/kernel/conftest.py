"""One kernel for all tests that leave it as it was, and fresh ones for those that end it or count what it holds."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel.front_end import FrontEnd, start

SETUP = "from axon_widget import AxonWidget\nfrom tests.kernel.fake_tracer import FakeTracer"
OLD = ("ipykernel==6.17.1", "nest-asyncio==1.6.0")
"""Colab's kernel, and what it needs that newer ones do not."""


@pytest.fixture(scope="session")
def _kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontEnd]:
    with start(tmp_path_factory.mktemp("kernel")) as kernel:
        assert not kernel.run(SETUP).failed
        yield kernel


@pytest.fixture
def kernel(_kernel: FrontEnd) -> Iterator[FrontEnd]:
    yield _kernel
    _kernel.run("w.close()\ndel w")


@pytest.fixture
def fresh_kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontEnd]:
    with start(tmp_path_factory.mktemp("kernel")) as kernel:
        assert not kernel.run(SETUP).failed
        yield kernel


@pytest.fixture(scope="session")
def _old_kernel(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontEnd]:
    with start(tmp_path_factory.mktemp("kernel"), _installed(pytestconfig, *OLD)) as kernel:
        assert kernel.ask("__import__('ipykernel').__version__") == "6.17.1"
        assert not kernel.run(SETUP).failed
        yield kernel


def _installed(config: pytest.Config, *packages: str) -> Path:
    """Install packages into a folder of their own, once."""
    folder = Path(config.cache.mkdir("-".join(packages).replace("=", "")))
    done = folder / ".done"
    if not done.exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*pip, "--upgrade", "--target", folder, *packages], check=True)
        done.touch()
    return folder
