"""The loss on images that were kept out of training, by noise level and comparable across everything that a study varies."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from trainables.data import ImageData
from trainables.log_snr import to_edm_sigma
from trainables.networks.modules.denoiser import SIGMA_DATA, Denoiser, one_hot
from trainables.optimisers.arithmetic import Precision, autocast
from trainables.randomness import normal

LEVELS = np.linspace(-10.0, 11.0, 16)  # log SNR; sigma from 74 to 0.002 in EDM's coordinates, as far as its samplers go
_MOST = 256  # images that are looked at, each at all levels
_SEED = 0  # of their noise; with the levels, part of the number's definition and not of a study


class HeldOutLoss:
    """Of fixed images with fixed noise at fixed levels: every variant and every set of weights is asked the same."""

    def __init__(self, data: ImageData, batch_size: int, precision: Precision) -> None:
        self._data, self._batch_size, self._precision = data, batch_size, precision

    def __call__(self, denoiser: Denoiser, pulse: Callable[[], None] = lambda: None) -> dict[str, float]:
        """`held_out_loss/log_snr_*` by level, and their mean `held_out_loss`."""
        losses = self.at(denoiser, LEVELS, pulse)
        by_level = {f"held_out_loss/log_snr_{level:.1f}": float(loss) for level, loss in zip(LEVELS, losses, strict=True)}
        return {"held_out_loss": float(losses.mean()), **by_level}

    @torch.inference_mode()
    def at(self, denoiser: Denoiser, log_snr: np.ndarray, pulse: Callable[[], None] = lambda: None) -> np.ndarray:
        """The loss at each of some levels [L]; the noise is that of the place in the row.

        Per pixel: (D(x; sigma) - y)^2 / c_out^2 with c_out of EDM (Karras et al. 2022, eq. 7), whatever the target, weighting or
        schedule of training; that is the squared error of EDM's F, and of v.  1 is what predicting the mean image gives.
        """
        was_training = denoiser.training
        denoiser.eval()
        device = denoiser.device
        count = min(len(self._data.images), _MOST)
        losses = np.zeros(len(log_snr))
        for first in range(0, count, self._batch_size):
            positions = np.arange(first, min(first + self._batch_size, count))
            clean = SIGMA_DATA * self._data.whitened(positions).double().to(device)
            labels = one_hot(torch.from_numpy(self._data.labels[positions]).to(device), denoiser.classes)
            for number, level in enumerate(log_snr):
                noise = normal(_SEED, f"held-out noise/{number}", first, len(positions), self._data.shape).to(device)
                losses[number] += float(self._errors(denoiser, clean, noise, float(level), labels).sum()) / count
                pulse()
        denoiser.train(was_training)
        return losses

    def _errors(self, denoiser: Denoiser, clean: Tensor, noise: Tensor, level: float, labels: Tensor | None) -> Tensor:
        """Mean over the pixels of each image, [N] float64."""
        sigma = torch.tensor(to_edm_sigma(level, SIGMA_DATA), dtype=torch.float64, device=clean.device)
        with autocast(self._precision, clean.device.type):
            denoised = denoiser.denoise(clean + sigma * noise, sigma, labels)
        c_out = sigma * SIGMA_DATA * (sigma**2 + SIGMA_DATA**2).rsqrt()
        return ((denoised - clean) / c_out).square().flatten(1).mean(1)
