"""Factorial effects against means written out by hand, simulations, and fractions."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

from reports.statistics.effects import Run, effects
from search_spaces.fractions import fraction

FACTORS = {"a": ("x", "y"), "b": (0.1, 0.2), "c": (False, True)}


def full(factors: dict[str, tuple], seeds: int, log_score: Any, noise: float = 0.0, rng: Any = None) -> list[Run]:
    """Every combination on every seed; `log_score` takes the numbers of the levels."""
    return made(factors, itertools.product(*(range(len(levels)) for levels in factors.values())), seeds, log_score, noise, rng)


def made(factors: dict[str, tuple], combinations: Any, seeds: int, log_score: Any, noise: float = 0.0, rng: Any = None) -> list[Run]:
    rng = rng or np.random.default_rng(0)
    return [
        ({name: levels[i] for (name, levels), i in zip(factors.items(), numbers, strict=True)}, seed,
         math.exp(log_score(*numbers) + 0.3 * math.sin(seed) + noise * rng.normal()))
        for numbers in combinations for seed in range(seeds)
    ]


def test_ratios_are_those_of_geometric_means() -> None:
    runs = full(FACTORS, 4, lambda a, b, c: math.log(20) + a * math.log(0.9) + b * math.log(1.2) + a * b * math.log(1.1), noise=1e-6)
    found = {effect.factors: effect for effect in effects(FACTORS, runs)}
    assert list(found) == [("a",), ("b",), ("c",), ("a", "b"), ("a", "c"), ("b", "c")]
    half = math.sqrt(1.1)  # of the interaction, in the mean over the other factor's levels
    assert found["a",].ratio == pytest.approx(0.9 * half, rel=1e-5) and found["b",].ratio == pytest.approx(1.2 * half, rel=1e-5)
    assert found["c",].ratio == pytest.approx(1, rel=1e-5) and found["a", "b"].ratio == pytest.approx(1.1, rel=1e-5)
    assert all(effect.low < effect.ratio < effect.high for effect in found.values()) and found["a", "b"].p < 1e-9


def test_an_effect_by_hand() -> None:
    """Two factors, two seeds: the F test of the second one from sums of squares that are written out."""
    factors = {"a": (0, 1), "b": (0, 1)}
    runs = full(factors, 2, lambda a, b: 0.0, noise=0.5)
    y = np.log([score for _, _, score in runs]).reshape(2, 2, 2)  # [a, b, seed]
    parts = {"mean": np.full_like(y, y.mean()), "seed": np.broadcast_to(y.mean(axis=(0, 1)), y.shape) - y.mean()}
    a = y.mean(axis=(1, 2))[:, None, None] - y.mean()
    b = y.mean(axis=(0, 2))[None, :, None] - y.mean()
    ab = y.mean(axis=2)[:, :, None] - y.mean() - a - b
    rest = y - parts["mean"] - parts["seed"] - a - b - ab
    error = (rest**2).sum() / (8 - 1 - 1 - 3)
    found = {effect.factors: effect.f for effect in effects(factors, runs)}
    by_hand = {("a",): 4 * (a**2).sum() / error, ("b",): 4 * (b**2).sum() / error, ("a", "b"): 2 * (ab**2).sum() / error}
    assert found == pytest.approx(by_hand)


@pytest.mark.parametrize(("times", "slack"), [(40, 0.08), pytest.param(600, 0.025, marks=[pytest.mark.slow, pytest.mark.timeout(900)])])
def test_errors_are_as_rare_as_said_and_intervals_cover(times: int, slack: float) -> None:
    rng, wrong, covered = np.random.default_rng(3), 0, []
    for _ in range(times):
        found = effects(FACTORS, full(FACTORS, 3, lambda a, b, c: 0.1 * a, 0.1, rng))
        wrong += any(effect.p < 0.05 for effect in found[1:])
        covered.append(found[0].low <= math.exp(0.1) <= found[0].high)
    assert wrong / times <= 0.05 + slack and 0.95 - slack <= np.mean(covered) <= min(0.95 + slack, 1.0)


def test_factors_of_more_levels_have_a_test_and_no_ratio() -> None:
    factors = {"a": ("x", "y", "z"), "b": (0, 1)}
    found = {e.factors: e for e in effects(factors, full(factors, 4, lambda a, b: 0.3 * (a == 2), noise=0.05))}
    assert (found["a",].degrees, found["b",].degrees, found["a", "b"].degrees) == (2, 1, 2)
    assert found["a",].p < 1e-4 and found["a",].ratio is None and found["a", "b"].ratio is None and found["b",].ratio is not None


def test_a_fraction_names_what_it_mixes() -> None:
    factors = dict.fromkeys("abcd", (0, 1))
    runs = made(factors, fraction(4, 4), 3, lambda a, b, c, d: 0.2 * a + 0.4 * c * d, noise=0.01)
    found = {effect.factors: effect for effect in effects(factors, runs, resolution=4)}
    assert len(found) == 4 + 3 and found["a", "b"].aliases == (("c", "d"),)
    assert found["a",].ratio == pytest.approx(math.exp(0.2), rel=0.02) and found["a", "b"].p < 1e-6  # which is c x d


@pytest.mark.parametrize("left", [0, 3, 6])
def test_what_is_too_little_is_said(left: int) -> None:
    runs = full({"a": (0, 1), "b": (0, 1)}, 2, lambda a, b: 0.0, noise=0.1)
    with pytest.raises(ValueError, match=r"have a score|cannot tell"):
        effects({"a": (0, 1), "b": (0, 1)}, runs[:left] if left < 6 else [run for run in runs if run[0] != {"a": 1, "b": 1}])
