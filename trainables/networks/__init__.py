"""Denoiser networks: each has a settings file without torch, and a module file that it builds from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainables.method import one_of
from trainables.networks.edm2 import Edm2
from trainables.networks.network import Network

KINDS: dict[str, type[Network]] = {"edm2": Edm2}

if TYPE_CHECKING:
    AnyNetwork = Network
else:
    AnyNetwork = one_of(KINDS)

__all__ = ["KINDS", "AnyNetwork", "Network"]
