"""Scoring weights: generate images from fixed noise, and compare their features with those of the real images."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from trainables.data import DataSource, ImageData
from trainables.denoiser import SIGMA_DATA, Denoiser, one_hot
from trainables.metrics.features import Extractor
from trainables.metrics.frechet import FeatureStatistics, frechet_distance
from trainables.randomness import normal
from trainables.recipe import Evaluation, Recipe
from trainables.sampling.guidance import Guidance, guided

GRID_IMAGES = 64


@dataclass(frozen=True)
class Score:
    """A Fréchet distance and the first of the images that it was computed from."""

    distance: float
    examples: np.ndarray  # raw values [up to 64, C, H, W]


class Evaluator:
    """Bound to one data set and evaluation; the reference statistics are computed once."""

    def __init__(self, data: ImageData, settings: Evaluation, cache: Path) -> None:
        self.data, self.settings = data, settings
        self.metric = settings.features.metric
        self._extract: Extractor = settings.features.prepare(data, cache)
        self._reference = self._statistics_of(data.images)

    def score(self, denoiser: Denoiser, samples: int, weaker: Denoiser | None = None) -> Score:
        """Generate `samples` images; image i is the same whatever the number of images, batches or workers.

        `weaker` is the guide where the evaluation asks for autoguidance; without one, sampling is not guided.
        """
        statistics = FeatureStatistics(self._reference.dim)
        examples: list[np.ndarray] = []
        for first in range(0, samples, self.settings.batch_size):
            images = self.generate(denoiser, first, min(self.settings.batch_size, samples - first), weaker)
            statistics.update(self._extract(images))
            if first < GRID_IMAGES:
                examples.append(images)
        return Score(frechet_distance(statistics, self._reference), np.concatenate(examples)[:GRID_IMAGES])

    @torch.inference_mode()
    def generate(self, denoiser: Denoiser, first: int, count: int, weaker: Denoiser | None = None) -> np.ndarray:
        """Images first .. first + count - 1 as raw values of the data; labels go round the classes."""
        device = next(denoiser.parameters()).device
        was_training = denoiser.training
        denoiser.eval()
        noise = normal(self.settings.seed, "evaluation noise", first, count, self.data.shape).to(device)
        labels = None
        if self.data.classes:
            labels = one_hot(torch.arange(first, first + count, device=device) % self.data.classes, self.data.classes)
        guidance = self.settings.guidance
        if guidance.by == "weaker" and weaker is None:
            guidance = Guidance()  # while training, the earlier average that would guide is not at hand
        images = self.settings.sampler.sample(guided(guidance, denoiser, labels, weaker), noise)
        denoiser.train(was_training)
        return self.data.raw(images / SIGMA_DATA)

    def _statistics_of(self, images: np.ndarray) -> FeatureStatistics:
        dim = self._extract(images[:1]).shape[1]
        statistics = FeatureStatistics(dim)
        for first in range(0, len(images), 1024):
            statistics.update(self._extract(images[first : first + 1024]))
        return statistics


def evaluator_of(recipe: Recipe, cache: Path) -> Evaluator:
    """The evaluator of a recipe; recipes with the same data and evaluation share one per process."""
    return _evaluator(recipe.data, recipe.evaluation, cache)


@lru_cache(maxsize=2)
def _evaluator(source: DataSource, settings: Evaluation, cache: Path) -> Evaluator:
    return Evaluator(source.load(), settings, cache)
