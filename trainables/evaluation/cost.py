"""What a denoiser costs: multiply-accumulates of one evaluation of one image, and parameters."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from trainables.networks.modules.build import build_denoiser
from trainables.recipe import Recipe


def network_cost(recipe: Recipe) -> dict[str, float]:
    """`macs` and `parameters` of the recipe's network; counted on shapes alone, nothing is computed."""
    data = recipe.data.load()
    denoiser = build_denoiser(recipe, data).to("meta").eval()
    images, levels = torch.empty(1, *data.shape, device="meta"), torch.empty(1, device="meta")
    labels = torch.empty(1, denoiser.classes, device="meta") if denoiser.classes else None
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        denoiser(images, levels, labels)
    return {"macs": counter.get_total_flops() / 2, "parameters": float(sum(p.numel() for p in denoiser.parameters()))}
