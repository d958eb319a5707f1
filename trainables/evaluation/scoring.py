"""Scoring weights: generate images from fixed noise, and compare their features with those of the real images."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from trainables.data import ImageData
from trainables.evaluation.held_out import HeldOutLoss
from trainables.evaluation.labels import LabelSequence
from trainables.evaluation.settings import Evaluation
from trainables.metrics.features import Extracted, Features
from trainables.metrics.frechet import frechet, influence
from trainables.metrics.memorisation import Memorisation
from trainables.metrics.per_sample import Compared
from trainables.metrics.per_sample.memorised import MemorisedShare
from trainables.metrics.reference import Reference
from trainables.networks.modules.denoiser import SIGMA_DATA, Denoiser, one_hot
from trainables.optimisers.arithmetic import autocast
from trainables.randomness import normal
from trainables.recipe import Recipe
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
    feature_hash: str = ""  # of the feature network of the distance
    nearest: np.ndarray | None = field(default=None, repr=False)  # position among the training images of each example's nearest one


@dataclass(frozen=True)
class Generated:
    """What images are compared by, in the order of their numbers."""

    extracted: tuple[Extracted, ...]  # in each feature space that was asked for
    examples: np.ndarray = field(repr=False)  # raw values [up to 64, C, H, W]

    @property
    def count(self) -> int:
        return len(self.extracted[0].features)


class Evaluator:
    """Bound to one data set and evaluation; what real images are compared by is computed once."""

    def __init__(self, data: ImageData, settings: Evaluation, cache: Path, pulse: Callable[[], None] = lambda: None,
                 held_out: ImageData | None = None) -> None:
        self.data, self.settings = data, settings
        self._held_out = HeldOutLoss(held_out, settings.batch_size, settings.precision) if held_out else None
        spaces: Sequence[Features] = (settings.features, *settings.also)
        self.metric = spaces[0].metric
        self._labels = LabelSequence(data.labels, data.classes, settings.seed)
        self._references = [Reference(space, data, cache, pulse) for space in spaces]
        compared = held_out if any(isinstance(metric, MemorisedShare) for metric in settings.sample_metrics) else None
        self._memorisation = [Memorisation(reference, compared) for reference in self._references] if compared else []

    def warm_up(self, pulse: Callable[[], None] = lambda: None, *, interim: bool = False) -> None:
        """Compute (or load) what real images are compared by."""
        for reference in self._references[:1] if interim else self._references:
            reference.statistics(pulse)

    def score(self, denoiser: Denoiser, samples: int, weaker: Denoiser | None = None, *, guidance: Guidance | None = None,
              latents: int = 0, interim: bool = False, pulse: Callable[[], None] = lambda: None) -> Score:
        """Generate `samples` images and compare them with the real ones.

        `weaker` is the guide where guidance asks for one; without one, sampling is not guided.  `latents` numbers
        independent sets of noise.  An `interim` score is the distance in the first feature space and the
        held-out loss alone.  `pulse` is called with each batch.
        """
        made = self.generated(denoiser, 0, samples, weaker, guidance=guidance, latents=latents, interim=interim, pulse=pulse)
        return self.compare(made, self.held_out_losses(denoiser, pulse), interim=interim, pulse=pulse)

    def generated(self, denoiser: Denoiser, first: int, count: int, weaker: Denoiser | None = None, *, guidance: Guidance | None = None,
                  latents: int = 0, interim: bool = False, pulse: Callable[[], None] = lambda: None) -> Generated:
        """Images first .. first + count - 1, made in batches; image i is the same whatever the number of images, batches or workers."""
        references = self._references[:1] if interim else self._references
        extracted: list[list[Extracted]] = [[] for _ in references]
        examples: list[np.ndarray] = []
        for start in range(first, first + count, self.settings.batch_size):
            images = self.generate(
                denoiser, start, min(self.settings.batch_size, first + count - start), weaker, guidance=guidance, latents=latents)
            for parts, reference in zip(extracted, references, strict=True):
                parts.append(reference.extract(images))
            if start < first + GRID_IMAGES:
                examples.append(images)
            pulse()
        joined = tuple(
            Extracted(
                np.concatenate([p.features for p in parts]),
                np.concatenate([p.logits for p in parts if p.logits is not None]) if parts[0].logits is not None else None,
            )
            for parts in extracted
        )
        return Generated(joined, np.concatenate(examples)[:GRID_IMAGES])

    def held_out_losses(self, denoiser: Denoiser, pulse: Callable[[], None] = lambda: None) -> dict[str, float]:
        """By name; empty where no images were held out."""
        return self._held_out(denoiser, pulse) if self._held_out else {}

    def compare(self, generated: Generated, held_out: dict[str, float], *, interim: bool = False,
                pulse: Callable[[], None] = lambda: None) -> Score:
        """The score of generated images, numbers 0 .. count - 1, with the held-out losses of the same weights."""
        references = self._references[:1] if interim else self._references
        metrics = dict(held_out)
        for made, reference in zip(reversed(generated.extracted), reversed(references), strict=True):
            statistics = reference.statistics_of(made.features)
            true = reference.statistics(pulse)
            distance = frechet(statistics, true)
            metrics[reference.metric] = distance.value
            if not interim:
                metrics[f"residue_{reference.metric}"] = distance.residue
            if not interim and self.settings.sample_metrics:
                compared = Compared(made, reference.real(pulse), true, reference.space)
                for metric in self.settings.sample_metrics:
                    metrics |= metric.of(compared)
        nearest = None
        if not interim:
            for memorisation, made, reference in zip(self._memorisation, generated.extracted, references, strict=False):
                found = memorisation(made.features, pulse)
                metrics[f"memorisation_{reference.space}"] = found.share
                nearest = found.nearest[:GRID_IMAGES] if nearest is None else nearest
        weights = None if interim else influence(generated.extracted[0].features, statistics, true)
        error = float(weights.std() / np.sqrt(generated.count)) if weights is not None else float("nan")
        return Score(metrics[self.metric], metrics, error, weights, generated.examples, references[0].feature_hash, nearest)

    def floor(self, pulse: Callable[[], None] = lambda: None) -> float:
        """The distance that real images have from all real images, at the sweep's number of samples."""
        return self._references[0].floor(self.settings.samples, self.settings.seed, pulse)

    @torch.inference_mode()
    def generate(self, denoiser: Denoiser, first: int, count: int, weaker: Denoiser | None = None, *,
                 guidance: Guidance | None = None, latents: int = 0) -> np.ndarray:
        """Images first .. first + count - 1 as raw values of the data, with labels in the data's own proportions."""
        device = denoiser.device
        was_training = denoiser.training
        denoiser.eval()
        purpose = f"evaluation noise/{latents}" if latents else "evaluation noise"

        def fresh_noise(step: int) -> Tensor:
            return normal(self.settings.seed, f"{purpose}/step {step}", first, count, self.data.shape).to(device)

        noise = normal(self.settings.seed, purpose, first, count, self.data.shape).to(device)
        labels = None
        if denoiser.classes:
            labels = one_hot(torch.from_numpy(self._labels(first, count)).to(device), denoiser.classes)
        guidance = guidance or self.settings.guidance
        if guidance.second_network and weaker is None:
            guidance = Guidance()  # while training, the network that would guide is not at hand
        with autocast(self.settings.precision, device.type):
            images = self.settings.sampler.sample(guided(guidance, denoiser, labels, weaker), noise, fresh_noise)
        denoiser.train(was_training)
        return self.data.raw(images / SIGMA_DATA)


def evaluator_of(recipe: Recipe, cache: Path, pulse: Callable[[], None] = lambda: None) -> Evaluator:
    """The evaluator of a recipe; recipes with the same data and evaluation share one per process while their files are the same.

    `pulse` is called while a feature network is made.
    """
    settings = recipe.evaluation
    files = (recipe.data.signatures(), *(space.signatures() for space in (settings.features, *settings.also)))
    key = (recipe.data, settings, str(cache), files)
    if key in _RECENT:
        made = _RECENT.pop(key)
    else:
        data, held_out = recipe.data.load(cache, pulse), recipe.data.load_held_out(cache, pulse)
        made = Evaluator(data, settings, cache, pulse, held_out)
    _RECENT[key] = made
    while len(_RECENT) > 2:
        del _RECENT[next(iter(_RECENT))]
    return made


_RECENT: dict[Hashable, Evaluator] = {}  # the latest last
