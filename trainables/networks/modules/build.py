"""From a recipe to torch modules."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from trainables.data import ImageData
from trainables.errors import ConfigError
from trainables.experts.pruning import keep
from trainables.networks.modules.denoiser import Denoiser
from trainables.networks.modules.start_file import read_start
from trainables.randomness import torch_seed
from trainables.recipe import Recipe


def build_denoiser(recipe: Recipe, data: ImageData) -> Denoiser:
    """The denoiser with its initial weights, which are a function of the recipe's seed alone."""
    channels, height, width = data.shape
    if height != width:
        raise ConfigError(f"data: images of {height}x{width} were given; only square images are supported")
    classes, guidance = recipe.classes_of(data), recipe.evaluation.guidance
    if not classes and guidance.by == "unconditional" and not guidance.off:
        raise ConfigError("evaluation.guidance: by: unconditional guides with labels, and these data have none: use by: weaker")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(torch_seed(recipe.seed, "initial weights"))
        try:
            network = recipe.network.build(channels, height, classes, recipe.augment.labels)
        except ValueError as error:
            raise ConfigError(f"network: {error}") from None
    return Denoiser(network, recipe.target, classes).to(memory_format=torch.channels_last)  # +20 % on CPU, more on tensor cores


def starting_denoiser(recipe: Recipe, data: ImageData, folder: Path) -> Denoiser:
    """The denoiser as the run in this folder begins: with its initial weights, or those that it starts from.

    Buffers are those of all averages of the run.  ConfigError where the start's weights are missing or of another network.
    """
    denoiser = build_denoiser(recipe, data)
    if recipe.start:
        whole, kept = unpruned_start(recipe, data, folder)
        _load(denoiser, keep(whole, kept) if kept else whole.state_dict())
    return denoiser


def unpruned_start(recipe: Recipe, data: ImageData, folder: Path) -> tuple[Denoiser, dict[str, Tensor]]:
    """The network whose weights the run in this folder starts from, before pruning; and the units that are kept of it, none is all."""
    assert recipe.start
    weights = read_start(folder, recipe.start)
    network = recipe.network.model_copy(update={"widths": {}}) if weights.kept else recipe.network
    whole = build_denoiser(recipe.model_copy(update={"network": network}), data)
    _load(whole, weights.state)
    return whole, weights.kept


def _load(denoiser: Denoiser, state: Mapping[str, Tensor]) -> None:
    try:
        denoiser.load_state_dict(state)
    except RuntimeError as error:  # PyTorch's, about names and shapes
        problems = str(error).splitlines()
        raise ConfigError(f"start: the weights are of another network than the recipe's ({' '.join(problems[1:2]).strip()})") from None
