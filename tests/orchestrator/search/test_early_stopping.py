"""Early stopping: the decisions of Ray Tune's own schedulers, and the same again after a restart."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

from orchestrator.search.early_stopping import MedianRule, Report, StoppingRule, SuccessiveHalving, rule_for
from search_spaces.study import make_study
from tests.conftest import tiny_fields

LONGEST = 1024


def curves(seed: int, trials: int = 25, every: int = 64) -> list[list[Report]]:
    rng = np.random.default_rng(seed)
    level = rng.lognormal(sigma=0.5, size=trials)
    return [[Report(t, i, float(level[t] * (1 + 200 / i) * rng.lognormal(sigma=0.1))) for i in range(every, LONGEST + 1, every)]
            for t in range(trials)]


def run(rule: StoppingRule, trials: list[list[Report]], at_once: int) -> tuple[list[Report], dict[int, int]]:
    """(reports in the order in which they came, images at which each trial stopped) with so many trials at a time."""
    heard, stopped, waiting, running = [], {}, list(range(len(trials))), []
    place = [0] * len(trials)
    while waiting or running:
        while waiting and len(running) < at_once:
            running.append(waiting.pop(0))
        for trial in list(running):
            report = trials[trial][place[trial]]
            place[trial] += 1
            heard.append(report)
            over = report.images == LONGEST
            if rule.stops(report) and not over:
                stopped[trial], over = report.images, True
            if over:
                running.remove(trial)
    return heard, stopped


class TunesTrial:
    """What a scheduler of Tune looks at."""

    def __init__(self, number: int) -> None:
        self.trial_id = str(number)


class TunesOwn(StoppingRule):
    """A scheduler of Tune behind our interface."""

    def __init__(self, scheduler) -> None:
        super().__init__()
        self._scheduler, self._trials = scheduler, {}

    def stops(self, report: Report) -> bool:
        if report.trial not in self._trials:
            self._trials[report.trial] = TunesTrial(report.trial)
            self._scheduler.on_trial_add(None, self._trials[report.trial])
        trial = self._trials[report.trial]
        result = {"images": report.images, "score": report.score}
        if report.images == LONGEST:
            self._scheduler.on_trial_complete(None, trial, result)
            return False
        controller = SimpleNamespace(get_live_trials=list)
        return self._scheduler.on_trial_result(controller, trial, result) == "STOP"


@pytest.mark.parametrize("at_once", [1, 3])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", ["asha", "median"])
def test_decisions_equal_those_of_ray_tune(kind: str, seed: int, at_once: int) -> None:
    from ray.tune.schedulers import ASHAScheduler, MedianStoppingRule

    common = {"time_attr": "images", "metric": "score", "mode": "min", "grace_period": 128}
    if kind == "asha":
        ours, theirs = SuccessiveHalving(128, 2.0), ASHAScheduler(**common, max_t=LONGEST, reduction_factor=2.0)
    else:
        ours, theirs = MedianRule(128, 3), MedianStoppingRule(**common, min_samples_required=3)
    found = run(ours, curves(seed), at_once)[1]
    assert found == run(TunesOwn(theirs), curves(seed), at_once)[1] and 3 < len(found) < 24


@pytest.mark.parametrize("rule", [
    lambda: SuccessiveHalving(128, 2.0), lambda: SuccessiveHalving(64, 2.0, 3, seed=5), lambda: MedianRule(128, 3),
])
@pytest.mark.parametrize("cut", [1, 17, 40, 90])
def test_a_rule_that_hears_the_same_again_goes_on_as_it_would_have(rule, cut: int) -> None:
    heard, _ = run(rule(), curves(7), 3)
    unbroken, resumed = rule(), rule()
    expected = [unbroken.stops(r) for r in heard]
    for report in heard[:cut]:
        resumed.stops(report)
    assert [resumed.stops(r) for r in heard[cut:]] == expected[cut:]


def test_brackets_are_a_function_of_the_trial_and_the_first_is_the_most_frequent() -> None:
    rule = SuccessiveHalving(64, 2.0, 3, seed=0)
    counts = np.bincount([rule._bracket(t) for t in range(3000)], minlength=3) / 3000
    shares = np.exp([0, -1, -2]) / np.exp([0, -1, -2]).sum()
    np.testing.assert_allclose(counts, shares, atol=0.03)


def test_in_a_reproducible_order_a_trial_is_compared_with_those_before_it_whatever_came_first() -> None:
    first, second, third = (Report(t, 128, s) for t, s in enumerate((1.0, 2.0, 3.0)))
    compared = {0: 0, 1: 0, 2: 1}.__getitem__
    for order in ((first, second, third), (third, second, first), (second, first, third)):
        rule = SuccessiveHalving(128, 2.0, end_of=compared)
        stopped = {r.trial for r in order if rule.stops(r)}
        assert stopped <= {2} and (stopped == {2}) == (order.index(first) < order.index(third))


@pytest.mark.parametrize("worst", [math.nan, math.inf])
def test_a_score_that_is_not_finite_is_the_worst(worst: float) -> None:
    rule = SuccessiveHalving(128, 2.0)
    assert not rule.stops(Report(0, 128, 5.0)) and rule.stops(Report(1, 128, worst))
    assert not rule.stops(Report(2, 128, 4.0)) and rule.stops(Report(3, 128, worst))


def test_one_diverged_trial_does_not_switch_the_rule_off() -> None:
    rule = SuccessiveHalving(128, 3.0)
    assert not rule.stops(Report(0, 128, 1.0)) and rule.stops(Report(1, 128, math.nan)) and rule.stops(Report(2, 128, 100.0))


def test_a_study_chooses_its_rule() -> None:
    def of(stopping) -> StoppingRule:
        base = tiny_fields()
        return rule_for(make_study({"name": "s", "base": base, "space": {"seed": [0, 1]}, "search": {"early_stopping": stopping}}))

    asha = of({"kind": "asha", "grace_images": 128, "reduction_factor": 2})
    assert asha._grace == 128 and asha._factor == 2 and asha._brackets == 1
    assert of({"kind": "hyperband", "grace_images": 128, "brackets": 2})._brackets == 2
    assert of({"kind": "median", "grace_images": 128, "min_trials": 4})._least == 4
    assert not of("none").stops(Report(0, 256, math.inf))
