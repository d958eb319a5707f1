"""The folder of a reader, shared by all tests of the documentation."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.reader import prepare


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the reader works, with the first study, run."""
    found = tmp_path_factory.mktemp("reader")
    prepare(found)
    return found
