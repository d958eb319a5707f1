"""From a network and scores of its units to the network that keeps the best of them (Li et al. 2023, arXiv 2312.13307).

The pruned network starts as the base with the removed units held at zero: the same outputs, the same gradients of what is kept.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from trainables.errors import ConfigError, did_you_mean
from trainables.networks.modules.denoiser import Denoiser
from trainables.networks.modules.magnitude import MPConv
from trainables.networks.modules.units import Units, prunable


def prune(
    denoiser: Denoiser, widths: Mapping[str, int], scores: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """(state of the pruned denoiser, indices [width] of the units that it keeps by name, in rising order).

    `widths` and `scores` [units] have the names that `prunable` and `Network.units` give; the best units of each block stay, the first
    ones of equals, and blocks that are not in `widths` keep all.  The state is what a denoiser loads that is built with these widths in
    its network's settings.  ConfigError where names or numbers do not fit.
    """
    units = prunable(denoiser.network)
    kept = {name: _best(name, width, units, scores) for name, width in widths.items()}
    return keep(denoiser, kept), kept


def keep(denoiser: Denoiser, kept: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state of the denoiser that keeps these units [width], rising indices, and all of the blocks that are not named."""
    network = denoiser.network
    state = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
    units = prunable(network)
    for name, indices in kept.items():
        if len(indices) < units[name].count:
            _cut(state, units[name], indices, network.get_submodule(units[name].reads.layer))
    return {f"network.{name}": tensor for name, tensor in state.items()}


def _best(name: str, width: int, units: Mapping[str, Units], scores: Mapping[str, Tensor]) -> Tensor:
    if name not in units:
        raise ConfigError(f"widths: this network has no '{name}'. Allowed: {', '.join(units)}.{did_you_mean(name, units)}")
    count = units[name].count
    if not 1 <= width <= count:
        raise ConfigError(f"widths: {width} of '{name}' were given: must be 1 to {count}")
    if width == count:
        return torch.arange(count)
    if name not in scores or scores[name].shape != (count,):
        raise ConfigError(f"scores: '{name}' needs one score for each of its {count} units")
    return scores[name].cpu().argsort(descending=True, stable=True)[:width].sort().values


def _cut(state: dict[str, Tensor], units: Units, kept: Tensor, reader: torch.nn.Module) -> None:
    """Take the other units out of a network's state."""
    reads, count = units.reads, units.count
    weight = state[reads.tensor]
    kept = kept.to(weight.device)
    lost = torch.ones(count, dtype=torch.bool, device=weight.device).index_fill(0, kept, False).nonzero().flatten()
    if isinstance(reader, MPConv) and reader.norm != "none":
        squares = reads.select(weight, count, lost).flatten(1).square().sum(1)
        if reader.removed is not None:
            squares = squares + reader.removed.detach().square()
        state[f"{reads.layer}.removed"] = squares.sqrt()
    if units.groups:
        every = torch.arange(count, device=weight.device) // max(count // units.groups, 1)
        state[units.group_of] = state.get(units.group_of, every)[kept]
    for part in (*units.makes, reads):
        state[part.tensor] = part.select(state[part.tensor], count, kept)

