"""A trial's trained networks as a folder that is sampled from without this command line: `snrlab export`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.execution.expert_sweep import finished, stopped
from orchestrator.records.folders import StudyFolder, SweepRecord, TrialFolder
from trainables.ema.profile import SIGMA_REL_MAX
from trainables.ema.sweep_settings import parse_lengths
from trainables.errors import UserError
from trainables.files.storage import writable
from trainables.recipe import Recipe, load_recipe

BEST = "best"


def export_trial(folder: StudyFolder, number: int, sigma_rel: str, target: Path, cache: Path) -> tuple[Path, tuple[float, ...]]:
    """Write a trial's averages into the new folder `target`; returns it and their EMA lengths, one or one per group of noise levels.

    `sigma_rel` is `best` (the lengths, the time and the guidance of the trial's own sweep), a length, or a length per group, separated by
    commas.  Of a trial that was stopped before its experts were trained, the base is written.
    UserError where the trial, its sweep or its averages are missing, and where `target` exists or cannot be written.
    """
    from trainables.export import export

    trial = folder.known_trial(number)
    if target.exists():
        raise UserError(f"{target}: exists already; name another folder with --output, or delete it")
    if trial.record.training == "infeasible":
        raise UserError(f"trial {number}: its combination of values is impossible, and nothing was trained")
    if trial.record.training == "running":
        raise UserError(f"trial {number}: has not been trained to its end; snrlab run goes on with it")
    root, images = trial.root, None
    recipe = load_recipe(root / "recipe.json")
    if recipe.experts and not finished(recipe, root):
        recipe, root = stopped(recipe, root)  # the base is what has been swept
    if sigma_rel == BEST:
        sweep = _sweep(trial)
        lengths = best_lengths(sweep)
        if best := sweep.best:
            recipe, images = _guided(recipe, best), int(best["images"])
    else:
        lengths = _given(sigma_rel)
    with writable(target, "name another folder with --output"):
        return export(recipe, root, target, lengths if len(lengths) > 1 else lengths[0], images, cache), lengths


def best_lengths(sweep: SweepRecord) -> tuple[float, ...]:
    """The EMA length of the lowest score; of a trial with experts one per group, from noise to data."""
    experts = sweep.experts
    if choices := [choice for choice in experts.get("choices", []) if choice["how"] == experts["best"]]:
        return tuple(min(choices, key=lambda choice: choice["distance"])["sigma_rels"])
    return (sweep.best["sigma_rel"],) if sweep.best else ()


def _sweep(trial: TrialFolder) -> SweepRecord:
    sweep = trial.sweep
    if sweep is None:
        raise UserError(f"trial {trial.number}: has no EMA sweep yet, so that its best length is not known: give --sigma-rel 0.1, say")
    if sweep.error or not best_lengths(sweep):
        why = sweep.error or "no score was finite"
        raise UserError(f"trial {trial.number}: its EMA sweep found no best length ({why}): give --sigma-rel 0.1, say")
    return sweep


def _guided(recipe: Recipe, best: Mapping[str, Any]) -> Recipe:
    """The recipe with the guidance of the best score."""
    found = {"weight": best["guidance_weight"], "weaker_sigma_rel": best["guide_sigma_rel"]}
    guidance = recipe.evaluation.guidance.model_copy(update={name: value for name, value in found.items() if value is not None})
    return recipe.model_copy(update={"evaluation": recipe.evaluation.model_copy(update={"guidance": guidance})})


def _given(text: str) -> tuple[float, ...]:
    lengths = parse_lengths(text)
    if not lengths or any(not 0 < length < SIGMA_REL_MAX for length in lengths):
        raise UserError(f"--sigma-rel {text}: EMA lengths lie between 0 and {SIGMA_REL_MAX:.4f}; or give {BEST}")
    return lengths
