"""Importing the package costs next to nothing, and every name it promises is there."""

import statistics
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import axon_widget

ROOT = Path(__file__).parents[2]

MEASURE = """
import sys, time
start = time.process_time()
import axon_widget
took = time.process_time() - start
heavy = {"torch", "transformers", "sae_lens", "transformer_lens", "scipy", "pandas", "anywidget", "matplotlib"}
heavy &= set(sys.modules)
assert not heavy, heavy
print(took)
"""


def test_importing_is_quick_and_brings_no_torch():
    took = [
        float(subprocess.run([sys.executable, "-c", MEASURE], cwd=ROOT, capture_output=True, check=True).stdout)
        for _ in range(3)
    ]
    assert statistics.median(took) < 0.3


@pytest.mark.parametrize("name", axon_widget.__all__)
def test_every_public_name_is_there(name):
    found = getattr(axon_widget, name)
    assert found.__name__ == name
    assert found is getattr(import_module(found.__module__), name)
    assert found.__doc__
    assert name in dir(axon_widget)


def test_the_widget_comes_without_torch():
    script = (
        "import sys; from axon_widget import AxonWidget, Trace, Feature; "
        "assert not {'torch', 'matplotlib', 'networkx'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = axon_widget.nonsense
