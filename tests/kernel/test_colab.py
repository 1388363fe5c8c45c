"""The Colab notebook as it runs where there is neither Colab nor a network."""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.kernel.front_end import ROOT


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> nbformat.NotebookNode:
    """The notebook without the cells that only Colab can run."""
    for name, value in {"HF_HUB_OFFLINE": "1", "AXON_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}.items():
        monkeypatch.setenv(name, value)
    notebook = nbformat.read(ROOT / "notebooks" / "colab.ipynb", as_version=4)
    nbformat.validate(notebook)
    left_out = [cell.metadata.get("tags") for cell in notebook.cells if cell.metadata.get("tags")]
    assert left_out == [["install"], ["colab"]]
    notebook.cells = [cell for cell in notebook.cells if not cell.metadata.get("tags")]
    return notebook


def test_it_runs_without_its_own_cells(notebook: nbformat.NotebookNode, tmp_path: Path) -> None:
    NotebookClient(notebook, timeout=200, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]
    shown = [output.data for output in outputs if "application/vnd.jupyter.widget-view+json" in output.get("data", {})]
    assert len(shown) == 2  # the widget, and its sliders
    printed = [output.text for output in outputs if output.output_type == "stream"]
    assert any("The capital of France is" in text for text in printed)
    assert os.path.getsize(tmp_path / "axon-run.html") > 500_000
