"""Losses of a denoiser at given noise levels, on fixed images and fixed noise: differences between networks are paired."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from trainables.evaluation.held_out import HeldOutLoss
from trainables.experts.groups import inside
from trainables.experts.loss_curve import LossCurve
from trainables.experts.splits.split import Axis
from trainables.networks.modules.denoiser import Denoiser
from trainables.recipe import Recipe
from trainables.schedules.restricted import Levels

_LEVELS = 24  # of a loss curve


def level_losses(recipe: Recipe, denoiser: Denoiser, log_snr: np.ndarray, pulse: Callable[[], None] = lambda: None) -> np.ndarray:
    """The held-out loss at each level [L]; on training images where the recipe's data hold none out."""
    images = recipe.data.load_held_out() or recipe.data.load()
    return HeldOutLoss(images, recipe.evaluation.batch_size, recipe.evaluation.precision).at(denoiser, log_snr, pulse)


def levels_within(recipe: Recipe, levels: Levels | None, count: int = 8) -> np.ndarray:
    """Middles of equal parts [count] of a group's share of the sampler's range of log SNR."""
    low, high = inside(levels, recipe.axis)
    return low + (high - low) * (np.arange(count) + 0.5) / count


def loss_curve(recipe: Recipe, denoiser: Denoiser, axis: Axis, pulse: Callable[[], None] = lambda: None) -> LossCurve:
    """Over the sampler's range."""
    levels = np.linspace(*axis.range, _LEVELS)
    return LossCurve(levels, level_losses(recipe, denoiser, levels, pulse))
