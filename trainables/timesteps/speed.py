"""SpeeD (Wang et al. 2024, "A Closer Look at Time Steps is Worthy of Triple Speed-Up for Diffusion Model Training")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from trainables.log_snr import alpha_sigma
from trainables.randomness import uniform
from trainables.schedules import Schedule
from trainables.timesteps.policy import EVEN, Draws, TimeDensity, TimestepPolicy

if TYPE_CHECKING:
    from torch import Tensor

_GRID = (np.arange(1000) + 0.5) / 1000  # times


class Speed(TimestepPolicy):
    """Asymmetric sampling: levels of the convergence area, where sigma hardly changes with t, are drawn `ratio` times less often.

    Change-aware weighting: the loss is weighted by d sigma/dt, scaled into [1 - weight_bound, weight_bound].
    """

    kind: Literal["speed"] = "speed"
    ratio: float = Field(5.0, ge=1, description="k: how much more often a level before the convergence area is drawn")
    flat_slope: float = Field(0.1, gt=0, description="d sigma/dt below which the convergence area begins (0.0001 per step of 1000)")
    weight_bound: float = Field(0.6, ge=0.5, le=1, description="largest weight; 0.5 weights all levels alike")

    def density(self, schedule: Schedule) -> TimeDensity:
        tau, _ = self.boundary_and_slope(schedule)
        mass = self.ratio * tau + 1.0 - tau
        return TimeDensity((0.0, tau, 1.0), (self.ratio / mass, 1.0 / mass)) if tau < 1 else EVEN

    def boundary_and_slope(self, schedule: Schedule) -> tuple[float, np.ndarray]:
        """tau, where the convergence area begins (1 if it never does), and d sigma/dt at the times of the grid [1000]."""
        slope = np.gradient(alpha_sigma(schedule.log_snr(_GRID))[1], _GRID)
        peak = int(np.argmax(slope))
        flat = np.flatnonzero(slope[peak:] < self.flat_slope)
        return float(_GRID[peak + flat[0]]) if flat.size else 1.0, slope

    def loss_weight(self, schedule: Schedule, t: np.ndarray) -> np.ndarray:
        return np.interp(t, _GRID, self.grid_weights(schedule))

    def grid_weights(self, schedule: Schedule) -> np.ndarray:
        """Weights at the times of the grid [1000]."""
        _, slope = self.boundary_and_slope(schedule)
        return (1.0 - self.weight_bound) + (2.0 * self.weight_bound - 1.0) * np.clip(slope / slope.max(), 0.0, 1.0)

    def start(self, schedule: Schedule, seed: int, batch_size: int) -> Draws:
        return _Speed(self, schedule, seed, batch_size)


class _Speed(Draws):
    def __init__(self, settings: Speed, schedule: Schedule, seed: int, batch_size: int) -> None:
        super().__init__(schedule, seed, batch_size)
        self.boundary, _ = settings.boundary_and_slope(schedule)
        self._share = settings.density(schedule).share(0.0, self.boundary)  # of draws before tau
        self._weights = settings.grid_weights(schedule)

    def draw(self, first: int, count: int, clean: Tensor) -> tuple[np.ndarray, np.ndarray | None]:
        u = uniform(self.seed, "log_snr", first, count)
        late = self.boundary + (u - self._share) / max(1.0 - self._share, 1e-300) * (1.0 - self.boundary)
        t = np.where(u < self._share, u / self._share * self.boundary, late)
        return self.schedule.from_uniform(t), np.interp(t, _GRID, self._weights)

    def report(self) -> dict[str, float]:
        return {"speed_boundary": self.boundary}
