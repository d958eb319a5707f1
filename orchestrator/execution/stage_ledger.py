"""What each stage of a trial was trained for, here or where it was taken over from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from orchestrator.records.stage_store import reused
from trainables.recipe import Recipe
from trainables.stages.composition import base_recipe, guide_recipe
from trainables.stages.stage import BASE, GUIDE, ExpertPlan
from trainables.training import metrics_log, passes


def ledger_of(recipe: Recipe, folder: Path, cache: Path, plan: ExpertPlan | None = None) -> list[dict[str, Any]]:
    """A row per stage in order of training, the groups of `plan` among them; none of a training that is one run alone.

    Multiply-accumulates are those of forward and backward passes, and of what policies and weightings evaluate besides.
    """
    from trainables.evaluation.cost import network_cost

    macs: dict[str, float] = {}
    if recipe.guide:
        macs[GUIDE] = network_cost(guide_recipe(recipe), cache)["macs"]
    if plan:
        macs |= {BASE: plan.base_macs, **{expert.name: expert.macs for expert in plan.experts}}
    elif recipe.guide:
        macs[BASE] = network_cost(base_recipe(recipe), cache)["macs"]
    found = []
    for stage, each in macs.items():
        last = metrics_log.read(folder / stage)[-1]
        found.append({"stage": stage, "images": last["images"], "train_seconds": float(last["train_seconds"]),
                      "train_macs": passes.per_image(last) * each * last["images"], "reused": reused(folder / stage)})
    return found
