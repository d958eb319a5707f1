"""The Fréchet distance of 2,048 features against the square root of the product and against the product's eigenvalues."""

from __future__ import annotations

import time
import warnings

import numpy as np
import scipy.linalg
import torch

from tests.benchmarks.record import Result, machine
from trainables.metrics.frechet import FeatureStatistics, frechet_distance

DIM = 2048


def run() -> list[Result]:
    rng = np.random.default_rng(0)
    mix = rng.standard_normal((DIM, DIM)) / DIM**0.5
    a, b = (FeatureStatistics(DIM).update(np.maximum(rng.standard_normal((4096, DIM)) @ mix + shift, 0)) for shift in (0.0, 0.1))
    ours, value = min((_timed(lambda: frechet_distance(a, b)) for _ in range(3)), key=lambda found: found[0])
    eigenvalues, by_eigenvalues = min((_timed(lambda: _eigenvalues(a, b)) for _ in range(3)), key=lambda found: found[0])
    root, by_root = _timed(lambda: _square_root(a, b))
    for other in (by_eigenvalues, by_root):
        assert abs(other - value) < 1e-6 * value, (value, other)
    name = f"Fréchet distance, {DIM} features"
    return [
        Result(name, ours, root, "scipy sqrtm, as pytorch-fid", "s", root / ours, machine()),
        Result(name, ours, eigenvalues, "eigvals of the product, as torchmetrics", "s", eigenvalues / ours, machine()),
        Result("  relative difference to eigvals", abs(by_eigenvalues - value) / value, 1e-6, "goal", "", 1.0, machine()),
    ]


def _timed(call):
    started = time.perf_counter()
    value = call()
    return time.perf_counter() - started, value


def _eigenvalues(a: FeatureStatistics, b: FeatureStatistics) -> float:
    product = torch.from_numpy(a.covariance) @ torch.from_numpy(b.covariance)
    return _distance(a, b, torch.linalg.eigvals(product).sqrt().real.sum().item())


def _square_root(a: FeatureStatistics, b: FeatureStatistics) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _distance(a, b, float(np.trace(scipy.linalg.sqrtm(a.covariance @ b.covariance).real)))


def _distance(a: FeatureStatistics, b: FeatureStatistics, cross: float) -> float:
    difference = a.mean - b.mean
    return float(difference @ difference + np.trace(a.covariance) + np.trace(b.covariance) - 2 * cross)
