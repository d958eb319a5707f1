"""Contract of optimisers."""

from __future__ import annotations

import copy

import torch
from torch import nn

from trainables.optimisers import Optimiser
from trainables.optimisers.optimiser_state import optimiser_tensors
from trainables.plugins.contracts.requirement import Contracts, require

_WANTED = 3.0


def it_goes_downhill(optimiser: Optimiser) -> None:
    """200 steps on a parabola come nearer to its lowest point"""
    module = _module()
    before = _distance(module)
    _steps(optimiser.build([module]), module, 200)
    after = _distance(module)
    require(after < before, f"from a mean squared distance of {before:.3g} to {after:.3g}, at lr = {optimiser.lr:g}")


def all_parameters_are_trained(optimiser: Optimiser) -> None:
    """all parameters with a gradient are trained, those without stay, and `lr` of its groups is the rate"""
    module = _module()
    module.bias.requires_grad_(False)
    built = optimiser.build([module, nn.LayerNorm(4)])
    require(sum(len(group["params"]) for group in built.param_groups) == 3, "it must have each parameter that requires a gradient, once")
    before = module.weight.detach().clone()
    for group in built.param_groups:
        require(group["lr"] == optimiser.lr, f"a group begins with lr = {group['lr']}, not {optimiser.lr}")
        group["lr"] = 0.0
    _steps(built, module, 3)
    require(torch.allclose(module.weight, before, atol=1e-7), "it steps at lr = 0: take the rate from its groups at every step")


def a_state_goes_on(optimiser: Optimiser) -> None:
    """its state is tensors by parameter, and a run that goes on from it takes the same steps"""
    module = _module()
    built = optimiser.build([module])
    _steps(built, module, 3)
    state = {name: value.clone() for name, value in optimiser_tensors(built).items() if isinstance(value, torch.Tensor)}
    others = [name for name, value in optimiser_tensors(built).items() if not isinstance(value, torch.Tensor)]
    require(not others, f"state of {', '.join(others)} is no tensor")
    again = copy.deepcopy(module)
    resumed = optimiser.build([again])
    for name, value in optimiser_tensors(resumed).items():
        value.copy_(state[name])
    _steps(built, module, 3)
    _steps(resumed, again, 3)
    require(torch.equal(module.weight, again.weight), "after a resume the steps differ")


def steps_are_the_same_every_time(optimiser: Optimiser) -> None:
    """the same gradients give the same finite steps"""
    ends = []
    for _ in range(2):
        module = _module()
        _steps(optimiser.build([module]), module, 10)
        ends.append(module.weight.detach().clone())
    require(torch.isfinite(ends[0]).all() and torch.equal(*ends), "weights differ, or are not finite")


def _module() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(4, 3)


def _steps(optimiser: torch.optim.Optimizer, module: nn.Module, count: int) -> None:
    for _ in range(count):
        optimiser.zero_grad()
        torch.stack([(p - _WANTED).square().mean() for p in module.parameters() if p.requires_grad]).sum().backward()
        optimiser.step()


def _distance(module: nn.Module) -> float:
    return float(torch.cat([(p.detach() - _WANTED).square().flatten() for p in module.parameters()]).mean())


CONTRACTS: Contracts = {Optimiser: (it_goes_downhill, all_parameters_are_trained, a_state_goes_on, steps_are_the_same_every_time)}
