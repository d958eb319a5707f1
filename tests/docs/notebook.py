"""Executes the notebook of the documentation as its reader would and keeps what it shows.

    python -m tests.docs.notebook FOLDER      in which first.yaml lies, and runs/ where it has been run
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.docs.blocks import ROOT, blocks_of

NOTEBOOK = ROOT / "docs/notebook/first_study.ipynb"


def execute(folder: Path) -> str:
    """The notebook with fresh outputs, as JSON, but for notices on standard error; an error in a cell is raised."""
    import nbformat
    from nbclient import NotebookClient

    os.environ["PLOTLY_RENDERER"] = "plotly_mimetype"  # the figure's data alone: the page's script would be 4 MB
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=1200, resources={"metadata": {"path": str(folder)}}).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times, which differ each time
        if cell.cell_type == "code":
            shown = [output for output in cell.outputs if output.get("name") != "stderr"]
            cell.outputs = [output for output in shown if output.get("data", {}).get("text/html") != ""]
    notebook.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
                         "language_info": {"name": "python"}}
    return str(nbformat.writes(notebook)) + "\n"


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    for block in blocks_of(ROOT / "docs/first-ablation.md"):
        if block.file:
            (folder / block.file).write_text(block.text)
    NOTEBOOK.write_text(execute(folder))
