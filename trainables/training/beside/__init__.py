"""What steps beside the loop for methods that learn from the network: one module per kind of method, found by its name."""

from __future__ import annotations

import abc
import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from trainables.networks.modules.denoiser import Denoiser
from trainables.optimisers.arithmetic import Arithmetic
from trainables.recipe import Recipe
from trainables.timesteps.policy import Draws
from trainables.training.batch import Batch
from trainables.training.ranks import Ranks


@dataclass(frozen=True)
class Step:
    """What may be used of a training step."""

    denoiser: Denoiser
    batch: Batch  # this rank's images
    index: int  # number of the step, from 0
    ranks: Ranks
    arithmetic: Arithmetic


class Beside(abc.ABC):
    """Looks at the network around optimiser steps; every rank holds the same."""

    @abc.abstractmethod
    def before_step(self, step: Step) -> Callable[[], None] | None:
        """Called before each optimiser step; what it returns is called after it."""

    def factor(self, log_snr: Tensor) -> Tensor | None:
        """Factor on the losses [N], where this is what is learned."""
        return None

    def report(self) -> dict[str, float]:
        """Numbers worth logging with each report."""
        return {}

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint must hold, as CPU tensors."""
        return {}

    def restore(self, state: dict[str, Tensor]) -> None:  # noqa: B027 - not everything has a state
        """Go on from a state."""


def start_beside(recipe: Recipe, draws: Draws) -> dict[str, Beside]:
    """By kind, in the order in which they step: the modules here whose `start` takes the settings and the run's draws."""
    found: dict[str, Beside] = {}
    for method in (recipe.timesteps, recipe.weighting.innermost):
        kind = method.model_fields["kind"].default
        if importlib.util.find_spec(f"{__name__}.{kind}"):
            found[kind] = importlib.import_module(f"{__name__}.{kind}").start(method, draws)
    return found
