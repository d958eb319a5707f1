"""A network with its prediction target: the clean image from a noisy one at a known noise level."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainables.log_snr import alpha_sigma, from_edm_sigma, noise_conditioning
from trainables.targets import Target

SIGMA_DATA = 0.5  # standard deviation of the data in EDM's coordinates; inside, data are of unit variance


class Denoiser(nn.Module):
    """F and the maps around it; arithmetic outside the network is float32 whatever the network's precision."""

    def __init__(self, network: nn.Module, target: Target, classes: int = 0) -> None:
        super().__init__()
        self.network = network
        self.target = target
        self.classes = classes  # of the labels that the network takes; 0 is none

    @property
    def device(self) -> torch.device:
        """Where its inputs must be."""
        return next(self.parameters()).device

    def forward(self, z_NCHW: Tensor, log_snr_N: Tensor, labels_NK: Tensor | None = None) -> Tensor:
        """The network's raw output F at noisy images z = alpha*y + sigma*eps of unit variance.

        Labels are [N, classes] or, in training with an augmentation that the network is told of, [N, classes + augment labels].
        """
        c_noise = noise_conditioning(log_snr_N, SIGMA_DATA).to(z_NCHW.dtype)
        if labels_NK is None or labels_NK.shape[1] == self.classes:
            return self.network(z_NCHW, c_noise, labels_NK).float()
        classes, augment = labels_NK.split([self.classes, labels_NK.shape[1] - self.classes], dim=1)
        return self.network(z_NCHW, c_noise, classes if self.classes else None, augment).float()

    def corrupt(self, clean: Tensor, noise: Tensor, log_snr_N: Tensor) -> tuple[Tensor, Tensor]:
        """(noisy images z, what the network should output)."""
        alpha, sigma = alpha_sigma(per_image(log_snr_N, clean))
        return alpha * clean + sigma * noise, self.target.training_target(clean, noise, alpha, sigma)

    def denoise(self, x_NCHW: Tensor, sigma: Tensor, labels_NK: Tensor | None = None) -> Tensor:
        """D(x; sigma) in EDM's coordinates (data of standard deviation 0.5, noise of `sigma`, scalar or [N])."""
        log_snr = from_edm_sigma(sigma.double().expand(x_NCHW.shape[0]), SIGMA_DATA)
        level = per_image(log_snr, x_NCHW)
        c_in = (SIGMA_DATA**2 + per_image(sigma.double().expand(x_NCHW.shape[0]), x_NCHW) ** 2).rsqrt()
        z = (x_NCHW * c_in).float()
        output = self(z, log_snr.float(), labels_NK)
        return SIGMA_DATA * self.target.denoise(output, z, level).to(x_NCHW.dtype)


def per_image(values_N: Tensor, images: Tensor) -> Tensor:
    """[N] -> [N, 1, 1, 1], to broadcast against images."""
    return values_N.reshape(-1, *[1] * (images.ndim - 1))


def one_hot(labels_N: Tensor, classes: int) -> Tensor | None:
    """[N,classes], where labels are below `classes`; None without classes.  Unlike torch's, waits for no device."""
    return (labels_N[:, None] == torch.arange(classes, device=labels_N.device)).float() if classes else None
