"""What many tests share: golden values, a tiny real recipe, folders."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.object_storage import bucket, server  # noqa: F401 - fixtures

# Tiny networks gain nothing from threads, and on a busy machine threads that wait for each other cost a factor of 20.
os.environ.setdefault("OMP_NUM_THREADS", "1")

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="session")
def golden_edm2() -> Any:
    return json.loads((GOLDEN / "edm2.json").read_text())


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Feature networks, trained once per session."""
    return tmp_path_factory.mktemp("cache")


def tiny_fields(**changes: Any) -> dict[str, Any]:
    """A recipe that trains real digits in about a second."""
    fields = {
        "network": {"kind": "edm2", "channels": 4, "mult": [1, 2], "blocks": 1, "attention": [4], "channels_per_head": 8},
        "duration": {"images": 256, "batch_size": 32},
        "ema": {"snapshot_every": 64},
        "evaluation": {
            "features": {"kind": "probe", "dim": 16, "steps": 20}, "sampler": {"kind": "heun", "num_steps": 3},
            "samples": 64, "interim_samples": 32, "every": 128,
        },
    }
    return {**fields, **changes}


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A folder in which the small study has been run by the command line, with a warm group of one Train worker."""
    from tests.studies import small_study, snrlab

    folder = tmp_path_factory.mktemp("finished")
    (folder / "small.yaml").write_text(yaml.safe_dump(small_study(compute={"workers": 1})))
    return folder, snrlab("run", "small.yaml", cwd=folder)
