"""The unbroken study, and the one that was killed in its second trial: each made once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.faults import interrupted


@pytest.fixture(scope="session")
def wanted(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Results of the unbroken study."""
    folder = interrupted.write_study(tmp_path_factory.mktemp("faults") / "unbroken")
    ended = interrupted.follow(interrupted.start(folder))
    assert ended.code == 0, ended.text
    return interrupted.results(folder)


@pytest.fixture(scope="session")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with study.yaml and runs/."""
    return interrupted.make_interrupted(tmp_path_factory.mktemp("faults") / "killed")
