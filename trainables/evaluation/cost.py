"""What a denoiser costs: multiply-accumulates of one evaluation of one image, and parameters."""

from __future__ import annotations

from pathlib import Path

from trainables.experts.macs import count
from trainables.networks.modules.build import build_denoiser
from trainables.recipe import Recipe


def network_cost(recipe: Recipe, cache: Path | None = None) -> dict[str, float]:
    """`macs` and `parameters` of the recipe's network; counted on shapes alone, nothing is computed."""
    data = recipe.data.load(cache)
    denoiser = build_denoiser(recipe, data).to("meta")
    macs = count(denoiser, data.shape, denoiser.classes)[""]
    return {"macs": float(macs), "parameters": float(sum(p.numel() for p in denoiser.parameters()))}
