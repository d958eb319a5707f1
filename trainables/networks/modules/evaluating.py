"""A look at a network that leaves no trace in its training."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from torch import nn


@contextlib.contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode within, then the mode of before: no dropout, and therefore no random number taken from training's stream."""
    training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(training)
