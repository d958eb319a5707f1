"""Scoring weights: generate images from fixed noise, and compare their features with those of the real images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from trainables.data import DataSource, ImageData
from trainables.metrics.features import Extracted, Features
from trainables.metrics.frechet import frechet, influence
from trainables.metrics.reference import Reference
from trainables.metrics.samples import sample_metrics
from trainables.networks.modules.denoiser import SIGMA_DATA, Denoiser, one_hot
from trainables.optimisers.arithmetic import autocast
from trainables.randomness import normal
from trainables.recipe import Evaluation, Recipe
from trainables.sampling.guidance import Guidance, guided

GRID_IMAGES = 64


@dataclass(frozen=True)
class Score:
    """What a set of weights is worth, on one set of latents."""

    distance: float  # Fréchet distance in the first feature space
    metrics: dict[str, float]  # all that was asked for, by name; the distance among them
    standard_error: float  # of the distance, from the influence of single images; NaN where there are too few
    influence: np.ndarray | None = field(repr=False)  # of each image on the distance [N]; comparable between scores of the same latents
    examples: np.ndarray = field(repr=False)  # raw values [up to 64, C, H, W]


class Evaluator:
    """Bound to one data set and evaluation; what real images are compared by is computed once."""

    def __init__(self, data: ImageData, settings: Evaluation, cache: Path) -> None:
        self.data, self.settings = data, settings
        spaces: Sequence[Features] = (settings.features, *settings.also)
        self.metric = spaces[0].metric
        self._references = [Reference(space, data, cache) for space in spaces]

    def warm_up(self) -> None:
        """Compute (or load) what real images are compared by."""
        for reference in self._references:
            _ = reference.statistics

    def score(self, denoiser: Denoiser, samples: int, weaker: Denoiser | None = None, *, guidance: Guidance | None = None,
              latents: int = 0, interim: bool = False) -> Score:
        """Generate `samples` images; image i is the same whatever the number of images, batches or workers.

        `weaker` is the guide where guidance asks for one; without one, sampling is not guided.  `latents` numbers
        independent sets of noise.  An `interim` score is the distance in the first feature space alone.
        """
        references = self._references[:1] if interim else self._references
        extracted: list[list[Extracted]] = [[] for _ in references]
        examples: list[np.ndarray] = []
        for first in range(0, samples, self.settings.batch_size):
            count = min(self.settings.batch_size, samples - first)
            images = self.generate(denoiser, first, count, weaker, guidance=guidance, latents=latents)
            for parts, reference in zip(extracted, references, strict=True):
                parts.append(reference.extract(images))
            if first < GRID_IMAGES:
                examples.append(images)
        metrics: dict[str, float] = {}
        for parts, reference in zip(reversed(extracted), reversed(references), strict=True):
            made = Extracted(
                np.concatenate([p.features for p in parts]),
                np.concatenate([p.logits for p in parts if p.logits is not None]) if parts[0].logits is not None else None,
            )
            statistics = reference.statistics_of(made.features)
            distance = frechet(statistics, reference.statistics)
            metrics[reference.metric] = distance.value
            if not interim:
                metrics[f"residue_{reference.metric}"] = distance.residue
                metrics |= sample_metrics(self.settings.sample_metrics, made, reference.real, reference.statistics, reference.space)
        weights = None if interim else influence(made.features, statistics, reference.statistics)
        error = float(weights.std() / np.sqrt(samples)) if weights is not None else float("nan")
        return Score(metrics[self.metric], metrics, error, weights, np.concatenate(examples)[:GRID_IMAGES])

    @torch.inference_mode()
    def generate(self, denoiser: Denoiser, first: int, count: int, weaker: Denoiser | None = None, *,
                 guidance: Guidance | None = None, latents: int = 0) -> np.ndarray:
        """Images first .. first + count - 1 as raw values of the data; labels go round the classes."""
        device = next(denoiser.parameters()).device
        was_training = denoiser.training
        denoiser.eval()
        purpose = f"evaluation noise/{latents}" if latents else "evaluation noise"
        noise = normal(self.settings.seed, purpose, first, count, self.data.shape).to(device)
        labels = None
        if self.data.classes:
            labels = one_hot(torch.arange(first, first + count, device=device) % self.data.classes, self.data.classes)
        guidance = guidance or self.settings.guidance
        if guidance.by == "weaker" and weaker is None:
            guidance = Guidance()  # while training, the earlier average that would guide is not at hand
        with autocast(self.settings.precision, device.type):
            images = self.settings.sampler.sample(guided(guidance, denoiser, labels, weaker), noise)
        denoiser.train(was_training)
        return self.data.raw(images / SIGMA_DATA)


def evaluator_of(recipe: Recipe, cache: Path) -> Evaluator:
    """The evaluator of a recipe; recipes with the same data and evaluation share one per process."""
    return _evaluator(recipe.data, recipe.evaluation, cache)


@lru_cache(maxsize=2)
def _evaluator(source: DataSource, settings: Evaluation, cache: Path) -> Evaluator:
    return Evaluator(source.load(), settings, cache)
