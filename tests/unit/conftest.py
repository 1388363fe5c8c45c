import functools
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from axon_widget.embedded import STORIES
from axon_widget.engine.tracer import Tracer
from tests.unit import tiny
from tests.unit.reference import Reference


@pytest.fixture(scope="session")
def tracer():
    """The embedded model through our own code: read only, the seed and the settings go with each call."""
    return Tracer.load("embedded", device="cpu")


@pytest.fixture(scope="session")
def embedded_reference():
    return Reference(STORIES.directory(), STORIES.sae_dir(STORIES.hook))


@pytest.fixture(scope="session")
def plain():
    """The embedded model through transformers alone: what ours is compared with."""
    return AutoModelForCausalLM.from_pretrained(STORIES.directory(), dtype="float32").eval()


@pytest.fixture(scope="session")
def tokenizer():
    return AutoTokenizer.from_pretrained(STORIES.directory())


@pytest.fixture(scope="session")
def family(tmp_path_factory):
    """Gives the directory of a random model of two layers of a family, and its tokenizer."""

    @functools.cache
    def make(name) -> Path:
        directory = tmp_path_factory.mktemp(f"tiny-{name}")
        tiny.save_model(directory, name)
        return directory

    return make


@pytest.fixture(scope="session")
def tiny_model(family) -> Path:
    """The directory of a random GPT-2 of two layers and its tokenizer."""
    return family("gpt2")


@pytest.fixture(scope="session")
def pair(family, tmp_path_factory):
    """Gives a tracer of a random model with SAEs at hook points, whose texts have no end, and its reference."""

    @functools.cache
    def make(name, *hooks, architecture="standard", centred=False, **config):
        kwargs = {"center_writing_weights": True} if centred else None
        saes = [
            tiny.save_sae(tmp_path_factory.mktemp("sae"), hook, architecture, seed=5 + i, kwargs=kwargs, **config)
            for i, hook in enumerate(hooks)
        ]
        made = Tracer.load(str(family(name)), saes, device="cpu")
        made._loop._eos = set()
        return made, Reference(family(name), *saes)

    return make


@pytest.fixture(scope="session")
def small_repositories(tiny_model, tmp_path_factory):
    """Releases of SAELens' directory for the tiny GPT-2, for a stand-in of the hub to serve."""
    from tests.standins import small

    return small.repositories(tmp_path_factory.mktemp("hub"), tiny_model)
