"""Data-parallel ranks as threads of one process: the collectives of Ranks without torch.distributed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch

from trainables.training.ranks import Ranks


class _Meeting:
    def __init__(self, world: int) -> None:
        self.values: list[torch.Tensor] = [torch.empty(0)] * world
        self.barrier = threading.Barrier(world, timeout=60)


@dataclass(frozen=True)
class ThreadRank(Ranks):
    meeting: Any = None

    def gather(self, values: torch.Tensor) -> torch.Tensor:
        return torch.cat(self._exchange(values))

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        return torch.stack(self._exchange(values)).sum(0)

    def average_gradients(self, module: torch.nn.Module) -> None:
        for parameter in module.parameters():
            if parameter.grad is not None:
                parameter.grad = self.sum(parameter.grad) / self.world

    def _exchange(self, values: torch.Tensor) -> list[torch.Tensor]:
        self.meeting.values[self.rank] = values
        self.meeting.barrier.wait()
        found = list(self.meeting.values)
        self.meeting.barrier.wait()
        return found


def on_ranks(world: int, work: Callable[[Ranks], Any]) -> list[Any]:
    """What `work` returns on each of `world` ranks."""
    if world == 1:
        return [work(Ranks())]
    meeting = _Meeting(world)
    with ThreadPoolExecutor(world) as pool:
        return list(pool.map(work, [ThreadRank(rank, world, meeting=meeting) for rank in range(world)]))
