"""Activation checkpointing (Chen et al. 2016): blocks keep their inputs alone, and are computed again in the backward pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from trainables.networks.modules.units import Prunable


def checkpoint_blocks(network: nn.Module) -> None:
    """In place, for every residual or transformer block; names of modules and parameters stay.

    Dropout draws the same numbers again, so that losses and gradients are those of a network that keeps everything, bit for bit.
    """
    for block in network.modules():
        if isinstance(block, Prunable):
            block.forward = _checkpointed(block)


def _checkpointed(block: nn.Module) -> Callable[..., Any]:
    forward, random = block.forward, bool(getattr(block, "dropout", 0.0))

    def compute(*inputs: Any) -> Any:
        if not torch.is_grad_enabled():
            return forward(*inputs)
        return checkpoint(forward, *inputs, use_reentrant=False, preserve_rng_state=random and block.training)

    return compute
