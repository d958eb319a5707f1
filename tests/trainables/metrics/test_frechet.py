"""The Fréchet distance against exact values, also for singular covariances."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.conftest import GOLDEN
from trainables.errors import ConfigError
from trainables.metrics.frechet import FeatureStatistics, frechet_distance


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
