"""The Fréchet distance against exact values, also for singular covariances."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.conftest import GOLDEN
from trainables.errors import ConfigError
from trainables.metrics.frechet import FeatureStatistics, frechet, frechet_distance, influence


@pytest.mark.parametrize("case", json.loads((GOLDEN / "frechet.json").read_text())["cases"], ids=lambda c: f"d{c['d']}n{c['n1']}")
def test_equals_exact_values(case: dict) -> None:
    rng, d = np.random.default_rng(case["seed"]), case["d"]
    a, b = rng.standard_normal((d, d)) / np.sqrt(d), rng.standard_normal((d, d)) / np.sqrt(d)
    x, y = rng.standard_normal((case["n1"], d)) @ a + 0.3, rng.standard_normal((case["n2"], d)) @ b
    distance = frechet_distance(FeatureStatistics(d).update(x), FeatureStatistics(d).update(y))
    assert distance == pytest.approx(case["frechet"], rel=1e-9)


def test_merging_in_any_order_equals_one_pass() -> None:
    x = np.random.default_rng(0).standard_normal((1000, 16)) * 5 + 100
    whole = FeatureStatistics(16).update(x)
    parts = [FeatureStatistics(16).update(p) for p in np.array_split(x, [10, 11, 700])]
    for order in ([0, 1, 2, 3], [3, 1, 0, 2]):
        merged = FeatureStatistics(16)
        for i in order:
            merged.merge(parts[i])
        assert merged.count == 1000
        np.testing.assert_allclose(merged.mean, whole.mean, rtol=1e-12)
        np.testing.assert_allclose(merged.covariance, np.cov(x, rowvar=False), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("n_a", "n_b", "route"), [(20, 30, "gram"), (20, 300, "gram"), (300, 20, "gram"), (300, 400, "cholesky")])
def test_every_route_gives_the_same_distance(n_a: int, n_b: int, route: str) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((n_a, 40)) @ rng.standard_normal((40, 40)), rng.standard_normal((n_b, 40)) + 1
    a, b = FeatureStatistics(40).update(x), FeatureStatistics(40).update(y)
    found = frechet(a, b)
    difference = a.mean - b.mean
    factors = [(v - v.mean(0)).T / np.sqrt(len(v) - 1) for v in (x, y)]
    cross = np.linalg.svd(factors[0].T @ factors[1], compute_uv=False).sum()
    exact = difference @ difference + np.trace(a.covariance) + np.trace(b.covariance) - 2 * cross
    assert found.route == route and found.value == pytest.approx(exact, rel=1e-9) and 0 <= found.residue < 1e-4


def test_dead_features_take_the_route_that_keeps_their_digits() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((300, 40)), rng.standard_normal((400, 40)) * 2
    x[:, :10], y[:, :10] = 0.0, 0.0
    found = frechet(FeatureStatistics(40).update(x), FeatureStatistics(40).update(y))
    alive = frechet(FeatureStatistics(30).update(x[:, 10:]), FeatureStatistics(30).update(y[:, 10:]))
    assert found.route == "singular values" and found.value == pytest.approx(alive.value, rel=1e-10)


def test_influence_predicts_what_a_resample_does() -> None:
    x = np.random.default_rng(1).standard_normal((600, 12)) * np.linspace(0.5, 2, 12)
    b = FeatureStatistics(12).update(np.random.default_rng(2).standard_normal((4000, 12)) + 0.3)
    a = FeatureStatistics(12).update(x)
    weights = influence(x, a, b)
    rng, resampled, predicted = np.random.default_rng(3), [], []
    for _ in range(200):
        chosen = rng.integers(0, len(x), len(x))
        resampled.append(frechet_distance(FeatureStatistics(12).update(x[chosen]), b))
        predicted.append(weights[chosen].mean())
    assert np.corrcoef(resampled, predicted)[0, 1] > 0.99
    assert weights.std() / np.sqrt(len(x)) == pytest.approx(np.std(resampled), rel=0.15)
    assert influence(x[:10], FeatureStatistics(12).update(x[:10]), b) is None


def test_directions_without_any_spread_change_no_influence() -> None:
    """An isometry into more dimensions leaves everything as it is, though the covariance has rank 3 of 12 then."""
    rng = np.random.default_rng(0)
    ours, theirs = rng.standard_normal((200, 3)), rng.standard_normal((300, 3)) * [1.0, 2.0, 0.5] + 0.3
    into = np.linalg.qr(rng.standard_normal((12, 3)))[0].T
    small = influence(ours, FeatureStatistics(3).update(ours), FeatureStatistics(3).update(theirs))
    large = influence(ours @ into, FeatureStatistics(12).update(ours @ into), FeatureStatistics(12).update(theirs @ into))
    assert np.allclose(small, large, rtol=1e-6, atol=1e-8)


def test_statistics_outlive_the_process() -> None:
    for count in (5, 50):
        stats = FeatureStatistics(8).update(np.random.default_rng(1).standard_normal((count, 8)))
        again = FeatureStatistics.from_arrays(stats.arrays())
        np.testing.assert_allclose(again.covariance, stats.covariance, rtol=1e-12)


def test_a_set_has_no_distance_to_itself() -> None:
    stats = FeatureStatistics(8).update(np.random.default_rng(1).standard_normal((50, 8)))
    assert abs(frechet_distance(stats, stats)) < 1e-12


def test_broken_features_are_refused() -> None:
    with pytest.raises(ConfigError, match="NaN or infinity"):
        FeatureStatistics(2).update(np.array([[1.0, np.nan]]))
    with pytest.raises(ConfigError, match=r"\[N, 2\] is needed"):
        FeatureStatistics(2).update(np.zeros((3, 4)))
    with pytest.raises(ConfigError, match="at least 2 samples"):
        _ = FeatureStatistics(2).covariance


def test_two_samples_have_a_covariance_and_one_has_none() -> None:
    rows = np.array([[0.0, 1.0], [2.0, 5.0]])
    np.testing.assert_allclose(FeatureStatistics(2).update(rows).covariance, np.cov(rows.T))
    with pytest.raises(ConfigError, match="at least 2 samples; there are 1"):
        _ = FeatureStatistics(2).update(rows[:1]).covariance
