"""Multiply-accumulates of a network for one image, counted by torch, and how they depend on the widths of its blocks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from trainables.networks import Network


def macs(network: Network, shape: tuple[int, int, int], classes: int) -> int:
    """Of one evaluation of the network that these settings build for an image [C,H,W]; counted on shapes alone.

    ValueError where the settings do not fit the image.
    """
    return count(_on_meta(network, shape, classes), shape, classes)[""]


def count(module: nn.Module, shape: tuple[int, int, int], classes: int) -> dict[str, int]:
    """MACs by the name of the submodule in which they are made, its own submodules among them; the whole is at "".

    `module` is a network or a denoiser on the device `meta`, so that nothing is computed.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    images, levels = torch.empty(1, *shape, device="meta"), torch.empty(1, device="meta")
    labels = torch.empty(1, classes, device="meta") if classes else None
    module.eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(images, levels, labels)
    root = type(module).__name__
    flops = {name: sum(by_operator.values()) for name, by_operator in counter.get_flop_counts().items()}
    found = {name.removeprefix(root).removeprefix("."): total // 2 for name, total in flops.items() if name.startswith(root)}
    return found | {"": counter.get_total_flops() // 2}


@dataclass(frozen=True)
class MacsByWidth:
    """MACs as a function of the kept units; exact, because a block's layers each have one dimension that shrinks."""

    fixed: int  # of everything that is not inside blocks
    per_unit: Mapping[str, int]
    units: Mapping[str, int]  # how many of each there are

    def __call__(self, widths: Mapping[str, float]) -> float:
        """Of the network with these widths; blocks that are not named keep all their units."""
        return self.fixed + sum(each * widths.get(name, self.units[name]) for name, each in self.per_unit.items())

    @property
    def full(self) -> int:
        """Of the network that keeps everything."""
        return int(self({}))


def macs_by_width(network: Network, shape: tuple[int, int, int], classes: int) -> MacsByWidth:
    """The function for a network with these settings, from one count; a pruned one's present widths are its units."""
    from trainables.networks.modules.units import prunable

    module = _on_meta(network, shape, classes)
    counted = count(module, shape, classes)
    per_unit, units = {}, {}
    for name, kind in prunable(module).items():
        layers = {part.layer for part in (*kind.makes, kind.reads)}
        total = sum(counted.get(layer, 0) for layer in layers)
        if kind.attends:
            inner = [f"{kind.block}.{child}" for child, _ in module.get_submodule(kind.block).named_children()]
            total += counted[kind.block] - sum(counted.get(child, 0) for child in inner)
        per_unit[name], units[name] = total // kind.count, kind.count
    inside = sum(per_unit[name] * units[name] for name in units)
    return MacsByWidth(counted[""] - inside, per_unit, units)


def _on_meta(network: Network, shape: tuple[int, int, int], classes: int) -> nn.Module:
    import torch

    with torch.device("meta"):
        return network.build(shape[0], shape[1], classes)
