"""Contracts of timestep policies and augmentations: a function of (seed, index of the sample), whatever the batch."""

from __future__ import annotations

import numpy as np
import torch

from trainables.augmentations import Augmentation
from trainables.plugins.contracts.requirement import Contracts, close, require
from trainables.schedules import make_schedule
from trainables.timesteps import TimestepPolicy
from trainables.timesteps.policy import Draws

_SCHEDULE = make_schedule("cosine")


def _images(count: int = 64, channels: int = 1) -> torch.Tensor:
    return torch.randn(count, channels, 8, 8, generator=torch.Generator().manual_seed(0))


def levels_belong_to_the_sample(policy: TimestepPolicy) -> None:
    """noise levels are finite float64, and those of a sample whatever the batch that it is in"""
    clean = _images()
    levels, corrections = _start(policy, 3).draw(640, 64, clean)
    require(isinstance(levels, np.ndarray) and levels.dtype == np.float64 and levels.shape == (64,), "levels must be float64 [count]")
    require(np.isfinite(levels).all(), "a level is not finite")
    halves = _start(policy, 3)
    parts = [halves.draw(640, 32, clean[:32]), halves.draw(672, 32, clean[32:])]
    close(np.concatenate([part[0] for part in parts]), levels, "the two halves of a batch are drawn otherwise than the whole")
    if corrections is not None:
        positive = corrections.shape == (64,) and np.isfinite(corrections).all() and (corrections > 0).all()
        require(positive, "corrections must be positive [count]")
        close(np.concatenate([np.asarray(part[1]) for part in parts]), corrections, "corrections of the halves differ")
    other, _ = _start(policy, 4).draw(640, 64, clean)
    require((other != levels).any(), "another seed gives the same levels")


def corrections_keep_the_mean(policy: TimestepPolicy) -> None:
    """corrected losses have the mean of the schedule, where corrections are given"""
    levels, corrections = _start(policy, 0).draw(0, 20_000, _images(1).expand(20_000, 1, 8, 8))
    if corrections is not None:
        found, wanted = float(np.mean(corrections * np.tanh(levels / 4))), float(np.mean(np.tanh(_SCHEDULE.sample(20_000, 1) / 4)))
        require(abs(found - wanted) < 0.05, f"a loss of tanh(log SNR / 4) has the mean {found:.3f} instead of {wanted:.3f}")


def a_state_goes_on(policy: TimestepPolicy) -> None:
    """what has been learnt is in state() as tensors, and a run that goes on from it draws the same"""
    draws, clean = _start(policy, 0), _images()
    for first in range(0, 640, 64):
        levels, corrections = draws.draw(first, 64, clean)
        if draws.observes_losses:
            draws.observe(first, (1 + np.tanh(levels)) * (1 if corrections is None else corrections))
    state = draws.state()
    require(all(isinstance(value, torch.Tensor) for value in state.values()), "state() must hold torch tensors alone")
    again = _start(policy, 0)
    again.restore({name: value.clone() for name, value in state.items()})
    close(again.draw(640, 64, clean)[0], draws.draw(640, 64, clean)[0], "after restore(state()) other levels are drawn")
    numbers = draws.report().values()
    require(all(isinstance(value, float | int) and np.isfinite(value) for value in numbers), "report() must hold finite numbers")


def images_are_changed_by_index(augmentation: Augmentation) -> None:
    """images keep shape and dtype, and are changed by (seed, index) alone"""
    images = _images(64, 3)
    changed, labels = augmentation.apply(images, 3, 100)
    rest, its_labels = augmentation.apply(images[40:], 3, 140)
    require(changed.shape == images.shape and changed.dtype == images.dtype, f"{tuple(changed.shape)} {changed.dtype}")
    require(torch.isfinite(changed).all(), "a value is not finite")
    require(torch.equal(changed[40:], rest), "images 140 to 163 are changed otherwise in another batch")
    given = "none" if labels is None else "some"
    require((labels is None) == (augmentation.labels == 0), f"labels = {augmentation.labels}, and apply gives {given}")
    if labels is not None and its_labels is not None:
        require(labels.shape == (64, augmentation.labels) and torch.equal(labels[40:], its_labels), f"labels {tuple(labels.shape)}")


def _start(policy: TimestepPolicy, seed: int) -> Draws:
    return policy.start(_SCHEDULE, seed, 64)


CONTRACTS: Contracts = {
    TimestepPolicy: (levels_belong_to_the_sample, corrections_keep_the_mean, a_state_goes_on),
    Augmentation: (images_are_changed_by_index,),
}
