"""The one internal coordinate, lambda = log SNR = log(alpha^2 / sigma^2), and every conversion to and from it.

Data are of unit variance here: z = alpha*y + sigma*eps with alpha^2 = sigmoid(lambda), sigma^2 = sigmoid(-lambda).
EDM's form, x = x0 + s*n with data of standard deviation sigma_data, is the same corruption:
s = sigma_data * exp(-lambda/2) and c_in * x = z.  All functions take numpy arrays, torch tensors or numbers.
"""

from __future__ import annotations

from typing import Any

import array_api_compat
import array_api_compat.numpy
import numpy as np

from trainables.method import Array


def as_array(value: Any) -> tuple[Any, Array]:
    """`(namespace, array)`; Python numbers and lists become float64 numpy arrays."""
    if isinstance(value, np.ndarray | np.generic):  # without a look at torch, which another thread may just be importing
        return array_api_compat.numpy, value
    if isinstance(value, int | float | list | tuple) or not array_api_compat.is_array_api_obj(value):
        return array_api_compat.numpy, np.asarray(value, dtype=np.float64)
    return array_api_compat.array_namespace(value), value


def softplus(log_snr: Array) -> Array:
    """log(1 + exp(x)), exact in both tails."""
    xp, x = as_array(log_snr)
    return xp.logaddexp(x, xp.zeros_like(x))


def alpha_sigma(log_snr: Array) -> tuple[Array, Array]:
    """`(alpha, sigma)` of the variance-preserving form, each in (0, 1), alpha^2 + sigma^2 = 1."""
    xp, x = as_array(log_snr)
    zero = xp.zeros_like(x)  # exp(-softplus/2), with one operator less
    return xp.exp(-0.5 * xp.logaddexp(-x, zero)), xp.exp(-0.5 * xp.logaddexp(x, zero))


def to_edm_sigma(log_snr: Array, sigma_data: float = 0.5) -> Array:
    """EDM's noise standard deviation s > 0 (Karras et al. 2022)."""
    xp, x = as_array(log_snr)
    return sigma_data * xp.exp(-0.5 * x)


def from_edm_sigma(sigma: Array, sigma_data: float = 0.5) -> Array:
    """log SNR of EDM's noise standard deviation s > 0; s = 0 gives +inf."""
    xp, s = as_array(sigma)
    return 2.0 * (float(np.log(sigma_data)) - xp.log(s))


def to_decibel(log_snr: Array) -> Array:
    """10 log10(SNR)."""
    _, x = as_array(log_snr)
    return x * (10.0 / float(np.log(10.0)))


def to_flow_time(log_snr: Array) -> Array:
    """t in (0, 1) of the straight path x_t = (1-t) y + t eps with the same SNR (Lipman et al. 2023)."""
    xp, x = as_array(log_snr)
    return xp.exp(-softplus(0.5 * x))


def noise_conditioning(log_snr: Array, sigma_data: float = 0.5) -> Array:
    """c_noise = ln(s)/4, what the network is told of the noise level (Karras et al. 2022, table 1)."""
    _, x = as_array(log_snr)
    return 0.25 * float(np.log(sigma_data)) - 0.125 * x
