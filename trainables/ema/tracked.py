"""Averages of a module's parameters by name, and the parameters that they follow."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from torch import Tensor, nn

Name = TypeVar("Name", str, float)


class Tracked(Generic[Name]):
    """Begins at the parameters as they are: for each name a tensor per parameter, in their order."""

    def __init__(self, module: nn.Module, names: Iterable[Name]) -> None:
        self._parameters: list[Tensor] = list(module.parameters())
        self.averages: dict[Name, list[Tensor]] = {name: [p.detach().clone() for p in self._parameters] for name in names}

    def share_out(self, parameters: list[Tensor], part: Callable[[Tensor, Tensor], Tensor]) -> None:
        """Go on with a part of each parameter, and the same part of its averages."""
        self.averages = {
            name: [part(tensor, p) for tensor, p in zip(tensors, self._parameters, strict=True)] for name, tensors in self.averages.items()
        }
        self._parameters = parameters
