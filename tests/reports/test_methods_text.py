"""The paragraph to paste: every setting of the methods, and network evaluations that hold for all trials."""

from __future__ import annotations

from typing import Any

import pytest

from reports.documents import flatten
from reports.methods_text import methods_text
from tests.conftest import tiny_fields
from tests.reports.pages.studies import a_search
from trainables.recipe import make_recipe


def text_of(*variants: dict[str, Any]) -> str:
    """Of a study whose trials have these settings in turn."""
    results = a_search()
    for number, trial in enumerate(results.trials):
        trial.recipe = flatten(make_recipe(tiny_fields(**variants[number % len(variants)])).model_dump(mode="json"))
    return methods_text(results, None)


@pytest.mark.parametrize(("weighting", "said"), [
    ({"kind": "min_snr", "gamma": 3}, "min_snr (gamma = 3.0)"), ({"kind": "constant", "on": "v"}, "constant (on = v)"),
    ({"kind": "uncertainty", "base": {"kind": "constant", "on": "x0"}}, "uncertainty (base = constant (on = x0)"), ("edm", "edm."),
])
def test_settings_are_said_whatever_their_type(weighting: Any, said: str) -> None:
    assert f"the loss weighting is {said}" in text_of({"weighting": weighting})


def test_settings_that_trials_differ_in_are_said_to_be_varied() -> None:
    found = text_of({"weighting": {"kind": "min_snr", "gamma": 3}}, {"weighting": {"kind": "min_snr", "gamma": 5}})
    assert "min_snr (gamma = varied)" in found
    found = text_of({"weighting": {"kind": "uncertainty", "base": "edm"}}, {"weighting": {"kind": "uncertainty", "base": "snr"}})
    assert "uncertainty (base = varied" in found
    assert "drawn by the policy speed (ratio = 5.0, flat_slope = 0.1, weight_bound = 0.6)" in text_of({"timesteps": "speed"})


def test_network_evaluations_are_said_where_all_samplers_need_as_many() -> None:
    evaluation = tiny_fields()["evaluation"]
    heun, ddim = ({"evaluation": {**evaluation, "sampler": {"kind": kind, "num_steps": 4}}} for kind in ("heun", "ddim"))
    assert "by heun with 4 steps (7 network evaluations), guidance" in text_of(heun)
    assert "by varied with 4 steps, guidance" in text_of(heun, ddim)


def test_the_networks_size_is_said_where_all_have_it() -> None:
    assert "(40,000 parameters, 1,000,000 multiply-accumulates per evaluation)" in text_of({})
    results = a_search()
    results.trials[0].metrics["macs"] = 2e6
    assert "multiply-accumulates per evaluation" not in methods_text(results, None)
