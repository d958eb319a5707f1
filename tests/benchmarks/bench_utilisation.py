"""How busy a search keeps its workers: trials that sleep, stopped by ASHA, on real Ray with many logical CPUs, Tune, Optuna and tracking.

The peer is the same trials, as long as they turned out to be, handed to workers that cost nothing.  What is measured is the stretch from
the moment at which every worker has had its first trial to the moment at which the last trial begins: before it processes
start, after it there is nothing left to hand out.
"""

from __future__ import annotations

import heapq
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from unittest.mock import patch

from orchestrator.cluster.ray_cluster import prepare_environment

prepare_environment()

import ray  # noqa: E402

from orchestrator.cli.progress import ProgressDisplay  # noqa: E402
from orchestrator.execution.run import run_study  # noqa: E402
from orchestrator.records.folders import StudyFolder, WorkFolder  # noqa: E402
from search_spaces.study import make_study  # noqa: E402
from tests.benchmarks.instant import no_features  # noqa: E402
from tests.benchmarks.record import Result, machine  # noqa: E402
from tests.benchmarks.sleeping import IMAGES, REPORTS, SECONDS, SleepingTrial, sleeping_sweep  # noqa: E402
from tests.conftest import tiny_fields  # noqa: E402
from trainables.training import metrics_log  # noqa: E402

TRIALS_PER_WORKER = 6


def run() -> list[Result]:
    results = []
    for at_once in SECONDS:
        ours, ideal = _utilisation(at_once)
        print(f"{at_once} at a time: busy for {ours:.3f} of the time, without orchestration {ideal:.3f}", flush=True)
        name = f"utilisation, {at_once} trials at a time"
        results.append(Result(name, ours, ideal, "no orchestration", "share", ours / ideal, machine()))
    return results


def _utilisation(at_once: int) -> tuple[float, float]:
    """(ours, that of list scheduling of the same trials) in the stretch in which every worker should be busy."""
    work = Path(tempfile.mkdtemp(prefix="snrlab-bench-"))
    stopping = {"kind": "asha", "grace_images": IMAGES, "reduction_factor": 3}
    study = make_study({
        "name": f"at-{at_once}", "base": tiny_fields(weighting="min_snr", duration={"images": REPORTS * IMAGES, "batch_size": 32}),
        "space": {"weighting.gamma": {"low": 1.0, "high": 20.0, "log": True}, "optimiser.lr": {"low": 0.001, "high": 0.1, "log": True}},
        "search": {"trials": TRIALS_PER_WORKER * at_once, "early_stopping": stopping},
        "sweep": {"sigma_rels": [0.1]}, "compute": {"workers": 0, "concurrent_trials": at_once},
    })
    ray.init(num_cpus=at_once + max(2, at_once // 8), include_dashboard=False, log_to_driver=False, object_store_memory=200 << 20)
    try:
        from rich.console import Console

        with patch("orchestrator.execution.tuning.Trial", SleepingTrial), \
                patch("orchestrator.execution.sweep_tasks.run_sweep", sleeping_sweep), \
                patch("orchestrator.execution.sweep_tasks.prepare", no_features), \
                ProgressDisplay(Console(quiet=True), study.metric) as display:
            run_study(study, WorkFolder(work), display)
        return _share(work / study.name, at_once)
    finally:
        ray.shutdown()
        shutil.rmtree(work, ignore_errors=True)


def _share(folder: Path, at_once: int) -> tuple[float, float]:
    lengths, begun, slept = {}, [], []
    for trial in StudyFolder(folder).trials():
        ends = [row["time"] for row in metrics_log.read(trial.root)]
        lengths[trial.number] = len(ends) * SECONDS[at_once]
        begun.append(ends[0] - SECONDS[at_once])
        slept += [(end - SECONDS[at_once], end) for end in ends]
    return _busy(slept, sorted(begun), at_once), _ideal(lengths, at_once)


def _busy(slept: list[tuple[float, float]], begun: list[float], at_once: int) -> float:
    first, last = begun[at_once - 1], begun[-1]
    return sum(max(0.0, min(end, last) - max(start, first)) for start, end in slept) / (at_once * (last - first))


def _ideal(lengths: Mapping[int, float], at_once: int) -> float:
    free, begun, slept = [0.0] * at_once, [], []
    for number in sorted(lengths):
        start = heapq.heappop(free)
        begun.append(start)
        slept.append((start, start + lengths[number]))
        heapq.heappush(free, start + lengths[number])
    return _busy(slept, sorted(begun), at_once)
