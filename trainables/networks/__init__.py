"""Denoiser networks: a settings file each, found by itself; the torch modules that they build are in `modules/`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainables.method import kinds_in, one_of
from trainables.networks.network import Network

KINDS = kinds_in(__name__, Network)

if TYPE_CHECKING:
    AnyNetwork = Network
else:
    AnyNetwork = one_of(KINDS)

__all__ = ["KINDS", "AnyNetwork", "Network"]
