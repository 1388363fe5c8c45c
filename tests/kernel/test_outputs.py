"""What a cell's output holds when the notebook is saved: in one that only ran, and where a view lives."""

from __future__ import annotations

import nbformat
from nbclient import NotebookClient

from tests.kernel.front_end import ROOT, FrontEnd

VIEW = "application/vnd.jupyter.widget-view+json"
MADE = """import sys
sys.path.insert(0, {root!r})
from axon_widget import AxonWidget
from tests.kernel.fake_tracer import FakeTracer
w = AxonWidget(tracer=FakeTracer())
w"""


def test_a_notebook_that_only_ran_holds_the_picture_where_the_widget_was_shown_before_the_run() -> None:
    cells = [MADE.format(root=str(ROOT)), "w.generate('x', max_tokens=20)", "_ = w.wait()", "w.close()\nw"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, timeout=120).execute()
    [output] = notebook.cells[0].outputs
    assert VIEW in output.data
    assert output.data["text/html"].count("<tr>") == 21
    assert output.data["image/png"].startswith("iVBORw0KGgo")
    assert not [one for cell in notebook.cells[1:3] for one in cell.outputs]
    [closed] = notebook.cells[3].outputs
    assert VIEW not in closed.data


def test_the_output_of_a_live_view_is_left_alone(kernel: FrontEnd) -> None:
    before = len(kernel.displays)
    # JupyterLab says which cell runs: there, the widget is displayed as ever.
    made = kernel.run("w = AxonWidget(tracer=FakeTracer())\nw", cell="shown")
    assert not made.failed
    assert len(kernel.displays) == before
    # Elsewhere, a view speaks up.
    kernel.run("from IPython.display import display\ndisplay(w)")
    assert VIEW in kernel.displays[-1]
    model = kernel.until(lambda: kernel.models.get(kernel.ask("w.model_id")))
    kernel.send(model, kind="hello")
    kernel.until(lambda: model.of_kind("snapshot"))
    kernel.run("w.generate('x', max_tokens=20)\n_ = w.wait()")
    assert kernel.ask("[len(w.trace), w._outputs._ids]") == [20, []]
    # Shown again after the run, the output holds the picture beside the view.
    kernel.run("display(w)")
    assert {VIEW, "text/html", "image/png", "text/plain"} <= set(kernel.displays[-1])
