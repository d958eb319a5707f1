"""Post-hoc EMA: which combination of stored averages gives the average of another width (Karras et al. 2024, alg. 3)."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np

from trainables.ema.profile import power_function_correlation, sigma_rel_to_gamma, walk_correlation
from trainables.errors import ConfigError

Solver = Literal["reference", "robust"]


def solve_posthoc_coefficients(in_t: Any, in_sigma_rel: Any, out_t: Any, out_sigma_rel: Any,
                               solver: Solver = "reference", ridge: float = 0.0) -> np.ndarray:
    """Coefficients X [n_in, n_out], float64, columns sum to one: average_out = sum_i X[i, out] * stored_i.

    `in_t`, `in_sigma_rel` [n_in] are time (images) and width of each stored average; `out_sigma_rel` [n_out], and
    `out_t` broadcasts to it.  Stored averages later than a target get the coefficient 0; a pair stored twice is used once.

    "reference" matches profiles in L2 and scales each column to sum one, as published.  "robust" minimises the expected error
    for weights that drift as a Brownian path, x'(W + ridge I)x - 2 w'x with sum(x) = 1 as a constraint; `ridge` is the variance of the
    storage rounding over the drift's per unit of the target's time, and keeps coefficients small where rounding would be amplified.
    """
    if solver not in get_args(Solver):
        raise ConfigError(f"solver: '{solver}' is not known. Allowed: {', '.join(get_args(Solver))}.")
    if ridge < 0 or (ridge and solver == "reference"):
        raise ConfigError(f"ridge: {ridge} was given: it must be at least 0, and belongs to solver='robust'")
    t_in = np.asarray(in_t, dtype=np.float64).reshape(-1)
    g_in = np.asarray(sigma_rel_to_gamma(np.asarray(in_sigma_rel, dtype=np.float64).reshape(-1)))
    s_out = np.asarray(out_sigma_rel, dtype=np.float64).reshape(-1)
    t_out, s_out = np.broadcast_arrays(np.asarray(out_t, dtype=np.float64).reshape(-1), s_out)
    g_out = np.asarray(sigma_rel_to_gamma(s_out))
    if t_in.shape != g_in.shape:
        raise ConfigError(f"in_t has {t_in.size} entries and in_sigma_rel {g_in.size}; they must pair up")

    coefficients = np.zeros((t_in.size, t_out.size))
    for t in np.unique(t_out):
        columns = np.flatnonzero(t_out == t)
        rows = _usable(t_in, g_in, t)
        if not rows.size:
            raise ConfigError(f"no stored average at or before {t:g} images; the first is at {t_in.min():g}")
        # Time in units of the target's keeps the matrix scaled whatever the length of the run.
        ts, gs = t_in[rows] / t, g_in[rows]
        inner = power_function_correlation if solver == "reference" else walk_correlation
        gram = inner(ts[:, None], gs[:, None], ts[None], gs[None])
        moments = inner(ts[:, None], gs[:, None], 1.0, g_out[columns][None])
        if solver == "reference":
            x = np.linalg.solve(gram, moments)
            coefficients[np.ix_(rows, columns)] = x / x.sum(axis=0)
        else:
            coefficients[np.ix_(rows, columns)] = _constrained(gram + ridge * np.eye(len(gram)), moments)
    return coefficients


def _constrained(gram: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """Minimiser of x'Gx - 2m'x with sum(x) = 1, by the KKT system of the matrix scaled to a unit diagonal."""
    n = len(gram)
    scale = 1.0 / np.sqrt(np.diag(gram))
    system = np.zeros((n + 1, n + 1))
    system[:n, :n] = gram * scale[:, None] * scale[None]
    system[:n, n] = system[n, :n] = scale
    right = np.vstack([moments * scale[:, None], np.ones((1, moments.shape[1]))])
    return np.linalg.solve(system, right)[:n] * scale[:, None]


def _usable(t_in: np.ndarray, g_in: np.ndarray, t: float) -> np.ndarray:
    """Indices of the stored averages with 0 < time <= t, each (time, width) once (a resumed run may store one twice)."""
    candidates = np.flatnonzero((t_in > 0) & (t_in <= t * (1 + 1e-12)))
    pairs = np.stack([t_in[candidates], g_in[candidates]], axis=1)
    _, first = np.unique(pairs, axis=0, return_index=True)
    return candidates[np.sort(first)]
