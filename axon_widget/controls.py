"""A widget's settings as ipywidgets sliders, to put in any cell."""

from __future__ import annotations

from typing import Any

import ipywidgets
import traitlets as t

_NAMES = {
    "temperature": "Temperature",
    "top_k": "Top-k",
    "top_p": "Top-p",
    "repetition_penalty": "Repetition penalty",
    "max_tokens": "Max tokens",
    "feature_k": "Features",
    "activation_threshold": "Activation threshold",
}


def sliders(widget: t.HasTraits) -> ipywidgets.VBox:
    """Give a slider for each setting, linked both ways, in the view's order and by its names."""
    made: list[Any] = []
    for name, shown in _NAMES.items():
        trait = widget.traits()[name]
        low, high = trait.metadata["range"]
        whole = isinstance(trait, t.Int)
        make: Any = ipywidgets.IntSlider if whole else ipywidgets.FloatSlider
        slider = make(
            min=low,
            max=high,
            step=1 if whole else 0.01,
            description=shown,
            style={"description_width": "12em"},
            layout={"width": "36em"},
        )
        t.link((widget, name), (slider, "value"))
        made.append(slider)
    return ipywidgets.VBox(made)
