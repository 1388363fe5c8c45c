"""The features that are steered, as entries of the widget's `steering` trait."""

from __future__ import annotations

import numbers
import operator
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import traitlets as t

from axon_widget import wire
from axon_widget.trace import Feature, Steer, Steering

if TYPE_CHECKING:
    from axon_widget.engine.tracer import Tracer

Change: TypeAlias = "dict[str, Any]"
"""A steered feature: ``sae``, ``id``, ``value`` and ``scale``, and what the view shows of it."""

Name: TypeAlias = "int | tuple[int | str, int] | Feature"
"""A feature as `Tracer.address` takes it."""

_FARTHEST = 1e9  # what a feature may be set to or scaled by: the model's norms square it, in float32


def usable(tracer: Tracer, changes: Sequence[Mapping[str, Any]]) -> list[Change]:
    """Give the entries with all that the view shows of them, the last one of each feature.

    Raises
    ------
    traitlets.TraitError
        If one cannot be used.
    """
    entries = [_usable(tracer, change) for change in changes]
    return list({(entry["sae"], entry["id"]): entry for entry in entries}.values())


def changed(
    tracer: Tracer, steering: Sequence[Change], values: Mapping[Name, float | None], scale: Mapping[Name, float]
) -> list[Change]:
    """Give the entries after features were set to values, of which None ends the steering, and scaled."""
    entries = {(change["sae"], change["id"]): change for change in steering}
    for scaled, changes in ((False, values), (True, scale)):
        if not isinstance(cast("object", changes), Mapping):
            raise TypeError(f"Features are steered by a dict of features and values, not {type(changes).__name__}.")
        for feature, value in changes.items():
            sae, number = tracer.address(feature)
            if value is None:
                entries.pop((sae, number), None)
            else:
                entries[sae, number] = {"sae": sae, "id": number, "value": value, "scale": scaled}
    return list(entries.values())


def in_force(changes: Sequence[Change], reconstruct: bool) -> Steering:
    """Give what the engine does."""
    return Steering(tuple(Steer(c["sae"], c["id"], c["value"], c["scale"]) for c in changes), reconstruct)


def _usable(tracer: Tracer, change: Mapping[str, Any]) -> Change:
    try:
        named, value, scale = (change["sae"], change["id"]), change["value"], change.get("scale", False)
        if any(isinstance(part, bool) for part in named):
            raise TypeError("a truth value is no number")
        sae, feature = tracer.check(*map(operator.index, named))
    except KeyError as error:
        raise t.TraitError(f"A steered feature needs {error}: give sae, id and value.") from None
    except TypeError:
        raise t.TraitError("A steered feature is named by two whole numbers, sae and id.") from None
    except ValueError as error:
        raise t.TraitError(str(error)) from None
    real = not isinstance(value, bool) and isinstance(value, numbers.Real)
    if not (real and abs(cast("float", value)) <= _FARTHEST):  # NaN is not either
        shown = wire.clip(repr(value), 40)
        raise t.TraitError(f"Feature {feature} cannot be steered to {shown}: give a number from -1e9 to 1e9.")
    if not isinstance(scale, bool):
        raise t.TraitError(f"Feature {feature} is steered with scale={scale!r}: give True or False.")
    value = float(value)
    saes = tracer.info["saes"]
    label = wire.clip(tracer.names(sae, feature), 200)
    return {"sae": sae, "id": feature, "layer": saes[sae]["layer"], "label": label, "value": value, "scale": scale}
