"""The training loop: one recipe, one folder, any number of data-parallel ranks."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from trainables import atomic, checkpoint, metrics_log
from trainables.build import build_denoiser
from trainables.checkpoint import Counters
from trainables.denoiser import one_hot
from trainables.ema.snapshots import write_snapshot
from trainables.ema.tracker import PowerEma
from trainables.errors import ConfigError, TrainingFailed
from trainables.evaluation import evaluator_of
from trainables.networks.magnitude import project_weights
from trainables.progress import Progress
from trainables.randomness import Shuffle, normal, torch_seed
from trainables.recipe import Recipe

SNAPSHOTS = "snapshots"


@dataclass(frozen=True)
class Ranks:
    """This process's place among the data-parallel ones, and the device that it computes on."""

    rank: int = 0
    world: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))


def train(recipe: Recipe, folder: Path, cache: Path, ranks: Ranks | None = None) -> Iterator[Progress]:
    """Train one recipe into `folder` and yield at each intermediate evaluation; closing the iterator stops early.

    Goes on from the folder's checkpoint if there is one, with the same numbers as an unbroken run.  Leaves the recipe,
    the stored averages and the checkpoint; `cache` keeps what runs share (the feature network).
    Raises ConfigError where the recipe does not fit the data, TrainingFailed after too many non-finite steps.
    """
    run = _Run(recipe, folder, cache, ranks or Ranks())
    while not run.done:
        started = time.perf_counter()
        first = run.counters.images
        run.train_until(min(first + recipe.evaluation.every, recipe.duration.images))
        seconds = time.perf_counter() - started
        run.counters.train_seconds += seconds
        yield run.report((run.counters.images - first) / seconds)


class _Run:
    """The state of one run between two reports."""

    def __init__(self, recipe: Recipe, folder: Path, cache: Path, ranks: Ranks) -> None:
        if recipe.duration.batch_size % ranks.world:
            raise ConfigError(f"duration.batch_size = {recipe.duration.batch_size} cannot be divided among {ranks.world} workers")
        self.recipe, self.folder, self.cache, self.ranks = recipe, folder, cache, ranks
        self.data = recipe.data.load()
        self.shuffle = Shuffle(recipe.seed, len(self.data.images))
        self.denoiser = build_denoiser(recipe, self.data).to(ranks.device)
        adam = recipe.optimiser
        self.optimiser = torch.optim.Adam(
            self.denoiser.parameters(), lr=adam.lr, betas=(adam.beta1, adam.beta2), eps=adam.eps, fused=True
        )
        self.ema = PowerEma(self.denoiser, recipe.ema.sigma_rels)
        restored = checkpoint.restore(folder, recipe.key, self.denoiser, self.optimiser, self.ema)
        self.counters = restored or Counters()
        self.model = DistributedDataParallel(self.denoiser, broadcast_buffers=False) if ranks.world > 1 else self.denoiser
        self.losses: list[float] = []
        if ranks.rank == 0:
            atomic.write_text(folder / "recipe.json", recipe.canonical_json)
            metrics_log.drop_after(folder, self.counters.images)

    @property
    def done(self) -> bool:
        return self.counters.images >= self.recipe.duration.images

    def train_until(self, images: int) -> None:
        """Steps up to `images` seen; stores the averages on the way."""
        batch = self.recipe.duration.batch_size
        self.losses = []
        while self.counters.images < images:
            self._step()
            self.counters.images += batch
            self.ema.update(self.counters.images, batch)
            if self.counters.images % self.recipe.ema.snapshot_every == 0 or self.done:
                self._store_averages()

    def report(self, images_per_second: float) -> Progress:
        """Score the widest tracked average, write the checkpoint, and tell."""
        metrics = {
            "loss": sum(self.losses) / len(self.losses) if self.losses else math.nan,
            "learning_rate": self.recipe.optimiser.learning_rate(self.counters.images),
            "images_per_second": images_per_second,
            "train_seconds": self.counters.train_seconds,
            "nonfinite_steps": float(self.counters.nonfinite_steps),
        }
        if self.ranks.rank == 0:
            evaluator = evaluator_of(self.recipe, self.cache)
            averaged = build_denoiser(self.recipe, self.data).to(self.ranks.device)
            averaged.load_state_dict(self.denoiser.state_dict())  # buffers are copied, not averaged
            self.ema.copy_to(max(self.recipe.ema.sigma_rels), averaged)
            score = evaluator.score(averaged, self.recipe.evaluation.interim_samples)
            metrics[f"interim_{evaluator.metric}"] = score.distance
            metrics_log.append(self.folder, {"images": self.counters.images, "time": time.time(), **metrics})
            checkpoint.save(self.folder, self.recipe.key, self.counters, self.denoiser, self.optimiser, self.ema)
        return Progress(self.counters.images, metrics, self.done)

    def _step(self) -> None:
        """One optimiser step on this rank's share of the global batch."""
        recipe, images = self.recipe, self.counters.images
        project_weights(self.denoiser)
        if getattr(recipe.network, "dropout", 0.0):
            torch.manual_seed(torch_seed(recipe.seed, f"dropout/{self.ranks.rank}", images))
        self.optimiser.param_groups[0]["lr"] = recipe.optimiser.learning_rate(images)
        loss = self._loss(images)
        loss.backward()
        value = self._mean_over_ranks(loss.detach()).item()
        if math.isfinite(value):
            self.losses.append(value / math.prod(self.data.shape))
        else:
            self._skip_nonfinite()
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)

    def _loss(self, images: int) -> Tensor:
        """Weighted squared error, summed over pixels and averaged over the batch as in EDM2."""
        recipe, device, batch = self.recipe, self.ranks.device, self.recipe.duration.batch_size
        count = batch // self.ranks.world
        first = images + self.ranks.rank * count  # global index of this rank's first sample
        positions = self.shuffle(first, count)
        levels = recipe.timesteps.draw(recipe.schedule, recipe.seed, first, count, batch)
        log_snr = torch.from_numpy(levels).to(device)
        weight = recipe.weighting.weight(log_snr, recipe.target).float()
        log_snr = log_snr.float()
        clean = self.data.whitened(positions).to(device)
        noise = normal(recipe.seed, "training noise", first, count, self.data.shape).to(device)
        labels = one_hot(torch.from_numpy(self.data.labels[positions]).to(device), self.data.classes)
        noisy, wanted = self.denoiser.corrupt(clean, noise, log_snr)
        error = (self.model(noisy, log_snr, labels) - wanted).square().flatten(1).sum(1)
        return (weight * error).mean()

    def _mean_over_ranks(self, value: Tensor) -> Tensor:
        if self.ranks.world > 1:
            torch.distributed.all_reduce(value)
            value /= self.ranks.world
        return value

    def _skip_nonfinite(self) -> None:
        """Zero what is not finite, as EDM2 does, and give up when it happens too often."""
        self.counters.nonfinite_steps += 1
        for parameter in self.denoiser.parameters():
            if parameter.grad is not None:
                torch.nan_to_num(parameter.grad, nan=0.0, posinf=0.0, neginf=0.0, out=parameter.grad)
        if self.counters.nonfinite_steps > self.recipe.max_nonfinite_steps:
            raise TrainingFailed(
                f"{self.counters.nonfinite_steps} steps had a non-finite loss by {self.counters.images} images "
                f"(max_nonfinite_steps = {self.recipe.max_nonfinite_steps}): lower optimiser.lr or look at the data"
            )

    def _store_averages(self) -> None:
        if self.ranks.rank:
            return
        names = [name for name, _ in self.denoiser.named_parameters()]
        for width, tensors in self.ema.averages.items():
            write_snapshot(self.folder / SNAPSHOTS, self.counters.images, width, tensors, names)

