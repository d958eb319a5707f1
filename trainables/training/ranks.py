"""The data-parallel processes of a run, and what they tell each other."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Ranks:
    """This process's place among the data-parallel ones, and the device that it computes on."""

    rank: int = 0
    world: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def gather(self, values: Tensor) -> Tensor:
        """Every rank's values [N, ...] one after the other, the same on all ranks."""
        if self.world == 1:
            return values
        parts = [torch.empty_like(values) for _ in range(self.world)]
        torch.distributed.all_gather(parts, values.contiguous())
        return torch.cat(parts)

    def sum(self, values: Tensor) -> Tensor:
        """The sum of every rank's values, the same on all ranks; a new tensor where there are several."""
        if self.world == 1:
            return values
        total = values.clone()
        torch.distributed.all_reduce(total)
        return total

    def average_gradients(self, module: nn.Module) -> None:
        """The mean gradient over all ranks, for modules outside the data-parallel wrapper."""
        if self.world > 1:
            for parameter in module.parameters():
                if parameter.grad is not None:
                    torch.distributed.all_reduce(parameter.grad)
                    parameter.grad /= self.world
