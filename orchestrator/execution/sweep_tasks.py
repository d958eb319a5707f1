"""EMA sweeps as Ray tasks, downstream of training."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray

from orchestrator.cluster.ray_cluster import RayLost
from orchestrator.records import events
from orchestrator.records.folders import SweepRecord, TrialFolder
from search_spaces.study import Study
from trainables.determinism import choose_workspace, deterministic
from trainables.ema.sweep_settings import Sweep
from trainables.errors import in_one_line
from trainables.files import atomic
from trainables.files.storage import place
from trainables.recipe import Recipe, unpacked
from trainables.training import metrics_log

if TYPE_CHECKING:
    import numpy as np
    import torch

_SECONDS_BETWEEN_LOOKS = 5.0


@dataclass(frozen=True)
class Outcome:
    """A trial's sweep, finished or failed."""

    number: int
    record: SweepRecord


class SweepTasks:
    """Starts sweeps and collects those that are through; never waits unless asked to."""

    def __init__(self, study: Study, trials: Path, cache: Path) -> None:
        self._study, self._trials, self._cache = study, trials, cache
        compute = study.compute
        options: dict[str, Any] = {
            "num_cpus": compute.cpus_per_worker, "num_gpus": compute.gpus_per_worker, "max_retries": compute.max_failures
        }
        self._sweep, self._prepare = ray.remote(**options)(run_sweep), ray.remote(**options)(prepare)
        self._read = ray.remote(num_cpus=compute.cpus_per_worker, max_retries=compute.max_failures)(read_range)
        self._waiting: dict[ray.ObjectRef, int] = {}
        self._submitted: dict[ray.ObjectRef, int] = {}  # how often its trial had been swept before
        self._begun: dict[ray.ObjectRef, float] = {}  # when a sweep that waits was first seen at work
        self._look_again = 0.0

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def warm_up(self) -> None:
        """Make the feature network and reference statistics ready while the training workers are still starting."""
        self._prepare.remote(json.dumps(self._study.base_recipe.packed), str(self._cache), self._study.compute.cpus_per_worker)

    def submit(self, folder: TrialFolder, sweep: Sweep | None = None) -> None:
        """Start a trial's own sweep, or a further one."""
        settings, threads = (sweep or self._study.sweep).model_dump_json(), self._study.compute.cpus_per_worker
        tasks = (sweep or self._study.sweep).tasks
        if self._study.recipe(folder.record.values).experts:
            tasks = 1  # which reads the averages of one group after the other
        gpus = max(self._study.compute.workers, 1) * self._study.compute.gpus_per_worker
        before = events.count(folder.root, "sweeping")
        # Each task reads its own range of parameters; the pieces go straight into the sampling task's memory.
        parts = [self._read.remote(str(folder.root), settings, i, tasks, threads) for i in range(tasks)] if tasks > 1 else []
        reference = self._sweep.remote(
            str(folder.root), folder.number, settings, sweep is not None, str(self._cache), threads, gpus, *parts
        )
        self._waiting[reference], self._submitted[reference] = folder.number, before

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
            except ray.exceptions.LocalRayletDiedError as error:
                raise RayLost(in_one_line(error)) from None
            except ray.exceptions.RayError as error:
                events.note(self._trials / f"{number:04d}", "failed", message=str(error))
                reason = in_one_line(getattr(error, "cause", None) or error)
                record = SweepRecord(self._study.metric, error=f"the sweep task was lost: {reason}")
            outcomes.append(Outcome(number, record))
        return outcomes + self._give_up()

    def _give_up(self) -> list[Outcome]:
        """Stop sweeps that have been at work for too long; the time for which one waits for its turn does not count."""
        limit, now = self._study.compute.sweep_minutes * 60, time.monotonic()
        if not limit or now < self._look_again:
            return []
        self._look_again = now + _SECONDS_BETWEEN_LOOKS
        outcomes = []
        for reference, number in list(self._waiting.items()):
            if reference not in self._begun and events.count(self._trials / f"{number:04d}", "sweeping") > self._submitted[reference]:
                self._begun[reference] = now
            if now - self._begun.get(reference, now) > limit:
                ray.cancel(reference, force=True)
                del self._waiting[reference]
                reason = f"the EMA sweep took longer than compute.sweep_minutes = {self._study.compute.sweep_minutes:g}"
                events.note(self._trials / f"{number:04d}", "failed", message=reason)
                outcomes.append(Outcome(number, SweepRecord(self._study.metric, error=reason)))
        return outcomes


def prepare(recipe_json: str, cache: str, threads: int) -> None:
    """Build (or load) what scoring needs; the process keeps it for the sweeps that follow."""
    import torch

    from trainables.evaluation.scoring import evaluator_of

    choose_workspace()
    torch.set_num_threads(threads)
    evaluator_of(unpacked(json.loads(recipe_json)), place(cache)).warm_up()


def read_range(root: str, settings: str, index: int, tasks: int, threads: int) -> Any:
    """One range of parameters of every average that a sweep needs, float32 [K, n]."""
    import torch

    from trainables.recipe import load_recipe
    from trainables.stages.guided import network_sweep_plan

    torch.set_num_threads(threads)
    plan = network_sweep_plan(load_recipe(place(root) / "recipe.json"), place(root), Sweep.model_validate_json(settings))
    ranges = plan.ranges(tasks)
    return plan.vectors(*(ranges[index] if index < len(ranges) else (plan.size, plan.size)))


def run_sweep(root: str, number: int, settings: str, further: bool, cache: str, threads: int, gpus: float, *parts: Any) -> SweepRecord:
    """Sweep a trial; the record and the contact sheets are on storage when this returns.

    `gpus` is how many GPUs the trial trained on; `parts` are the results of `read_range`, one after the other, where
    the averages were made by tasks of their own.
    """
    import torch

    from orchestrator.execution.expert_sweep import drop_averages, finished, stopped, sweep_of_experts
    from orchestrator.execution.sheets import comparison_sheets
    from trainables.ema.snapshots import keep_snapshots
    from trainables.errors import Damaged, UserError
    from trainables.evaluation.image_grid import png
    from trainables.evaluation.scoring import evaluator_of
    from trainables.recipe import load_recipe

    choose_workspace()
    torch.set_num_threads(threads)
    folder, wanted = TrialFolder(place(root), number), Sweep.model_validate_json(settings)
    metric = ""
    events.note(folder.root, "sweeping")
    if not further and (done := folder.done_sweep):
        return done  # by a task that was lost after its last write: what it read may be gone
    device = torch.device("cuda" if torch.cuda.is_available() and (not ray.is_initialized() or ray.get_gpu_ids()) else "cpu")
    try:
        recipe = load_recipe(folder.root / "recipe.json")
        metric = recipe.evaluation.features.metric
        recipe.check_sweep(wanted)
        with events.warnings_noted(folder.root), deterministic(recipe.arithmetic.deterministic, device):
            if recipe.experts is None:
                record, pictures = _sweep_of_one(recipe, folder.root, place(cache), wanted, device, not further, parts)
            elif finished(recipe, folder.root):
                record, pictures = sweep_of_experts(recipe, folder.root, place(cache), wanted, device)
            else:  # stopped early: the base is what there is
                record, pictures = _sweep_of_one(*stopped(recipe, folder.root), place(cache), wanted, device, not further, ())
    except UserError as error:
        events.note(folder.root, "failed", message=str(error))
        return SweepRecord(metric, error=str(error), damaged=isinstance(error, Damaged))
    data = recipe.data.load()
    for row, examples in zip(record.points, pictures, strict=True):
        atomic.write_bytes(folder.samples(row), png(examples, data))
    for name, sheet in comparison_sheets(record, pictures, data).items() if not further else ():
        atomic.write_bytes(folder.sheet(name), sheet.png)
        record.sheets[name] = sheet.rows
    record.cost["gpu_seconds"], record.floor = record.cost["train_seconds"] * gpus, evaluator_of(recipe, place(cache)).floor()
    if further:
        folder.write_further_sweep(record)
    else:
        folder.write_sweep(record)
        keep_snapshots(folder.root / "snapshots", wanted.keep_snapshots)
        drop_averages(folder.root, wanted.keep_snapshots)
    best = record.best or {}
    events.note(folder.root, "swept", evaluations=record.evaluations, seconds=round(record.seconds, 1), sigma_rel=best.get("sigma_rel"),
                **{metric: best.get("distance")})
    return record


def _sweep_of_one(recipe: Recipe, folder: Path, cache: Path, wanted: Sweep, device: torch.device, own: bool,
                  parts: Sequence[Any]) -> tuple[SweepRecord, list[np.ndarray]]:
    """The record of one network's training, guided as the recipe says, and for each of its points images [N,C,H,W]."""
    import numpy as np

    from orchestrator.execution.stage_ledger import ledger_of
    from trainables.ema.averages import Averages
    from trainables.evaluation.classical_scores import classical_row
    from trainables.evaluation.cost import network_cost
    from trainables.evaluation.sweep import optimum_row, point_row
    from trainables.stages.composition import base_recipe, guide_recipe
    from trainables.stages.guided import network_folder, network_sweep_plan, sweep_network
    from trainables.stages.stage import GUIDE
    from trainables.training.resume import check_trained

    run = network_folder(recipe, folder)
    if own:
        check_trained(run, base_recipe(recipe))
        if recipe.guide:
            check_trained(folder / GUIDE, guide_recipe(recipe))
    averages = Averages(network_sweep_plan(recipe, folder, wanted), np.concatenate(parts, axis=1)) if parts else None
    result = sweep_network(recipe, folder, cache, wanted, averages, device)
    last, stages = metrics_log.read(run), ledger_of(recipe, folder, cache)
    seconds = sum(stage["train_seconds"] for stage in stages) if stages else float(last[-1]["train_seconds"]) if last else 0.0
    cost = {**network_cost(recipe, cache), "train_seconds": seconds}
    record = SweepRecord(
        recipe.evaluation.features.metric, [point_row(point) for point in result.points], [optimum_row(o) for o in result.optima], cost,
        result.evaluations, result.seconds, wanted.solver, classical=[classical_row(found) for found in result.classical],
        stages=stages,
    )
    return record, [point.examples for point in result.points]
