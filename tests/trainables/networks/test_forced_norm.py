"""One pass over all weights is the norm of each, and moves them without anybody noticing."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from tests.operators import operators
from trainables.networks.edm2 import Edm2
from trainables.networks.modules.forced_norm import ForcedNorm
from trainables.networks.modules.magnitude import MPConv, rms_unit

SETTINGS = Edm2(channels=8, mult=(1, 2), blocks=1, attention=(4,), channels_per_head=8)


def network(memory_format: torch.memory_format) -> nn.Module:
    torch.manual_seed(0)
    return SETTINGS.build(1, 8, 3).to(memory_format=memory_format)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_every_weight_is_as_if_normalised_alone(memory_format: torch.memory_format) -> None:
    net = network(memory_format)
    before, strides = copy.deepcopy(net), [p.stride() for p in net.parameters()]
    norm = ForcedNorm(net)
    assert all(torch.equal(p, q) for p, q in zip(net.parameters(), before.parameters(), strict=True))
    norm()
    for module, old in zip(net.modules(), before.modules(), strict=True):
        if isinstance(module, MPConv):
            torch.testing.assert_close(module.weight, rms_unit(old.weight), rtol=1e-6, atol=1e-7)
        elif module is net:
            assert all(torch.equal(getattr(net, n), getattr(old, n)) for n, p in net.named_parameters(recurse=False))
    assert [p.stride() for p in net.parameters()] == strides


def test_a_weight_of_zeros_stays_and_weights_that_got_other_memory_are_found() -> None:
    net, head = network(torch.channels_last), MPConv(5, 2)
    norm = ForcedNorm(net, head)
    with torch.no_grad():
        head.weight.zero_()
    weight = next(m for m in net.modules() if isinstance(m, MPConv)).weight
    weight.data = torch.full_like(weight, 7.0)
    norm()
    torch.testing.assert_close(weight, torch.ones_like(weight), rtol=2e-4, atol=0)
    assert (head.weight == 0).all()
    weight.data.mul_(3)
    norm()
    torch.testing.assert_close(weight, torch.ones_like(weight), rtol=2e-4, atol=0)


def test_the_number_of_operators_grows_with_fan_ins_and_not_with_weights() -> None:
    counts = []
    for blocks in (1, 3):
        net = SETTINGS.model_copy(update={"blocks": blocks}).build(1, 8, 3)
        norm = ForcedNorm(net)
        norm()
        with operators() as seen:
            norm()
        fan_ins = {m.weight[0].numel() for m in net.modules() if isinstance(m, MPConv)}
        assert sum(seen.values()) <= len(fan_ins) + 3
        counts.append(sum(seen.values()))
    assert counts[1] <= counts[0] + 3


def test_lost_inputs_count_in_the_norm_and_are_scaled_with_it() -> None:
    torch.manual_seed(0)
    whole, other = MPConv(6, 5, 3), MPConv(4, 3)
    pruned = MPConv(4, 5, 3, lost_inputs=2)
    with torch.no_grad():
        pruned.weight.copy_(whole.weight[:, :4])
        pruned.removed.copy_(whole.weight[:, 4:].square().sum((1, 2, 3)).sqrt())
    norm = ForcedNorm(whole, pruned, other)
    for _ in range(2):
        norm()
        torch.testing.assert_close(pruned.weight, whole.weight[:, :4], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(pruned.removed, whole.weight[:, 4:].square().sum((1, 2, 3)).sqrt(), rtol=1e-5, atol=1e-6)
        for layer in (whole, pruned):
            layer.weight.data.mul_(2)
        pruned.removed.data.mul_(2)


def test_layers_without_the_norm_are_left_alone() -> None:
    plain = MPConv(4, 4, norm="none")
    before = plain.weight.clone()
    ForcedNorm(plain)()
    ForcedNorm(nn.Linear(3, 3))()
    assert torch.equal(plain.weight, before)
