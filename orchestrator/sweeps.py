"""EMA sweeps as Ray tasks, downstream of training."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray

from orchestrator.folders import SweepRecord, TrialFolder
from search_spaces.study import Study
from trainables import atomic
from trainables.recipe import make_recipe


@dataclass(frozen=True)
class Outcome:
    """A trial's sweep, finished or failed."""

    number: int
    record: SweepRecord


class SweepDesk:
    """Starts sweeps and collects those that are through; never waits unless asked to."""

    def __init__(self, study: Study, trials: Path, cache: Path) -> None:
        self._study, self._trials, self._cache = study, trials, cache
        compute = study.compute
        options: dict[str, Any] = {
            "num_cpus": compute.cpus_per_worker, "num_gpus": compute.gpus_per_worker, "max_retries": compute.max_failures
        }
        self._sweep, self._prepare = ray.remote(**options)(run_sweep), ray.remote(**options)(prepare)
        self._waiting: dict[ray.ObjectRef, int] = {}

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def warm_up(self) -> None:
        """Make the feature network and reference statistics ready while the training workers are still starting."""
        self._prepare.remote(self._study.base_recipe.canonical_json, str(self._cache), self._study.compute.cpus_per_worker)

    def submit(self, folder: TrialFolder) -> None:
        reference = self._sweep.remote(
            str(folder.root), folder.number, self._study.sweep.sigma_rels, str(self._cache), self._study.compute.cpus_per_worker
        )
        self._waiting[reference] = folder.number

    def collect(self, timeout: float = 0.0) -> list[Outcome]:
        """Sweeps that have ended since the last call; a task that died is an outcome with an error."""
        if not self._waiting:
            return []
        ready, _ = ray.wait(list(self._waiting), num_returns=len(self._waiting), timeout=timeout)
        outcomes = []
        for reference in ready:
            number = self._waiting.pop(reference)
            try:
                record = ray.get(reference)
            except ray.exceptions.RayError as error:
                record = SweepRecord(self._study.metric, error=f"the sweep task was lost: {str(error).splitlines()[0]}")
            outcomes.append(Outcome(number, record))
        return outcomes


def prepare(recipe_json: str, cache: str, threads: int) -> None:
    """Build (or load) what scoring needs; the process keeps it for the sweeps that follow."""
    import torch

    from trainables.evaluation import evaluator_of

    torch.set_num_threads(threads)
    evaluator_of(make_recipe(json.loads(recipe_json)), Path(cache))


def run_sweep(root: str, number: int, sigma_rels: tuple[float, ...], cache: str, threads: int) -> SweepRecord:
    """Score a trial at each EMA length; the record and the contact sheets are on storage when this returns."""
    import torch

    from trainables.errors import UserError
    from trainables.image_grid import png
    from trainables.recipe import load_recipe
    from trainables.sweep import sweep

    torch.set_num_threads(threads)
    folder, started = TrialFolder(Path(root), number), time.perf_counter()
    recipe = load_recipe(folder.root / "recipe.json")
    metric = recipe.evaluation.features.metric
    try:
        points = sweep(recipe, folder.root, Path(cache), sigma_rels)
    except UserError as error:
        return SweepRecord(metric, error=str(error))
    data = recipe.data.load()
    for point in points:
        atomic.write_bytes(folder.samples(point.sigma_rel), png(point.examples, data))
    rows = [
        {"sigma_rel": p.sigma_rel, "images": p.images, "distance": p.distance, "profile_error": p.profile_error,
         "coefficient_norm": p.coefficient_norm}
        for p in points
    ]
    record = SweepRecord(metric, rows, seconds=time.perf_counter() - started)
    folder.write_sweep(record)
    return record
