"""The settings that a widget writes with, and what sets several of them as one."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import traitlets as t

from axon_widget.presets import Presets

if TYPE_CHECKING:
    from axon_widget.engine.sampling import Sampling

_SAMPLING = ("temperature", "top_k", "top_p", "repetition_penalty", "max_tokens")
_RANGED = (*_SAMPLING, "feature_k", "activation_threshold")
SETTINGS = (*_RANGED, "seed")


class HasSettings(t.HasTraits):
    """The settings as traits, each within its range, with recipes and presets.

    Parameters
    ----------
    **traits
        First values of the traits.

    Attributes
    ----------
    temperature, top_k, top_p, repetition_penalty, max_tokens, feature_k, activation_threshold, seed
        See `axon_widget.AxonWidget`.
    """

    temperature = t.Float(0.8).tag(sync=True, range=(0.0, 2.0))
    top_k = t.Int(50).tag(sync=True, range=(0, 200))
    top_p = t.Float(0.9).tag(sync=True, range=(0.05, 1.0))
    repetition_penalty = t.Float(1.1).tag(sync=True, range=(1.0, 2.0))
    max_tokens = t.Int(40).tag(sync=True, range=(1, 500))
    feature_k = t.Int(15).tag(sync=True, range=(5, 30))
    activation_threshold = t.Float(0.1).tag(sync=True, range=(0.01, 1.0))
    seed = t.Int(None, allow_none=True).tag(sync=True)

    def __init__(self, **traits: Any) -> None:
        self._reading = threading.Lock()  # held for a moment only and never while observers run
        self._settled: dict[str, Any] | None = None  # while several settings become others as one
        super().__init__(**traits)

    @property
    def presets(self) -> dict[str, dict[str, float]]:
        """The settings that `preset` knows, by name: the recipes, then your own."""
        return self._presets.all()

    def preset(self, name: str) -> None:
        """Set what a recipe or a preset of your own holds, as one change; the very next token follows it.

        Parameters
        ----------
        name
            One of `presets`.

        Raises
        ------
        ValueError
            If there is none of this name, or the file of presets cannot be read.
        """
        settings = self._presets.find(name)
        with self._reading:
            self._settled = self._mixture  # a token that is chosen meanwhile follows what was set before
        try:
            for setting, value in settings.items():
                setattr(self, setting, value)
        finally:
            self._settled = None

    def save_preset(self, name: str) -> None:
        """Keep the settings as they are now, for all your notebooks, in place of an earlier preset of this name.

        Parameters
        ----------
        name
            What to call them; no recipe's name.

        Raises
        ------
        ValueError
            If this cannot be a name, or the file of presets cannot be read or written.
        """
        self._presets.save(name, {setting: getattr(self, setting) for setting in _RANGED})

    def delete_preset(self, name: str) -> None:
        """Forget a preset of your own.

        Parameters
        ----------
        name
            The name that it was kept under.

        Raises
        ------
        ValueError
            If there is none of this name, or the file of presets cannot be read or written.
        """
        self._presets.delete(name)

    @property
    def _presets(self) -> Presets:
        return Presets({name: self.traits()[name].metadata["range"] for name in _RANGED})

    def _sampling(self) -> Sampling:
        from axon_widget.engine.sampling import Sampling

        with self._reading:
            return Sampling(**self._mixture)

    @property
    def _mixture(self) -> dict[str, Any]:
        return self._settled or {name: getattr(self, name) for name in _SAMPLING}

    @t.validate(*_RANGED)
    def _within_range(self, proposal: Any) -> Any:
        name, value = proposal.trait.name, proposal.value
        low, high = proposal.trait.metadata["range"]
        if isinstance(value, bool) or not low <= value <= high:  # also refuses NaN
            raise t.TraitError(f"{name}={value!r} cannot be used: give a number from {low} to {high}.")
        return value

    @t.validate("seed")
    def _usable_seed(self, proposal: Any) -> Any:
        if proposal.value is not None and (isinstance(proposal.value, bool) or not 0 <= proposal.value < 2**63):
            raise t.TraitError(
                f"seed={proposal.value} cannot be used: give a whole number from 0 to 2**63 - 1, or None."
            )
        return proposal.value
