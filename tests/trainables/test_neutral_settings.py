"""A setting at its neutral value is the identity, bit by bit or to rounding; what would change nothing is refused."""

from __future__ import annotations

import functools
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch

from tests.trainables.fields.field_table import fingerprint
from tests.trainables.fields.toy_run import BATCH, NETWORK, STEPS, toy_fields, train_toy
from trainables.data.digits import Digits
from trainables.errors import ConfigError
from trainables.randomness import normal
from trainables.recipe import make_recipe
from trainables.sampling.guidance import Guidance, guided
from trainables.sampling.heun import Heun
from trainables.training import loop
from trainables.training.inputs import Inputs

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


def test_the_pipe_of_probability_0_trains_the_same_weights() -> None:
    """But for those that its labels of zero reach, which the network has besides."""
    pipe = {"augment": {"kind": "edm", "probability": 0.0, "x_flip": False}}
    without, neutral = (train_toy(**changes)["weights"][:-1] for changes in ({}, pipe))
    assert fingerprint(without) == fingerprint(neutral)


def test_batches_made_ahead_change_no_bit() -> None:
    with mock.patch.object(loop, "Inputs", functools.partial(Inputs, prefetch=False)):
        now = results({})
    assert fingerprint(now) == fingerprint(results({}))


def test_nothing_held_out_leaves_the_data_as_they_are() -> None:
    source = Digits(held_out=0)
    data, everything = source.load(), source.read()
    assert (data.images == everything.images).all() and (data.labels == everything.labels).all() and source.load_held_out() is None
    fewer = Digits(held_out=1)
    assert len(fewer.load().images) == len(everything.images) - 1 == len(everything.images) - len(fewer.load_held_out().images)


NOISE = normal(0, "noise", 0, 4, (1, 2, 2))


class Shrinking:
    """D = x / (1 + sigma) times a factor, which is another one without labels."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def denoise(self, x: torch.Tensor, sigma: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
        return (self.factor if labels is not None else 0.5) * x / (1 + sigma)


class Never:
    def denoise(self, *_: object) -> torch.Tensor:
        pytest.fail("a guide of weight 1 was evaluated")


@pytest.mark.parametrize("by", ["unconditional", "weaker", "network"])
def test_guidance_of_weight_1_is_none(by: str) -> None:
    main, labels = Shrinking(1.0), torch.ones(4, 1)

    def images(weight: float, guide: Any) -> torch.Tensor:
        return Heun(num_steps=8).sample(guided(Guidance(weight=weight, by=by), main, labels, guide), NOISE)

    plain = Heun(num_steps=8).sample(lambda x, sigma: main.denoise(x, sigma, labels), NOISE)
    assert torch.equal(images(1.0, Never()), plain)
    torch.testing.assert_close(images(1.0 + 1e-7, Shrinking(0.7)), plain, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(images(1.5, Shrinking(0.7)), plain, rtol=1e-2)


def test_churn_0_is_heuns_method_without_noise() -> None:
    def denoise(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        return Shrinking(1.0).denoise(x, sigma, NOISE)

    plain = Heun(num_steps=8).sample(denoise, NOISE)
    still = Heun(num_steps=8, churn=0.0, churn_min=1.0, churn_max=2.0, churn_noise=1.1)
    assert torch.equal(still.sample(denoise, NOISE, lambda _: pytest.fail("noise was asked for")), plain) and not still.stochastic
    fresh = functools.partial(_fresh, shape=NOISE.shape)
    torch.testing.assert_close(Heun(num_steps=8, churn=1e-9).sample(denoise, NOISE, fresh), plain, rtol=1e-3, atol=1e-3)
    assert not torch.allclose(Heun(num_steps=8, churn=4.0).sample(denoise, NOISE, fresh), plain, rtol=1e-2)


def _fresh(step: int, shape: torch.Size) -> torch.Tensor:
    return normal(0, f"fresh {step}", 0, shape[0], shape[1:])


@pytest.mark.parametrize(("changes", "message"), [
    ({"timesteps": {"kind": "adaptive", "queue": 2}}, "queue"),
    ({"timesteps": {"kind": "adaptive", "levels": 8, "chosen": 9}}, "chosen = 9"),
    ({"evaluation": {"features": "pixels", "sample_metrics": ["inception_score"]}}, "inception_score needs"),
])
def test_what_would_change_nothing_is_refused(changes: Changes, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_recipe(changes)
