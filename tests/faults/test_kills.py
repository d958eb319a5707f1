"""Kills at random moments: nothing lost, nothing doubled, no number changed."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from functools import cache
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

TIMES = ("train_seconds", "provenance", "cannot_be_reproduced_from_commit")  # of this run, and the code that may change meanwhile


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
        "rows": [{k: v for k, v in row.items() if k not in TIMES} for row in rows],
        "weights": {t.name: [(s.images, s.sigma_rel, s.file.checksums) for s in list_snapshots(t / "snapshots")] for t in trials},
    }


def check_records(folder: Path, name: str, trials: int) -> None:
    client = MlflowClient(f"sqlite:///{folder}/runs/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name(name).experiment_id], max_results=1000)
    kinds = [r.data.tags["snrlab.kind"] for r in runs]
    assert {k: kinds.count(k) for k in set(kinds)} == {"study": 1, "trial": trials}
    ended = {"completed": "FINISHED", "stopped": "KILLED"}
    assert all(r.info.status == ended.get(r.data.tags.get("snrlab.status", "completed")) for r in runs)
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


RULES = {
    "asha": {"kind": "asha", "grace_images": 128, "reduction_factor": 1.5},
    "hyperband": {"kind": "hyperband", "grace_images": 128, "reduction_factor": 1.5, "brackets": 2},
    "median": {"kind": "median", "grace_images": 256, "min_trials": 1},
}


# Three at a time, the last three are compared with the first three alone: all of them are worse here, so that some are stopped.
POINTS = [{"weighting.gamma": 5.0, "optimiser.lr": lr} for lr in (0.02, 0.03, 0.025, 0.0005, 0.0006, 0.0007)]


def stopping_study(rule: str, at_once: int, order: str = "reproducible", workers: int = 0) -> dict[str, Any]:
    """Six trials of eight reports, some of which are stopped early."""
    search = {"trials": 6, "sampler": {"kind": "tpe", "startup_trials": 2}, "early_stopping": RULES[rule], "order": order}
    if at_once > 1 and rule != "asha":
        search["points"] = POINTS
    study = small_study(name="killed", search=search, compute={"workers": workers, "concurrent_trials": at_once, "max_failures": 5})
    study["base"] = {**study["base"], "duration": {"images": 1024, "batch_size": 32}}
    study["space"] = {"weighting.gamma": "auto", "optimiser.lr": {"low": 0.0005, "high": 0.1, "log": True}}
    return study


def kill_on_the_way(folder: Path, file: str, rng: random.Random, kills: int, longest: float) -> list[str]:
    """Start a study and break it off, again and again; what was killed."""
    done = []
    for _ in range(kills):
        driver, how = start(folder, file), rng.choice(["driver", "driver", "worker", "raylet", "gcs_server", "terminate"])
        try:
            driver.wait(timeout=rng.uniform(5, longest))
        except subprocess.TimeoutExpired:
            if how in ("driver", "terminate"):
                driver.send_signal(signal.SIGKILL if how == "driver" else signal.SIGTERM)
            for victim in processes(driver.pid, "ray::RayTrainWorker" if how == "worker" else how) if driver.poll() is None else []:
                victim.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                driver.wait(timeout=15)  # a lost worker is mended; what survives the loss of Ray itself is cleared away below
        done.append(how)
        clear(driver)
    return done


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """The folder of a study that ran without a kill; each study runs once."""

    @cache
    def run(rule: str, at_once: int, workers: int) -> Path:
        folder = tmp_path_factory.mktemp("unbroken")
        (folder / "study.yaml").write_text(yaml.safe_dump(stopping_study(rule, at_once, workers=workers)))
        assert snrlab("run", "study.yaml", cwd=folder, timeout=500).returncode == 0
        return folder

    return run


def run_with_kills(study: dict[str, Any], folder: Path, seed: int, kills: int = 3, longest: float = 25) -> None:
    (folder / "study.yaml").write_text(yaml.safe_dump(study))
    done = kill_on_the_way(folder, "study.yaml", random.Random(seed), kills, longest)
    final = snrlab("run", "study.yaml", cwd=folder, timeout=500)
    assert final.returncode == 0, (done, final.stdout, final.stderr)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", range(int(os.environ.get("SNRLAB_KILL_RUNS", "4"))))
def test_kills_at_random_moments_change_nothing(seed: int, unbroken: Callable[..., Path], tmp_path: Path) -> None:
    workers = int(seed % 4 == 0)
    run_with_kills(stopping_study("asha", 1, workers=workers), tmp_path, seed, longest=45 if workers else 25)
    assert outcome(tmp_path, "killed") == outcome(unbroken("asha", 1, workers), "killed")
    check_records(tmp_path, "killed", 6)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("at_once", [1, 3])
@pytest.mark.parametrize("rule", RULES)
def test_a_killed_search_takes_the_decisions_of_an_unbroken_one(rule: str, at_once: int, unbroken: Callable[..., Path],
                                                                tmp_path: Path) -> None:
    run_with_kills(stopping_study(rule, at_once), tmp_path, at_once)
    found = outcome(tmp_path, "killed")
    assert found == outcome(unbroken(rule, at_once, 0), "killed")
    assert {row["status"] for row in found["rows"]} == {"completed", "stopped"}
    for folder in (unbroken(rule, at_once, 0), tmp_path):
        assert "the same again" in snrlab("replay", "killed", cwd=folder).stdout


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_killed_search_in_asynchronous_order_can_be_replayed(tmp_path: Path) -> None:
    run_with_kills(stopping_study("asha", 3, "asynchronous"), tmp_path, 5)
    replayed = snrlab("replay", "killed", cwd=tmp_path)
    assert replayed.returncode == 0 and "6 proposals" in replayed.stdout and "the same again" in replayed.stdout
    check_records(tmp_path, "killed", 6)


CHAIN = {"ablate": {"around": "best", "seeds": 2}, "confirm": {"top": 1, "seeds": 2}}


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("search", "chain", "kills"), [({"trials": 3, "seeds": 2}, None, (1, 4)), ({"trials": 2}, CHAIN, (1, 4, 9))])
def test_seeds_and_chains_that_are_killed_equal_the_unbroken_ones(search: dict, chain: dict | None, kills: tuple, tmp_path: Path) -> None:
    """Nothing is trained twice, every proposal and stage has the same seeds, and the log can be replayed."""
    study = small_study(name="killed", search={**search, "sampler": {"kind": "tpe", "startup_trials": 1}}, chain=chain)
    for folder in (tmp_path / "unbroken", tmp_path / "killed"):
        folder.mkdir()
        (folder / "study.yaml").write_text(yaml.safe_dump(study))
    assert snrlab("run", "study.yaml", cwd=tmp_path / "unbroken", timeout=500).returncode == 0
    for number in kills:  # while this trial is being trained
        driver = start(tmp_path / "killed", "study.yaml")
        begun = tmp_path / f"killed/runs/killed/trials/{number:04d}/trial.json"
        end = time.monotonic() + 240
        while not begun.exists() and time.monotonic() < end:
            time.sleep(0.02)
        assert begun.exists()
        clear(driver)
    final = snrlab("run", "study.yaml", cwd=tmp_path / "killed", timeout=500)
    assert final.returncode == 0
    assert outcome(tmp_path / "killed", "killed") == outcome(tmp_path / "unbroken", "killed")
    replayed = snrlab("replay", "killed", cwd=tmp_path / "killed")
    assert replayed.returncode == 0, replayed.stdout
    rows = json.loads(snrlab("results", "killed", "--by", "variant", "--format", "json", cwd=tmp_path / "killed").stdout)
    page = (tmp_path / "killed/runs/killed/report/index.html").read_text()
    if chain:
        assert [row["stage"] for row in rows] == ["search"] * 2 + ["ablate"] * 3 + ["confirm"] * 2 and rows[-1]["search"] is not None
        assert "confirm:" in final.stdout and page.index("Confirmed on seeds") < page.index("Ablation around")
        shown = snrlab("status", "killed", cwd=tmp_path / "killed").stdout
        assert "confirm: 4 of 4" in " ".join(shown.split())
    else:
        assert [row["seeds"] for row in rows] == [2, 2, 2] and "mean of 2 seeds" in page


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_race_that_is_killed_spares_the_same_seeds_and_ends_with_the_same_verdicts(tmp_path: Path) -> None:
    """Kills before, at and after the looks; what is worse beyond doubt gets no further seeds, the rest gets all."""
    variants = {"x0": {"target": "x0"}, "near": {"optimiser.lr": 0.021}}
    design = {"variants": {"base": {}, **variants}, "baseline": "base", "seeds": 5, "looks": [3, 4]}
    study = small_study(name="killed", design=design)
    del study["space"], study["search"]
    study["base"] = {**study["base"], "optimiser": {"lr": 0.02}}
    found = []
    for folder, kills in ((tmp_path / "unbroken", ()), (tmp_path / "killed", (1, 8, 9, 10))):
        folder.mkdir()
        (folder / "study.yaml").write_text(yaml.safe_dump(study))
        for number in kills:  # just when its training begins
            driver = start(folder, "study.yaml")
            begun, end = folder / f"runs/killed/trials/{number:04d}/trial.json", time.monotonic() + 240
            while not begun.exists() and time.monotonic() < end:
                time.sleep(0.02)
            assert begun.exists()
            clear(driver)
        final = snrlab("run", "study.yaml", cwd=folder, timeout=500)
        assert final.returncode == 0, (final.stdout, final.stderr)
        replayed = snrlab("replay", "killed", cwd=folder)
        assert replayed.returncode == 0 and "the same again" in replayed.stdout
        rows = json.loads(snrlab("results", "killed", "--by", "variant", "--format", "json", cwd=folder).stdout)
        found.append(([{k: v for k, v in row.items() if k not in TIMES} for row in rows], outcome(folder, "killed")))
    assert found[0] == found[1]
    seeds = {row["variant"]: row["seeds"] for row in found[0][0]}
    assert seeds == {"base": 5, "x0": 3, "near": 5}
    assert {row["variant"]: row["verdict"] for row in found[0][0]}["x0"] == "worse"
