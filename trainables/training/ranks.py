"""The data-parallel processes of a run, and what they tell each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor, nn

from trainables.errors import ConfigError, Damaged, TrainingFailed, UserError, in_one_line

T = TypeVar("T")
_OURS = {kind.__name__: kind for kind in (UserError, ConfigError, Damaged, TrainingFailed)}


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

    def together(self, work: Callable[[], T]) -> T:
        """What `work`, in which ranks exchange nothing, gives on this rank; an error on any rank is raised on all of them, at once.

        Without this, ranks that have no error wait for the others in their next exchange until its time-out (NCCL: 10 minutes).
        Errors of ours keep their kind and text on all ranks; of others, the ranks without them have a RuntimeError that names the rank.
        """
        if self.world == 1:
            return work()
        try:
            result = work()
        except Exception as error:
            kind = next((name for name, cls in _OURS.items() if type(error) is cls), "")
            self._texts(f"{kind}\0{error if kind else in_one_line(error)}")
            raise
        for rank, text in enumerate(self._texts("")):
            if text:
                kind, _, message = text.partition("\0")
                raise _OURS[kind](message) if kind else RuntimeError(f"rank {rank}: {message}")
        return result

    def _texts(self, text: str) -> list[str]:
        """A text of every rank."""
        mine = torch.tensor(list(text.encode()), dtype=torch.uint8, device=self.device)
        lengths = self.gather(torch.tensor([len(mine)], device=self.device)).tolist()
        if not any(lengths):
            return [""] * self.world
        padded = torch.nn.functional.pad(mine, (0, max(lengths) - len(mine)))
        everything = self.gather(padded[None]).cpu()
        return [bytes(row[:length].tolist()).decode() for row, length in zip(everything, lengths, strict=True)]

    def average_gradients(self, module: nn.Module) -> None:
        """The mean gradient over all ranks, for modules outside the data-parallel wrapper."""
        if self.world > 1:
            for parameter in module.parameters():
                if parameter.grad is not None:
                    torch.distributed.all_reduce(parameter.grad)
                    parameter.grad /= self.world
