"""Activation x gradient of every unit: the change of each image's loss, to first order, when the unit is taken away."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from trainables.errors import ConfigError
from trainables.networks.modules.denoiser import Denoiser
from trainables.networks.modules.evaluating import evaluating
from trainables.networks.modules.units import Units, prunable
from trainables.optimisers.arithmetic import Arithmetic
from trainables.training.batch import Batch, image_losses


def mean_over_images(denoiser: Denoiser, batches: Iterable[Batch], of: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
    """The mean over all images of `of` each image's sum of activation x gradient, [units] float64 by name, on the CPU."""
    totals: dict[str, Tensor] = {}
    images = 0
    for batch in batches:
        for name, product in unit_products(denoiser, batch).items():
            total = of(product.double()).sum(0).cpu()
            totals[name] = totals[name] + total if name in totals else total
        images += len(batch)
    if not images:
        raise ConfigError("scores of units need at least one batch of images")
    return {name: total / images for name, total in totals.items()}


def unit_products(denoiser: Denoiser, batch: Batch) -> dict[str, Tensor]:
    """[N, units] by name: activation x gradient of the image's training loss, summed over what each unit puts out, without dropout."""
    units = prunable(denoiser.network)
    seen: dict[str, Tensor] = {}

    def remember(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(module: nn.Module, args: tuple[Tensor, ...]) -> None:
            seen[name] = args[0]

        return hook

    hooks = [denoiser.network.get_submodule(of.reads.layer).register_forward_pre_hook(remember(name)) for name, of in units.items()]
    try:
        with evaluating(denoiser):
            loss = image_losses(denoiser, denoiser, batch, Arithmetic()).total.sum()
    finally:
        for handle in hooks:
            handle.remove()
    gradients = torch.autograd.grad(loss, list(seen.values()))
    return {
        name: _per_unit(activation.detach() * gradient, units[name])
        for (name, activation), gradient in zip(seen.items(), gradients, strict=True)
    }


def _per_unit(products: Tensor, units: Units) -> Tensor:
    """[N, units] from [N, channels, H, W] or [N, tokens, features]."""
    dim = 1 if products.ndim == 4 else -1
    return products.movedim(dim, 1).reshape(len(products), units.count, -1).sum(2)
