"""Hosts other than JupyterLab, each with one document in it that shows the widget."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import nbformat

from tests.browser.lab import free_port, served

SHOWN = """
from axon_widget import AxonWidget
w = AxonWidget(model="embedded", max_tokens=30, seed=7)
w
"""
MARIMO = """
import marimo

app = marimo.App()


@app.cell
def _():
    import marimo as mo
    from axon_widget import AxonWidget

    w = AxonWidget(model="embedded", max_tokens=30, seed=7)
    mo.ui.anywidget(w)
    return


if __name__ == "__main__":
    app.run()
"""


@dataclass(frozen=True)
class Host:
    """What starts a host and what it asks other hosts for.

    Parameters
    ----------
    command
        Its command line; "{port}" and "{document}" stand for these.
    document
        The document's file name.
    path
        The document's place in the host.
    run
        The button that runs its cell, as it is once a kernel is there to do so, where that is not done at once: a press
        before is lost.
    strangers
        The beginnings of the addresses elsewhere that it asks for by itself.
    """

    command: tuple[str, ...]
    document: str = "shown.ipynb"
    path: str = "/"
    run: str | None = None
    strangers: tuple[str, ...] = ()


HOSTS = {
    "notebook": Host(
        (
            *("notebook", "--allow-root", "--no-browser", "--ServerApp.ip=127.0.0.1", "--ServerApp.port={port}"),
            *("--ServerApp.port_retries=0", "--IdentityProvider.token="),
        ),
        path="/notebooks/shown.ipynb",
        # Beside its menus it says what the kernel is about; then it says nothing.
        run="body:has(.jp-NotebookKernelStatus-fade:empty) [data-command='notebook:run-cell-and-select-next']",
    ),
    "voila": Host(
        ("voila", "{document}", "--no-browser", "--Voila.ip=127.0.0.1", "--port={port}"),
        strangers=("https://cdn.jsdelivr.net/npm/@fortawesome/",),
    ),
    "marimo edit": Host(
        (
            *("marimo", "edit", "{document}", "--headless", "--no-token", "--skip-update-check"),
            *("--host=127.0.0.1", "--port={port}"),
        ),
        document="shown.py",
        run="[data-testid=run-button].mo-button.yellow",  # yellow where there is something to run
    ),
    "marimo run": Host(
        ("marimo", "run", "{document}", "--headless", "--no-token", "--host=127.0.0.1", "--port={port}"),
        document="shown.py",
    ),
}


@contextmanager
def serve(host: Host, folder: Path) -> Iterator[str]:
    """Start a host on a free port, with none of the user's own configuration; give the document's address."""
    port = free_port()
    document = folder / host.document
    if document.suffix == ".py":
        document.write_text(MARIMO)
    else:
        python = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        cells = [nbformat.v4.new_code_cell(SHOWN)]
        nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=python), document)
    command = [part.format(port=port, document=document) for part in host.command]
    with served(command, folder, lambda: _answers(port), cwd=folder):
        yield f"http://127.0.0.1:{port}{host.path}"


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
