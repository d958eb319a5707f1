"""Combinations of axes: what is impossible is counted, and refused only where nothing is possible."""

from __future__ import annotations

from typing import Any

import pytest

from search_spaces.study import Study, make_study
from tests.conftest import tiny_fields
from trainables.errors import ConfigError

PAIR = {"duration.batch_size": [32, 64], "ema.snapshot_every": [64, 96]}


def study(space: dict[str, Any], **search: Any) -> Study:
    return make_study({"name": "s", "base": tiny_fields(weighting="min_snr"), "space": space, "search": search})


def test_a_combination_may_be_impossible_where_each_edge_is_possible_somewhere() -> None:
    found = study(PAIR).feasibility
    assert 0.2 < found.impossible < 0.3
    assert "ema.snapshot_every must be a multiple of duration.batch_size = 64, and 96 is not" in str(found)
    assert any("impossible" in warning for warning in study(PAIR).warnings)
    with pytest.raises(ConfigError, match="96 is not"):
        study(PAIR).recipe({"duration.batch_size": 64, "ema.snapshot_every": 96})


def test_reasons_that_differ_in_numbers_alone_are_one() -> None:
    found = study({"duration.batch_size": {"low": 16, "high": 64, "step": 1}, "seed": [0, 1]}).feasibility
    assert len(found.reasons) == 1 and 0.8 < found.impossible < 0.95


def test_a_possible_space_says_so() -> None:
    assert study({"seed": [0, 1]}).feasibility.impossible == 0 and not study({"seed": [0, 1]}).warnings


@pytest.mark.parametrize(("space", "words"), [
    ({"ema.snapshot_every": [64, 50]}, "space.ema.snapshot_every = 50"),  # whatever the other values are
    ({"duration.batch_size": {"low": 1, "high": 4096, "step": 1}}, "multiple of duration.batch_size"),
    ({"duration.batch_size": {"low": 16, "high": 512, "step": 1}, "duration.images": [256, 512], "ema.snapshot_every": [64, 512],
      "evaluation.every": [128, 512], "diagnostics_every": [0, 512]}, "% of 1,000 drawn are impossible"),
    ({"weighting.kind": ["min_snr", "edm"], "weighting.gamma": "auto"}, "with weighting.kind = edm: weighting.gamma: there is no such"),
    ({"weighting.kind": ["min_snr", "edm"], "weighting.gamma": {"low": 1, "high": 5, "when": {"weighting.kind": "p2"}}}, "never 'p2'"),
    ({"evaluation.features.dim": [16, 32]}, "do not compare"),
    (None, "search.trials: 1"),
])
def test_spaces_in_which_nearly_nothing_is_possible_are_refused(space: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        study(space or {})
    assert words in str(caught.value)


CONDITIONAL = {"schedule.kind": ["cosine", "laplace"], "schedule.b": {"low": 0.3, "high": 2.0, "when": {"schedule.kind": "laplace"}}}


@pytest.mark.parametrize(("space", "point", "words"), [
    ({"optimiser.lr": {"low": 0.01, "high": 0.1}}, {"optimiser.lr": 0.2}, "0.01 to 0.1"),
    ({"duration.batch_size": [32, 64]}, {"duration.batch_size": 128}, "32, 64"),
    ({"seed": {"low": 0, "high": 8, "step": 2}}, {"seed": 3}, "steps of 2"),
    ({"seed": [0, 1]}, {"seed": True}, "0, 1"),
    ({"seed": [0, 1]}, {"sead": 1}, "Did you mean 'seed'"),
    (CONDITIONAL, {"schedule.kind": "cosine", "schedule.b": 1.0}, "only where schedule.kind = laplace"),
    (CONDITIONAL, {"schedule.b": 1.0}, "only where schedule.kind = laplace"),
    (PAIR, {"duration.batch_size": 64, "ema.snapshot_every": 96}, "96 is not"),
])
def test_points_outside_the_space_are_refused(space: dict[str, Any], point: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        study(space, points=[point])
    assert "search.points[0]" in str(caught.value) and words in str(caught.value)


def test_points_within_the_space_are_taken() -> None:
    study(CONDITIONAL, points=[{"schedule.kind": "laplace", "schedule.b": 1}, {"schedule.kind": "cosine"}])
    study(PAIR, points=[{"ema.snapshot_every": 96}, {"duration.batch_size": 64}])  # possible with some value of the other


@pytest.mark.parametrize(("space", "grace", "words"), [
    ({"evaluation.every": [64, 128]}, 192, "evaluation.every = 128"),
    ({"evaluation.every": {"low": 32, "high": 128, "step": 32}}, 256, "evaluation.every = 96"),
    ({"duration.images": [256, 1024]}, 256, "shortest duration.images = 256"),
])
def test_trials_of_all_lengths_are_compared_at_the_same_images(space: dict[str, Any], grace: int, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        study(space, early_stopping={"kind": "asha", "grace_images": grace})
    assert words in str(caught.value)


def test_lengths_follow_the_space() -> None:
    stopping = {"kind": "asha", "grace_images": 128}
    searched = study({"duration.images": [256, 1024], "evaluation.every": [64, 128]}, early_stopping=stopping)
    assert searched.range_of("duration.images") == (256, 1024)
    assert searched.range_of("duration.batch_size") == (32, 32)


def test_a_batch_is_divided_among_the_workers() -> None:
    fields = {"name": "s", "base": tiny_fields(), "space": {"duration.batch_size": [32, 64]}}
    assert make_study({**fields, "compute": {"workers": 2}}).feasibility.impossible == 0
    with pytest.raises(ConfigError, match=r"batch_size = 32 cannot be divided among 64 workers"):
        make_study({**fields, "compute": {"workers": 64}})
    with pytest.raises(ConfigError, match=r"base: duration\.batch_size = 32 cannot be divided among 3 workers"):
        make_study({"name": "s", "base": tiny_fields(), "search": {"trials": 1}, "compute": {"workers": 3}})
    with pytest.raises(ConfigError, match="divided among 3 workers"):
        make_study({**fields, "space": {"seed": [0, 1]}, "compute": {"workers": 3}})


def test_captured_graphs_need_a_gpu() -> None:
    fields = {"name": "x", "space": {"optimiser.lr": [1e-3, 1e-2]}, "base": {"arithmetic": {"compile": "reduce-overhead"}}}
    with pytest.raises(ConfigError, match=r"reduce-overhead captures CUDA graphs, and training is on the CPU"):
        make_study(fields)
    make_study({**fields, "compute": {"gpus_per_worker": 1}})

