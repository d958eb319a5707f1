"""Sampling with the experts of a step-adaptive training: finished ones on their levels, the base elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from trainables.errors import UserError
from trainables.experts.groups import group_of
from trainables.experts.router import Load, Router
from trainables.log_snr import from_edm_sigma
from trainables.recipe import Recipe
from trainables.sampling import Sampler
from trainables.sampling.guidance import Guidance
from trainables.stages.composition import base_recipe
from trainables.stages.stage import BASE, Expert, ExpertPlan, read_plan
from trainables.stages.weights import averaged_denoiser


def plan_in(folder: Path) -> ExpertPlan:
    """The plan of a training; UserError where its base has not been trained to its end."""
    plan = read_plan(folder)
    if plan is None:
        raise UserError(f"{folder}: no experts have been planned there: the base has not been trained to its end")
    return plan


def joint_denoiser(
    recipe: Recipe, folder: Path, plan: ExpertPlan, sigma_rels: Sequence[float | None], base_sigma_rel: float,
    device: torch.device | None = None, resident: int = 0,
) -> Router:
    """The experts' averages of these lengths, in order of the groups; None is the base's average of its own length.

    Weights are read when a network is first needed; `resident` is the largest number of networks held at once, 0 is all.
    """
    data, base = recipe.data.load(), base_recipe(recipe)

    def base_at_end() -> Load:
        return lambda: averaged_denoiser(base, data, folder / BASE, base.duration.images, base_sigma_rel, device)

    def expert_at_end(expert: Expert, sigma_rel: float) -> Load:
        own = expert.recipe
        return lambda: averaged_denoiser(own, data, folder / expert.name, own.duration.images, sigma_rel, device)

    load = [
        base_at_end() if sigma_rel is None else expert_at_end(expert, sigma_rel)
        for expert, sigma_rel in zip(plan.experts, sigma_rels, strict=True)
    ]
    return Router(recipe.target, recipe.classes_of(data), plan.edges, load, device, resident)


def macs_per_image(plan: ExpertPlan, sampler: Sampler, guidance: Guidance, guide_macs: float | None = None) -> dict[str, float]:
    """Multiply-accumulates of all network evaluations of one image: `experts`, those of the base alone (`base`), and their ratio.

    Guidance evaluates a second network within its interval: the same expert without labels, the base's earlier average, or a separate
    network of `guide_macs`.
    """
    second = plan.base_macs if guide_macs is None else guide_macs
    experts = base = 0.0
    for sigma in sampler.levels:
        mine = plan.experts[group_of(plan.edges, float(np.float32(from_edm_sigma(float(sigma)))))].macs
        experts, base = experts + mine, base + plan.base_macs
        if not guidance.off and guidance.sigma_low < sigma <= guidance.sigma_high:
            experts, base = experts + (second if guidance.second_network else mine), base + second
    return {"experts": experts, "base": base, "ratio": experts / base}


def parameters(plan: ExpertPlan) -> float:
    """Of all experts together."""
    return sum(expert.parameters for expert in plan.experts)


