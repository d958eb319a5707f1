"""The unbroken study, and the one that was killed in its second trial: each made once."""

from __future__ import annotations

import shutil
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
def _killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = interrupted.make_interrupted(tmp_path_factory.mktemp("faults") / "killed")
    return folder, interrupted.copy(folder, folder.with_name("saved"))


@pytest.fixture
def killed(_killed: tuple[Path, Path]) -> Path:
    """A folder with study.yaml and runs/, as the kill has left it; always the same, because MLflow notes absolute paths."""
    folder, saved = _killed
    shutil.rmtree(folder)
    return interrupted.copy(saved, folder)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is slow here has a target of its own: `make faults`."""
    for item in items:
        if item.path.parent == Path(__file__).parent and item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.faults)
