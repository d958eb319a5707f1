"""What can be taken out of a block without touching what other blocks see: hidden channels, attention heads, MLP units."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from torch import Tensor, nn


class Part(NamedTuple):
    """A tensor along whose dimension `dim` units lie, as indices [outer, units, inner]."""

    tensor: str  # its name in the module
    dim: int
    outer: int = 1
    inner: int = 1

    @property
    def layer(self) -> str:
        """The name of the layer that holds it."""
        return self.tensor.rpartition(".")[0]

    def by_unit(self, values: Tensor, count: int) -> Tensor:
        """The tensor's values [units, values], float64."""
        parts = values.double().unflatten(self.dim, (self.outer, count, self.inner))
        return parts.movedim(self.dim + 1, 0).reshape(count, -1)

    def select(self, values: Tensor, count: int, units: Tensor) -> Tensor:
        """The tensor with these of its units alone, in this order."""
        parts = values.unflatten(self.dim, (self.outer, count, self.inner)).index_select(self.dim + 1, units)
        return parts.flatten(self.dim, self.dim + 2).contiguous()


@dataclass(frozen=True)
class Units:
    """Units of one kind in one block."""

    name: str  # hidden, heads or mlp; with the block's name before it once it is known
    count: int  # units that the block has now
    makes: tuple[Part, ...]  # rows of the tensors that compute them
    reads: Part  # columns of the weight that reads them; nothing else does
    groups: int = 0  # of a group norm over all of them before any was removed; 0 where there is none
    group_of: str = ""  # name of that norm's buffer where some have been removed
    attends: bool = False  # whether the block's products without a layer, those of attention, are theirs
    block: str = ""  # the block's name in the network

    def within(self, block: str) -> Units:
        """The same with names as the network that holds the block has them."""
        return replace(
            self, name=f"{block}/{self.name}".replace(".", "/"), block=block, group_of=f"{block}.{self.group_of}" if self.group_of else "",
            makes=tuple(part._replace(tensor=f"{block}.{part.tensor}") for part in self.makes),
            reads=self.reads._replace(tensor=f"{block}.{self.reads.tensor}"),
        )


def prunable(network: nn.Module) -> dict[str, Units]:
    """All units of which a block has more than one, by name, in the order of the network's modules."""
    found = [
        units.within(name) for name, block in network.named_modules() if isinstance(block, Prunable) for units in block.units()
    ]
    return {units.name: units for units in found if units.count > 1}


class Prunable(nn.Module):
    """A block that knows its units."""

    def units(self) -> list[Units]:
        """What may be removed."""
        raise NotImplementedError
