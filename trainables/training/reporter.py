"""What a run leaves in its folder: stored averages on the way, and at each report a row of metrics."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from trainables.data import ImageData
from trainables.ema.classical_snapshots import write_classical
from trainables.ema.snapshots import write_snapshot
from trainables.evaluation.scoring import Generated, evaluator_of
from trainables.experts.router import around
from trainables.metrics.features import Extracted
from trainables.networks.modules.build import build_denoiser, unpruned_start
from trainables.networks.modules.denoiser import Denoiser
from trainables.recipe import Recipe, keep_recipe
from trainables.training import metrics_log
from trainables.training.model import Model
from trainables.training.ranks import Ranks

SNAPSHOTS = "snapshots"


class Reporter:
    """On every rank: all generate images, the first alone writes.  `pulse` is called with each batch of generated images."""

    def __init__(
        self, recipe: Recipe, folder: Path, cache: Path, data: ImageData, model: Model, ranks: Ranks, pulse: Callable[[], None]
    ) -> None:
        self._recipe, self._folder, self._data, self._model, self._ranks, self._pulse = recipe, folder, data, model, ranks, pulse
        self._evaluator = evaluator_of(recipe, cache, pulse)  # before training: it may find something missing
        if ranks.world > 1:
            self._evaluator.warm_up(pulse, interim=True)  # which may take long; nobody waits for it in an exchange

    def begin(self, images: int) -> None:
        """Say what is trained here, and forget rows later than the checkpoint that the run goes on from."""
        if self._ranks.rank == 0:
            keep_recipe(self._recipe, self._folder)
            metrics_log.drop_after(self._folder, images)

    def store_averages(self, images: int) -> None:
        """An error, as of a full disk, is one on all ranks."""
        model, dtype = self._model, self._recipe.ema.snapshot_format
        names, raw = [name for name, _ in model.denoiser.named_parameters()], model.whole(model.parameters)
        for width, tensors in model.ema.averages.items():
            given = images, width, model.whole(tensors), names, raw, dtype
            self._alone(partial(write_snapshot, self._folder / SNAPSHOTS, *given))
        for name, tensors in model.classical.averages.items():
            self._alone(partial(write_classical, self._folder / SNAPSHOTS, images, name, model.whole(tensors), names, dtype))

    def report(self, images: int, metrics: dict[str, float]) -> dict[str, float]:
        """Score the tracked averages and write a row; on the first rank, the metrics with the score."""
        widths = self._recipe.ema.sigma_rels
        share = -(-self._recipe.evaluation.interim_samples // self._ranks.world)
        averages = [self._model.whole(self._model.ema.averages[width]) for width in widths]
        parts = self._ranks.together(lambda: self._shares(share, averages))
        whole = [self._gathered(made) for made, _ in parts]

        def write() -> dict[str, float]:
            if self._ranks.rank:
                return metrics
            scores = [self._evaluator.compare(made, held, interim=True, pulse=self._pulse)
                      for made, (_, held) in zip(whole, parts, strict=True)]
            score, width = min(zip(scores, widths, strict=True), key=lambda scored: scored[0].distance)
            told = {**metrics, f"interim_{self._evaluator.metric}": score.distance, "interim_sigma_rel": width}
            told |= {name: value for name, value in score.metrics.items() if name.startswith("held_out_loss")}  # of the same average
            metrics_log.append(self._folder, {"images": images, "time": time.time(), "feature_hash": score.feature_hash, **told})
            return told

        return self._ranks.together(write)

    def _alone(self, write: Callable[[], object]) -> None:
        """On the first rank; an error is one on all."""
        self._ranks.together(lambda: write() if self._ranks.rank == 0 else None)

    def _shares(self, share: int, averages: list[list[Tensor]]) -> list[tuple[Generated, dict[str, float]]]:
        """This rank's generated images of each tracked width, on the same latents; on the first rank, with the held-out losses."""
        averaged = build_denoiser(self._recipe, self._data).to(self._model.denoiser.device)
        _copy(self._model.denoiser.buffers(), averaged.buffers())  # which are not averaged
        scored, parts = self._at_all_levels(averaged), []
        for average in averages:
            _copy(average, averaged.parameters())
            made = self._evaluator.generated(scored, self._ranks.rank * share, share, interim=True, pulse=self._pulse)
            parts.append((made, {} if self._ranks.rank else self._evaluator.held_out_losses(scored, self._pulse)))
        return parts

    def _gathered(self, mine: Generated) -> Generated:
        """All ranks' images in the order of their numbers; those beyond the wanted count, which make the shares equal, left out."""
        features = torch.from_numpy(mine.extracted[0].features).to(self._ranks.device)
        everything = self._ranks.gather(features)[: self._recipe.evaluation.interim_samples].cpu().numpy()
        return Generated((Extracted(everything),), mine.examples)

    def _at_all_levels(self, averaged: Denoiser) -> Denoiser:
        """What is scored: with the start's unpruned network at the levels that this run does not train."""
        recipe = self._recipe
        if recipe.levels is None or recipe.start is None:
            return averaged
        whole = unpruned_start(recipe, self._data, self._folder)[0]
        return around(averaged, recipe.levels, lambda: whole)


@torch.no_grad()
def _copy(given: Iterable[Tensor], into: Iterable[Tensor]) -> None:
    for old, new in zip(into, given, strict=True):
        old.copy_(new)


def last_report(folder: Path) -> dict[str, float]:
    """The metrics of the last row; empty without one."""
    rows = metrics_log.read(folder)
    return metrics_log.metrics_of(rows[-1]) if rows else {}
