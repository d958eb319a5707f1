"""Many drivers at once on one machine, in a folder that nobody has used before."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml
from mlflow import MlflowClient

from tests.studies import SNRLAB, small_study


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_twenty_studies_that_start_at_once_in_a_fresh_folder_all_end_well(tmp_path: Path) -> None:
    names = [f"study-{i:02d}" for i in range(20)]
    for name in names:
        study = small_study(name=name, search={"trials": 1, "sampler": "random"})
        study["base"] = {**study["base"], "seed": int(name[-2:])}
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(study))
    started = [
        subprocess.Popen([*SNRLAB, "run", f"{name}.yaml"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for name in names
    ]
    ended = [(driver.communicate()[0], driver.returncode) for driver in started]
    assert [code for _, code in ended] == [0] * 20, next(text for text, code in ended if code)
    client = MlflowClient(f"sqlite:///{tmp_path}/runs/mlflow.db")
    for name in names:
        found = client.search_runs([client.get_experiment_by_name(name).experiment_id], "tags.`snrlab.kind` = 'trial'")
        assert [run.info.status for run in found] == ["FINISHED"]
