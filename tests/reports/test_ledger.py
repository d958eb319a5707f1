"""What a study cost: extra passes of policies and weightings count, and so do trials that were stopped."""

from __future__ import annotations

import pytest

from reports.ledger import gpu_seconds_of, ledger_rows, macs_per_image, totals
from reports.methods_text import methods_text
from tests.reports.pages.studies import a_design, a_search
from trainables.training.passes import per_image


def test_what_was_trained_here_is_counted() -> None:
    results = a_search()
    results.trials[0].reused = {"study": "first", "trial": 4, "images": 512}
    rows = ledger_rows(results)
    sums = totals(rows)
    assert len(rows) == 17 and all(row["train_macs"] == 3 * 1e6 * 512 for row in rows)
    assert sums["own"] == 16 and sums["images"] == 16 * 512 and sums["train_macs"] == 16 * 3e6 * 512 and sums["sweep_seconds"] == 24


def test_what_policies_and_weightings_evaluate_besides_is_part_of_the_cost() -> None:
    trial = a_design().trials[0]
    assert macs_per_image(trial) == 3e6
    trial.metrics |= {"policy/extra_evaluations_per_image": 0.5, "weighting/extra_evaluations_per_image": 0.25}
    assert macs_per_image(trial) == 3.75e6


def test_stopped_trials_cost_what_other_trials_with_their_network_do() -> None:
    results = a_search()
    stopped = next(t for t in results.trials if t.status == "stopped")
    stopped.metrics = {"policy/extra_evaluations_per_image": 1.0}
    costs = {row["trial"]: row["train_macs"] for row in ledger_rows(results)}
    assert costs[stopped.number] == 4e6 * stopped.images and totals(ledger_rows(results))["unknown"] == 0
    stopped.recipe = stopped.recipe | {"network.channels": "99"}  # a network that no trial has been swept with
    rows = ledger_rows(results)
    assert {row["trial"]: row["train_macs"] for row in rows}[stopped.number] is None and totals(rows)["unknown"] == 1
    assert "(without 1 trials, whose cost is not known)" in methods_text(results, None)


def test_gpu_seconds_of_stopped_trials_are_those_of_the_study_s_gpus() -> None:
    results = a_search()
    results.definition = results.definition | {"compute": {"workers": 2, "gpus_per_worker": 0.5}}
    stopped = next(t for t in results.trials if t.status == "stopped")
    assert gpu_seconds_of(stopped, results) == stopped.train_seconds > 0
    results.trials[0].metrics["gpu_seconds"] = 7.0
    assert gpu_seconds_of(results.trials[0], results) == 7.0 and gpu_seconds_of(results.trials[1]) == 0.0


@pytest.mark.parametrize("stages", ["experts.kind", "guide.kind"])
def test_a_stopped_trial_of_several_stages_has_no_cost_of_other_trials(stages: str) -> None:
    results = a_search()
    for trial in results.trials:
        trial.recipe = trial.recipe | {stages: "some"}
    assert all(row["train_macs"] is None for row in ledger_rows(results) if row["status"] == "stopped")


@pytest.mark.parametrize("value", [None, "x", float("nan"), float("inf"), -1.0])
def test_what_a_plug_in_says_it_evaluates_is_counted_where_it_is_a_number(value: object) -> None:
    assert per_image({"mine/extra_evaluations_per_image": value, "policy/extra_evaluations_per_image": 0.5}) == 3.5
