"""docs/faults.md names every kind of file and only tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

from tests.faults import test_files

TABLE = (Path(__file__).parents[2] / "docs" / "faults.md").read_text()


def test_every_kind_of_file_has_a_line() -> None:
    rows = [line.split("|")[1] for line in TABLE.splitlines() if line.startswith("|")]
    assert {name.strip() for row in rows for name in row.split(",")} >= test_files.KINDS.keys()


def test_the_tests_that_it_names_exist() -> None:
    named = re.findall(r"`(test_\w+\.py)::(test_\w+)", TABLE)
    assert len(named) > 10
    for file, test in named:
        assert f"def {test}(" in (Path(__file__).parent / file).read_text(), f"{file}::{test}"
