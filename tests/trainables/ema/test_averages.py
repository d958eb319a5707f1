"""Between which widths averages are interpolated."""

from __future__ import annotations

import numpy as np
import pytest

from trainables.ema.averages import node_widths
from trainables.ema.profile import sigma_rel_to_gamma


@pytest.mark.parametrize(("low", "high", "count"), [(0.02, 0.25, 9), (0.05, 0.1, 4), (0.015, 0.28, 16)])
def test_node_widths_are_chebyshev_s_nodes_of_the_logarithm_of_gamma_plus_one(low: float, high: float, count: int) -> None:
    found = node_widths(low, high, count)
    assert (found[0], found[-1], len(found)) == (low, high, count) and sorted(found) == list(found)
    ends = np.log(np.array([sigma_rel_to_gamma(low), sigma_rel_to_gamma(high)]) + 1)
    places = np.log(np.array([sigma_rel_to_gamma(width) for width in found]) + 1)
    np.testing.assert_allclose((places - ends.mean()) / (ends[0] - ends.mean()), np.cos(np.pi * np.arange(count) / (count - 1)), atol=1e-9)
