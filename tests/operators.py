"""Counts what Python asks of PyTorch: operators as they reach a device, a foreach operator being one."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from trainables.training.loop import Run

OUTSIDE = 60  # operators of a step outside the network's forward pass, the backward pass and the thread that makes the next batch


@dataclass
class Seen:
    """Names and numbers of operators, e.g. {"aten.add.Tensor": 3}."""

    outside: Counter[str] = field(default_factory=Counter)
    network: Counter[str] = field(default_factory=Counter)  # the network's forward pass and the whole backward pass


@contextlib.contextmanager
def operators() -> Iterator[Counter[str]]:
    """All operators within."""
    seen = Seen()
    with _Counting(seen):
        yield seen.outside


def one_step(run: Run) -> Seen:
    """The operators of a step with its averages, after two that make what is made once."""
    batch, seen = run.recipe.duration.batch_size, Seen()
    for _ in range(2):
        run.train_until(run.counters.images + batch)
    with _Counting(seen) as counting, counting.apart(run.model.denoiser.network, "forward"), counting.apart(torch.Tensor, "backward"):
        run.train_until(run.counters.images + batch)
    return seen


class _Counting(TorchDispatchMode):
    """Of this thread."""

    def __init__(self, seen: Seen) -> None:
        super().__init__()
        self._into, self._seen = seen.outside, seen

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), keywords: Any = None) -> Any:
        if str(function).startswith("aten."):
            self._into[str(function)] += 1
        return function(*arguments, **(keywords or {}))

    def apart(self, owner: Any, name: str) -> Any:
        """Within, a method's operators count as the network's."""
        method = getattr(owner, name)

        def counted(*arguments: Any, **keywords: Any) -> Any:
            self._into = self._seen.network
            try:
                return method(*arguments, **keywords)
            finally:
                self._into = self._seen.outside

        return mock.patch.object(owner, name, counted)
