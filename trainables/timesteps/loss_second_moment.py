"""Importance sampling of noise levels by the second moment of the loss (Nichol & Dhariwal 2021, section 3.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from trainables.randomness import uniform
from trainables.schedules import Schedule
from trainables.timesteps.policy import EVEN, Draws, TimeDensity, TimestepPolicy

if TYPE_CHECKING:
    from torch import Tensor


class LossSecondMoment(TimestepPolicy):
    """p(cell) proportional to sqrt(E[loss^2]) over equally likely cells of the schedule; losses are corrected by 1/p.

    The expected loss stays that of the schedule; only the variance of its estimate changes.
    """

    kind: Literal["loss_second_moment"] = "loss_second_moment"
    cells: int = Field(64, ge=2, le=4096, description="number of cells of noise levels")
    history: int = Field(10, ge=1, le=1000, description="losses remembered per cell; all cells are filled before the policy acts")
    uniform_share: float = Field(0.001, ge=0, le=1, description="share of draws that ignore the losses")

    def density(self, schedule: Schedule) -> TimeDensity:
        return EVEN

    def start(self, schedule: Schedule, seed: int, batch_size: int) -> Draws:
        return _LossSecondMoment(self, schedule, seed, batch_size)


class _LossSecondMoment(Draws):
    observes_losses = True

    def __init__(self, settings: LossSecondMoment, schedule: Schedule, seed: int, batch_size: int) -> None:
        super().__init__(schedule, seed, batch_size)
        self._settings = settings
        self._losses = np.zeros((settings.cells, settings.history))
        self._counts = np.zeros(settings.cells, dtype=np.int64)

    @property
    def probabilities(self) -> np.ndarray:
        """p [cells], sums to one."""
        cells, share = self._settings.cells, self._settings.uniform_share
        if (self._counts < self._settings.history).any():
            return np.full(cells, 1.0 / cells)
        moment = np.sqrt(np.mean(self._losses**2, axis=1))
        return (1 - share) * moment / moment.sum() + share / cells if moment.sum() else np.full(cells, 1.0 / cells)

    def draw(self, first: int, count: int, clean: Tensor) -> tuple[np.ndarray, np.ndarray | None]:
        cell, within = self._places(first, count)
        return self.schedule.from_uniform((cell + within) / self._settings.cells), self._correction(cell)

    def observe(self, first: int, losses: np.ndarray) -> None:
        # Cells are those of the draws, not of the levels: where the schedule clamps, the levels of several cells are one.
        cells, _ = self._places(first, len(losses))
        for cell, loss in zip(cells, losses / self._correction(cells), strict=True):
            self._losses[cell, self._counts[cell] % self._settings.history] = loss
            self._counts[cell] += 1

    def density(self) -> np.ndarray | None:
        edges = np.interp(np.linspace(0, 1, 17), np.linspace(0, 1, self._settings.cells + 1), np.append(0, np.cumsum(self.probabilities)))
        return np.diff(edges) * 16

    def state(self) -> dict[str, Tensor]:
        import torch

        return {"losses": torch.from_numpy(self._losses), "counts": torch.from_numpy(self._counts)}

    def restore(self, state: dict[str, Tensor]) -> None:
        self._losses, self._counts = state["losses"].numpy().copy(), state["counts"].numpy().copy()

    def _places(self, first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """(cell [count], place within it [count] in [0, 1]) of the samples from `first` on, as now drawn."""
        p = self.probabilities
        edges = np.concatenate([[0.0], np.cumsum(p)])
        u = uniform(self.seed, "log_snr", first, count) * edges[-1]
        cell = np.clip(np.searchsorted(edges, u, side="right") - 1, 0, len(p) - 1)
        return cell, np.clip((u - edges[cell]) / p[cell], 0.0, 1.0)  # what is left of u is uniform within the cell

    def _correction(self, cell: np.ndarray) -> np.ndarray:
        """1/(n p) of cells [count]."""
        p = self.probabilities
        return 1.0 / (len(p) * p[cell])
