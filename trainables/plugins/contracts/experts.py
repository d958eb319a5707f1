"""Contracts of splits, budgets and pruning criteria."""

from __future__ import annotations

import numpy as np
import torch

from trainables.experts.budgets.budget import Budgets
from trainables.experts.criteria.criterion import Criterion
from trainables.experts.loss_curve import LossCurve
from trainables.experts.splits.split import Axis, Split
from trainables.log_snr import from_edm_sigma
from trainables.networks.edm2 import Edm2
from trainables.networks.modules.denoiser import Denoiser
from trainables.networks.modules.units import prunable
from trainables.plugins.contracts.requirement import Broken, Contracts, require
from trainables.randomness import normal
from trainables.sampling.heun import Heun
from trainables.schedules.normal import EdmLognormal
from trainables.targets.edm import EdmPreconditioned
from trainables.training.batch import Batch


def edges_rise(split: Split) -> None:
    """inner edges are finite and rise, for every number of groups that it takes"""
    levels = np.linspace(-12.0, 12.0, 25)
    axis = Axis(np.asarray(from_edm_sigma(Heun().levels)), EdmLognormal(), LossCurve(levels, 0.2 + 1 / (1 + np.exp(levels))))
    taken = 0
    for groups in (2, 3, 4, 8):
        try:
            split.check(groups)
            edges = split.edges(groups, axis)
        except ValueError:
            continue
        taken += 1
        require(edges.shape == (groups - 1,) and np.isfinite(edges).all(), f"{groups} groups have the edges {edges}")
        require((np.diff(edges) > 0).all(), f"the edges of {groups} groups do not rise: {edges}")
    if not taken:
        raise Broken("none of 2, 3, 4 and 8 groups can be made")


def ratios_are_shares(budgets: Budgets) -> None:
    """ratios are in (0, 1], one per group"""
    taken = 0
    for groups in (2, 3, 4, 8):
        try:
            ratios = budgets.ratios(groups, [0.1 * (i + 1) for i in range(groups)])
        except ValueError:
            continue
        taken += 1
        require(len(ratios) == groups and all(0 < ratio <= 1 for ratio in ratios), f"{groups} groups have the ratios {ratios}")
    if not taken:
        raise Broken("none of 2, 3, 4 and 8 groups can be made")


def units_are_scored(criterion: Criterion) -> None:
    """each unit has a finite float64 score, and the denoiser stays as it is"""
    torch.manual_seed(0)
    network = Edm2(channels=8, mult=(1, 2), blocks=1, attention=(4,), channels_per_head=8).build(1, 8, 0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    denoiser = Denoiser(network, EdmPreconditioned()).eval()
    before = {name: value.clone() for name, value in denoiser.state_dict().items()}
    ones = torch.ones(16)
    clean, noise = (normal(0, purpose, 0, 16, (1, 8, 8)) for purpose in ("clean", "noise"))
    batch = Batch(0, clean, noise, None, torch.linspace(-4, 4, 16), ones, ones)
    found, again = criterion.scores(denoiser, [batch]), criterion.scores(denoiser, [batch])
    units = prunable(network)
    require(found.keys() == units.keys(), f"scores are of {', '.join(sorted(found))}, and units of {', '.join(sorted(units))}")
    for name, scores in found.items():
        require(scores.dtype == torch.float64 and scores.shape == (units[name].count,), f"{name}: {scores.dtype} {tuple(scores.shape)}")
        require(torch.isfinite(scores).all() and torch.equal(scores, again[name]), f"{name}: not finite, or other numbers the second time")
    require(all(torch.equal(value, before[name]) for name, value in denoiser.state_dict().items()), "the weights have been changed")
    require(not denoiser.training and all(p.grad is None for p in denoiser.parameters()), "its mode or gradients have been changed")


CONTRACTS: Contracts = {Split: (edges_rise,), Budgets: (ratios_are_shares,), Criterion: (units_are_scored,)}
