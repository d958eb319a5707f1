"""What a network is: settings that can build a torch module for given image shapes."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from trainables.method import Method
from trainables.networks.blocks import Widths, check_widths, head_count

if TYPE_CHECKING:
    from torch import nn


class Network(Method, abc.ABC):
    """The module maps (noisy images [N,C,H,W] of unit variance, c_noise [N], labels [N,classes] or None, augment labels or None) to F."""

    widths: Widths = Field(
        {}, description="units that pruned blocks keep, for example {encoder/8_block0/hidden: 24}; blocks that are not named keep all"
    )

    def units(self, resolution: int) -> dict[str, int]:
        """How many units a block's hidden layers have before any is removed, by name; `widths` may keep fewer. None by default."""
        return {}

    @abc.abstractmethod
    def build(self, channels: int, resolution: int, classes: int, augment_labels: int = 0) -> nn.Module:
        """A freshly initialised module; random numbers come from torch's global generator, which the caller seeds.

        Augment labels [N, augment_labels] of zero, or none, mean an image that is not augmented.
        """

    @property
    def forces_norms(self) -> bool:
        """Whether every weight matrix is set to unit norm before each step (EDM2's forced weight norm)."""
        return False

    def check(self, resolution: int) -> None:
        """Raise ValueError where images of this resolution cannot pass through, or `widths` do not fit."""
        check_widths(self.widths, self.units(resolution))


Multipliers = Annotated[tuple[Annotated[int, Field(ge=1, le=64)], ...], Field(min_length=1, max_length=16)]  # of channels, by level
Resolutions = tuple[Annotated[int, Field(ge=1)], ...]


def check_levels(channels: int, mult: Sequence[int], attention: Sequence[int], channels_per_head: int, resolution: int) -> None:
    """Raise ValueError where a U-Net cannot halve the images once per level after the first, or cannot share channels among its heads.

    `attention` names resolutions; those that the network does not have are for `check_attention`.
    """
    possible = 1
    while resolution % 2**possible == 0:
        possible += 1
    if len(mult) > possible:
        raise ValueError(
            f"{len(mult)} levels halve the images {len(mult) - 1} times, but their resolution is {resolution}; "
            f"use at most {possible} entries in mult"
        )
    for level, factor in enumerate(mult):
        if resolution >> level in attention or level == len(mult) - 1:
            check_heads(channels * factor, channels_per_head, f"resolution {resolution >> level}")


def check_heads(width: int, channels_per_head: int, where: str) -> None:
    """Raise ValueError where a block's channels cannot be shared among its attention heads."""
    heads = head_count(width, channels_per_head)
    if width % heads:
        raise ValueError(
            f"{width} channels cannot be shared among {heads} attention heads at {where}: "
            f"use channels and mult whose product is a multiple of channels_per_head = {channels_per_head}"
        )


def check_attention(attention: Sequence[int], levels: int, resolution: int) -> None:
    """Raise ValueError where attention is wanted at a resolution that a U-Net of so many levels does not have."""
    present = [resolution >> level for level in range(levels)]
    missing = [at for at in attention if at not in present]
    if missing:
        raise ValueError(
            f"attention at {', '.join(map(str, missing))} would have no effect: with {levels} levels, images of {resolution} pixels have "
            f"the resolutions {', '.join(map(str, present))}"
        )
