"""Sampling with experts and with the base alone, measured in one run: images per second, and memory."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from trainables.evaluation.scoring import evaluator_of
from trainables.networks.modules.denoiser import Denoiser
from trainables.recipe import Recipe
from trainables.stages.composition import base_recipe
from trainables.stages.guided import guide_of
from trainables.stages.joint import joint_denoiser
from trainables.stages.stage import BASE, ExpertPlan
from trainables.stages.weights import averaged_denoiser

_ROUNDS = 2  # after one that loads the networks


@dataclass(frozen=True)
class Speed:
    """Of one way to sample."""

    images_per_second: float
    weight_bytes: int  # of all networks together
    peak_bytes: int | None  # of a GPU, above what was allocated before its networks were loaded; None on a CPU


def sampling_speeds(
    recipe: Recipe, folder: Path, cache: Path, plan: ExpertPlan, device: torch.device, pulse: Callable[[], None] = lambda: None
) -> tuple[Speed, Speed]:
    """(experts, base) of a finished training in `folder`: batches of the recipe's evaluation, with its sampler and guidance, in turn."""
    data, width = recipe.data.load(cache), recipe.ema.sigma_rels[0]

    def the_base() -> Denoiser:
        return averaged_denoiser(base_recipe(recipe), data, folder / BASE, recipe.duration.images, width, device)

    def the_experts() -> Denoiser:
        return joint_denoiser(recipe, folder, plan, [width] * len(plan.experts), width, device)

    evaluator, weaker = evaluator_of(recipe, cache, pulse), guide_of(recipe, data, folder, device)
    count = min(recipe.evaluation.batch_size, recipe.evaluation.samples)

    def seconds(denoiser: Denoiser) -> float:
        started = time.perf_counter()
        evaluator.generate(denoiser, 0, count, weaker)  # images come back to the CPU, so that the device has finished
        pulse()
        return time.perf_counter() - started

    made, peaks = [], []
    for make in (the_experts, the_base):
        before = _reset_peak(device)
        made.append(make())
        seconds(made[-1])
        peaks.append(torch.cuda.max_memory_allocated(device) - before if device.type == "cuda" else None)
    times = [[seconds(denoiser) for denoiser in made] for _ in range(_ROUNDS)]
    sizes = [sum(4 * int(expert.parameters) for expert in plan.experts), 4 * int(plan.base_parameters)]
    rates = [count / statistics.median(its) for its in zip(*times, strict=True)]
    experts, base = (Speed(*of) for of in zip(rates, sizes, peaks, strict=True))
    return experts, base


def _reset_peak(device: torch.device) -> int:
    """Bytes that are allocated now."""
    if device.type != "cuda":
        return 0
    torch.cuda.reset_peak_memory_stats(device)
    return torch.cuda.memory_allocated(device)
