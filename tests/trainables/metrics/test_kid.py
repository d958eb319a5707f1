"""The kernel distance, and the standard error that it states, against what redrawing the samples shows."""

from __future__ import annotations

import numpy as np
import pytest

from trainables.metrics import kid
from trainables.metrics.kid import kernel_distance


def normal(seed: int, count: int, dim: int = 8, shift: float = 0.0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal((count, dim)) + shift).astype(np.float32)


def test_kid_of_one_law_is_zero_within_its_error() -> None:
    mean, error = kernel_distance(normal(0, 900), normal(1, 900))
    assert abs(mean) < 4 * error
    far, error = kernel_distance(normal(0, 900, shift=1.0), normal(1, 900))
    assert far > 10 * error > 0


@pytest.mark.parametrize(("made", "real", "shift", "subset"), [
    (60, 60, 0.0, 1000), (60, 90, 0.4, 1000),  # fewer samples than a subset, where the error was stated as 0
    (200, 150, 0.0, 50), (200, 150, 0.4, 50),  # overlapping subsets
])
def test_the_standard_error_is_that_of_redrawn_samples(
    made: int, real: int, shift: float, subset: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kid, "_SUBSET_SIZE", subset)
    found = np.array([kernel_distance(normal(2 * s, made, shift=shift), normal(2 * s + 1, real)) for s in range(60)])
    true, stated = found[:, 0].std(ddof=1), np.sqrt((found[:, 1] ** 2).mean())
    assert 0.7 < stated / true < 1.45  # the standard deviation of 60 values has itself an error of 9 %, with these tails more


@pytest.mark.parametrize(("made", "real"), [(40, 60), (60, 40), (20, 400), (400, 20)])
def test_where_both_laws_are_one_the_variance_is_that_of_pairs(made: int, real: int) -> None:
    """Fair signs: the kernel is 4 + 4xy, so that no single sample matters, and a pair has the variance 16."""
    x, y = (np.resize([1.0, -1.0], count)[:, None] for count in (made, real))
    exact = 16 * (2 / (made * (made - 1)) + 2 / (real * (real - 1)) + 4 / (made * real))
    assert kid._variance(x, y) == pytest.approx(exact, rel=0.08)


def test_the_error_of_many_samples_is_estimated_from_a_choice_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    made, real = normal(0, 900, shift=0.3), normal(1, 900)
    whole = kernel_distance(made, real)
    monkeypatch.setattr(kid, "_MOST_ROWS", 400)
    part = kernel_distance(made, real)
    assert part[0] == whole[0]
    assert part[1] != whole[1] and part[1] == pytest.approx(whole[1], rel=0.15)


def test_two_samples_have_no_error_and_three_have_one() -> None:
    assert np.isnan(kernel_distance(normal(0, 2), normal(1, 50))[1])
    assert np.isfinite(kernel_distance(normal(0, 3), normal(1, 50))[1])


def test_as_many_subsets_of_as_many_samples_as_usual(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch_fidelity import metric_kid

    asked: list[tuple[int, int]] = []

    def note(*_: object, kid_subsets: int, kid_subset_size: int, **__: object) -> dict[str, float]:
        asked.append((kid_subsets, kid_subset_size))
        return {"kernel_inception_distance_mean": 0.0, "kernel_inception_distance_std": 0.0}

    monkeypatch.setattr(metric_kid, "kid_features_to_metric", note)
    rng = np.random.default_rng(0)
    for made, real in ((1500, 1200), (1500, 300), (300, 300)):
        kernel_distance(rng.normal(size=(made, 2)), rng.normal(size=(real, 2)))
    assert asked == [(100, 1000), (100, 300), (1, 300)]  # where both are one subset, others would be the same one


def test_the_variance_is_that_of_hoeffdings_projections_worked_out_term_by_term() -> None:
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(5, 2)), rng.normal(0.5, 1.0, size=(4, 2))
    k = lambda a, b: (a @ b / 2 + 1) ** 3  # noqa: E731
    own = lambda s: [[k(a, b) if i != j else 0.0 for j, b in enumerate(s)] for i, a in enumerate(s)]  # noqa: E731
    kxx, kyy, kxy = np.array(own(x)), np.array(own(y)), np.array([[k(a, b) for b in y] for a in x])

    def pairs(kernel: np.ndarray) -> float:
        n = len(kernel)
        row = kernel.sum(1) / (n - 1)
        return sum((kernel[i, j] - row[i] - row[j] + row.mean()) ** 2 for i in range(n) for j in range(n) if i != j) / (n * (n - 1))

    between = np.mean([(kxy[i, j] - kxy[i].mean() - kxy[:, j].mean() + kxy.mean()) ** 2 for i in range(5) for j in range(4)])
    g_x = np.var(kxx.sum(1) / 4 - kxy.mean(1), ddof=1) - pairs(kxx) / 4 - between / 4
    g_y = np.var(kyy.sum(1) / 3 - kxy.mean(0), ddof=1) - pairs(kyy) / 3 - between / 5
    expected = max(4 * g_x / 5 + 4 * g_y / 4, 0.0) + 2 * pairs(kxx) / 20 + 2 * pairs(kyy) / 12 + 4 * between / 20
    assert 4 * g_x / 5 + 4 * g_y / 4 > 0 and kid._variance(x, y) == pytest.approx(expected, rel=1e-9)
