"""Widths for a budget: met within 2 %, in the wanted proportions, or refused."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainables.errors import ConfigError
from trainables.experts.allocation import TOLERANCE, greedy, to_budget, uniform
from trainables.experts.macs import MacsByWidth, macs, macs_by_width
from trainables.networks.adm import Adm
from trainables.networks.dit import Dit
from trainables.networks.edm2 import Edm2

NETWORKS = {
    "edm2": Edm2(channels=32, mult=(1, 2, 2), blocks=2, attention=(8,), channels_per_head=16),
    "adm": Adm(channels=32, mult=(1, 2, 2), blocks=2, attention=(8,), channels_per_head=16),
    "dit": Dit(width=64, depth=4, heads=4),
}
COSTS = {name: macs_by_width(network, (3, 16, 16), 10) for name, network in NETWORKS.items()}


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(sorted(COSTS)), st.floats(0.45, 1.0), st.sampled_from([1, 4, 8]), st.data())
def test_budgets_are_met_and_widths_are_multiples(name: str, share: float, multiple: int, data: st.DataObject) -> None:
    cost = COSTS[name]
    directions = {unit: data.draw(st.floats(0.3, 1.0)) for unit in cost.units}
    budget = share * cost.full
    for widths in (to_budget(directions, budget, cost, multiple), uniform(budget, cost, multiple)):
        assert abs(cost(widths) - budget) <= TOLERANCE * budget
        for unit, width in widths.items():
            assert 1 <= width < cost.units[unit] and (width % multiple == 0 or unit.endswith("heads"))


@pytest.mark.parametrize("name", NETWORKS)
def test_the_budget_is_one_of_the_real_network(name: str) -> None:
    budget = 0.6 * COSTS[name].full
    settings = NETWORKS[name].model_copy(update={"widths": uniform(budget, COSTS[name])})
    assert macs(settings, (3, 16, 16), 10) == pytest.approx(budget, rel=TOLERANCE)


def test_shares_are_in_proportion_to_the_directions() -> None:
    cost = MacsByWidth(0, {"a/hidden": 1, "b/hidden": 1, "c/hidden": 1}, {"a/hidden": 1000, "b/hidden": 1000, "c/hidden": 1000})
    widths = to_budget({"a/hidden": 1.0, "b/hidden": 0.5, "c/hidden": 0.0}, 2400, cost, 1)
    assert widths == {"a/hidden": 600, "b/hidden": 800}
    # What a block can no longer give, others give.
    assert to_budget({"a/hidden": 1.0, "b/hidden": 0.1}, 1600, cost, 8) == {"a/hidden": 8, "b/hidden": 592}


def test_the_whole_network_has_no_widths() -> None:
    for cost in COSTS.values():
        assert uniform(cost.full, cost) == {}


def test_greedy_removes_the_lowest_score_per_mac_first() -> None:
    cost = MacsByWidth(0, {"a/hidden": 2, "b/hidden": 1, "b/heads": 10}, {"a/hidden": 8, "b/hidden": 8, "b/heads": 2})
    scores = {"a/hidden": [8, 8, 1, 8, 8, 1, 8, 8], "b/hidden": [1, 1, 2, 2, 9, 9, 9, 9], "b/heads": [500, 1]}
    assert greedy(scores, 44 - 10, cost, 2) == {"b/heads": 1}
    assert greedy(scores, 44 - 10 - 4, cost, 2) == {"b/heads": 1, "a/hidden": 6}
    assert greedy(scores, 44 - 10 - 4 - 2, cost, 2) == {"b/heads": 1, "a/hidden": 6, "b/hidden": 6}
    for real in COSTS.values():
        equal = {unit: [1.0] * count for unit, count in real.units.items()}
        assert real(greedy(equal, 0.6 * real.full, real)) == pytest.approx(0.6 * real.full, rel=TOLERANCE)


def test_what_cannot_be_met_is_explained() -> None:
    with pytest.raises(ConfigError, match="smallest network has"):
        uniform(0.01 * COSTS["edm2"].full, COSTS["edm2"])
    with pytest.raises(ConfigError, match="cannot be met within 2%"):
        to_budget({}, 0.5 * COSTS["edm2"].full, COSTS["edm2"])
    with pytest.raises(ConfigError, match="directions"):
        to_budget({"nowhere": 1.0}, 1.0, COSTS["edm2"])
    with pytest.raises(ConfigError, match="directions"):
        to_budget(dict.fromkeys(COSTS["dit"].units, float("nan")), 1.0, COSTS["dit"])
