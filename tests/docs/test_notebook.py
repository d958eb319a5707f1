"""The notebook of the documentation runs, and what it shows is what a reader gets."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.docs.blocks import ROOT
from tests.docs.notebook import NOTEBOOK
from tests.docs.reader import in_a_shell

CELLS: list[dict[str, Any]] = json.loads(NOTEBOOK.read_text())["cells"]
CODE = [cell for cell in CELLS if cell["cell_type"] == "code"]


def source(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def test_it_has_been_executed_in_order_without_an_error_and_is_small() -> None:
    assert [cell["execution_count"] for cell in CODE] == list(range(1, len(CODE) + 1))
    outputs = [output for cell in CODE for output in cell["outputs"]]
    assert len(outputs) >= 10 and not any(output["output_type"] == "error" for output in outputs)
    assert NOTEBOOK.stat().st_size < 200_000
    kinds = {kind for output in outputs for kind in output.get("data", {})}
    assert {"text/html", "image/png", "application/vnd.plotly.v1+json"} <= kinds


def test_nothing_of_the_machine_is_in_it() -> None:
    assert not re.search(r"/(tmp|home|root|work)/", NOTEBOOK.read_text())


def test_it_shows_what_the_page_says() -> None:
    page = (ROOT / "docs/first-ablation.md").read_text()
    verdict = re.search(r"verdict: +(.+)", page)
    assert verdict and verdict[1] in json.dumps(CODE[0]["outputs"])


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_its_cells_run_one_after_the_other(folder: Path) -> None:
    """In one process, with short trainings."""
    (folder / "cells.py").write_text("\n".join(map(source, CODE)))
    in_a_shell("python -m tests.docs.shortened cells.py", folder)
