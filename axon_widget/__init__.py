"""See what a language model is doing inside, token by token.

``AxonWidget`` is the notebook widget, ``Tracer`` the engine behind it, ``Trace`` the record they write and
``available_saes`` the catalog; ``check`` tries whether a model does as it should. Names load on first use, so that
``import axon_widget`` costs no torch.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from axon_widget.catalog import available_saes
    from axon_widget.checks import check
    from axon_widget.engine.sampling import Sampling
    from axon_widget.engine.tracer import Tracer
    from axon_widget.graph import Graph
    from axon_widget.labels import Labels
    from axon_widget.labels.neuronpedia import NeuronpediaLabels
    from axon_widget.trace import Feature, TokenStep, Trace
    from axon_widget.widget import AxonWidget

try:
    __version__ = version("axon-widget")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"

__all__ = [
    "AxonWidget",
    "Feature",
    "Graph",
    "Labels",
    "NeuronpediaLabels",
    "Sampling",
    "TokenStep",
    "Trace",
    "Tracer",
    "available_saes",
    "check",
]

_HOME = {
    "AxonWidget": "axon_widget.widget",
    "Feature": "axon_widget.trace",
    "Graph": "axon_widget.graph",
    "Labels": "axon_widget.labels",
    "NeuronpediaLabels": "axon_widget.labels.neuronpedia",
    "Sampling": "axon_widget.engine.sampling",
    "TokenStep": "axon_widget.trace",
    "Trace": "axon_widget.trace",
    "Tracer": "axon_widget.engine.tracer",
    "available_saes": "axon_widget.catalog",
    "check": "axon_widget.checks",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'axon_widget' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
