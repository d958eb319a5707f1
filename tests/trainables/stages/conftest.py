"""A finished step-adaptive training, for everything that only reads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.trainables.stages.recipes import stepwise
from trainables.stages.run import train_stages


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """Its folder; the recipe is `stepwise()`."""
    folder = tmp_path_factory.mktemp("whole")
    reports = list(train_stages(stepwise(), folder, cache))
    assert [p.images for p in reports] == [128, 256, 384, 512] and [p.done for p in reports] == [False, False, False, True]
    return folder
