"""The quickstart as a reader without a browser runs it."""

from __future__ import annotations

import json
from pathlib import Path

from tests.kernel.front_end import run_notebook


def test_quickstart_runs_prints_and_leaves_its_files(tmp_path: Path) -> None:
    printed, cells = run_notebook("quickstart.ipynb", tmp_path)
    assert "Once upon a time, there was a little" in printed
    assert "L0 = " in printed
    assert "make lab" in printed
    assert str(tmp_path / "quickstart.html") in printed

    page = (tmp_path / "quickstart.html").read_text()
    assert 'id="axon-bundle"' in page
    trace = json.loads((tmp_path / "quickstart.json").read_text())
    assert trace["version"] == 2

    # The widget's own output can be shown by a viewer that knows no widgets.
    shown = next(output for cell in cells for output in cell.outputs)
    assert "application/vnd.jupyter.widget-view+json" in shown.data
