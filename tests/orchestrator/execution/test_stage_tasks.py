"""Tasks that train along with a step-adaptive trial, on real Ray: the numbers are those of a trial that trains alone."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import ray

from orchestrator.cluster.ray_cluster import prepare_environment
from orchestrator.execution.stage_tasks import StageTasks
from orchestrator.records import events
from orchestrator.records.stage_store import StageStore, reused
from orchestrator.records.store import Store
from search_spaces.study import Compute
from tests.trainables.stages.recipes import stepwise
from trainables.ema.snapshots import list_snapshots
from trainables.stages import recovery
from trainables.stages.run import train_stages
from trainables.stages.stage import Stage, read_plan
from trainables.training import checkpoint, metrics_log

PROXY = {"rounds": 1, "per_round": 2, "recovery_images": 64}
PRUNING = {"multiple": 1, "images": 32, "allocation": "proxy", "proxy": PROXY}
RECIPE = stepwise({"groups": 3, "fine_tune": {"share": 1.5}, "pruning": PRUNING})


@pytest.fixture(scope="module", autouse=True)
def _cluster() -> Iterator[None]:
    prepare_environment()
    ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False, object_store_memory=80 << 20)
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """A training by one process, without a store."""
    folder = tmp_path_factory.mktemp("alone")
    list(train_stages(RECIPE, folder, cache))
    return folder


class Patient(StageStore):
    """Goes on when a task has begun the last of the stages that were offered, and has come so far [images]."""

    enough = 0
    killed = False

    def offer(self, stages: Sequence[Stage]) -> None:
        super().offer(stages)
        end = time.monotonic() + 60
        while not (reached(stages[-1]) and checkpoint.images(stages[-1].folder) >= self.enough):
            assert time.monotonic() < end
            time.sleep(0.01)
        if self.killed:
            for process in psutil.Process().children(recursive=True):
                if process.cmdline()[:1] == ["ray::train_stage"]:
                    os.kill(process.pid, signal.SIGKILL)


def reached(stage: Stage) -> bool:
    return any(f"stage={stage.name}" in line and "along" in line for line in events.lines(stage.folder.parent))


def train_along(folder: Path, cache: Path, store: Path, kind: type[StageStore] = StageStore) -> list[Any]:
    trial = folder / "study" / "trials" / "0000"
    with closing(StageTasks(Compute(workers=0), trial, cache, str(store), _at_work)) as tasks:
        return list(train_stages(RECIPE, trial, cache, store=kind(str(store), trial, tasks)))


def _at_work() -> None:
    """Nobody listens."""


def outcome(folder: Path) -> dict[str, Any]:
    plan = read_plan(folder)
    assert plan
    stages = ["base", *(expert.name for expert in plan.experts)]
    return {
        "weights": {stage: np.concatenate([s.file.read().numpy() for s in list_snapshots(folder / stage / "snapshots")]).tobytes()
                    for stage in stages},
        "scores": [(row["images"], row["interim_fd_probe"]) for row in metrics_log.read(folder)],
        "widths": [dict(expert.recipe.network.widths) for expert in plan.experts],
    }


@pytest.mark.parametrize("killed", [False, True], ids=["tasks live", "the task is killed"])
def test_what_tasks_train_is_what_the_trial_alone_would_have(killed: bool, alone: Path, cache: Path, tmp_path: Path) -> None:
    Patient.killed = killed
    said = train_along(tmp_path, cache, tmp_path / "store", Patient)
    trial = tmp_path / "study" / "trials" / "0000"
    assert outcome(trial) == outcome(alone)
    assert not any(progress.recalled for progress in said) and said[-1].done  # trained now, and for this trial
    assert not any(reused(trial / stage) for stage in ("base", "group-1", "group-2", "group-3"))
    assert not any((trial / "candidates").glob("*"))


def test_what_is_known_of_candidates_is_not_computed_again(
    alone: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store"
    train_along(tmp_path / "first", cache, store)
    losses = list((store / "losses").glob("*.json"))
    assert losses
    monkeypatch.setattr(recovery, "recovered_loss", lambda *_: pytest.fail("a candidate was trained again"))
    said = train_along(tmp_path / "second", cache, store)
    assert outcome(tmp_path / "second/study/trials/0000") == outcome(alone) and all(progress.recalled for progress in said)
    losses[0].write_text(losses[0].read_text()[:-5])
    Store(store).collect_garbage(lambda entry: False)
    assert not (store / "losses").exists()


def test_a_trial_that_ends_stops_its_tasks(cache: Path, tmp_path: Path) -> None:
    trial = tmp_path / "study" / "trials" / "0000"
    longer = stepwise({"fine_tune": {"share": 8.0}})  # the groups take longer than the test
    with closing(StageTasks(Compute(workers=0), trial, cache, str(tmp_path / "store"), _at_work)) as tasks:
        training = train_stages(longer, trial, cache, store=Patient(str(tmp_path / "store"), trial, tasks))
        while next(training).images <= longer.duration.images:
            pass
        training.close()
    end = time.monotonic() + 20
    while any(p.cmdline()[:1] == ["ray::train_stage"] for p in psutil.Process().children(recursive=True)):
        assert time.monotonic() < end
        time.sleep(0.1)
