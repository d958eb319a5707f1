"""Samplers: one file each, found by themselves; `heun_sigma_steps` are EDM's noise levels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainables.method import kinds_in, one_of
from trainables.sampling.edm_steps import heun_sigma_steps
from trainables.sampling.sampler import Sampler

KINDS = kinds_in(__name__, Sampler)

if TYPE_CHECKING:
    AnySampler = Sampler
else:
    AnySampler = one_of(KINDS)

__all__ = ["KINDS", "AnySampler", "Sampler", "heun_sigma_steps"]
