"""A further EMA sweep of a trial that has been run: other lengths, times or guidance; its score stays what it was."""

from __future__ import annotations

import logging
import math

from orchestrator.cluster.ray_cluster import prepare_environment, ray_cluster
from orchestrator.records.definition import Definition
from orchestrator.records.folders import StudyFolder, SweepRecord, TrialFolder, WorkFolder
from search_spaces.study import Study
from trainables.ema.sweep_settings import Sweep
from trainables.errors import UserError
from trainables.recipe import load_recipe
from trainables.stages.stage import BASE, GUIDE


def resweep(definition: Definition, folder: StudyFolder, work: WorkFolder, number: int, wanted: Sweep,
            address: str | None, tracking_uri: str | None) -> SweepRecord:
    """Sweep (as Ray tasks where an address is given), keep the record in the trial's folder, and track it.

    UserError where that cannot be.
    """
    from orchestrator.records.tracking import track_study

    trial, study = swept_trial(folder, number), definition.study
    load_recipe(trial.root / "recipe.json").check_files()
    prepare_environment()
    with folder.held():
        record = _on_cluster(study, trial, work, wanted, address) if address else _here(study, trial, work, wanted)
        if record.error:
            raise UserError(record.error)
        track_study(folder, definition, tracking_uri or work.tracking_uri, work.artifacts)
    return record


def _here(study: Study, trial: TrialFolder, work: WorkFolder, wanted: Sweep) -> SweepRecord:
    """In this process: one trial's sweep is not worth the start of Ray."""
    from orchestrator.execution.sweep_tasks import run_sweep

    compute = study.compute
    gpus = max(compute.workers, 1) * compute.gpus_per_worker
    return run_sweep(str(trial.root), trial.number, wanted.model_dump_json(), True, str(work.cache), compute.cpus_per_worker, gpus)


def _on_cluster(study: Study, trial: TrialFolder, work: WorkFolder, wanted: Sweep, address: str) -> SweepRecord:
    from orchestrator.execution.sweep_tasks import SweepTasks

    with ray_cluster(study.compute, address):
        tasks = SweepTasks(study, trial.root.parent, work.cache)
        tasks.submit(trial, wanted)
        while not (outcomes := tasks.collect(timeout=1.0)):
            pass
        return outcomes[0].record


def save_averages(trial: TrialFolder, wanted: Sweep) -> list[str]:
    """Write every average of a sweep as a file; reads each stored byte once."""
    from trainables.stages.guided import network_sweep_plan

    logging.getLogger("trainables.ema").setLevel(logging.ERROR)  # the sweep before has warned already
    recipe = load_recipe(trial.root / "recipe.json")
    return network_sweep_plan(recipe, trial.root, wanted).save(trial.root / "averages", recipe.ema.snapshot_format)


def swept_trial(folder: StudyFolder, number: int) -> TrialFolder:
    """A trial with stored averages."""
    trial = folder.known_trial(number)
    guided = any((trial.root / GUIDE / "snapshots").glob("*.safetensors"))
    stored = trial.root / BASE / "snapshots" if guided else trial.root / "snapshots"
    if not any(stored.glob("*.safetensors")):
        raise UserError(f"trial {number}: its stored averages in {stored} are gone; it cannot be swept again")
    return trial


def table_of(record: SweepRecord, saved: list[str]) -> str:
    """What a sweep found, as text."""
    lines = [f"{'sigma_rel':>10} {'images':>10} {'weight':>7} {record.metric:>12} {'+-':>8} {'profile error':>14}"]
    for p in sorted(record.points, key=lambda p: (p["images"], p["guidance_weight"], p["sigma_rel"])):
        error = f"{p['standard_error']:8.3f}" if p["standard_error"] is not None else " " * 8
        where = f"{p['sigma_rel']:>10.4g} {p['images']:>10} {p['guidance_weight']:>7g}"
        lines.append(f"{where} {p['distance']:>12.4f} {error} {p.get('profile_error', math.nan):>14.1e}")
    for o in record.optima:
        interval = f" (95 %: {o['low']:.3g} to {o['high']:.3g})" if o["low"] is not None else ""
        where = f"at {o['images']} images, guidance weight {o['guidance_weight']:g}"
        lines.append(f"best EMA length by {o['metric']} {where}: {o['sigma_rel']:.3g}{interval}")
    for c in record.classical:
        where = f"at {c['images']} images, guidance weight {c['guidance_weight']:g}"
        lines.append(f"classical average {c['name']} {where}: {record.metric} {c['distance']:.4f} (width {c['sigma_rel']:.3g})")
    lines.append(f"{record.evaluations} evaluations in {record.seconds:.1f} s, solver {record.solver}")
    if saved:
        lines.append(f"{len(saved)} averages in {saved[0].rpartition('/')[0]}")
    return "\n".join(lines)
