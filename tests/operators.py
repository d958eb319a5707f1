"""Counts what Python asks of PyTorch: operators as they reach a device, a foreach operator being one."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode


@contextlib.contextmanager
def operators() -> Iterator[Counter[str]]:
    """Names and numbers of all operators within, e.g. {"aten.add.Tensor": 3}."""
    with _Counting() as counting:
        yield counting.seen


class _Counting(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[str] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), keywords: Any = None) -> Any:
        self.seen[str(function)] += 1
        return function(*arguments, **(keywords or {}))
