"""What training costs in forward passes of the network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

FORWARD_AND_BACKWARD = 3.0  # a backward pass costs about two forward passes
_EXTRA = "/extra_evaluations_per_image"  # how the numbers of policies and weightings end that say what else they evaluate


def per_image(numbers: Mapping[str, Any]) -> float:
    """Forward passes per training image, from the numbers of a run's last report; diagnostics and interim scores are not counted."""
    extra = [value for name, value in numbers.items() if name.endswith(_EXTRA)]  # a plug-in's may be anything
    return FORWARD_AND_BACKWARD + sum(float(v) for v in extra if isinstance(v, int | float) and math.isfinite(v) and v > 0)
