"""Euler's method along the straight path (Liu et al. 2023, "Flow Straight and Fast")."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from trainables.sampling.sampler import Sampler

if TYPE_CHECKING:
    from torch import Tensor

    from trainables.sampling.sampler import Denoise, FreshNoise

_SIGMA_DATA = 0.5


class FlowEuler(Sampler):
    """x_t = (1-t) y + t eps from t = 1 to 0 in equal steps, optionally shifted towards noise (Esser et al. 2024)."""

    kind: Literal["flow_euler"] = "flow_euler"
    num_steps: int = Field(50, ge=1, le=1000, description="network evaluations")
    shift: float = Field(1.0, gt=0, description="s in t' = s t / (1 + (s - 1) t); above 1 spends more steps at high noise")
    t_max: float = Field(0.9999, gt=0, lt=1, description="first time; t = 1 is infinite noise")

    @property
    def levels(self) -> np.ndarray:
        t = self._times()[:-1]
        return _SIGMA_DATA * t / (1.0 - t)

    def sample(self, denoise: Denoise, noise: Tensor, fresh_noise: FreshNoise | None = None) -> Tensor:
        import torch

        t = torch.as_tensor(self._times(), device=noise.device)
        x = noise * t[0].to(noise.dtype)  # unit-variance data; its share (1 - t_max) is negligible
        for now, following in itertools.pairwise(t):
            sigma = _SIGMA_DATA * now / (1.0 - now)
            clean = denoise(x * (_SIGMA_DATA / (1.0 - now)).to(x.dtype), sigma) / _SIGMA_DATA
            velocity = (x - clean) / now.to(x.dtype)
            x = x + (following - now).to(x.dtype) * velocity
        return x * _SIGMA_DATA

    def _times(self) -> np.ndarray:
        """From t_max to 0, [num_steps + 1] float64."""
        t = np.linspace(1.0, 0.0, self.num_steps + 1)
        return self.t_max * self.shift * t / (1.0 + (self.shift - 1.0) * t)
