"""The sweep of a step-adaptive trial: scores of all experts together, and what each of its stages was and cost."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.execution.stage_ledger import ledger_of
from orchestrator.records.folders import SweepRecord
from trainables.ema.snapshots import keep_snapshots
from trainables.ema.sweep_settings import Sweep
from trainables.recipe import Recipe
from trainables.stages.composition import base_recipe, guide_recipe, total_images, without_experts
from trainables.stages.stage import BASE, GUIDE, Expert, read_plan
from trainables.training import metrics_log
from trainables.training.resume import check_trained

if TYPE_CHECKING:
    import numpy as np
    import torch

    from trainables.stages.lengths import Choice, ExpertSweep


def finished(recipe: Recipe, folder: Path) -> bool:
    """Whether every group of the training has its expert; early stopping may have come before."""
    rows = metrics_log.read(folder)
    return bool(rows) and recipe.experts is not None and rows[-1].get("experts_finished") == recipe.experts.groups


def stopped(recipe: Recipe, folder: Path) -> tuple[Recipe, Path]:
    """What there is of a training that was stopped before its experts: recipe and folder of the base, with its guide if it has one."""
    return (without_experts(recipe), folder) if recipe.guide else (base_recipe(recipe), folder / BASE)


def sweep_of_experts(
    recipe: Recipe, folder: Path, cache: Path, wanted: Sweep, device: torch.device, pulse: Callable[[], None] = lambda: None
) -> tuple[SweepRecord, list[np.ndarray]]:
    """The record, and for each of its points images [N,C,H,W]; a point of the joint choice has a length per group (`sigma_rels`)."""
    from trainables.evaluation.cost import network_cost
    from trainables.stages.joint import macs_per_image, parameters
    from trainables.stages.lengths import sweep_experts
    from trainables.stages.speed import sampling_speeds

    started, plan = time.perf_counter(), read_plan(folder)
    assert plan
    guide = {GUIDE: guide_recipe(recipe)} if recipe.guide else {}
    for stage, its in [*guide.items(), (BASE, base_recipe(recipe)), *((e.name, e.recipe) for e in plan.experts)]:
        check_trained(folder / stage, its)
    found = sweep_experts(recipe, folder, cache, wanted, device, pulse)
    speeds = sampling_speeds(recipe, folder, cache, plan, device, pulse)
    guide_macs = network_cost(guide[GUIDE], cache)["macs"] if guide else None
    share = macs_per_image(plan, recipe.evaluation.sampler, recipe.evaluation.guidance, guide_macs)["ratio"]
    ledger, units = ledger_of(recipe, folder, cache, plan), recipe.network.units(recipe.data.load(cache).shape[-1])
    rows = [_row(choice, recipe) for choice in found.choices]
    best = rows[found.choices.index(found.best)]
    record = SweepRecord(
        recipe.evaluation.features.metric, rows,
        [{**{key: best[key] for key in ("images", "guidance_weight", "guide_sigma_rel", "sigma_rel")},
          "metric": recipe.evaluation.features.metric, "low": None, "high": None}],
        {"macs": share * plan.base_macs, "parameters": parameters(plan), "train_seconds": sum(s["train_seconds"] for s in ledger)},
        len(rows), time.perf_counter() - started, wanted.solver,
    )
    record.experts = {
        "macs_ratio": share, "base_macs": plan.base_macs, "base_parameters": plan.base_parameters, "best": found.best.how,
        "choices": [{"how": c.how, "sigma_rels": list(c.sigma_rels), "distance": c.score.distance} for c in found.choices],
        "groups": [_group(expert, i, found, units) for i, expert in enumerate(plan.experts)], "ledger": ledger,
        "speed": dict(zip(("experts", "base"), map(asdict, speeds), strict=True)),
    }
    return record, [choice.score.examples for choice in found.choices]


def drop_averages(folder: Path, which: Any) -> None:
    """Of every stage, as `sweep.keep_snapshots` says."""
    for snapshots in folder.glob("*/snapshots"):
        keep_snapshots(snapshots, which)


def _row(choice: Choice, recipe: Recipe) -> dict[str, Any]:
    """As `point_row`; `sigma_rel` of a joint choice is the geometric mean of its lengths."""
    score = choice.score
    return {
        "sigma_rel": statistics.geometric_mean(choice.sigma_rels) if choice.how == "joint" else choice.sigma_rels[0],
        "images": total_images(recipe),
        "guidance_weight": recipe.evaluation.guidance.weight, "guide_sigma_rel": None, "distance": score.distance,
        "standard_error": score.standard_error if math.isfinite(score.standard_error) else None, "feature_hash": score.feature_hash,
        "metrics": {name: value for name, value in score.metrics.items() if math.isfinite(value)},
        **({"sigma_rels": list(choice.sigma_rels)} if choice.how == "joint" else {}),
    }


def _group(expert: Expert, index: int, found: ExpertSweep, units: Mapping[str, int]) -> dict[str, Any]:
    recipe, sigma_rel = expert.recipe, found.best.sigma_rels[index]
    levels = recipe.levels
    return {
        "name": expert.name, "low": levels.low if levels else None, "high": levels.high if levels else None, "ratio": expert.ratio,
        "macs": expert.macs, "parameters": expert.parameters, "images": recipe.duration.images, "base_loss": found.base_losses[index],
        "loss": found.losses[index][found.sigma_rels.index(sigma_rel)], "sigma_rel": sigma_rel,
        "kept": {name: [recipe.network.widths.get(name, count), count] for name, count in units.items()},
    }
