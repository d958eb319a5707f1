"""Sampling guided by a second network: where it was trained, its averages, and sweeps that it guides."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from trainables.data import ImageData
from trainables.ema.averages import Averages
from trainables.ema.reconstruct import Plan
from trainables.ema.snapshots import list_snapshots
from trainables.ema.sweep_settings import Sweep
from trainables.errors import UserError
from trainables.evaluation.sweep import SweepResult, guide_images, sweep, sweep_plan
from trainables.networks.modules.denoiser import Denoiser
from trainables.recipe import Recipe
from trainables.stages.composition import base_recipe, guide_recipe
from trainables.stages.stage import BASE, GUIDE
from trainables.stages.weights import SNAPSHOTS, averaged_denoiser


def network_folder(recipe: Recipe, folder: Path) -> Path:
    """Where the network itself was trained, in the folder of its training: its base, or the folder itself where there is one run alone."""
    return folder / BASE if recipe.in_stages else folder


def guide_of(recipe: Recipe, data: ImageData, folder: Path, device: torch.device | None = None) -> Denoiser | None:
    """The second network by which sampling is guided, at the recipe's EMA length; None where none is asked for."""
    guidance = recipe.evaluation.guidance
    if guidance.off or not guidance.second_network:
        return None
    if guidance.by == "network":
        return separate_guide(recipe, data, folder, guidance.weaker_sigma_rel, device)
    base, run = base_recipe(recipe), network_folder(recipe, folder)
    return averaged_denoiser(base, data, run, guide_images(base, list_snapshots(run / SNAPSHOTS)), guidance.weaker_sigma_rel, device)


def separate_guide(recipe: Recipe, data: ImageData, folder: Path, sigma_rel: float, device: torch.device | None = None) -> Denoiser:
    """The guide's average of a length at the end of its training; UserError where it was not trained to it."""
    own = guide_recipe(recipe)
    if not any(stored.images == own.duration.images for stored in list_snapshots(folder / GUIDE / SNAPSHOTS)):
        raise UserError(f"{folder / GUIDE}: has no stored averages of the guide's end: it was not trained, or they were deleted")
    return averaged_denoiser(own, data, folder / GUIDE, own.duration.images, sigma_rel, device)


def sweep_network(
    recipe: Recipe, folder: Path, cache: Path, settings: Sweep, averages: Averages | None = None, device: torch.device | None = None,
    pulse: Callable[[], None] = lambda: None,
) -> SweepResult:
    """The sweep of the network that was trained in `folder`, without experts, guided as the recipe says."""

    def guide(sigma_rel: float) -> Denoiser:
        return separate_guide(recipe, recipe.data.load(cache), folder, sigma_rel, device)

    return sweep(recipe, network_folder(recipe, folder), cache, settings, averages, device, pulse, guide if recipe.guide else None)


def network_sweep_plan(recipe: Recipe, folder: Path, settings: Sweep) -> Plan:
    """Every average of the network trained in `folder` that its sweep needs; those of a guide of its own are read by the sweep."""
    return sweep_plan(recipe, network_folder(recipe, folder), settings)
