"""One kernel for all tests that leave it as it was, and fresh ones for those that end it or count what it holds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kernel.front_end import FrontEnd, start

SETUP = "from axon_widget import AxonWidget\nfrom tests.kernel.fake_tracer import FakeTracer"


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
