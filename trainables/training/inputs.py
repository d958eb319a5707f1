"""What a run trains on: this rank's share of every batch, as a function of the global sample index."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from trainables.data import ImageData
from trainables.randomness import Shuffle, normal, uniform
from trainables.recipe import Recipe
from trainables.training.batch import Batch
from trainables.training.prefetch import Prefetch
from trainables.training.ranks import Ranks


class Prepared(NamedTuple):
    """What follows from the index of a sample alone."""

    raw: Tensor  # [N,C,H,W], images as the data have them
    noise: Tensor  # [N,C,H,W], standard normal
    labels: Tensor  # [N], the number of classes where the network is not told the label


class Inputs:
    """The endless stream of training images with their noise, levels, weights and corrections.

    Images, noise and labels of the next batch are made by a thread while a step computes (`prefetch=False` makes them when they are
    asked for); levels are drawn when the batch is asked for, because policies learn from the step before.  `close` ends the thread.
    """

    def __init__(self, recipe: Recipe, data: ImageData, ranks: Ranks, prefetch: bool = True) -> None:
        self._recipe, self._data, self._ranks = recipe, data, ranks
        self._count = recipe.duration.batch_size // ranks.world
        self._shuffle = Shuffle(recipe.seed, len(data.images))
        self._importance = recipe.importance
        self.draws = recipe.timesteps.start(recipe.drawn, recipe.seed, recipe.duration.batch_size)
        self._whitening = data.whitening(ranks.device)
        classes = recipe.classes_of(data)
        self._one_hot = torch.eye(classes + 1, classes, device=ranks.device)  # the last row is of images without a label
        self._prefetch = Prefetch(self._independent)
        self._ahead = prefetch

    def batch(self, images: int) -> Batch:
        """The share of the step that begins after `images` images."""
        recipe, device, count = self._recipe, self._ranks.device, self._count
        first = images + self._ranks.rank * count
        following = first + recipe.duration.batch_size
        more = self._ahead and images + recipe.duration.batch_size < recipe.duration.images
        prepared = Prepared._make(_sent(tensor, device) for tensor in self._prefetch(first, following if more else None))
        clean, augment = recipe.augment.apply(self._whitening(prepared.raw), recipe.seed, first)
        levels, own = self.draws.draw(first, count, clean)
        counts = np.ones(count) if own is None else own
        if self._importance is not None:
            counts = counts * self._importance(levels)
        numbers = np.stack([levels, recipe.weighting.weight(levels, recipe.target), counts])
        log_snr, weight, correction = _sent(torch.from_numpy(numbers.astype(np.float32)), device).unbind()
        labels = self._one_hot.index_select(0, prepared.labels) if self._one_hot.shape[1] else None
        if augment is not None:
            labels = augment if labels is None else torch.cat([labels, augment], dim=1)
        return Batch(first, clean, prepared.noise, labels, log_snr, weight, correction)

    def close(self) -> None:
        """No batch may be asked for afterwards."""
        self._prefetch.close()

    def _independent(self, first: int) -> Prepared:
        """Of the samples first .. first + count - 1."""
        seed, count, device = self._recipe.seed, self._count, self._ranks.device
        positions = self._shuffle(first, count)
        labelled = uniform(seed, "label dropout", first, count) >= self._recipe.label_dropout
        noise = normal(seed, "training noise", first, count, self._data.shape)
        labels = np.where(labelled, self._data.labels[positions], self._one_hot.shape[1])
        raw = torch.from_numpy(self._data.images[positions])
        return Prepared._make(_pinned(tensor, device) for tensor in (raw, noise, torch.from_numpy(labels)))


def _pinned(tensor: Tensor, device: torch.device) -> Tensor:
    """In memory that a GPU reads by itself, where the device is one."""
    return tensor.pin_memory() if device.type == "cuda" else tensor


def _sent(tensor: Tensor, device: torch.device) -> Tensor:
    """On the device, which this does not wait for."""
    return _pinned(tensor, device).to(device, non_blocking=True)
