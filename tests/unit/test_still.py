"""What a cell's output is given, and how often it is made."""

import uuid

import pytest
from IPython import display
from IPython.core import getipython

from axon_widget import still
from axon_widget.trace import Trace
from axon_widget.widget import AxonWidget
from tests.unit.fakes import FakeTracer


@pytest.fixture
def published(monkeypatch):
    """What was published, in a kernel of a notebook that is only run."""

    class Shell:
        kernel = object()

    monkeypatch.setattr(getipython, "get_ipython", Shell)
    made = []
    monkeypatch.setattr(display, "publish_display_data", lambda *told, **how: made.append((told, how)))
    return made


def test_a_picture_is_drawn_once_for_all_outputs_and_not_for_none(published):
    drawn = []
    outputs = still.Outputs(lambda: drawn.append(1) or ({"text/plain": str(len(drawn))}, {}))
    outputs.refresh(Trace())
    assert (drawn, published) == ([], [])
    for _ in range(3):
        outputs.display()
    shown = {how["transient"]["display_id"] for _, how in published}
    published.clear()
    drawn.clear()
    outputs.refresh(Trace())
    assert [told for told, _ in published] == [({"text/plain": "1"}, {})] * 3
    assert {how["transient"]["display_id"] for _, how in published} == shown
    assert all(how["update"] for _, how in published)


def test_a_view_that_speaks_up_while_the_widget_is_displayed_disturbs_nothing(published, monkeypatch):
    class Cleared(list):
        def append(self, _made):
            """As if a view had spoken up at once."""

    outputs = still.Outputs(lambda: ({}, {}))
    outputs._ids = Cleared()
    monkeypatch.setattr(uuid, "uuid4", lambda: uuid.UUID(int=7))
    outputs.display()
    assert [how["transient"]["display_id"] for _, how in published] == [uuid.UUID(int=7).hex]


def test_only_the_kinds_that_are_asked_for_are_made(monkeypatch):
    widget = AxonWidget(tracer=FakeTracer())
    drawn = []
    monkeypatch.setattr(still, "bundle", lambda *_, **how: drawn.append(how) or dict.fromkeys(still.KINDS, "x"))
    every = {"text/plain", "application/vnd.jupyter.widget-view+json", *still.KINDS}
    assert set(widget._repr_mimebundle_()[0]) == set(widget._repr_mimebundle_(include=None, exclude=None)[0]) == every
    assert set(widget._repr_mimebundle_(include={"text/html", "image/svg+xml"})[0]) == {"text/html"}
    assert set(widget._repr_mimebundle_(exclude={"text/html"})[0]) == every - {"text/html"}
    assert len(drawn) == 4
    assert set(widget._repr_mimebundle_(include=["text/plain"])[0]) == {"text/plain"}
    assert set(widget._repr_mimebundle_(exclude=still.KINDS)[0]) == every - set(still.KINDS)
    assert len(drawn) == 4
    widget.close()
