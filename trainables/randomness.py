"""Randomness as a function of (seed, purpose, index): the same numbers in any process, order or batch size.

Counter-based Philox-4x64 gives every sample its own range of the counter, so that sample i draws the same numbers
whichever worker computes it and however often a run is resumed.
"""

from __future__ import annotations

import hashlib
import math
from functools import lru_cache
from typing import Any

import numpy as np

_WORDS_PER_COUNT = 4  # 64-bit words that Philox-4x64 gives for one value of the counter
_BLOCK = 3 * 2**14  # normal numbers made at once, a multiple of those for one value of the counter


def key_of(seed: int, purpose: str) -> int:
    """A 128-bit key; different purposes of one seed are unrelated."""
    return int.from_bytes(hashlib.blake2b(f"{seed}/{purpose}".encode(), digest_size=16).digest(), "little")


def words(seed: int, purpose: str, first: int, count: int, size: int) -> np.ndarray:
    """Random 64-bit words [count, size]; row i belongs to index first + i alone."""
    rows = -(-size // _WORDS_PER_COUNT)
    bits = np.random.Philox(key=key_of(seed, purpose), counter=first * rows)
    return bits.random_raw(count * rows * _WORDS_PER_COUNT).reshape(count, rows * _WORDS_PER_COUNT)[:, :size]


def uniform(seed: int, purpose: str, first: int, count: int) -> np.ndarray:
    """Uniform numbers in [0, 1), [count] float64, one per index."""
    return (words(seed, purpose, first, count, 1)[:, 0] >> np.uint64(11)) * 2.0**-53


def normal(seed: int, purpose: str, first: int, count: int, shape: tuple[int, ...]) -> Any:
    """Standard normal numbers, torch float32 [count, *shape], by Box-Muller on 32-bit halves (2^-24 resolution).

    Made in blocks below the size from which torch starts threads, so that one more thread can make them beside a training step.
    """
    import torch

    size = math.prod(shape)
    rows = -(-size // (2 * _WORDS_PER_COUNT))  # of the counter for each index; a word gives two numbers
    bits = np.random.Philox(key=key_of(seed, purpose), counter=first * rows)
    values = torch.empty(count * rows * 2 * _WORDS_PER_COUNT)
    for block in values.split(_BLOCK):
        halves = torch.from_numpy(bits.random_raw(len(block) // 2).view(np.int32)).view(-1, 2)
        high = ((halves[:, 0] >> 8) & 0xFFFFFF).float().add_(0.5).mul_(2.0**-24)  # in (0, 1): log is finite
        angle = (halves[:, 1] >> 8).float().mul_(2.0**-23 * np.pi)  # in [-pi, pi)
        radius = high.log_().mul_(-2.0).sqrt_()
        pairs = block.view(-1, 2)
        torch.mul(radius, angle.cos(), out=pairs[:, 0])
        torch.mul(radius, angle.sin_(), out=pairs[:, 1])
    return values.view(count, rows * 2 * _WORDS_PER_COUNT)[:, :size].reshape(count, *shape)


def torch_seed(seed: int, purpose: str, index: int = 0) -> int:
    """A 63-bit seed for what can only be seeded as a whole (initial weights, dropout)."""
    return key_of(seed, f"{purpose}/{index}") >> 65


class Shuffle:
    """An endless stream of data-set positions, a fresh permutation each epoch; any place of it can be read directly."""

    def __init__(self, seed: int, length: int, purpose: str = "shuffle") -> None:
        self._seed, self._length, self._purpose = seed, length, purpose
        self._epoch = lru_cache(maxsize=2)(self._permutation)

    def _permutation(self, epoch: int) -> np.ndarray:
        bits = np.random.Philox(key=key_of(self._seed, f"{self._purpose}/{epoch}"))
        return np.random.Generator(bits).permutation(self._length)

    def __call__(self, first: int, count: int) -> np.ndarray:
        """Data-set positions of the samples first .. first + count - 1, [count] int64."""
        index = np.arange(first, first + count)
        epochs, places = np.divmod(index, self._length)
        out = np.empty(count, dtype=np.int64)
        for epoch in np.unique(epochs):
            mine = epochs == epoch
            out[mine] = self._epoch(int(epoch))[places[mine]]
        return out
