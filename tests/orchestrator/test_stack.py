"""PostgreSQL, an MLflow server, a Ray head and a second node, started by the script that users are given."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from mlflow import MlflowClient

from tests.studies import SNRLAB, small_study, snrlab

SCRIPT = Path(__file__).parent.parent.parent / "docs/cluster/stack.sh"

pytestmark = [
    pytest.mark.slow, pytest.mark.timeout(900),
    pytest.mark.skipif(not list(Path("/usr/lib").glob("postgresql/*/bin/initdb")), reason="needs the Debian package postgresql"),
]


@pytest.fixture
def stack(tmp_path: Path):
    """(run the script, options for snrlab)"""
    folder = Path("/tmp") / f"snrlab-stack-{os.getpid()}"  # sockets have short names
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}

    def script(action: str) -> None:
        subprocess.run([str(SCRIPT), action, str(folder)], env=environment, check=True, timeout=240)

    os.environ["RAY_AUTH_MODE"] = "token"  # as stack.env says
    try:
        script("start")
        text = (folder / "stack.env").read_text()
        yield script, text.split('"')[1].split()
    finally:
        script("stop")
        del os.environ["RAY_AUTH_MODE"]
        shutil.rmtree(folder, ignore_errors=True)


def test_tracking_catches_up_with_a_server_that_was_away(finished, stack, tmp_path: Path) -> None:
    script, options = stack
    tracking = options[options.index("--tracking-uri") + 1]
    study = small_study(name="small", compute={"workers": 1})
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(study))
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    driver = subprocess.Popen([*SNRLAB, "run", "small.yaml", *options], cwd=tmp_path, **pipes)
    trials = tmp_path / "runs/small/trials"
    end = time.monotonic() + 120
    while not (trials / "0000/metrics.jsonl").exists() and time.monotonic() < end:
        time.sleep(0.05)
    script("mlflow-stop")
    while not (trials / "0002/sweep.json").exists() and time.monotonic() < end:  # the study goes on to its end without the server
        time.sleep(0.1)
    assert (trials / "0002/sweep.json").exists()
    script("mlflow-start")
    out, errors = driver.communicate(timeout=240)
    assert driver.returncode == 0, out + errors
    results = ("results", "small", "--format", "json")
    theirs = json.loads(snrlab(*results, cwd=finished[0]).stdout)
    ours = json.loads(snrlab(*results, "--tracking-uri", tracking, cwd=tmp_path).stdout)
    assert [r["fd_probe"] for r in ours] == [r["fd_probe"] for r in theirs]
    client = MlflowClient(tracking)
    runs = client.search_runs([client.get_experiment_by_name("small").experiment_id], max_results=100)
    assert len(runs) == 1 + 3 + 6 and {r.info.status for r in runs} == {"FINISHED"}
