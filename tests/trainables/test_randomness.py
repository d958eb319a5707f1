"""Random numbers belong to (seed, purpose, index), whoever draws them and in what order."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainables import randomness
from trainables.randomness import Shuffle, normal, uniform, words


@given(st.integers(0, 10**9), st.integers(1, 40), st.integers(1, 9))
def test_any_slice_draws_the_same_numbers(first: int, count: int, size: int) -> None:
    whole = normal(7, "noise", first, count, (size,))
    cut = count // 2
    parts = [normal(7, "noise", first, cut, (size,)), normal(7, "noise", first + cut, count - cut, (size,))]
    assert torch.equal(whole, torch.cat(parts))
    assert (uniform(7, "t", first, count)[cut:] == uniform(7, "t", first + cut, count - cut)).all()


def test_numbers_are_standard_normal_and_purposes_unrelated() -> None:
    x, y = normal(0, "a", 0, 4000, (1, 5, 5)), normal(0, "b", 0, 4000, (1, 5, 5))
    assert abs(x.mean()) < 0.01 and abs(x.std() - 1) < 0.01 and abs((x**4).mean() - 3) < 0.1
    assert abs((x * y).mean()) < 0.01 and torch.isfinite(normal(1, "c", 0, 10**6, (2,))).all()
    pixels = x.flatten(1)
    assert (torch.corrcoef(pixels.T) - torch.eye(25)).abs().max() < 0.08


def test_normal_numbers_are_box_mullers_of_the_words_of_their_index(monkeypatch: pytest.MonkeyPatch) -> None:
    for block in (8, 3 * 2**14):
        monkeypatch.setattr(randomness, "_BLOCK", block)
        for shape in ((1,), (2, 3), (3, 4, 5)):
            size = math.prod(shape)
            halves = words(2, "x", 5, 7, -(-size // 2)).view(np.uint32).reshape(7, -1, 2)
            high, low = ((halves[..., 0] >> 8) + 0.5) * 2.0**-24, (halves[..., 1].view(np.int32) >> 8) * 2.0**-23
            pairs = np.sqrt(-2 * np.log(high))[..., None] * np.stack([np.cos(np.pi * low), np.sin(np.pi * low)], -1)
            expected = pairs.reshape(7, -1)[:, :size].reshape(7, *shape)
            np.testing.assert_allclose(normal(2, "x", 5, 7, shape).numpy(), expected, rtol=1e-5, atol=2e-6)
    assert normal(0, "x", 0, 0, (2, 2)).shape == (0, 2, 2)


def test_uniform_numbers_fill_the_interval() -> None:
    u = uniform(3, "t", 0, 100_000)
    assert u.min() >= 0 and u.max() < 1
    np.testing.assert_allclose(np.histogram(u, bins=10, range=(0, 1))[0], 10_000, rtol=0.05)


def test_shuffle_gives_each_position_once_an_epoch_from_any_place() -> None:
    shuffle = Shuffle(5, 97)
    stream = shuffle(0, 97 * 3)
    for epoch in range(3):
        assert sorted(stream[epoch * 97 : (epoch + 1) * 97]) == list(range(97))
    assert (stream[:97] != stream[97:194]).any()
    assert (Shuffle(5, 97)(90, 50) == stream[90:140]).all()
