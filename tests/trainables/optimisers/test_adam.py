"""EDM2's learning-rate schedule against the reference."""

from __future__ import annotations

import pytest

from trainables.optimisers.adam import Adam


def test_learning_rates_equal_the_reference(golden_edm2) -> None:
    for case in golden_edm2["lr_schedule"]:
        adam = Adam(lr=case["ref_lr"], decay_after=int(case["ref_batches"] * case["batch"]), ramp_up=int(case["rampup_Mimg"] * 1e6))
        assert adam.learning_rate(case["cur_nimg"]) == pytest.approx(case["lr"], rel=1e-12)


def test_no_decay_and_no_ramp_is_a_constant() -> None:
    assert Adam(lr=0.3).learning_rate(0) == Adam(lr=0.3).learning_rate(10**9) == 0.3
