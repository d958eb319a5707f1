"""Contracts of weightings, schedules and targets: formulas that take numpy arrays and torch tensors alike."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from trainables.log_snr import alpha_sigma
from trainables.plugins.contracts.requirement import Contracts, close, require
from trainables.schedules import Schedule
from trainables.targets import KINDS as TARGETS
from trainables.targets import Target, make_target
from trainables.weightings import Weighting

LEVELS = np.linspace(-15.0, 15.0, 61)
SHARES = np.concatenate([np.geomspace(1e-5, 0.5, 40), 1 - np.geomspace(1e-5, 0.4, 40)])
_FORMATS = (("float32", torch.float32, 1e-3), ("float64", torch.float64, 1e-6))


def _same_everywhere(function: Callable[[Any], Any], at: np.ndarray) -> None:
    """Of numbers, arrays and tensors of either precision: the same values, in the type, shape and dtype that came in."""
    reference = np.asarray(function(at))
    require(reference.shape == at.shape, f"shape {at.shape} became {reference.shape}")
    require(np.isfinite(reference).all(), f"not finite at {at[~np.isfinite(reference)][:3].tolist()}")
    close(function(float(at[7])), reference[7], "a number and an array give different values")
    for name, dtype, tolerance in _FORMATS:
        grid = at.astype(name).reshape(-1, 1)[: len(at) // 2 * 2].reshape(2, -1)
        array, tensor = function(grid), function(torch.from_numpy(grid))
        require(isinstance(tensor, torch.Tensor), f"a torch tensor became a {type(tensor).__name__}: take the namespace from as_array")
        require(isinstance(array, np.ndarray), f"a numpy array became a {type(array).__name__}")
        require(array.dtype == name and tensor.dtype == dtype, f"{name} became {array.dtype} (numpy) and {tensor.dtype} (torch)")
        shapes = array.shape, tuple(tensor.shape)
        require(shapes == (grid.shape, grid.shape), f"shape {grid.shape} became {shapes[0]} (numpy) and {shapes[1]} (torch)")
        close(array, tensor, f"numpy and torch differ in {name}", tolerance, tolerance)
        close(array, reference[: grid.size].reshape(grid.shape), f"{name} differs from float64", tolerance * 10, tolerance * 10)
    again = np.asarray(function(at))
    require(np.array_equal(again, reference), "two calls give different values")


def weights_are_the_same_everywhere(weighting: Weighting) -> None:
    """log weights keep type, shape and dtype, agree between numpy and torch, are finite and deterministic"""
    for target in map(make_target, TARGETS):
        _same_everywhere(partial(weighting.log_weight, target=target), LEVELS)


def weights_are_weights(weighting: Weighting) -> None:
    """weights are finite and not negative, also far out"""
    for target in map(make_target, TARGETS):
        for levels in (LEVELS, torch.from_numpy(LEVELS).float()):
            weights = np.asarray(weighting.weight(levels, target))
            require(np.isfinite(weights).all() and (weights >= 0).all(), f"for {target.kind}: {weights[:3]} ...")  # type: ignore[attr-defined]


def weighted_gradients_are_finite(weighting: Weighting) -> None:
    """gradients of the weighted loss are finite"""
    levels = torch.from_numpy(LEVELS).float()
    head = weighting.head()
    for target in map(make_target, TARGETS):
        output = torch.ones_like(levels).requires_grad_()
        loss = weighting.weight(levels, target) * output.square()
        u = head(levels) if head else torch.zeros_like(levels)
        (loss / u.exp() + u).sum().backward()
        require(torch.isfinite(output.grad).all(), f"for {target.kind}")  # type: ignore[attr-defined, arg-type]
    for name, parameter in head.named_parameters() if head else ():
        require(parameter.grad is not None and torch.isfinite(parameter.grad).all(), f"of {name}, which it learns")


def schedule_functions_are_the_same_everywhere(schedule: Schedule) -> None:
    """log_snr, cdf, icdf and log_prob keep type, shape and dtype, agree between numpy and torch, are finite and deterministic"""
    inner = np.linspace(0.02, 0.98, 61)
    levels = np.linspace(float(schedule.icdf(0.02)), float(schedule.icdf(0.98)), 61)
    for function, at in ((schedule.log_snr, inner), (schedule.icdf, inner), (schedule.cdf, levels), (schedule.log_prob, levels)):
        _same_everywhere(function, at)


def quantiles_invert_the_cdf(schedule: Schedule) -> None:
    """cdf and icdf invert each other, and log_snr falls with t"""
    close(schedule.cdf(schedule.icdf(SHARES)), SHARES, "cdf(icdf(u)) is not u", 1e-6, 1e-7)
    close(schedule.log_snr(SHARES), schedule.icdf(1 - SHARES), "log_snr(t) is not icdf(1 - t)", 1e-6, 1e-6)
    require((np.diff(schedule.log_snr(np.sort(SHARES))) <= 1e-12).all(), "log_snr rises somewhere")


def density_is_the_derivative(schedule: Schedule) -> None:
    """log_prob is the logarithm of the cdf's derivative"""
    grid = np.linspace(float(schedule.icdf(0.05)), float(schedule.icdf(0.95)), 20_001)
    density = np.exp(schedule.log_prob(grid))
    mass = float(np.sum((density[1:] + density[:-1]) * np.diff(grid) / 2))
    require(abs(mass - 0.9) < 0.01, f"the density between the quantiles of 5 % and 95 % has the mass {mass:.4f} instead of 0.9")


def draws_follow_the_density(schedule: Schedule) -> None:
    """draws follow the density, stay in the stated range, and depend on the seed alone"""
    drawn = np.sort(schedule.sample(20_000, 0))
    require(drawn.min() >= schedule.log_snr_min and drawn.max() <= schedule.log_snr_max, "a draw lies beyond log_snr_min or log_snr_max")
    shares = (np.arange(20_000) + 0.5) / 20_000
    inside = (drawn > schedule.log_snr_min) & (drawn < schedule.log_snr_max)
    worst = float(np.abs(schedule.cdf(drawn[inside]) - shares[inside]).max()) if inside.any() else 1.0
    require(worst < 0.02, f"draws and cdf differ by {worst:.3f}")
    require(np.array_equal(np.sort(schedule.sample(20_000, 0)), drawn), "the same seed gives other draws")


def coefficients_are_the_same_everywhere(target: Target) -> None:
    """coefficients keep type, shape and dtype, agree between numpy and torch, are finite and deterministic"""
    _same_everywhere(target.log_jacobian, LEVELS)
    for function in (target.of_clean_and_noise, target.to_clean):
        for part in (0, 1):
            def coefficient(x: Any, function: Any = function, part: int = part) -> Any:
                return function(*alpha_sigma(x))[part] * alpha_sigma(x)[0] ** 0  # some coefficients are plain numbers

            _same_everywhere(coefficient, np.linspace(-8.0, 8.0, 61))


def output_and_image_determine_each_other(target: Target) -> None:
    """the image that an output stands for is the one it was made of, and errors convert by log_jacobian"""
    levels = np.linspace(-8.0, 8.0, 61)
    alpha, sigma = alpha_sigma(levels)
    draws = np.random.default_rng(0)
    clean, noise = draws.normal(size=levels.shape), draws.normal(size=levels.shape)
    output, noisy = target.training_target(clean, noise, alpha, sigma), alpha * clean + sigma * noise
    close(target.denoise(output, noisy, levels), clean, "denoise(training_target) is not the clean image", 1e-6, 1e-6)
    error = target.denoise(output + 1.0, noisy, levels) - clean
    close(error**2, np.exp(target.log_jacobian(levels)), "an output off by 1 gives no image off by exp(log_jacobian / 2)", 1e-5)


CONTRACTS: Contracts = {
    Weighting: (weights_are_the_same_everywhere, weights_are_weights, weighted_gradients_are_finite),
    Schedule: (schedule_functions_are_the_same_everywhere, quantiles_invert_the_cdf, density_is_the_derivative, draws_follow_the_density),
    Target: (coefficients_are_the_same_everywhere, output_and_image_determine_each_other),
}
