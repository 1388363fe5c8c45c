"""The models whose autoencoders come with the package, their labels, and the scripts that made them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class ShippedModel:
    """A model whose autoencoders lie in the package.

    `release` is what its autoencoders are listed under, `saes` the folder that holds one folder for each of them,
    named after its hook point, and `hook` that of the default one.
    """

    name: str
    release: str
    saes: Path
    hook: str

    def sae_dir(self, hook: str) -> Path:
        """Return the directory of the autoencoder at a hook point, whether or not there is one."""
        return self.saes / hook


MODEL_NAME = "stories15M"
MODEL_DIR = _HERE / "stories15m"
STORIES = ShippedModel(MODEL_NAME, "embedded", _HERE / "stories15m-saes", "blocks.3.hook_resid_pre")
SMOLLM2 = ShippedModel("SmolLM2-135M-Instruct", "smollm2-135m", _HERE / "smollm2-135m-saes", "blocks.15.hook_resid_pre")
SHIPPED = (STORIES, SMOLLM2)
SAES_DIR = STORIES.saes


def sae_dir(hook: str) -> Path:
    """Return the directory of the embedded model's autoencoder at a hook point, whether or not there is one."""
    return STORIES.sae_dir(hook)


def folder_of(name: str) -> Path | None:
    """Return the folder of a shipped autoencoder by the name it is loaded by, None where it is none."""
    release, _, hook = name.partition("/")
    return next((model.sae_dir(hook) for model in SHIPPED if model.release == release), None)
