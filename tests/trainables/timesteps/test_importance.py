"""Draws from one density count so that their mean is that of another, whatever the policy, also at the ends of the range."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from trainables.errors import ConfigError
from trainables.recipe import make_recipe
from trainables.schedules import KINDS as SCHEDULES
from trainables.schedules import make_schedule
from trainables.timesteps import KINDS as POLICIES
from trainables.timesteps.importance import Importance
from trainables.timesteps.independent import Independent

DRAWS = 20_000
KNOWN = [name for name, policy in POLICIES.items() if policy().density(make_schedule("cosine")) is not None]
NARROW = {"log_snr_min": -6, "log_snr_max": 6}  # all schedules have some mass at these ends


def functions(log_snr: np.ndarray) -> np.ndarray:
    """Some functions of the level [3, N]."""
    return np.stack([np.ones_like(log_snr), np.tanh(log_snr), np.abs(log_snr) < 1])


def test_every_policy_but_adaptive_knows_its_density() -> None:
    assert sorted(KNOWN) == ["loss_second_moment", "speed", "stratified", "uniform"]


@pytest.mark.parametrize("policy", KNOWN)
def test_means_are_those_of_the_wanted_density(policy: str) -> None:
    count = 0
    for drawn, wanted in itertools.product(SCHEDULES, repeat=2):
        schedule, base = make_schedule(drawn, **NARROW), make_schedule(wanted, **NARROW)
        settings = POLICIES[policy]()
        importance = Importance(base, schedule, settings)
        if importance.effective_share < 0.1 or importance.missed > 0:
            continue
        levels, _ = settings.start(schedule, 0, DRAWS).draw(0, DRAWS, torch.empty(0))
        corrections = importance(levels)
        expected = functions(base.from_uniform((np.arange(200_000) + 0.5) / 200_000)).mean(1)
        values = corrections * functions(levels)
        z = (values.mean(1) - expected) / (values.std(1) / DRAWS**0.5 + 1e-4)
        assert np.abs(z).max() < 4.5, f"{drawn} to {wanted}: {z}"
        count += 1
    assert count > 30


@pytest.mark.parametrize("wanted", [0.5, 1.0, 1.5])
def test_the_effective_share_is_that_of_the_integral(wanted: float) -> None:
    schedule, base = (make_schedule("laplace", b=b, log_snr_min=-60, log_snr_max=60) for b in (1.0, wanted))
    # E r^2 = b1^2 / (b2 (2 b1 - b2)) for Laplace densities of widths b1 (drawn) and b2 (wanted)
    assert Importance(base, schedule, Independent()).effective_share == pytest.approx(wanted * (2 - wanted), rel=1e-3)


def test_at_the_ends_of_the_range_masses_are_compared_not_densities() -> None:
    schedule, base = make_schedule("cauchy", **NARROW), make_schedule("cauchy", gamma=3, **NARROW)
    ratio = Importance(base, schedule, Independent())(np.array([-6.0, 0.0, 6.0]))
    mass = base.cdf(-6.0) / schedule.cdf(-6.0)
    np.testing.assert_allclose(ratio, [mass, 1 / 3, mass], rtol=1e-12)
    assert not np.isclose(mass, np.exp(base.log_prob(6.0) - schedule.log_prob(6.0)), rtol=0.01)


@pytest.mark.parametrize(("fields", "words"), [
    ({"timesteps": "adaptive"}, ["importance_base", "adaptive draws from a density of its own", "another policy"]),
    ({"schedule": {"kind": "laplace", "log_snr_max": 10}}, ["importance_base", "-20 to 20", "must be that of schedule", "-20 to 10"]),
])
def test_what_cannot_be_corrected_is_refused(fields: dict, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        make_recipe({"importance_base": "cosine", **fields})
    for word in words:
        assert word in str(caught.value)


def test_few_draws_that_count_are_warned_of() -> None:
    narrow = make_recipe({"schedule": {"kind": "laplace", "b": 0.5}, "importance_base": "cosine"})
    assert narrow.importance.effective_share < 1e-3 and "effective sample share" in narrow.warnings[0]
    outside = make_recipe({"schedule": "ddpm_linear", "importance_base": "cosine"})
    assert [w for w in outside.warnings if "never draws" in w] and outside.importance.missed == pytest.approx(0.0093, rel=0.02)
    assert not make_recipe({"schedule": "cosine", "importance_base": {"kind": "laplace", "b": 2}}).warnings
    assert make_recipe({"schedule": "cosine", "importance_base": "cosine"}).importance.effective_share == pytest.approx(1, abs=1e-5)
