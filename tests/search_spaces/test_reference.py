"""The reference page is written from the classes and is up to date."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from search_spaces.reference import PAGE, SCHEMA, reference
from search_spaces.schema import schema


def test_reference_page_is_up_to_date() -> None:
    assert PAGE.read_text() == reference(), "run: python -m search_spaces.reference"
    assert json.loads(SCHEMA.read_text()) == schema(), "run: python -m search_spaces.reference"


def test_the_page_is_written_where_it_belongs_or_where_told(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "search_spaces.reference", str(tmp_path / "page.md")], check=True)
    assert (tmp_path / "page.md").read_text() == reference()
    assert Path(__file__).parents[2] / "docs/reference.md" == PAGE
