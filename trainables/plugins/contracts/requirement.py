"""What a check says where a method does not keep its contract."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Check = Callable[[Any], None]  # of a method's settings, Broken where they fail it; its docstring is what it checks
Contracts = dict[type[Any], tuple[Check, ...]]  # by the interface of a family


class Broken(Exception):
    """A sentence about what a method did and what it should have done."""


def require(holds: Any, otherwise: str) -> None:
    """Broken, with this sentence, unless it holds."""
    if not holds:
        raise Broken(otherwise)


def close(found: Any, wanted: Any, otherwise: str, relative: float = 1e-6, absolute: float = 1e-9) -> None:
    """Broken unless two arrays are equal up to tolerances; says by how much they differ."""
    a, b = np.asarray(found, dtype=np.float64), np.asarray(wanted, dtype=np.float64)
    require(a.shape == b.shape, f"{otherwise}: shapes {a.shape} and {b.shape}")
    if not np.allclose(a, b, rtol=relative, atol=absolute):
        worst = float(np.nanmax(np.abs(a - b))) if np.isfinite(a - b).any() else float("nan")
        raise Broken(f"{otherwise}: they differ by up to {worst:.3g}")
