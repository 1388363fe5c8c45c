from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from axon_widget.embedded import MODEL_DIR
from axon_widget.engine.tracer import Tracer
from tests.unit import tiny


@pytest.fixture(scope="session")
def tracer():
    """The embedded model through our own code: read only, the seed and the settings go with each call."""
    return Tracer.load("embedded", device="cpu")


@pytest.fixture(scope="session")
def plain():
    """The embedded model through transformers alone: what ours is compared with."""
    return AutoModelForCausalLM.from_pretrained(MODEL_DIR, dtype="float32").eval()


@pytest.fixture(scope="session")
def tokenizer():
    return AutoTokenizer.from_pretrained(MODEL_DIR)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory) -> Path:
    """The directory of a random GPT-2 of two layers and its tokenizer."""
    directory = tmp_path_factory.mktemp("tiny-gpt2")
    tiny.save_model(directory)
    return directory
