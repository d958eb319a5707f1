"""What the orchestrator costs: the start of a trial against one TorchTrainer per Tune trial, and a search of instant trials
with tracking on against plain Ray Tune with reused actors."""

from __future__ import annotations

import json
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

from orchestrator.cluster.ray_cluster import prepare_environment

prepare_environment()

from ray import train, tune  # noqa: E402
from ray.tune.search.optuna import OptunaSearch  # noqa: E402

from orchestrator.cli.progress import ProgressDisplay  # noqa: E402
from orchestrator.cluster.ray_cluster import ray_cluster  # noqa: E402
from orchestrator.execution.run import run_study  # noqa: E402
from orchestrator.records.folders import WorkFolder  # noqa: E402
from search_spaces.study import Study, make_study  # noqa: E402
from tests.benchmarks.instant import InstantTrial, instant_sweep, no_features  # noqa: E402
from tests.benchmarks.record import Result, interleaved, machine  # noqa: E402
from tests.conftest import tiny_fields  # noqa: E402
from trainables.recipe import make_recipe  # noqa: E402
from trainables.training import metrics_log  # noqa: E402

TRIALS, INSTANT_TRIALS = 6, 100
SPACE = {"weighting.gamma": {"low": 1.0, "high": 20.0, "log": True}, "optimiser.lr": {"low": 0.001, "high": 0.1, "log": True}}


def run() -> list[Result]:
    results = []
    for workers in (1, 2):
        ours, peer = statistics.median(_our_starts(workers)), statistics.median(_textbook_starts(workers))
        name = f"start of a trial, {workers} worker{'s' * (workers > 1)}"
        results.append(Result(name, ours, peer, "one TorchTrainer per Tune trial", "s", peer / ours, machine()))
    ours, peer = interleaved(_our_instant_search, _plain_instant_search, rounds=3)
    name = f"{INSTANT_TRIALS} instant trials, tracked"
    return [*results, Result(name, ours, peer, "Ray Tune, reuse_actors, not tracked", "s", peer / ours, machine())]


def _study(trials: int, workers: int) -> Study:
    base = tiny_fields(weighting="min_snr")
    return make_study({
        "name": "bench", "base": base, "space": SPACE, "search": {"trials": trials}, "sweep": {"sigma_rels": [0.1]},
        "compute": {"workers": workers},
    })


def _run(study: Study, work: Path) -> None:
    from rich.console import Console

    with ProgressDisplay(Console(quiet=True), study.metric) as display:
        run_study(study, WorkFolder(work), display)


def _gaps(trials: Path) -> list[float]:
    """From the last report of each trial to the moment at which the next one's first step is due."""
    folders = sorted(trials.glob("[0-9]*"))
    begun = [(folder / "recipe.json").stat().st_mtime for folder in folders]
    ended = [metrics_log.read(folder)[-1]["time"] for folder in folders]
    return [later - earlier for earlier, later in zip(ended[:-1], begun[1:], strict=True)]


def _our_starts(workers: int) -> list[float]:
    work = Path(tempfile.mkdtemp(prefix="snrlab-bench-"))
    try:
        _run(_study(TRIALS, workers), work)
        return _gaps(work / "bench" / "trials")
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _textbook_starts(workers: int) -> list[float]:
    work, study = Path(tempfile.mkdtemp(prefix="snrlab-bench-")), _study(TRIALS, workers)

    def loop(config: dict[str, Any]) -> None:
        import ray.train.torch

        from trainables.training.loop import train as train_recipe
        from trainables.training.ranks import Ranks

        context = ray.train.get_context()
        ranks = Ranks(context.get_world_rank(), context.get_world_size(), ray.train.torch.get_device())
        for _ in train_recipe(make_recipe(json.loads(config["recipe"])), Path(config["folder"]), work / "cache", ranks):
            pass

    def trial(config: dict[str, Any]) -> None:
        from ray.train.torch import TorchTrainer

        TorchTrainer(
            loop, train_loop_config=config, scaling_config=train.ScalingConfig(num_workers=workers),
            run_config=train.RunConfig(storage_path=str(work / "train")),
        ).fit()

    try:
        recipes = [study.recipe({"optimiser.lr": 0.01 * (n + 1)}).canonical_json for n in range(TRIALS)]
        configs = [{"recipe": text, "folder": str(work / "trials" / f"{n:04d}")} for n, text in enumerate(recipes)]
        with ray_cluster(study.compute, None):
            tune.Tuner(
                tune.with_resources(trial, {"CPU": 0.01}), param_space=tune.grid_search(configs),
                tune_config=tune.TuneConfig(max_concurrent_trials=1), run_config=tune.RunConfig(storage_path=str(work / "tune"), verbose=0),
            ).fit()
        return _gaps(work / "trials")
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _our_instant_search() -> None:
    work = Path(tempfile.mkdtemp(prefix="snrlab-bench-"))
    try:
        with patch("orchestrator.execution.tuning.Trial", InstantTrial), \
                patch("orchestrator.execution.sweep_tasks.run_sweep", instant_sweep), \
                patch("orchestrator.execution.sweep_tasks.prepare", no_features):
            _run(_study(INSTANT_TRIALS, 0), work)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _plain_instant_search() -> None:
    work = Path(tempfile.mkdtemp(prefix="snrlab-bench-"))

    class Instant(tune.Trainable):
        def setup(self, config: dict[str, Any]) -> None:
            self.values = config

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self.values = new_config
            return True

        def step(self) -> dict[str, Any]:
            return {"fd_probe": abs(self.values["gamma"] - 5.0) + self.values["lr"], "done": True}

        def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
            return {}

        def load_checkpoint(self, checkpoint: Any) -> None:
            pass

    try:
        with ray_cluster(_study(1, 0).compute, None):
            tune.Tuner(
                tune.with_resources(Instant, {"CPU": 1}),
                param_space={"gamma": tune.loguniform(1.0, 20.0), "lr": tune.loguniform(0.001, 0.1)},
                tune_config=tune.TuneConfig(
                    search_alg=OptunaSearch(metric="fd_probe", mode="min"), num_samples=INSTANT_TRIALS, reuse_actors=True,
                    max_concurrent_trials=1,
                ),
                run_config=tune.RunConfig(storage_path=str(work), verbose=0),
            ).fit()
    finally:
        shutil.rmtree(work, ignore_errors=True)

