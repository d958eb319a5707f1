"""A setting at its neutral value is the identity, bit by bit or to rounding; what would change nothing is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.trainables.fields.field_table import fingerprint
from tests.trainables.fields.toy_run import BATCH, NETWORK, STEPS, toy_fields, train_toy
from trainables.errors import ConfigError
from trainables.recipe import make_recipe

SCHEDULE = {"kind": "edm_lognormal", "P_mean": 0.0}
WHOLE = {"low": -20.0, "high": 21.0}
Changes = dict[str, Any]
BITWISE: dict[str, tuple[Changes, Changes]] = {
    "loss_scaling 2^10": ({}, {"arithmetic": {"loss_scaling": 1024.0}}),
    "micro_batch of the whole batch": ({}, {"arithmetic": {"micro_batch": BATCH}}),
    "clip_norm above every norm": ({}, {"optimiser": {"lr": 0.01, "clip_norm": 1e9}}),
    "decay constant and inverse_sqrt without a beginning": ({}, {"optimiser": {"lr": 0.01, "decay": "constant"}}),
    "adamw without decay": ({}, {"optimiser": {"kind": "adamw", "lr": 0.01, "weight_decay": 0.0}}),
    "levels on the whole axis": ({}, {"levels": WHOLE}),
    "flips of probability 0": ({}, {"augment": {"kind": "flips", "probability": 0.0}}),
    "max_snr below every SNR": ({"weighting": "snr"}, {"weighting": {"kind": "max_snr", "gamma": 1e-30}}),
    "min_snr above every SNR": ({"weighting": "snr"}, {"weighting": {"kind": "min_snr", "gamma": 1e30}}),
    "p2 with exponent 0": ({"weighting": "snr"}, {"weighting": {"kind": "p2", "gamma": 0.0}}),
    "diagnostics": ({"network": {**NETWORK, "dropout": 0.2}}, {"diagnostics_every": BATCH, "network": {**NETWORK, "dropout": 0.2}}),
    "checkpoints by time": ({}, {"duration": {"images": BATCH * STEPS, "batch_size": BATCH, "checkpoint_minutes": 1e-9}}),
    "classical averages beside": ({}, {"ema": {**toy_fields()["ema"], "classical": [{"decay": 0.9}]}}),
}
ROUNDED: dict[str, tuple[Changes, Changes]] = {
    "micro_batch of a part": ({}, {"arithmetic": {"micro_batch": 5}}),
    "importance_base as the schedule": ({}, {"importance_base": SCHEDULE}),
    # All weights are a half, which Adam does not see.
    "speed that draws and weights evenly": ({}, {"timesteps": {"kind": "speed", "ratio": 1.0, "weight_bound": 0.5}}),
    "ugd whose ridge makes weights equal": ({"weighting": "constant"}, {"weighting": {"kind": "ugd", "every": 2, "ridge": 1e9}}),
}


def results(changes: Changes) -> list[Any]:
    found = train_toy(**changes)
    return [found["weights"], found["averages"][0]]


@pytest.mark.parametrize("name", BITWISE)
def test_a_neutral_setting_changes_no_bit(name: str) -> None:
    without, neutral = BITWISE[name]
    assert fingerprint(results(without)) == fingerprint(results(neutral))


@pytest.mark.parametrize("name", ROUNDED)
def test_a_neutral_setting_changes_no_more_than_rounding(name: str) -> None:
    without, neutral = (results(changes)[0] for changes in ROUNDED[name])
    for a, b in zip(without, neutral, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("changes", "message"), [
    ({"timesteps": {"kind": "adaptive", "queue": 2}}, "queue"),
    ({"timesteps": {"kind": "adaptive", "levels": 8, "chosen": 9}}, "chosen = 9"),
    ({"evaluation": {"features": "pixels", "sample_metrics": ["inception_score"]}}, "inception_score needs"),
])
def test_what_would_change_nothing_is_refused(changes: Changes, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_recipe(changes)
