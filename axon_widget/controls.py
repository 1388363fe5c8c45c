"""A widget's settings as ipywidgets, to put in any cell."""

from __future__ import annotations

import html
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import ipywidgets
import traitlets as t

from axon_widget import cells
from axon_widget.presets import RECIPES

if TYPE_CHECKING:
    from axon_widget.widget import AxonWidget

_NAMES = {
    "temperature": "Temperature",
    "top_k": "Top-k",
    "top_p": "Top-p",
    "repetition_penalty": "Repetition penalty",
    "max_tokens": "Max tokens",
    "feature_k": "Features",
    "activation_threshold": "Activation threshold",
}


class Controls(ipywidgets.VBox):
    """Sliders linked both ways with a widget's settings, its recipes and presets, and what starts and stops it.

    Parameters
    ----------
    widget
        The widget. When it is closed these can be moved no more.
    names
        Which settings get a slider, in this order.

    Attributes
    ----------
    sliders
        The sliders by the names of the settings, for `ipywidgets.interact` and the like.
    """

    def __init__(self, widget: AxonWidget, names: tuple[str, ...] = ()) -> None:
        unknown = [name for name in names if name not in _NAMES]
        if unknown:
            raise ValueError(f"There is no slider for {', '.join(unknown)}: there are {', '.join(_NAMES)}.")
        self._widget = widget
        self._showing = threading.RLock()  # the worker's news and a click's come from threads of their own
        self._ties: list[tuple[t.HasTraits, Any, str]] = []
        self.sliders: dict[str, Any] = {name: _slider(widget.traits()[name], name) for name in names or _NAMES}
        for name, slider in self.sliders.items():
            self._tie(name, slider)
        self._name = ipywidgets.Combobox(placeholder="name", description="Preset", **_look("24em"))
        use, save, delete = (
            _button("Use", "Set what this preset holds"),
            _button("Save", "Keep the settings as they are now under this name"),
            _button("Delete", "Forget this preset"),
        )
        self._on_click(use, lambda: widget.preset(self._name.value))
        self._on_click(save, lambda: widget.save_preset(self._name.value))
        self._on_click(delete, lambda: widget.delete_preset(self._name.value))
        self._generate = _button("Generate", "Write on from the widget's prompt", button_style="primary")
        self._stop = _button("Stop", "Stop after the current token")
        self._on_click(self._generate, widget.generate)
        self._on_click(self._stop, widget.stop)
        self._status = ipywidgets.HTML()
        recipes = [_button(name.capitalize(), recipe.reason) for name, recipe in RECIPES.items()]
        for made, name in zip(recipes, RECIPES, strict=True):
            self._on_click(made, partial(widget.preset, name))
        self._inputs: list[Any] = [*self.sliders.values(), *recipes, self._name, use, save, delete]
        super().__init__(
            [
                ipywidgets.HBox([self._generate, self._stop, self._status]),
                *self.sliders.values(),
                ipywidgets.HBox(recipes),
                ipywidgets.HBox([self._name, use, save, delete]),
            ]
        )
        self._observe(widget, self._follow, "status")
        self._observe(widget, self._follow, "error")
        self._offer()
        for old in cells.supersede(self):
            old.close()

    def close(self) -> None:
        """Take the sliders away; the widget stays."""
        if hasattr(self, "_ties"):  # a constructor that raised leaves nothing to end
            self._leave()
        parts: list[Any] = [self]
        for part in parts:
            parts.extend(getattr(part, "children", ()))
        # ipywidgets leaves a widget's layout and style behind.
        for one in (getattr(part, name, None) for part in parts for name in ("layout", "style")):
            if isinstance(one, ipywidgets.Widget):
                one.close()
        for part in parts[1:]:
            part.close()
        super().close()

    def _tie(self, name: str, slider: Any) -> None:
        """Keep a slider and its trait alike. Each takes the other's newest value, whichever thread set it."""
        widget = self._widget
        slider.value = getattr(widget, name)

        def show(_change: Any) -> None:
            slider.value = getattr(widget, name)

        def take(_change: Any) -> None:
            setattr(widget, name, slider.value)

        self._observe(widget, show, name)
        self._observe(slider, take, "value")

    def _observe(self, one: t.HasTraits, act: Any, name: str) -> None:
        one.observe(act, name)
        self._ties.append((one, act, name))

    def _leave(self) -> None:
        """Follow the widget no more."""
        ties, self._ties = self._ties, []
        for one, act, name in ties:
            one.unobserve(act, name)

    def _on_click(self, button: ipywidgets.Button, act: Any) -> None:
        def clicked(_button: Any) -> None:
            trouble = ""
            try:
                act()
            except (ValueError, RuntimeError, t.TraitError) as error:
                trouble = str(error)
            self._offer(trouble)

        button.on_click(clicked)

    def _offer(self, trouble: str = "") -> None:
        """Offer the presets as they are now: another notebook may have changed them."""
        try:
            self._name.options = list(self._widget.presets)
        except ValueError as error:
            trouble = trouble or str(error)
        self._show(trouble)

    def _follow(self, _change: Any) -> None:
        self._show("")

    def _show(self, trouble: str) -> None:
        with self._showing:  # whoever comes last shows the newest
            status = self._widget.status
            word = status.partition(":")[0]
            self._generate.disabled = word in ("running", "stopping", "closed")
            self._stop.disabled = word not in ("running", "loading")
            self._status.value = html.escape(trouble or self._widget.error or status)
            if word == "closed":
                for one in self._inputs:
                    one.disabled = True
                self._leave()


def _slider(trait: Any, name: str) -> Any:
    low, high = trait.metadata["range"]
    whole = isinstance(trait, t.Int)
    make: Any = ipywidgets.IntSlider if whole else ipywidgets.FloatSlider
    return make(min=low, max=high, step=1 if whole else 0.01, description=_NAMES[name], **_look("36em"))


def _look(width: str) -> dict[str, Any]:
    return {"style": {"description_width": "12em"}, "layout": {"width": width}}


def _button(word: str, title: str, **style: Any) -> ipywidgets.Button:
    return ipywidgets.Button(description=word, tooltip=title, layout={"width": "auto"}, **style)
