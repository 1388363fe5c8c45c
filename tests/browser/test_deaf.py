"""A host that drops what comes of no request of its own: the view asks, and shows everything as it is written."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.browser.lab import PATH, Notebook, View

# The last third is written only once the view has shown what was there before.
SLOW = """import threading
more = threading.Event()
def token(n):
    return f" t{n}" if n < 80 or more.wait(60) else ""
w = AxonWidget(tracer=FakeTracer(pace=0.05, token=token), max_tokens=120)
w"""
# Between a request's "busy" and its "idle" the kernel handles it; what names another one as its parent is dropped.
DEAFEN = """() => {
    const {kernel} = jupyterapp.shell.currentWidget.sessionContext.session;
    const handled = new Set(), hear = kernel._handleMessage;
    window.dropped = 0;
    kernel._handleMessage = function (message) {
        const parent = message.parent_header?.msg_id, {msg_type} = message.header;
        if (msg_type === "status") {
            if (message.content.execution_state === "busy") handled.add(parent);
            else handled.delete(parent);
        }
        if (msg_type === "comm_msg" && !handled.has(parent)) {
            window.dropped += 1;
            return Promise.resolve();
        }
        return hear.call(this, message);
    };
    window.hearAgain = () => { kernel._handleMessage = hear; };
}"""


@pytest.fixture
def deaf(bench: Notebook) -> Iterator[View]:
    view = bench.view(SLOW)
    view.status("idle")
    bench.page.evaluate(DEAFEN)
    yield view
    bench.page.evaluate("window.hearAgain()")


def test_a_run_is_shown_live_where_nothing_comes_by_itself(bench: Notebook, deaf: View) -> None:
    view, page = deaf, bench.page
    view.part("generate").click()
    view.tokens(60)
    assert page.evaluate("window.dropped") > 20
    view.until("graph.axon.nodes().length > 15")
    bench.execute("more.set()")
    view.tokens(120)
    view.status("idle")
    assert view.text() == bench.python("w.trace.text")
    assert view.root.evaluate(f"root => {PATH}.length") == 120
