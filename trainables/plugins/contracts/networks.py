"""Contract of networks."""

from __future__ import annotations

import torch
from torch import nn

from trainables.networks import Network
from trainables.plugins.contracts.requirement import Contracts, require

_RESOLUTIONS = (8, 16, 32, 64, 128, 256)


def outputs_are_images(network: Network) -> None:
    """a module maps images, noise levels and labels to finite images of the same shape"""
    resolution = _resolution(network)
    for channels, classes in ((1, 0), (3, 4)):
        net = _built(network, channels, resolution, classes)
        z, c, labels = _inputs(channels, resolution, classes)
        out = net(z, c, labels)
        require(out.shape == z.shape and out.dtype == torch.float32, f"{tuple(z.shape)} became {tuple(out.shape)} {out.dtype}")
        require(torch.isfinite(out).all(), "an output is not finite")
        if classes:
            require(torch.isfinite(net(z, c, None)).all(), "an output without labels is not finite")


def every_parameter_is_reached(network: Network) -> None:
    """gradients are finite, and reach every parameter"""
    resolution = _resolution(network)
    net = _built(network, 1, resolution, 4)
    net(*_inputs(1, resolution, 4)).square().sum().backward()
    missing = [name for name, p in net.named_parameters() if p.requires_grad and p.grad is None]
    require(not missing, f"no gradient for {', '.join(missing[:3])}")
    bad = [name for name, p in net.named_parameters() if p.grad is not None and not torch.isfinite(p.grad).all()]
    require(not bad, f"the gradient of {', '.join(bad[:3])} is not finite")


def inputs_matter(network: Network) -> None:
    """images do not see each other, and the noise level and the label matter"""
    resolution = _resolution(network)
    net, (z, c, labels) = _built(network, 1, resolution, 4).eval(), _inputs(1, resolution, 4)
    with torch.no_grad():
        out = net(z, c, labels)
        require(torch.allclose(net(z[:2], c[:2], None if labels is None else labels[:2]), out[:2], rtol=1e-3, atol=1e-4),
                "an image's output depends on the others in its batch")
        require((net(z, c + 0.5, labels) - out).abs().max() > 0, "another noise level gives the same output")
        require(labels is not None and (net(z, c, labels.roll(1, 0)) - out).abs().max() > 0, "another label gives the same output")


def weights_are_those_of_the_seed(network: Network) -> None:
    """initial weights come from torch's generator alone, and all state is tensors"""
    resolution = _resolution(network)
    states = []
    for _ in range(2):
        torch.manual_seed(1)
        states.append(network.build(1, resolution, 4).state_dict())
    require(all(isinstance(value, torch.Tensor) for value in states[0].values()), "state_dict() must hold tensors alone")
    require(all(torch.equal(a, b) for a, b in zip(*(state.values() for state in states), strict=True)), "the same seed gives other weights")


def _resolution(network: Network) -> int:
    """The smallest one that the network takes."""
    for resolution in _RESOLUTIONS:
        try:
            network.check(resolution)
        except ValueError:
            continue
        return resolution
    network.check(_RESOLUTIONS[0])
    return _RESOLUTIONS[0]


def _built(network: Network, channels: int, resolution: int, classes: int) -> nn.Module:
    """With random numbers added to every weight: what begins at zero would hide the rest."""
    torch.manual_seed(0)
    net = network.build(channels, resolution, classes)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return net


def _inputs(channels: int, resolution: int, classes: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    z = torch.randn(5, channels, resolution, resolution, generator=torch.Generator().manual_seed(0))
    return z, torch.linspace(-1.5, 1, 5), torch.eye(classes)[torch.arange(5) % classes] if classes else None


CONTRACTS: Contracts = {Network: (outputs_are_images, every_parameter_is_reached, inputs_matter, weights_are_those_of_the_seed)}
