"""Run a notebook without a browser, print what it writes, and leave its files in a folder.

python -m notebooks.run NOTEBOOK FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from tqdm import tqdm

WIDGET = "application/vnd.jupyter.widget-view+json"


def main(source: Path, folder: Path) -> None:
    """Run the cells in order in a kernel whose working directory is the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    notebook = nbformat.read(source, as_version=4)
    client = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}})
    with client.setup_kernel(), tqdm(notebook.cells, desc=source.name, unit="cell", leave=False, disable=None) as cells:
        for index, cell in enumerate(cells):
            client.execute_cell(cell, index)
            for output in cell.get("outputs", []):
                text = output.get("text") or output.get("data", {}).get("text/plain", "")
                if text and WIDGET not in output.get("data", {}):
                    tqdm.write(text.rstrip() + "\n")
    nbformat.write(notebook, folder / source.name)
    page = (folder / source.name).with_suffix(".html").absolute()
    if page.exists():
        tqdm.write(f"The run, as a page that needs no kernel and no network:\n  {page}\nOpen it in a browser.")
    tqdm.write("To write with the model yourself, start JupyterLab:\n  make lab")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
