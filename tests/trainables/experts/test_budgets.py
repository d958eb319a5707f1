"""Compute of each group's network."""

from __future__ import annotations

import pytest

from tests.conftest import tiny_fields
from trainables.errors import ConfigError
from trainables.experts.budgets import KINDS
from trainables.experts.budgets.linear import Linear
from trainables.experts.budgets.ratios import Ratios
from trainables.experts.fine_tuning import FineTuning
from trainables.recipe import make_recipe


@pytest.mark.parametrize("groups", range(1, 9))
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_group_has_a_ratio(kind: str, groups: int) -> None:
    ratios = KINDS[kind]().ratios(groups, [0.1 * i for i in range(groups)])
    assert len(ratios) == groups and all(0 < r <= 1 for r in ratios) and max(ratios) == 1


def test_the_published_rule() -> None:
    assert Linear(k=0.6).ratios(4) == pytest.approx((0.7, 0.8, 0.9, 1.0))
    assert Linear(k=0.6, order="low_snr_large").ratios(4) == pytest.approx((1.0, 0.9, 0.8, 0.7))
    assert Linear(k=0.6, order="measured").ratios(3, [0.2, 0.9, 0.5]) == pytest.approx((0.6 + 0.4 / 3, 1.0, 0.6 + 0.8 / 3))
    assert Linear(k=1).ratios(5) == (1.0,) * 5
    with pytest.raises(ValueError, match="loss in each group"):
        Linear(order="measured").ratios(3)


def test_ratios_can_be_put_in_order() -> None:
    chosen = {"ratio_1": 0.5, "ratio_2": 0.9, "ratio_3": 0.7, "ratio_4": 0.4}
    assert Ratios(**chosen).ratios(3) == (0.5, 0.9, 0.7)
    assert Ratios(**chosen, monotone="rising").ratios(3) == (0.5, 0.7, 0.9)
    assert Ratios(**chosen, monotone="falling").ratios(4) == (0.9, 0.7, 0.5, 0.4)


def test_images_of_a_group_are_whole_batches() -> None:
    assert FineTuning(share=0.5).images(1024, 32, 4) == 128
    assert FineTuning(share=0.3).images(1000, 32, 3) == 96
    assert FineTuning(share=0.001).images(1024, 32, 8) == 32


@pytest.mark.parametrize(("fields", "said"), [
    ({"experts": {"groups": 3, "split": {"kind": "given", "fractions": [0.5]}}}, "3 groups have 2 edges"),
    ({"experts": {"pruning": {"proxy": {"rounds": 2}}}}, "no effect where allocation is uniform"),
    ({"experts": {"groups": 9}}, "less than or equal to 8|at most 8"),
    ({"experts": {}, "levels": {"low": 0}}, "experts.*levels"),
    ({"experts": {}, "network": {**tiny_fields()["network"], "widths": {"encoder/8_block0/hidden": 2}}}, "experts.*widths"),
    ({"experts": {}, "schedule": {"kind": "ddpm_linear", "log_snr_min": -1}}, "experts: group 1.*outside the schedule's range"),
    ({"experts": {"groups": 8, "split": "equal_steps"}}, "too few for 8 groups"),
])
def test_compositions_that_cannot_be_are_refused(fields: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make_recipe(tiny_fields(**fields))
