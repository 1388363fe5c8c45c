"""A widget's settings as ipywidgets sliders, to put in any cell."""

from __future__ import annotations

from typing import Any

import ipywidgets
import traitlets as t


def sliders(widget: t.HasTraits) -> ipywidgets.VBox:
    """Give a slider for each trait that has a range, linked both ways."""
    made: list[Any] = []
    for name, trait in widget.traits(range=_has_range).items():
        low, high = trait.metadata["range"]
        whole = isinstance(trait, t.Int)
        make: Any = ipywidgets.IntSlider if whole else ipywidgets.FloatSlider
        slider = make(
            min=low,
            max=high,
            step=1 if whole else 0.01,
            description=name.replace("_", " "),
            style={"description_width": "12em"},
        )
        t.link((widget, name), (slider, "value"))
        made.append(slider)
    return ipywidgets.VBox(made)


def _has_range(metadata: Any) -> bool:
    return metadata is not None
