"""Whether variants differ in their spread between seeds: all of them, or one from the others."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import stats

from reports.statistics.blocked_model import BlockedModel, design_matrix

_FEWEST_SEEDS = 3  # from which on spreads are compared at all
_DRAWS = 4000


def unequal_p(model: BlockedModel) -> float | None:
    """p of Levene's test on the residuals, around their medians (Brown & Forsythe 1974); None where there is too little to go by."""
    if not _enough(model):
        return None
    groups = [[e for (v, _), e in model.residuals.items() if v == variant] for variant in model.variants]
    return float(stats.levene(*groups, center="median").pvalue)


def widest(model: BlockedModel) -> tuple[str, float] | None:
    """The variant with the largest share of the residuals' squares, and the p of such a share (Cochran 1941, for residuals of this design).

    It notices one spread among many equal ones, which Levene's test hardly does with few seeds.  None where there is too little to go by.
    The shares that equal spreads give are drawn, 4,000 times; they depend on the design alone.
    """
    if not _enough(model):
        return None
    cells = tuple(model.residuals)
    found = _shares(cells, np.array([list(model.residuals.values())]))[0]
    top = int(found.argmax())
    return model.variants[top], float((1 + (_largest_shares(cells) >= found[top]).sum()) / (1 + _DRAWS))


def _enough(model: BlockedModel) -> bool:
    counts = [sum(v == variant for v, _ in model.residuals) for variant in model.variants]
    # The residuals of two variants mirror each other.
    return len(counts) >= 3 and min(counts) >= _FEWEST_SEEDS and any(abs(e) > 1e-12 for e in model.residuals.values())


def _shares(cells: tuple[tuple[str, int], ...], residuals: np.ndarray) -> np.ndarray:
    """Of each variant, in order of their first cell: mean square over what it is on average with equal spreads, as a share [draws, V]."""
    variants = list(dict.fromkeys(variant for variant, _ in cells))
    member = np.array([[variant == v for v in variants] for variant, _ in cells], dtype=float)
    matrix = design_matrix(cells)
    expected = np.diag(np.eye(len(cells)) - matrix @ np.linalg.pinv(matrix)) @ member
    found = residuals**2 @ member / expected
    return np.asarray(found / found.sum(axis=1, keepdims=True))


@lru_cache(maxsize=64)
def _largest_shares(cells: tuple[tuple[str, int], ...]) -> np.ndarray:
    """The largest share in each of many draws with equal spreads [draws]."""
    matrix = design_matrix(cells)
    noise = np.random.default_rng(0).normal(size=(_DRAWS, len(cells)))
    return np.asarray(_shares(cells, noise - noise @ matrix @ np.linalg.pinv(matrix)).max(axis=1))
