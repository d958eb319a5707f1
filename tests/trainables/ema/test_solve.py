"""Post-hoc coefficients against the reference's, and against averages that were followed directly."""

from __future__ import annotations

import numpy as np
import pytest

from trainables.ema import power_function_beta, reliability, sigma_rel_to_gamma, solve_posthoc_coefficients, walk_correlation
from trainables.errors import ConfigError


def test_coefficients_equal_the_reference(golden_edm2) -> None:
    for case in golden_edm2["solve_posthoc_coefficients"]:
        x = solve_posthoc_coefficients(case["in_ofs"], case["in_std"], case["out_ofs"], case["out_std"])
        np.testing.assert_allclose(x, case["X"], atol=1e-10, rtol=1e-6, err_msg=case["name"])
        np.testing.assert_allclose(x.sum(axis=0), 1, rtol=1e-12)


def test_reconstructions_of_a_stored_trajectory_equal_the_reference(golden_edm2) -> None:
    small = golden_edm2["e2e_small"]
    theta, widths = np.array(small["theta"]), small["track_sigma_rel"]
    tracked = _follow(theta, widths + small["target_sigma_rel"])
    np.testing.assert_allclose([tracked[s][-1] for s in small["target_sigma_rel"]], small["direct_final"], rtol=1e-9)
    for case in small["cases"]:
        times = np.arange(case["interval"], len(theta) + 1, case["interval"])
        in_t, in_s = np.repeat(times, len(widths)), np.tile(widths, len(times))
        x = solve_posthoc_coefficients(in_t, in_s, times[-1], small["target_sigma_rel"])
        stored = np.stack([tracked[s][t - 1] for t, s in zip(in_t, in_s, strict=True)])
        np.testing.assert_allclose(x.T @ stored, case["reconstructed"], rtol=1e-9, atol=1e-10)


def test_predicted_error_equals_the_table(golden_edm2) -> None:
    table = golden_edm2["predicted_error_table"]
    for row in table["rows"]:
        if row["n"] > 64:
            continue
        times = np.arange(1, row["n"] + 1)
        in_t, in_s = np.repeat(times, len(row["tracked"])), np.tile(row["tracked"], row["n"])
        for target, expected, walk, norm in zip(table["targets"], row["profile_l2_rel"], row["walk_rel"], row["x_l2"], strict=True):
            x = solve_posthoc_coefficients(in_t, in_s, row["n"], target)[:, 0]
            trust = reliability(in_t, in_s, row["n"], target, x)
            assert trust.profile_error == pytest.approx(expected, rel=0.05, abs=1e-6)
            assert trust.drift_error == pytest.approx(walk, rel=0.01, abs=3e-5)
            assert trust.coefficient_norm == pytest.approx(norm, rel=0.05)


def test_robust_solutions_equal_their_golden_values(golden_edm2) -> None:
    own = golden_edm2["own_extensions"]
    for case in own["walk_gram"]:
        a, b = sigma_rel_to_gamma(case["sigma_a"]), sigma_rel_to_gamma(case["sigma_b"])
        assert walk_correlation(case["t_a"], a, case["t_b"], b) == pytest.approx(case["value"], rel=1e-12)
    for case, ridge in [(c, 0.0) for c in own["constrained"] if c["gram"] == "walk"] + [(own["ridge"], own["ridge"]["lam"])]:
        x = solve_posthoc_coefficients(case["t"], case["in_std"], 1.0, case["targets"], solver="robust", ridge=ridge)
        np.testing.assert_allclose(x, case["X"], rtol=1e-6, atol=1e-9)


def test_robust_solver_halves_the_error_of_long_averages_of_a_random_walk() -> None:
    theta = np.cumsum(np.random.default_rng(0).standard_normal((1024, 64)), axis=0)
    widths = [0.05, 0.1, 0.2, 0.25]
    tracked = _follow(theta, widths)
    times = np.arange(16, 1025, 16)
    in_t, in_s = np.repeat(times, 2), np.tile([0.05, 0.1], len(times))
    stored = np.stack([tracked[s][t - 1] for t, s in zip(in_t, in_s, strict=True)])
    errors = {}
    for solver in ("reference", "robust"):
        made = solve_posthoc_coefficients(in_t, in_s, 1024, widths[2:], solver=solver).T @ stored
        direct = [tracked[s][-1] for s in widths[2:]]
        errors[solver] = [np.linalg.norm(m - d) / np.linalg.norm(d) for m, d in zip(made, direct, strict=True)]
    assert errors["robust"][0] < 0.5 * errors["reference"][0] and errors["robust"][1] < 0.5 * errors["reference"][1]


def test_unknown_solvers_and_misplaced_ridges_are_refused() -> None:
    with pytest.raises(ConfigError, match="Allowed: reference, robust"):
        solve_posthoc_coefficients([1], [0.1], 1, 0.1, solver="magic")
    with pytest.raises(ConfigError, match="belongs to solver='robust'"):
        solve_posthoc_coefficients([1], [0.1], 1, 0.1, ridge=1.0)


def test_a_stored_average_is_given_back_as_it_is() -> None:
    t, s = np.repeat(np.arange(1, 9), 2), np.tile([0.05, 0.1], 8)
    x = solve_posthoc_coefficients(t, s, 8, [0.05, 0.1])
    np.testing.assert_allclose(x[-2:], np.eye(2), atol=1e-11)
    np.testing.assert_allclose(x[:-2], 0, atol=1e-11)


def test_later_and_repeated_averages_are_left_out() -> None:
    t, s = [1, 1, 2, 2, 2, 3, 3], [0.05, 0.1, 0.05, 0.1, 0.1, 0.05, 0.1]
    x = solve_posthoc_coefficients(t, s, 2, 0.07)
    np.testing.assert_allclose(x[:4], solve_posthoc_coefficients(t[:4], s[:4], 2, 0.07), atol=1e-14)
    assert (x[4:] == 0).all()
    with pytest.raises(ConfigError, match="no stored average at or before"):
        solve_posthoc_coefficients(t, s, 0.5, 0.07)


def _follow(theta: np.ndarray, widths: list[float]) -> dict[float, np.ndarray]:
    averages = {}
    for width in set(widths):
        average, path = np.zeros(theta.shape[1]), []
        for step, weights in enumerate(theta, start=1):
            beta = power_function_beta(width, step, 1)
            average = beta * average + (1 - beta) * weights
            path.append(average)
        averages[width] = np.stack(path)
    return averages
