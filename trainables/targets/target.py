"""What a prediction target is: what the network's raw output F stands for.

Everything is written for data of unit variance, z = alpha*y + sigma*eps (see trainables.log_snr), so one network input
serves every target and only two linear maps differ.
"""

from __future__ import annotations

import abc

from trainables.log_snr import alpha_sigma
from trainables.method import Array, Method


class Target(Method, abc.ABC):
    """F is linear in (y, eps), and y is linear in (z, F): those four coefficients are the whole definition."""

    @abc.abstractmethod
    def of_clean_and_noise(self, alpha: Array, sigma: Array) -> tuple[Array, Array]:
        """(a, b) with F = a*y + b*eps."""

    @abc.abstractmethod
    def to_clean(self, alpha: Array, sigma: Array) -> tuple[Array, Array]:
        """(c, d) with y = c*z + d*F."""

    @abc.abstractmethod
    def log_jacobian(self, log_snr: Array) -> Array:
        """log d^2: the squared error of F times exp(this) is the squared error of y."""

    def training_target(self, clean: Array, noise: Array, alpha: Array, sigma: Array) -> Array:
        """What the network should output for z = alpha*clean + sigma*noise."""
        a, b = self.of_clean_and_noise(alpha, sigma)
        return a * clean + b * noise

    def denoise(self, output: Array, noisy: Array, log_snr: Array) -> Array:
        """The clean image that the output F at input z stands for."""
        c, d = self.to_clean(*alpha_sigma(log_snr))
        return c * noisy + d * output
