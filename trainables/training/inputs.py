"""What a run trains on: this rank's share of every batch, as a function of the global sample index."""

from __future__ import annotations

import torch

from trainables.data import ImageData
from trainables.networks.modules.denoiser import one_hot
from trainables.randomness import Shuffle, normal, uniform
from trainables.recipe import Recipe
from trainables.training.batch import Batch
from trainables.training.ranks import Ranks


class Inputs:
    """The endless stream of training images with their noise, levels, weights and corrections."""

    def __init__(self, recipe: Recipe, data: ImageData, ranks: Ranks) -> None:
        self._recipe, self._data, self._ranks = recipe, data, ranks
        self._shuffle = Shuffle(recipe.seed, len(data.images))
        self._importance = recipe.importance
        self.draws = recipe.timesteps.start(recipe.drawn, recipe.seed, recipe.duration.batch_size)

    def batch(self, images: int) -> Batch:
        """The share of the step that begins after `images` images."""
        recipe, device = self._recipe, self._ranks.device
        count = recipe.duration.batch_size // self._ranks.world
        first = images + self._ranks.rank * count
        positions = self._shuffle(first, count)
        clean, augment = recipe.augment.apply(self._data.whitened(positions).to(device), recipe.seed, first)
        levels, own = self.draws.draw(first, count, clean)
        log_snr = torch.from_numpy(levels).to(device)
        weight = recipe.weighting.weight(log_snr, recipe.target)
        correction = torch.ones_like(log_snr) if own is None else torch.from_numpy(own).to(device)
        if self._importance is not None:
            correction = correction * torch.from_numpy(self._importance(levels)).to(device)
        noise = normal(recipe.seed, "training noise", first, count, self._data.shape).to(device)
        labels = one_hot(torch.from_numpy(self._data.labels[positions]).to(device), recipe.classes_of(self._data))
        if labels is not None and recipe.label_dropout:
            kept = uniform(recipe.seed, "label dropout", first, count) >= recipe.label_dropout
            labels = labels * torch.from_numpy(kept).to(device)[:, None]
        if augment is not None:
            labels = augment if labels is None else torch.cat([labels, augment], dim=1)
        return Batch(first, clean, noise, labels, log_snr.float(), weight.float(), correction.float())
