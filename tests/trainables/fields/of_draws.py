"""Fields of schedules, levels, weightings, timestep policies and augmentations: draws, weights, corrections, and what they train."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from tests.trainables.fields.field_table import Fields
from tests.trainables.fields.toy_run import weights_with
from trainables import augmentations, schedules, timesteps, weightings
from trainables.schedules.cosine import Cosine
from trainables.schedules.restricted import Levels, restricted
from trainables.targets.v import V

TIMES, LEVELS = np.linspace(0.001, 0.999, 99), np.linspace(-6.0, 6.0, 49)


def schedule_look(schedule: Any) -> Any:
    return [schedule.from_uniform(TIMES), schedule.log_prob(LEVELS)]


def levels_look(levels: Levels) -> Any:
    return restricted(Cosine(), levels).from_uniform(TIMES)


def weighting_look(weighting: Any) -> Any:
    return weighting.weight(LEVELS, V())


def draws_look(policy: Any) -> Any:
    """Draws and corrections of a policy that learns nothing."""
    return policy.start(Cosine(), 0, 64).draw(0, 64, torch.zeros(64, 1, 2, 2))


def augmentation_look(augmentation: Any) -> Any:
    images = torch.linspace(-1, 1, 64 * 64).reshape(64, 1, 8, 8).sin()
    return augmentation.apply(images, 0, 0)


ENDS = {"log_snr_min": -2.0, "log_snr_max": 2.0}
FIELDS = [
    *(Fields(schedules.KINDS[kind], schedule_look, {**ENDS, **own}) for kind, own in {
        "cauchy": {"mu": 0.5, "gamma": 2.0}, "cosine": {}, "cosine_scaled": {"s": 2.0}, "cosine_shifted": {"mu": 0.5},
        "ddpm_linear": {"steps": 500, "beta_start": 2e-4, "beta_end": 0.03}, "edm_lognormal": {"P_mean": -0.4, "P_std": 1.0},
        "laplace": {"mu": 0.5, "b": 1.0}, "logit_normal": {"mean": 0.5, "std": 0.8},
    }.items()),
    Fields(Levels, levels_look, {"low": -0.5, "high": 0.5}, base={"low": -1.0, "high": 1.0}),
    *(Fields(weightings.KINDS[kind], weighting_look, own) for kind, own in {
        "constant": {"on": "x0"}, "edm": {}, "max_snr": {"gamma": 2.0}, "min_snr": {"gamma": 2.0}, "p2": {"k": 2.0, "gamma": 0.5},
        "sigmoid": {"bias": 1.0}, "snr": {}, "soft_min_snr": {"gamma": 2.0}, "truncated_snr": {},
            "uncertainty": {"base": "snr"},
    }.items()),
    Fields(weightings.KINDS["ugd"], weights_with("weighting"), {"every": 4, "decay": 0.2, "ridge": 1.0}, base={"every": 3}),
    Fields(timesteps.KINDS["uniform"], draws_look, {}),
    Fields(timesteps.KINDS["stratified"], draws_look, {}),
    Fields(timesteps.KINDS["speed"], draws_look, {"ratio": 2.0, "flat_slope": 0.5, "weight_bound": 0.8}),
    Fields(
        timesteps.KINDS["loss_second_moment"], weights_with("timesteps"), {"cells": 3, "history": 3, "uniform_share": 0.5},
        base={"cells": 4, "history": 2},
    ),
    Fields(
        timesteps.KINDS["adaptive"], weights_with("timesteps"),
        {"levels": 24, "discrete": False, "update_every": 2, "chosen": 2, "queue": 3, "entropy": 0.5, "lr": 0.1},
        base={"levels": 16, "update_every": 1},
    ),
    Fields(augmentations.KINDS["none"], augmentation_look, {}),
    Fields(augmentations.KINDS["flips"], augmentation_look, {"probability": 0.2}),
    Fields(augmentations.KINDS["edm"], augmentation_look, {
        "probability": 0.5, "x_flip": False, "y_flip": False, "scale": 0.1, "rotation": 0.5, "anisotropy": 0.1, "translation": 0.2,
    }),
]
