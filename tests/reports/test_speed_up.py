"""Speed-ups from curves whose answer is known."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from reports.pages.study_page import render_page
from reports.results import EmaPoint, StudyResults, TrialResult
from reports.speed_up import curves_of, images_to, speed_ups
from reports.tables import render
from reports.variants import ablation_of
from search_spaces.study import make_study
from tests.conftest import tiny_fields
from trainables.errors import ConfigError

TIMES = (256, 512, 768, 1024)
NAMES = {"base": {}, "<i>fast</i>": {"optimiser.lr": 0.02}, "slow": {"optimiser.lr": 0.001}}


def study_results(factors: dict[str, float], noise: float = 0.0, times: tuple[int, ...] = TIMES, **design: Any) -> StudyResults:
    """A variant with factor f has after n images the score of the base after f n images: 100 / sqrt(f n), at EMA length 0.08."""
    study = make_study({"name": "demo", "base": tiny_fields(), "design": {"variants": NAMES, "seeds": 5, **design}})
    rng, found = np.random.default_rng(0), []
    for number, planned in enumerate(study.design_trials):
        factor = factors[planned.variant] * math.exp(noise * rng.normal())
        at = {0.05: 1.3, 0.08: 1.0, 0.12: 1.1}
        ema = [EmaPoint(w, 100 / math.sqrt(factor * n) * by, 1e-3, images=n) for n in times for w, by in at.items()]
        best = min((p for p in ema if p.images == times[-1]), key=lambda p: p.distance)
        seconds = 20.0 if planned.variant == "slow" else 10.0
        found.append(TrialResult(
            number=number, variant=str(number), seed=planned.seed, status="completed", values=planned.values, recipe_key="k", commit="c",
            reason="", recipe={}, images=1024, train_seconds=seconds, best=best.distance, sigma_rel=0.08, ema=ema, metrics={"macs": 1e6},
        ))
    return StudyResults(
        name="demo", study_id="i", description="", metric="fd_probe", axes=study.axes, definition=study.model_dump(mode="json"),
        commit="c", status="FINISHED", importances={}, trials=found,
    )


def outcome(results: StudyResults) -> dict[str, Any]:
    ablation = ablation_of(results)
    assert ablation is not None
    return {found.variant: found for found in speed_ups(ablation)}


def test_a_variant_that_learns_twice_as_fast_is_twice_as_fast() -> None:
    found = outcome(study_results({"base": 1.0, "<i>fast</i>": 2.0, "slow": 0.5}))
    fast = found["<i>fast</i>"]
    assert [fast.images, fast.low, fast.high, fast.seconds, fast.macs] == pytest.approx([2.0] * 5)
    assert fast.text == "2.00 times (2.00 to 2.00)"
    assert (found["slow"].bound, found["slow"].reached) == ("at most", 0) and "5 of 5 seeds do not reach" in found["slow"].text
    slower = outcome(study_results({"base": 0.5, "<i>fast</i>": 1.0, "slow": 0.75}))["slow"]
    assert slower.images == pytest.approx(1.5) and slower.seconds == pytest.approx(0.75) and slower.macs == pytest.approx(1.5)


def test_the_interval_covers_the_truth_in_ninety_five_of_a_hundred() -> None:
    rng, covered = np.random.default_rng(1), []
    for _ in range(400):
        factors = {"base": 1.0, "<i>fast</i>": 1.6, "slow": 0.5}
        results = study_results(factors, times=(64, 256, 1024))
        for trial in results.trials:
            shift = math.exp(0.05 * rng.normal())
            trial.ema = [replace(point, distance=point.distance * shift) for point in trial.ema]
        fast = outcome(results)["<i>fast</i>"]
        covered.append(fast.low <= 1.6 <= fast.high)
    assert 0.92 <= np.mean(covered) <= 0.98


def test_who_is_there_before_the_first_stored_time_has_a_bound() -> None:
    found = outcome(study_results({"base": 1.0, "<i>fast</i>": 9.0, "slow": 2.0}))["<i>fast</i>"]
    assert found.bound == "at least" and found.images == 4.0 and found.low is None and "at least 4.00 times" in found.text


def test_the_bound_is_of_the_mean_over_all_seeds() -> None:
    results = study_results({"base": 1.0, "<i>fast</i>": 1.0, "slow": 2.0})
    early = next(t for t in results.trials if t.variant == "1")
    early.ema = [replace(point, distance=point.distance / 3) for point in early.ema]
    found = outcome(results)["<i>fast</i>"]
    assert found.bound == "at least" and found.images == pytest.approx(4 ** (1 / 5))  # one seed of five at least 4 times, the others once


def test_each_time_has_its_own_best_length_over_all_seeds() -> None:
    results = study_results({"base": 1.0, "<i>fast</i>": 2.0, "slow": 0.5})
    for trial in results.trials:
        by = [0.5 if (p.images, p.sigma_rel) == (256, 0.05) else 1.0 for p in trial.ema]
        trial.ema = [replace(point, distance=point.distance * factor) for point, factor in zip(trial.ema, by, strict=True)]
    ablation = ablation_of(results)
    assert ablation is not None
    curve = curves_of(ablation.variants[0])[0]
    assert [score for _, score in curve] == pytest.approx([100 / 16 * 1.3 * 0.5, *(100 / math.sqrt(n) for n in TIMES[1:])])


def test_curves_are_met_on_straight_lines_in_logarithms() -> None:
    curve = [(100, 8.0), (400, 2.0), (800, 3.0), (1600, 1.0)]
    assert images_to(curve, 4.0) == pytest.approx(200) and images_to(curve, 2.0) == pytest.approx(400)
    assert images_to(curve, 9.0) == 0.0 and math.isinf(images_to(curve, 0.5))
    assert images_to(curve, 1.5) == pytest.approx(800 * 2 ** (math.log(2) / math.log(3)))


def test_it_is_on_the_page_and_in_the_tables_where_there_are_several_times() -> None:
    results = study_results({"base": 1.0, "<i>fast</i>": 2.0, "slow": 0.5}, noise=0.05)
    page = render_page(results)
    table = page[page.index('id="speed-ups"'):]
    assert "&lt;i&gt;fast&lt;/i&gt;" in table[:2000] and "do not reach" in table[:2000]
    assert b"times (" in render(results, "table", "speed-up")
    for one in (study_results(dict.fromkeys(NAMES, 1.0), times=(1024,)), study_results(dict.fromkeys(NAMES, 1.0), kind="all_pairs")):
        assert 'id="speed-ups"' not in render_page(one)
        with pytest.raises(ConfigError, match="needs a baseline, and scores at several times"):
            render(one, "table", "speed-up")


def test_scores_below_one_count_too() -> None:
    results = study_results({"base": 1.0, "<i>fast</i>": 2.0, "slow": 0.5})
    for trial in results.trials:
        trial.ema = [replace(p, distance=p.distance / 1e3) for p in trial.ema]
        trial.best = (trial.best or 0.0) / 1e3
    assert outcome(results)["<i>fast</i>"].images == pytest.approx(2.0)


def test_seconds_that_are_not_known_give_no_speed_up_in_time() -> None:
    results = study_results({"base": 1.0, "<i>fast</i>": 2.0, "slow": 0.5})
    for trial in results.trials:
        trial.train_seconds = 0.0
    found = outcome(results)["<i>fast</i>"]
    assert found.seconds is None and found.images == pytest.approx(2.0)
