"""Reuse and early stopping together: what one study has trained gives another the same results as training would."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.faults.test_kills import RULES
from tests.studies import small_study, snrlab

STOPPED_BY = {"first": {"kind": "none"}, "second": RULES["asha"]}


def write(folder: Path, name: str) -> str:
    search = {"trials": 5, "sampler": "random", "early_stopping": STOPPED_BY[name]}
    study = small_study(name=name, search=search)
    study["base"] = {**study["base"], "duration": {"images": 1024, "batch_size": 32}}
    study["space"] = {"weighting.gamma": "auto", "optimiser.lr": {"low": 0.0005, "high": 0.1, "log": True}}
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(study))
    return f"{name}.yaml"


def rows(folder: Path, name: str) -> list[dict[str, Any]]:
    found = json.loads(snrlab("results", name, "--format", "json", cwd=folder).stdout)
    return [{k: row[k] for k in ("trial", "status", "images", "fd_probe", "sigma_rel", "recipe_key")} for row in found]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_early_stopping_decides_on_reused_training_as_on_its_own(tmp_path: Path) -> None:
    assert snrlab("run", write(tmp_path, "first"), cwd=tmp_path).returncode == 0
    reusing = snrlab("run", write(tmp_path, "second"), cwd=tmp_path)
    assert reusing.returncode == 0, reusing.stdout + reusing.stderr
    assert "1024 images are reused: trained in study first, trial 0" in reusing.stdout
    alone = tmp_path / "alone"
    alone.mkdir()
    trained = snrlab("run", write(alone, "second"), "--no-reuse", cwd=alone)
    assert trained.returncode == 0 and "reused" not in trained.stdout
    assert rows(tmp_path, "second") == rows(alone, "second")
    assert {row["status"] for row in rows(alone, "second")} == {"completed", "stopped"}
    assert "trained in study first" in (tmp_path / "runs/second/report/index.html").read_text()
