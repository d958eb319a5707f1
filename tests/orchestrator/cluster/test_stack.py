"""PostgreSQL, an MLflow server, a Ray head with its job server and a second node, started by the script that users are given."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.request import urlopen

import pytest
import yaml
from mlflow import MlflowClient

from orchestrator.records.definition import recall
from orchestrator.records.folders import StudyFolder
from orchestrator.search.optuna_copy import OptunaCopy
from tests.studies import SNRLAB, small_study, snrlab

SCRIPT = Path(__file__).parents[3] / "docs/cluster/stack.sh"

pytestmark = [
    pytest.mark.slow, pytest.mark.timeout(900),
    pytest.mark.skipif(not list(Path("/usr/lib").glob("postgresql/*/bin/initdb")), reason="needs the Debian package postgresql"),
]


WITH_JOBS = find_spec("opencensus") is not None  # of ray[default], the extra `cluster`


@dataclass(frozen=True)
class Stack:
    """A running stack, and what its `stack.env` says."""

    script: Callable[[str], None]
    environment: dict[str, str]

    @property
    def options(self) -> list[str]:
        return self.environment["SNRLAB_STACK"].split()

    @property
    def tracking(self) -> str:
        return self.options[self.options.index("--tracking-uri") + 1]


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    folder = Path("/tmp") / f"snrlab-stack-{os.getpid()}"  # sockets have short names
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}

    def script(action: str) -> None:
        subprocess.run([str(SCRIPT), action, str(folder)], env=environment, check=True, timeout=240)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "token")  # as stack.env says
        try:
            script("start")
            lines = [line.removeprefix("export ").split("=", 1) for line in (folder / "stack.env").read_text().splitlines()]
            said = {name: value.strip('"') for name, value in lines}
            for name, value in said.items():
                patch.setenv(name, value)
            yield Stack(script, said)
        finally:
            script("stop")
            shutil.rmtree(folder, ignore_errors=True)


def scores(*options: str, cwd: Path, name: str = "small") -> list[float]:
    return [row["fd_probe"] for row in json.loads(snrlab("results", name, "--format", "json", *options, cwd=cwd).stdout)]


def check_runs(tracking: str, name: str) -> None:
    client = MlflowClient(tracking)
    runs = client.search_runs([client.get_experiment_by_name(name).experiment_id], max_results=100)
    assert len(runs) == 1 + 3 and {r.info.status for r in runs} == {"FINISHED"}


def test_a_study_catches_up_with_a_server_that_was_away_and_keeps_its_search_in_postgresql(finished, stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(small_study(compute={"workers": 1})))
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    driver = subprocess.Popen([*SNRLAB, "run", "small.yaml", *stack.options], cwd=tmp_path, **pipes)
    trials = tmp_path / "runs/small/trials"
    end = time.monotonic() + 120
    while not (trials / "0000/metrics.jsonl").exists() and time.monotonic() < end:
        time.sleep(0.05)
    stack.script("mlflow-stop")
    exported = ""
    while not (trials / "0002/sweep.json").exists() and time.monotonic() < end:  # the study goes on to its end without the server
        if WITH_JOBS:
            exported += urlopen(stack.environment["SNRLAB_STACK_METRICS"], timeout=10).read().decode()
        time.sleep(0.5)
    assert (trials / "0002/sweep.json").exists()
    assert not WITH_JOBS or ("ray_snrlab_trials{" in exported and 'study="small"' in exported)
    stack.script("mlflow-start")
    out, errors = driver.communicate(timeout=240)
    assert driver.returncode == 0, out + errors
    assert scores("--tracking-uri", stack.tracking, cwd=tmp_path) == scores(cwd=finished[0])
    check_runs(stack.tracking, "small")
    folder = StudyFolder(tmp_path / "runs/small")
    state = OptunaCopy(folder, recall(folder), stack.environment["SNRLAB_SEARCH_STORAGE"])
    assert [t.number for t in state.load().get_trials() if t.state.is_finished()] == [0, 1, 2] and not folder.journal.exists()
    elsewhere = subprocess.run([*SNRLAB, "run", "small.yaml", "--search-storage", "", *stack.options], cwd=tmp_path, **pipes)
    assert elsewhere.returncode == 0 and "complete already" in elsewhere.stdout, elsewhere.stderr  # the database is a copy of the log
    assert [t.number for t in OptunaCopy(folder, recall(folder)).load().get_trials()] == [0, 1, 2]


@pytest.mark.skipif(not WITH_JOBS, reason="needs the extra `cluster`")
def test_a_submitted_study_runs_to_its_end(finished, stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(small_study(name="submitted")))
    address = stack.environment["SNRLAB_STACK_JOBS"]
    job = snrlab("submit", "small.yaml", "--address", address, "--workdir", str(tmp_path / "runs"), "--tracking-uri", stack.tracking,
                 "--set", "description=from afar", cwd=tmp_path)
    assert job.returncode == 0 and "submitted as raysubmit_" in job.stdout, job.stderr
    name = job.stdout.split()[2].rstrip(";")
    logs = subprocess.run([Path(sys.executable).parent / "ray", "job", "logs", name, "--address", address, "--follow"],
                          capture_output=True, text=True, timeout=300)
    assert f"Job '{name}' succeeded" in logs.stdout + logs.stderr, logs.stdout + logs.stderr
    check_runs(stack.tracking, "submitted")
    assert scores("--tracking-uri", stack.tracking, cwd=tmp_path, name="submitted") == scores(cwd=finished[0])


def test_a_job_server_that_is_not_there_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(small_study()))
    refused = snrlab("submit", "small.yaml", "--address", "http://127.0.0.1:1", "--workdir", "/x", cwd=tmp_path)
    assert refused.returncode == 2 and "127.0.0.1:1" in refused.stderr and "Traceback" not in refused.stderr
