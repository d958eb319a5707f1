"""Every split makes groups that hold each noise level exactly once."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainables.errors import ConfigError
from trainables.experts.groups import group_of, inside, levels_of, split_levels
from trainables.experts.loss_curve import LossCurve
from trainables.experts.splits import KINDS
from trainables.experts.splits.equal_loss import EqualLoss
from trainables.experts.splits.equal_steps import EqualSteps
from trainables.experts.splits.given import Given
from trainables.experts.splits.split import Axis, Split
from trainables.experts.splits.stick_breaking import StickBreaking
from trainables.log_snr import from_edm_sigma
from trainables.sampling.heun import Heun
from trainables.schedules import make_schedule

EVALUATED = np.asarray(from_edm_sigma(Heun(num_steps=18).levels))
CURVE = LossCurve(np.linspace(-8, 8, 17), 0.1 + 0.8 / (1 + np.exp(np.linspace(-4, 4, 17))))
AXIS = Axis(EVALUATED, make_schedule("edm_lognormal"), CURVE)


def made(kind: str, groups: int) -> Split:
    if kind == "given":
        return Given(fractions=tuple(np.linspace(0.1, 0.9, groups - 1)))
    return KINDS[kind]()


@pytest.mark.parametrize("groups", range(1, 9))
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_edges_rise_and_each_level_has_one_group(kind: str, groups: int) -> None:
    edges = split_levels(made(kind, groups), groups, AXIS)
    assert len(edges) == groups - 1 and all(a < b for a, b in itertools.pairwise(edges))
    levels = levels_of(edges)
    for x in [*EVALUATED, *edges, *np.nextafter(edges, -np.inf), *np.nextafter(edges, np.inf), -50.0, 50.0, AXIS.range[0], AXIS.range[1]]:
        holders = [i for i, interval in enumerate(levels) if interval is None or float(x) in interval]
        assert holders == [group_of(edges, float(x))]
    for interval in levels:
        low, high = inside(interval, AXIS)
        assert AXIS.range[0] - 30 < low < high < AXIS.range[1] + 30


@given(st.lists(st.floats(0.02, 0.98), min_size=7, max_size=7), st.integers(2, 8), st.floats(-40, 40))
@settings(max_examples=200, deadline=None)
def test_every_point_of_the_stick_breaking_cube_is_an_ordered_partition(breaks: list[float], groups: int, level: float) -> None:
    split = StickBreaking(**{f"break_{i}": b for i, b in enumerate(breaks, 1)})
    edges = split_levels(split, groups, AXIS)
    low, high = AXIS.range
    assert all(a < b for a, b in itertools.pairwise([low, *edges, high]))
    assert sum(i is None or level in i for i in levels_of(edges)) == 1


def test_uniform_breaks_make_all_partitions_equally_likely() -> None:
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(4000):
        split = StickBreaking(**{f"break_{i}": float(u) for i, u in enumerate(rng.uniform(1e-9, 1, 3), 1)})
        low, high = AXIS.range
        shares.append(np.diff([low, *split.edges(4, AXIS), high]) / (high - low))
    np.testing.assert_allclose(np.mean(shares, 0), 0.25, atol=0.012)  # a flat Dirichlet law of four parts
    np.testing.assert_allclose(np.var(shares, 0), 3 / (16 * 5), atol=0.004)


def test_equal_splits_are_equal_in_what_they_say() -> None:
    steps = split_levels(EqualSteps(), 4, AXIS)
    counts = np.bincount([group_of(steps, x) for x in EVALUATED])
    assert counts.sum() == 35 and counts.max() - counts.min() <= 2  # most levels are evaluated twice
    mass = split_levels(KINDS["equal_mass"](), 4, AXIS)
    np.testing.assert_allclose(AXIS.schedule.cdf(np.array(mass)), [0.25, 0.5, 0.75], atol=1e-12)
    widths = np.diff([AXIS.range[0], *split_levels(KINDS["equal_log_snr"](), 4, AXIS), AXIS.range[1]])
    np.testing.assert_allclose(widths, widths[0])
    losses = split_levels(EqualLoss(), 4, AXIS)
    parts = [CURVE.integral(a, b) for a, b in itertools.pairwise([AXIS.range[0], *losses, AXIS.range[1]])]
    np.testing.assert_allclose(parts, np.mean(parts), rtol=1e-5)
    flat = Axis(EVALUATED, AXIS.schedule, LossCurve(np.array([-1.0, 1.0]), np.array([0.5, 0.5])))
    np.testing.assert_allclose(split_levels(EqualLoss(), 4, flat), split_levels(KINDS["equal_log_snr"](), 4, flat), rtol=1e-5, atol=1e-5)


@given(st.integers(1, 8), st.lists(st.integers(1, 3), min_size=8, max_size=40))
@settings(max_examples=100, deadline=None)
def test_steps_are_shared_out_for_any_numbers_of_evaluations(groups: int, counts: list[int]) -> None:
    evaluated = np.repeat(np.arange(len(counts), dtype=float), counts)
    edges = split_levels(EqualSteps(), groups, Axis(evaluated, AXIS.schedule))
    shares = np.bincount([group_of(edges, x) for x in evaluated], minlength=groups)
    assert (shares > 0).all() and len(shares) == groups


def test_what_cannot_be_split_is_refused() -> None:
    with pytest.raises(ConfigError, match="2 noise levels, too few for 3 groups"):
        split_levels(EqualSteps(), 3, Axis(np.array([0.0, 1.0, 1.0]), AXIS.schedule))
    with pytest.raises(ConfigError, match=r"at least 0\.001"):
        split_levels(Given(fractions=(0.5, 0.5 + 1e-9)), 3, AXIS)
    with pytest.raises(ValueError, match="rise between 0 and 1"):
        Given(fractions=(0.6, 0.5))
    with pytest.raises(ConfigError, match="not been measured"):
        split_levels(EqualLoss(), 2, Axis(EVALUATED, AXIS.schedule))


def test_the_loss_curve_integrates_exactly() -> None:
    curve = LossCurve(np.array([0.0, 1.0, 3.0]), np.array([1.0, 3.0, 1.0]))
    assert curve.integral(0, 3) == pytest.approx(2 + 4)
    assert curve.integral(-1, 0.5) == pytest.approx(1 + (1 + 2) / 2 * 0.5)
    assert curve.mean(-2, -1) == pytest.approx(1) and math.isclose(curve.integral(3, 5), 2)
