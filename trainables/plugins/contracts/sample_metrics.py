"""Contract of metrics of samples."""

from __future__ import annotations

import math

import numpy as np

from trainables.metrics.features import Extracted
from trainables.metrics.frechet import FeatureStatistics
from trainables.metrics.per_sample import Compared, SampleMetric
from trainables.plugins.contracts.requirement import Contracts, require


def numbers_have_their_names(metric: SampleMetric) -> None:
    """each named metric is a finite number, named for its feature space, the same every time"""
    names = metric.names("probe")
    require(names and not set(names) & set(metric.names("pixels")), f"names({'probe'!r}) gives {names}: use names that end with the space")
    found, again = metric.of(_compared()), metric.of(_compared())
    require(set(names) <= found.keys(), f"of() gives {', '.join(found) or 'nothing'}, and names() says {', '.join(names)}")
    bad = {name: value for name, value in found.items() if not isinstance(value, float) or not math.isfinite(value)}
    require(not bad, f"{bad} is no finite float")
    require(found == again, "the same images give other numbers")


def images_are_left_as_they_are(metric: SampleMetric) -> None:
    """features are not changed"""
    images = _compared()
    before = images.made.features.copy(), images.real.copy()
    metric.of(images)
    same = np.array_equal(images.made.features, before[0]) and np.array_equal(images.real, before[1])
    require(same, "of() has changed the features, which other metrics look at")


def _compared() -> Compared:
    draws = np.random.default_rng(0)
    made, real = (draws.normal(size=(200, 8)).astype(np.float32) + shift for shift in (np.float32(0.5), np.float32(0)))
    return Compared(Extracted(made), real, FeatureStatistics(8).update(real), "probe")


CONTRACTS: Contracts = {SampleMetric: (numbers_have_their_names, images_are_left_as_they_are)}
