"""EMA lengths of experts: each group's by the loss on its own levels, then the Fréchet distance of that choice and of common lengths.

The loss separates over the groups and is cheap; the distance does neither, so that the better of the joint choice and the best common
length is kept.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from trainables.data import ImageData
from trainables.ema.flat_file import open_flat
from trainables.ema.reconstruct import Target, plan
from trainables.ema.snapshots import list_snapshots, load_vector
from trainables.ema.sweep_settings import Optimise, Sweep
from trainables.evaluation.scoring import Score, evaluator_of
from trainables.experts.router import Load, Router
from trainables.networks.modules.build import starting_denoiser
from trainables.networks.modules.denoiser import Denoiser
from trainables.recipe import Recipe
from trainables.stages.guided import guide_of
from trainables.stages.joint import plan_in
from trainables.stages.level_losses import level_losses, levels_within
from trainables.stages.stage import Expert
from trainables.stages.weights import SNAPSHOTS


@dataclass(frozen=True)
class Choice:
    """An EMA length for each group, from noise to data, and what sampling with them is worth."""

    how: Literal["joint", "common"]  # each group's best by its own loss, or one length for all
    sigma_rels: tuple[float, ...]
    score: Score


@dataclass(frozen=True)
class ExpertSweep:
    """All that was found; every score is of the same latents."""

    sigma_rels: tuple[float, ...]  # looked at
    losses: tuple[tuple[float, ...], ...]  # [groups, sigma_rels] mean over the group's levels
    base_losses: tuple[float, ...]  # [groups] of the base's average that the experts began from, at the same levels
    choices: tuple[Choice, ...]  # the joint one first

    @property
    def best(self) -> Choice:
        """Of the smallest distance; the joint one of equals."""
        return min(self.choices, key=lambda choice: choice.score.distance)


def sweep_experts(
    recipe: Recipe, folder: Path, cache: Path, settings: Sweep, device: torch.device | None = None, pulse: Callable[[], None] = lambda: None
) -> ExpertSweep:
    """Of a finished training in `folder`, at the end of its training and with the recipe's guidance.

    A range of lengths is looked at in `evaluations` even steps of log sigma_rel.  Each expert's stored averages are read once; `pulse` is
    called with each batch of images.
    """
    device = device or torch.device("cpu")
    experts, data, evaluator = plan_in(folder), recipe.data.load(cache, pulse), evaluator_of(recipe, cache, pulse)
    widths = _widths(settings)
    with tempfile.TemporaryDirectory() as temporary:
        averages = [_averages(expert, folder, Path(temporary), widths, settings) for expert in experts.experts]
        losses, before = [], []
        for expert, made in zip(experts.experts, averages, strict=True):
            levels = levels_within(recipe, expert.recipe.levels)
            network = starting_denoiser(expert.recipe, data, folder / expert.name).to(device).eval()
            start = starting_denoiser(expert.recipe, data, folder / expert.name).to(device).eval()
            before.append(float(level_losses(expert.recipe, start, levels, pulse).mean()))
            losses.append(tuple(_loss(expert.recipe, network, made[width], levels, pulse) for width in widths))
        joint = tuple(widths[int(np.argmin(row))] for row in losses)
        choices = []
        for lengths in dict.fromkeys([joint, *((width,) * len(joint) for width in widths)]):
            router = _router(recipe, data, folder, experts.experts, averages, lengths, experts.edges, device)
            weaker = guide_of(recipe, data, folder, device)
            score = evaluator.score(router, recipe.evaluation.samples, weaker, pulse=pulse)
            choices.append(Choice("joint" if lengths == joint else "common", lengths, score))
    return ExpertSweep(widths, tuple(losses), tuple(before), tuple(choices))


def _widths(settings: Sweep) -> tuple[float, ...]:
    lengths = settings.sigma_rels
    if isinstance(lengths, Optimise):
        return tuple(float(width) for width in np.geomspace(lengths.low, lengths.high, lengths.evaluations))
    return lengths


def _averages(expert: Expert, folder: Path, temporary: Path, widths: Sequence[float], settings: Sweep) -> dict[float, str]:
    """Files of the expert's averages by their length."""
    targets = [Target(width, expert.recipe.duration.images) for width in widths]
    made = plan(list_snapshots(folder / expert.name / SNAPSHOTS), targets, settings.solver)
    return dict(zip(widths, made.save(temporary / expert.name), strict=True))


def _loss(recipe: Recipe, network: Denoiser, location: str, levels: np.ndarray, pulse: Callable[[], None]) -> float:
    load_vector(open_flat(location).read(), network)
    return float(level_losses(recipe, network, levels, pulse).mean())


def _router(
    recipe: Recipe, data: ImageData, folder: Path, experts: Sequence[Expert], averages: Sequence[Mapping[float, str]],
    lengths: Sequence[float], edges: Sequence[float], device: torch.device,
) -> Router:
    def load(expert: Expert, location: str) -> Load:
        def average() -> Denoiser:
            network = starting_denoiser(expert.recipe, data, folder / expert.name)
            load_vector(open_flat(location).read(), network)
            return network

        return average

    networks = [load(expert, made[width]) for expert, made, width in zip(experts, averages, lengths, strict=True)]
    return Router(recipe.target, recipe.classes_of(data), edges, networks, device)
