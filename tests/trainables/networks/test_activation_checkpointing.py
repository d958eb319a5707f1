"""Activation checkpointing changes no number, with dropout too, and keeps less."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import tiny_fields
from trainables.networks.modules.activation_checkpointing import checkpoint_blocks
from trainables.networks.modules.build import build_denoiser
from trainables.recipe import make_recipe
from trainables.training.loop import Run
from trainables.training.ranks import Ranks

NETWORKS: dict[str, dict[str, Any]] = {
    "edm2": {"kind": "edm2", "channels": 8, "mult": [1, 2], "blocks": 2, "attention": [4], "channels_per_head": 8},
    "adm": {"kind": "adm", "channels": 8, "mult": [1, 2], "blocks": 2, "attention": [4], "channels_per_head": 8},
    "dit": {"kind": "dit", "width": 32, "depth": 4, "heads": 2},
}


def one_pass(network: dict[str, Any], checkpointed: bool) -> tuple[list[torch.Tensor], int]:
    """Output and gradients with dropout, and the bytes that the forward pass leaves for the backward pass."""
    recipe = make_recipe(tiny_fields(network={**network, "dropout": 0.2}))
    denoiser = build_denoiser(recipe, recipe.data.load())
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in denoiser.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=draw), alpha=0.3)
    if checkpointed:
        checkpoint_blocks(denoiser.network)
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    torch.manual_seed(1)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = denoiser(torch.randn(16, 1, 8, 8, generator=draw), torch.linspace(-3, 3, 16), torch.eye(10)[torch.arange(16) % 10])
    output.square().sum().backward()
    return [output, *(p.grad for p in denoiser.parameters() if p.grad is not None)], sum(kept.values())


@pytest.mark.parametrize("name", NETWORKS)
def test_the_same_numbers_from_less_memory(name: str) -> None:
    (plain, all_kept), (again, inputs_kept) = (one_pass(NETWORKS[name], on) for on in (False, True))
    assert all(torch.equal(a, b) for a, b in zip(plain, again, strict=True))
    assert inputs_kept < 0.5 * all_kept


def test_training_with_it_has_the_same_weights(tmp_path: Path, cache: Path) -> None:
    ends = []
    for on in (False, True):
        fields = tiny_fields(arithmetic={"activation_checkpointing": on, "micro_batch": 16, "precision": "bf16"})
        fields["network"]["dropout"] = 0.1
        run = Run(make_recipe(fields), tmp_path / str(on), cache, Ranks())
        run.model.launch()
        run.train_until(96)
        run.close()
        ends.append([p.detach().clone() for p in run.model.denoiser.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))
