"""Groups of equal width in log SNR."""

from __future__ import annotations

from typing import Literal

import numpy as np

from trainables.experts.splits.split import Axis, Split


class EqualLogSnr(Split):
    """The sampler's range of log SNR (10/ln 10 of which are decibels) in equal parts."""

    kind: Literal["equal_log_snr"] = "equal_log_snr"

    def edges(self, groups: int, axis: Axis) -> np.ndarray:
        return np.linspace(*axis.range, groups + 1)[1:-1]
