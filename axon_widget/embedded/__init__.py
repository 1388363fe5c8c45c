"""The model that comes with the package, its autoencoders, their labels, and the scripts that made them."""

from __future__ import annotations

from pathlib import Path

MODEL_NAME = "stories15M"
MODEL_DIR = Path(__file__).parent / "stories15m"
SAES_DIR = Path(__file__).parent / "stories15m-saes"


def sae_dir(hook: str) -> Path:
    """Return the directory of the embedded autoencoder at a hook point, whether or not there is one."""
    return SAES_DIR / hook
