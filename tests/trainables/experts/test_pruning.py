"""A pruned network is the base with the removed units held at zero: outputs, gradients, steps, averages."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from tests.trainables.experts.networks import CLASSES, NETWORKS, SHAPE, build, inputs, mask
from trainables.ema.tracker import PowerEma
from trainables.errors import ConfigError
from trainables.experts.pruning import keep, prune
from trainables.networks.dit import Dit
from trainables.networks.modules.denoiser import Denoiser
from trainables.networks.modules.forced_norm import ForcedNorm
from trainables.networks.modules.units import prunable


def pruned_from(base: Denoiser, name: str, widths: dict[str, int], seed: int = 3) -> tuple[Denoiser, dict[str, Tensor]]:
    torch.manual_seed(seed)
    scores = {unit: torch.randn(units.count) for unit, units in prunable(base.network).items()}
    state, kept = prune(base, widths, scores)
    small = build(NETWORKS[name].model_copy(update={"widths": widths}), seed=9)
    small.load_state_dict(state)
    return small, kept


def some_widths(base: Denoiser, shares: tuple[float, ...] = (0.3, 0.6, 0.5)) -> dict[str, int]:
    return {name: max(int(units.count * shares[i % 3]), 1) for i, (name, units) in enumerate(prunable(base.network).items())}


@pytest.mark.parametrize("name", NETWORKS)
def test_settings_and_modules_name_the_same_units(name: str) -> None:
    found = {unit: units.count for unit, units in prunable(build(NETWORKS[name]).network).items()}
    assert found == NETWORKS[name].units(SHAPE[1])
    assert len({unit.rpartition("/")[2] for unit in found}) == 2  # hidden channels or MLP units, and heads


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_equal_those_of_the_masked_base(name: str, training: bool) -> None:
    base = build(NETWORKS[name])
    before = base.network(*inputs())
    small, kept = pruned_from(base, name, some_widths(base))
    mask(base.network, kept)
    for network in (base, small):
        network.train(training)
    expected, found = base.network(*inputs()), small.network(*inputs())
    assert (expected - before).abs().max() > 0.01 * before.abs().max()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5 * float(expected.detach().abs().max()))


@pytest.mark.parametrize("name", NETWORKS)
def test_steps_equal_those_of_the_masked_base(name: str) -> None:
    base = build(NETWORKS[name]).double()
    small, kept = pruned_from(base, name, some_widths(base))
    small = small.double()
    small.load_state_dict(keep(base, kept))
    reference = copy.deepcopy(base)
    mask(reference.network, kept)
    readers = {units.reads.tensor: (units, kept[unit]) for unit, units in prunable(reference.network).items()}
    averages = []
    for network, removed in ((small.network, {}), (reference.network, readers)):
        optimiser = torch.optim.Adam(network.parameters(), lr=0.02, betas=(0.9, 0.99))
        ema = PowerEma(network, (0.1,))
        for step in range(3):
            take_step(network, optimiser, removed)
            ema.update(32 * (step + 1), 32)
            if step == 0:  # what was kept has taken the same step; what was removed is not there to take one
                after = {n: t.clone() for n, t in network.state_dict().items()}
                averages.append(after)
        with torch.no_grad():
            ema.copy_to(0.1, network)
            averages.append({"of average": network(*inputs(dtype=torch.float64))})
    first_small, average_small, first_reference, average_reference = averages
    reference.network.load_state_dict(first_reference)
    expected = {n.removeprefix("network."): t for n, t in keep(reference, kept).items()}
    for n, tensor in first_small.items():
        # A bias of keys has no gradient but rounding errors, which Adam makes larger.
        torch.testing.assert_close(tensor, expected[n], rtol=1e-6, atol=1e-7, msg=lambda m, n=n: f"{n}: {m}")
    torch.testing.assert_close(average_small, average_reference, rtol=1e-6, atol=1e-7)


def take_step(network: nn.Module, optimiser: torch.optim.Optimizer, removed: dict) -> None:
    ForcedNorm(network)()
    images, noise, labels = inputs(dtype=torch.float64)
    optimiser.zero_grad()
    (network(images, noise, labels) - images.flip(0)).square().sum().backward()
    for tensor, (units, kept) in removed.items():  # weights of removed inputs stay where they are
        gradient = network.get_parameter(tensor).grad.unflatten(1, (units.count, units.reads.inner))
        gradient[:, [i for i in range(units.count) if i not in kept.tolist()]] = 0.0
    optimiser.step()


@pytest.mark.parametrize("name", ["edm2 G", "edm2 group", "edm2 standard", "adm", "dit"])
def test_a_pruned_network_can_be_pruned_again(name: str) -> None:
    base = build(NETWORKS[name])
    first, kept = pruned_from(base, name, some_widths(base, (0.7, 0.8, 0.75)))
    second, again = pruned_from(first, name, some_widths(first, (0.6, 0.7, 0.5)))
    mask(base.network, {unit: kept[unit][again[unit]] if unit in again else kept[unit] for unit in kept})
    expected = base.network(*inputs()).detach()
    torch.testing.assert_close(second.network(*inputs()), expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_pruned_network_trains_from_its_own_initial_weights(name: str) -> None:
    base = build(NETWORKS[name])
    torch.manual_seed(0)
    network = NETWORKS[name].model_copy(update={"widths": some_widths(base)}).build(1, 8, CLASSES)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.rand_like(parameter))
    network(*inputs()).square().sum().backward()
    missing = [n for n, p in network.named_parameters() if p.grad is None]
    assert all(n.endswith(".removed") for n in missing)


def test_units_with_the_best_scores_stay_and_the_first_of_equals() -> None:
    base = build(NETWORKS["dit"])
    scores = {"blocks/0/heads": torch.tensor([1.0, 3.0, 1.0, 2.0]), "blocks/1/mlp": torch.ones(128)}
    kept = prune(base, {"blocks/0/heads": 3, "blocks/1/mlp": 2, "blocks/0/mlp": 128}, scores)[1]
    assert {name: indices.tolist() for name, indices in kept.items() if len(indices) < 128} == {
        "blocks/0/heads": [0, 1, 3], "blocks/1/mlp": [0, 1]}


@pytest.mark.parametrize(("widths", "message"), [
    ({"blocks/7/heads": 1}, "no 'blocks/7/heads'"), ({"blocks/0/heads": 5}, "must be 1 to 4"), ({"blocks/0/heads": 0}, "must be 1 to 4"),
    ({"blocks/0/heads": 2}, "one score for each of its 4 units"),
])
def test_what_does_not_fit_is_explained(widths: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        prune(build(NETWORKS["dit"]), widths, {})
    if "score" not in message:
        with pytest.raises(ValueError, match="widths"):
            Dit(width=32, depth=2, heads=4, widths=widths).build(1, 8, 0)
