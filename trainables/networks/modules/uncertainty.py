"""The learned log-variance of the loss as a function of the noise level (Karras et al. 2024, section 2)."""

from __future__ import annotations

from torch import Tensor, nn

from trainables.log_snr import noise_conditioning
from trainables.networks.modules.magnitude import MPConv, MPFourier

_FEATURES = 128


class UncertaintyHead(nn.Module):
    """u(log SNR) [N], float32."""

    def __init__(self) -> None:
        super().__init__()
        self.fourier = MPFourier(_FEATURES)
        self.linear = MPConv(_FEATURES, 1)

    def forward(self, log_snr_N: Tensor) -> Tensor:
        return self.linear(self.fourier(noise_conditioning(log_snr_N.float()))).squeeze(1)
