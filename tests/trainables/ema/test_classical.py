"""Equivalents of classical averages, against averages that are followed."""

from __future__ import annotations

import numpy as np
import pytest

from trainables.ema import decay_to_sigma_rel, half_life_to_sigma_rel, ramp_to_sigma_rel, sigma_rel_to_half_life
from trainables.errors import ConfigError


def width_of(betas: np.ndarray) -> float:
    """Standard deviation of the weights' ages, by following what each step's weights are worth in the end."""
    shares = (1 - betas) * np.append(np.cumprod(betas[:0:-1])[::-1], 1.0)
    shares /= shares.sum()
    t = np.arange(1, len(betas) + 1) / len(betas)
    return float(np.sqrt(shares @ t**2 - (shares @ t) ** 2))


@pytest.mark.parametrize("decay", [0.9, 0.999, 0.9999])
def test_a_constant_decay(decay: float) -> None:
    assert decay_to_sigma_rel(decay, 4096) == pytest.approx(width_of(np.full(4096, decay)), rel=2e-3)


@pytest.mark.parametrize(("ratio", "expected"), [(0.05, 0.0629), (0.09, 0.1024)])
def test_a_half_life_ramp_is_a_power_function(ratio: float, expected: float) -> None:
    t = np.arange(1, 4097.0)
    assert ramp_to_sigma_rel(ratio) == pytest.approx(expected, abs=5e-5)
    assert ramp_to_sigma_rel(ratio) == pytest.approx(width_of(0.5 ** (1 / (ratio * t))), rel=2e-3)


def test_the_published_baseline_and_the_way_back() -> None:
    assert half_life_to_sigma_rel(50, 2147) == pytest.approx(0.034, abs=5e-4)  # EDM2's configuration A
    for sigma_rel in (0.01, 0.034, 0.15, 0.28):
        assert half_life_to_sigma_rel(sigma_rel_to_half_life(sigma_rel, 1e6), 1e6) == pytest.approx(sigma_rel, rel=1e-6)
    assert half_life_to_sigma_rel(1e12, 1) == pytest.approx(12**-0.5)


def test_impossible_averages_are_refused() -> None:
    for call in (lambda: decay_to_sigma_rel(1.0, 5), lambda: half_life_to_sigma_rel(0, 5), lambda: ramp_to_sigma_rel(0.7),
                 lambda: sigma_rel_to_half_life(0.3, 5)):
        with pytest.raises(ConfigError):
            call()
