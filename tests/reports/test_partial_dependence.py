"""Partial dependence finds what a parameter does, and nothing where it does nothing."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from reports.partial_dependence import FEWEST, _shares, partial_dependences
from search_spaces.distributions import Categorical, FloatRange
from search_spaces.study import Study, make_study
from tests.conftest import tiny_fields
from tests.reports.pages.studies import a_search

SPACE: dict[str, Any] = {
    "weighting.gamma": {"low": 1.0, "high": 20.0, "log": True}, "optimiser.lr": {"low": 0.005, "high": 0.05, "log": True},
    "schedule.kind": ["cosine", "laplace"], "schedule.b": {"low": 0.25, "high": 2.0, "when": {"schedule.kind": "laplace"}},
}


def study() -> Study:
    return make_study({"name": "s", "base": tiny_fields(weighting="min_snr"), "space": SPACE})


def found_of(trials: int, score: Any) -> Any:
    space, rng = study().space, np.random.default_rng(0)
    made = a_search().trials[:1] * trials
    results = []
    for trial in made:
        values = {path: d.at(float(rng.uniform())) for path, d in space.items() if d.when == {}}
        values |= {path: d.at(float(rng.uniform())) for path, d in space.items() if d.when and d.applies(values)}
        results.append(type(trial)(**{**vars(trial), "values": values, "best": score(values)}))
    return partial_dependences(space, results)


def test_it_follows_the_parameter_that_matters_and_is_flat_for_others() -> None:
    found = found_of(150, lambda v: math.exp(abs(math.log(v["weighting.gamma"] / 5))))
    gamma, lr = found["weighting.gamma"], found["optimiser.lr"]
    expected = [math.exp(abs(math.log(value / 5))) for value in gamma.values]
    np.testing.assert_allclose(np.log(gamma.mean), np.log(expected), atol=0.12)
    assert all(low <= mean <= high for low, mean, high in zip(gamma.low, gamma.mean, gamma.high, strict=True))
    assert max(lr.mean) / min(lr.mean) < 1.05


def test_choices_and_what_they_switch_on() -> None:
    found = found_of(200, lambda v: 2.0 * (1.0 if v["schedule.kind"] == "cosine" else math.exp(v["schedule.b"])))
    kind, b = found["schedule.kind"], found["schedule.b"]
    assert kind.values == ["cosine", "laplace"] and kind.mean[0] == pytest.approx(2.0, rel=0.05)
    assert kind.mean[1] == pytest.approx(2 * math.exp(1.125), rel=0.15)  # b in the middle of what was tried, where it was not
    np.testing.assert_allclose(b.mean, [2 * math.exp(value) for value in b.values], rtol=0.15)


def test_there_is_none_of_few_trials_or_scores_that_are_no_distances() -> None:
    assert found_of(FEWEST - 1, lambda v: 1.0) == {} and found_of(FEWEST, lambda v: math.inf) == {}
    assert partial_dependences({}, a_search().trials) == {}
    assert set(found_of(FEWEST, lambda v: 1.0)) == set(SPACE)


def test_choices_that_no_trial_had_have_no_dependence_and_values_of_another_space_are_left_out() -> None:
    space = {"network.width": Categorical(choices=(64, 16, 32))}
    trial = a_search().trials[0]
    trials = [replace(trial, values={"network.width": 64 if i % 2 else 16}, best=1.0 + i % 2) for i in range(30)]
    found = partial_dependences(space, [*trials, replace(trial, values={"network.width": 99}, best=50.0)])["network.width"]
    assert found.values == [64, 16] and found.mean == pytest.approx([2.0, 1.0], rel=0.05)


def test_what_is_switched_off_by_what_is_switched_off_does_not_count() -> None:
    space = {"a": Categorical(choices=("on", "off")), "b": Categorical(choices=("on", "off"), when={"a": "on"}),
             "c": FloatRange(low=0.0, high=1.0, when={"b": "on"})}
    assert _shares(space, {"a": "on", "b": "on", "c": 0.25}) == [0.25, 0.25, 0.25]
    assert _shares(space, {"a": "off", "b": "on", "c": 0.25}) == [0.75, -1.0, -1.0]
    assert _shares(space, {"a": "on"}, {"b": 0.25, "c": 0.5}) == [0.25, 0.25, 0.5]
