"""Kills at random moments: nothing lost, nothing doubled, no number changed."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from mlflow import MlflowClient

from orchestrator.records.definition import recall
from orchestrator.records.folders import StudyFolder
from orchestrator.search.optuna_copy import OptunaCopy
from tests.studies import SNRLAB, small_study, snrlab
from trainables.ema.snapshots import list_snapshots

KILLS = 5


def start(folder: Path, file: str) -> subprocess.Popen[bytes]:
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen([*SNRLAB, "run", file], cwd=folder, start_new_session=True, **silent)


def processes(driver: int, name: str) -> list[psutil.Process]:
    """Descendants of the driver whose command line begins with a name."""
    found = []
    for process in psutil.Process(driver).children(recursive=True):
        try:
            line = process.cmdline()
        except psutil.Error:
            continue
        if line and (line[0].startswith(name) or Path(line[0]).name == name):
            found.append(process)
    return found


def clear(driver: subprocess.Popen[bytes]) -> None:
    """Nothing of a run stays behind, as after a reboot."""
    subprocess.run(["pkill", "-9", "-s", str(driver.pid)], check=False)
    driver.wait(timeout=30)


def outcome(folder: Path, name: str) -> dict[str, Any]:
    """Everything that must not depend on what went wrong on the way."""
    rows = json.loads(snrlab("results", name, "--format", "json", cwd=folder).stdout)
    trials = sorted((folder / "runs" / name / "trials").iterdir())
    return {
        "rows": [{k: v for k, v in row.items() if k != "train_seconds"} for row in rows],
        "weights": {t.name: [(s.images, s.sigma_rel, s.file.checksums) for s in list_snapshots(t / "snapshots")] for t in trials},
    }


def check_records(folder: Path, name: str, trials: int) -> None:
    client = MlflowClient(f"sqlite:///{folder}/runs/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name(name).experiment_id], max_results=1000)
    kinds = [r.data.tags["snrlab.kind"] for r in runs]
    assert {k: kinds.count(k) for k in set(kinds)} == {"study": 1, "trial": trials}
    assert {r.info.status for r in runs} == {"FINISHED"}
    study = StudyFolder(folder / "runs" / name)
    told = OptunaCopy(study, recall(study)).load().get_trials()
    assert [t.number for t in told] == list(range(trials)) and all(t.state.is_finished() for t in told)


@pytest.mark.slow
def test_a_killed_worker_costs_nothing_but_time(finished, tmp_path: Path) -> None:
    folder, _ = finished
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(small_study(compute={"workers": 1})))
    driver = start(tmp_path, "small.yaml")
    first = tmp_path / "runs/small/trials/0000/metrics.jsonl"
    end = time.monotonic() + 90
    while not first.exists() and time.monotonic() < end:
        time.sleep(0.02)
    victims = processes(driver.pid, "ray::RayTrainWorker")
    assert victims, "no worker was found"
    for victim in victims:
        victim.kill()
    assert driver.wait(timeout=200) == 0
    assert outcome(tmp_path, "small") == outcome(folder, "small")
    check_records(tmp_path, "small", 3)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", [0, 1])
def test_five_random_kills_change_nothing(seed: int, tmp_path: Path) -> None:
    search = {"trials": 6, "sampler": {"kind": "tpe", "startup_trials": 2}}
    study = small_study(name="faults", search=search, compute={"workers": 1, "max_failures": 5})
    study["base"] = {**study["base"], "duration": {"images": 1024, "batch_size": 32}}
    for name in ("unbroken", "killed"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "faults.yaml").write_text(yaml.safe_dump(study))
    assert snrlab("run", "faults.yaml", cwd=tmp_path / "unbroken").returncode == 0
    rng, done = random.Random(seed), []
    for _ in range(KILLS):
        driver, how = start(tmp_path / "killed", "faults.yaml"), rng.choice(["driver", "worker", "raylet", "gcs_server", "terminate"])
        try:
            driver.wait(timeout=rng.uniform(5, 40))
        except subprocess.TimeoutExpired:
            if how in ("driver", "terminate"):
                driver.send_signal(signal.SIGKILL if how == "driver" else signal.SIGTERM)
            for victim in processes(driver.pid, "ray::RayTrainWorker" if how == "worker" else how) if driver.poll() is None else []:
                victim.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                driver.wait(timeout=15)  # a lost worker is mended; what survives the loss of Ray itself is cleared away below
        done.append(how)
        clear(driver)
    final = snrlab("run", "faults.yaml", cwd=tmp_path / "killed")
    assert final.returncode == 0, (done, final.stdout, final.stderr)
    assert outcome(tmp_path / "killed", "faults") == outcome(tmp_path / "unbroken", "faults"), done
    check_records(tmp_path / "killed", "faults", 6)
