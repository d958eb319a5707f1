"""The training loop: one recipe, one folder, any number of data-parallel ranks."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from trainables.determinism import deterministic
from trainables.errors import ConfigError, TrainingFailed, UserError
from trainables.recipe import Recipe
from trainables.stage_key import stage_key
from trainables.training import checkpoint, metrics_log
from trainables.training.batch import Batch, Losses
from trainables.training.beside import Step, start_beside
from trainables.training.checkpoint import Counters
from trainables.training.checkpoint_clock import CheckpointClock
from trainables.training.diagnostics import Diagnostics
from trainables.training.inputs import Inputs
from trainables.training.model import Model
from trainables.training.progress import Progress
from trainables.training.ranks import Ranks
from trainables.training.reporter import Reporter, last_report
from trainables.training.resume import state_of
from trainables.training.steps import Totals


def train(recipe: Recipe, folder: Path, cache: Path, ranks: Ranks | None = None,
          pulse: Callable[[], None] = lambda: None, recall: bool = False) -> Iterator[Progress]:
    """Train one recipe into `folder` and yield at each intermediate evaluation; closing the iterator stops early.

    A finished run yields its last report again; with `recall`, a run that goes on yields all reports of earlier calls first: the last
    one was perhaps never heard, because it is written down before it is told.

    Goes on from the folder's checkpoint if there is one, with the same numbers as an unbroken run.  Leaves the recipe,
    the stored averages and the checkpoint; `cache` keeps what runs share (the feature network).  `pulse` is called at every
    step and with every batch of generated images: this process is alive.
    Raises ConfigError where the recipe does not fit the data, TrainingFailed, at a report, after too many non-finite steps.
    """
    ranks = ranks or Ranks()
    if recipe.arithmetic.deterministic and ranks.device.type == "cpu" and ranks.rank == 0:
        logging.getLogger(__name__).warning("arithmetic.deterministic changes no number on the CPU: they are the same each time without it")
    with (
        deterministic(recipe.arithmetic.deterministic, ranks.device),
        contextlib.closing(ranks.together(lambda: Run(recipe, folder, cache, ranks, pulse))) as run,
    ):
        run.model.launch()
        for row in ranks.together(lambda: metrics_log.reports(folder, recipe)) if recall else []:
            if row["images"] <= min(run.counters.images, recipe.duration.images - 1):
                yield Progress(row["images"], metrics_log.metrics_of(row), False, recalled=True)
        if run.done:
            yield Progress(run.counters.images, last_report(folder), True)
        while not run.done:
            first, every = run.counters.images, recipe.evaluation.every
            run.train_until(min((first // every + 1) * every, recipe.duration.images))
            yield run.report(first)


class Run:
    """One run, as far as it has come; before its first step, `model.launch` joins the ranks, which exchange nothing until then."""

    def __init__(self, recipe: Recipe, folder: Path, cache: Path, ranks: Ranks, pulse: Callable[[], None] = lambda: None) -> None:
        if recipe.in_stages:
            name = "experts" if recipe.experts else "guide"
            raise ConfigError(f"{name}: such a recipe is trained in stages; `python -m trainables` runs them all")
        if problem := recipe.arithmetic.problem_on(ranks.device.type):
            raise ConfigError(problem)
        if recipe.duration.batch_size % ranks.world:
            raise ConfigError(f"duration.batch_size = {recipe.duration.batch_size} cannot be divided among {ranks.world} workers")
        self.recipe, self.folder, self.ranks, self.pulse = recipe, folder, ranks, pulse
        self.key = stage_key(recipe, cache, ranks.world, ranks.device.type)
        self.data = recipe.data.load(cache, pulse)
        if stage_key(recipe, cache, ranks.world, ranks.device.type) != self.key:
            raise UserError("data: the files were changed while they were read; run again when they are complete")
        self.inputs = Inputs(recipe, self.data, ranks)
        self.model = Model(recipe, self.data, ranks, folder)
        self.beside = start_beside(recipe, self.inputs.draws)
        self.diagnostics = Diagnostics(recipe, self.model.denoiser, ranks, self.model.head, pixels=math.prod(self.data.shape))
        self.counters = Counters()
        self.clock = CheckpointClock(recipe.duration.checkpoint_minutes, ranks)
        self._restore()
        self.reporter = Reporter(recipe, folder, cache, self.data, self.model, ranks, pulse)
        self.reporter.begin(self.counters.images)

    @property
    def done(self) -> bool:
        return self.counters.images >= self.recipe.duration.images

    def close(self) -> None:
        """End what runs beside the steps; there can be none afterwards."""
        self.inputs.close()

    def train_until(self, images: int) -> None:
        """Steps up to `images` seen; stores the averages on the way."""
        batch, self._started = self.recipe.duration.batch_size, time.perf_counter()
        while self.counters.images < images:
            self._step()
            self.pulse()
            self.counters.images += batch
            self.model.ema.update(self.counters.images, batch)
            self.model.classical.update(self.counters.images, batch)
            if self.counters.images % self.recipe.ema.snapshot_every == 0 or self.done:
                self.reporter.store_averages(self.counters.images)
            if self.clock.due() and self.counters.images < images:
                self._save(replace(self.counters, train_seconds=self.counters.train_seconds + time.perf_counter() - self._started))

    def report(self, first: int) -> Progress:
        """Score the tracked averages, write the checkpoint, and tell; training began after `first` images."""
        seconds = time.perf_counter() - self._started
        self.counters.train_seconds += seconds
        draws, totals = self.inputs.draws, self.model.steps.read()
        self._check_finite(totals)
        metrics = {
            "loss": totals.loss / totals.finite_losses / math.prod(self.data.shape) if totals.finite_losses else math.nan,
            "gradient_norm": totals.gradients.total / totals.gradients.finite if totals.gradients.finite else math.nan,
            "learning_rate": self.recipe.optimiser.learning_rate(self.counters.images, self.recipe.duration.images),
            "images_per_second": (self.counters.images - first) / seconds,
            "train_seconds": self.counters.train_seconds,
            "nonfinite_steps": float(totals.nonfinite),
            **self.diagnostics.take(last=self.counters.images % self.recipe.evaluation.every == 0), **draws.report(),
        }
        for beside in self.beside.values():
            metrics |= beside.report()
        if self.recipe.optimiser.clip_norm:
            metrics["clipped_share"] = totals.gradients.clipped / max(totals.gradients.finite, 1)
        if self.model.steps.dynamic:
            metrics |= {"overflow_steps": float(totals.overflows), "loss_scale": totals.scale}
        density = draws.density()
        if density is not None:
            metrics |= {f"density/{i:02d}": float(value) for i, value in enumerate(density)}
        if self.counters.images % self.recipe.evaluation.every == 0:
            self.model.steps.forget()  # later reports are of what comes then, also in a run that goes on from here
        metrics = self.reporter.report(self.counters.images, metrics)
        self._save(self.counters)
        return Progress(self.counters.images, metrics, self.done)

    def _step(self) -> None:
        """One optimiser step on this rank's share of the global batch."""
        images = self.counters.images
        self.model.prepare(images)
        batch = self.inputs.batch(images)
        step = Step(self.model.denoiser, batch, images // self.recipe.duration.batch_size, self.ranks, self.recipe.arithmetic)
        afterwards = [beside.before_step(step) for beside in self.beside.values()]
        batch = self._corrected(batch)
        self.diagnostics.before_step(batch, images)
        losses = self.model.backward(batch)
        self.model.step(self.ranks.gather(losses.total).mean())
        self._observe(losses, batch)
        for after in afterwards:
            if after:
                after()

    def _corrected(self, batch: Batch) -> Batch:
        """With the factors that are learned beside the loop."""
        for beside in self.beside.values():
            factor = beside.factor(batch.log_snr)
            if factor is not None:
                batch = batch.corrected(factor)
        return batch

    def _observe(self, losses: Losses, batch: Batch) -> None:
        """Take in the losses of a step; what is not finite teaches nothing."""
        draws = self.inputs.draws
        self.diagnostics.observe(batch.log_snr, losses.error)
        if draws.observes_losses:
            observed = self.ranks.gather(losses.fit).double().cpu().numpy()
            if np.isfinite(observed).all():
                draws.observe(self.counters.images, observed)

    def _check_finite(self, totals: Totals) -> None:
        """Give up where losses or gradients were not finite too often; the same on all ranks."""
        if totals.nonfinite > self.recipe.max_nonfinite_steps:
            raise TrainingFailed(
                f"{totals.nonfinite} steps had a non-finite loss or gradient by {self.counters.images} images "
                f"(max_nonfinite_steps = {self.recipe.max_nonfinite_steps}): lower optimiser.lr or look at the data"
            )

    def _restore(self) -> None:
        stored = state_of(self.folder, self.recipe, self.key)
        if not stored:
            return
        self.counters, tensors = stored
        self.inputs.draws.restore(_under("draws/", tensors))
        self.diagnostics.restore(_under("diagnostics/", tensors))
        for kind, beside in self.beside.items():
            beside.restore(_under(f"beside/{kind}/", tensors))
        with torch.no_grad():
            for name, tensor in self.model.state().items():
                tensor.copy_(tensors[name])

    def _save(self, counters: Counters) -> None:
        """Write a checkpoint; all ranks take part."""
        state = self._state()
        self.ranks.together(lambda: None if self.ranks.rank else checkpoint.save(self.folder, self.key, counters, state))
        self.clock.restart()

    def _state(self) -> dict[str, Tensor]:
        named = self.model.state() | {f"draws/{name}": tensor for name, tensor in self.inputs.draws.state().items()}
        named |= {f"diagnostics/{name}": tensor for name, tensor in self.diagnostics.state().items()}
        for kind, beside in self.beside.items():
            named |= {f"beside/{kind}/{name}": tensor for name, tensor in beside.state().items()}
        return named


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
