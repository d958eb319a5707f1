"""The residual blocks of a U-Net in order, and how many of a block's inner units a network keeps. No torch here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from trainables.errors import did_you_mean

# Units that blocks keep where they keep fewer than all: {"encoder/8_block0/hidden": 24, "encoder/8_block0/heads": 2}.
Widths = Mapping[str, Annotated[int, Field(ge=1)]]


class BlockShape(NamedTuple):
    """One residual block; `inputs` counts the channels of a concatenated skip connection too."""

    side: Literal["encoder", "decoder"]
    name: str  # within its side
    inputs: int
    outputs: int
    resample: Literal["keep", "up", "down"]
    attention: bool

    def unit(self, role: str) -> str:
        """The name of the block's units of one role."""
        return f"{self.side}/{self.name}/{role}"


def unet_blocks(channels: int, mult: Sequence[int], blocks: int, attention: Sequence[int], resolution: int) -> Iterator[BlockShape]:
    """The blocks of a U-Net with `blocks` per level in the encoder and one more in the decoder, in the order of evaluation.

    The encoder's first layer, `{resolution}_conv`, comes before them and has a skip connection, as each of the encoder's blocks.
    """
    widths = [channels * m for m in mult]
    width, skips = widths[0], [widths[0]]
    for level, w in enumerate(widths):
        at = resolution >> level
        if level:
            yield BlockShape("encoder", f"{at}_down", width, width, "down", False)
            skips.append(width)
        for i in range(blocks):
            yield BlockShape("encoder", f"{at}_block{i}", width, w, "keep", at in attention)
            width = w
            skips.append(width)
    for level, w in reversed(list(enumerate(widths))):
        at = resolution >> level
        if level == len(widths) - 1:
            yield BlockShape("decoder", f"{at}_in0", width, width, "keep", True)
            yield BlockShape("decoder", f"{at}_in1", width, width, "keep", False)
        else:
            yield BlockShape("decoder", f"{at}_up", width, width, "up", False)
        for i in range(blocks + 1):
            yield BlockShape("decoder", f"{at}_block{i}", width + skips.pop(), w, "keep", at in attention)
            width = w


def head_count(channels: int, channels_per_head: int) -> int:
    """Attention heads of a block with so many channels."""
    return max(channels // channels_per_head, 1)


def unet_units(blocks: Iterator[BlockShape], channels_per_head: int) -> dict[str, int]:
    """Hidden channels and attention heads of each block, where there is more than one."""
    counts = {}
    for block in blocks:
        counts[block.unit("hidden")] = block.outputs
        if block.attention:
            counts[block.unit("heads")] = head_count(block.outputs, channels_per_head)
    return {name: count for name, count in counts.items() if count > 1}


def check_widths(widths: Mapping[str, int], units: Mapping[str, int]) -> None:
    """Raise ValueError where widths name units that the network does not have, or keep more of them than there are."""
    for name, width in widths.items():
        if name not in units:
            hint = did_you_mean(name, units)
            raise ValueError(f"widths: this network has no '{name}'. Allowed: {', '.join(units) or 'none'}.{hint}")
        if width > units[name]:
            raise ValueError(f"widths: {width} of '{name}' were given, but there are {units[name]}: use 1 to {units[name]}")
