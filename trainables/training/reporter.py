"""What a run leaves in its folder: stored averages on the way, and at each report a row of metrics."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from trainables.data import ImageData
from trainables.ema.classical_snapshots import write_classical
from trainables.ema.snapshots import write_snapshot
from trainables.evaluation.scoring import Score, evaluator_of
from trainables.experts.router import around
from trainables.networks.modules.build import build_denoiser, unpruned_start
from trainables.networks.modules.denoiser import Denoiser
from trainables.recipe import Recipe, keep_recipe
from trainables.training import metrics_log
from trainables.training.model import Model

SNAPSHOTS = "snapshots"


class Reporter:
    """Of the first rank alone: the others write nothing.  `pulse` is called with each batch of generated images."""

    def __init__(self, recipe: Recipe, folder: Path, cache: Path, data: ImageData, model: Model, pulse: Callable[[], None]) -> None:
        self._recipe, self._folder, self._data, self._model, self._pulse = recipe, folder, data, model, pulse
        self._evaluator = evaluator_of(recipe, cache, pulse)  # before training: it may find something missing

    def begin(self, images: int) -> None:
        """Say what is trained here, and forget rows later than the checkpoint that the run goes on from."""
        keep_recipe(self._recipe, self._folder)
        metrics_log.drop_after(self._folder, images)

    def store_averages(self, images: int) -> None:
        denoiser, dtype = self._model.denoiser, self._recipe.ema.snapshot_format
        names, raw = [name for name, _ in denoiser.named_parameters()], list(denoiser.parameters())
        for width, tensors in self._model.ema.averages.items():
            write_snapshot(self._folder / SNAPSHOTS, images, width, tensors, names, raw, dtype)
        for name, tensors in self._model.classical.averages.items():
            write_classical(self._folder / SNAPSHOTS, images, name, tensors, names, dtype)

    def report(self, images: int, metrics: dict[str, float]) -> dict[str, float]:
        """Score the tracked averages and write a row; the metrics with the score."""
        score, width = self._best_average()
        metrics = {**metrics, f"interim_{self._evaluator.metric}": score.distance, "interim_sigma_rel": width}
        metrics |= {name: value for name, value in score.metrics.items() if name.startswith("held_out_loss")}  # of the same average
        metrics_log.append(self._folder, {"images": images, "time": time.time(), "feature_hash": score.feature_hash, **metrics})
        return metrics

    def _best_average(self) -> tuple[Score, float]:
        """The best score among the tracked widths on the same latents, and its width."""
        averaged = build_denoiser(self._recipe, self._data).to(self._model.denoiser.device)
        averaged.load_state_dict(self._model.denoiser.state_dict())  # buffers are copied, not averaged
        scored, scores = self._at_all_levels(averaged), []
        for width in self._recipe.ema.sigma_rels:
            self._model.ema.copy_to(width, averaged)
            score = self._evaluator.score(scored, self._recipe.evaluation.interim_samples, interim=True, pulse=self._pulse)
            scores.append((score, width))
        return min(scores, key=lambda scored: scored[0].distance)

    def _at_all_levels(self, averaged: Denoiser) -> Denoiser:
        """What is scored: with the start's unpruned network at the levels that this run does not train."""
        recipe = self._recipe
        if recipe.levels is None or recipe.start is None:
            return averaged
        whole = unpruned_start(recipe, self._data, self._folder)[0]
        return around(averaged, recipe.levels, lambda: whole)


def last_report(folder: Path) -> dict[str, float]:
    """The metrics of the last row; empty without one."""
    rows = metrics_log.read(folder)
    return {key: value for key, value in rows[-1].items() if key not in ("images", "time", "feature_hash")} if rows else {}
