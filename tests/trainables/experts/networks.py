"""Small networks of every family and switch, with weights that no initialisation leaves at zero, and their masked selves."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from trainables.networks import Network
from trainables.networks.adm import Adm
from trainables.networks.dit import Dit
from trainables.networks.edm2 import Edm2
from trainables.networks.modules.denoiser import Denoiser
from trainables.networks.modules.units import prunable
from trainables.targets import make_target

_EDM2 = Edm2(channels=16, mult=(1, 2), blocks=1, attention=(4,), channels_per_head=8)
SWITCHES = {
    "G": {}, "group": {"normalisation": "group"}, "standard": {"weight_norm": "standard"}, "none": {"weight_norm": "none"},
    "plain": {"magnitude_preserving": False}, "no_gains": {"learned_gains": False}, "dot": {"cosine_attention": False},
    "no_ones": {"constant_channel": False},
    "C": {"magnitude_preserving": False, "learned_gains": False, "normalisation": "group", "weight_norm": "none"},
}
NETWORKS: dict[str, Network] = {
    **{f"edm2 {name}": _EDM2.model_copy(update=change) for name, change in SWITCHES.items()},
    "adm": Adm(channels=16, mult=(1, 2), blocks=1, attention=(4,), channels_per_head=8, dropout=0.0),
    "dit": Dit(width=32, depth=2, heads=4),
}
SHAPE, CLASSES = (1, 8, 8), 4


def build(settings: Network, seed: int = 0) -> Denoiser:
    """With random numbers added to every weight."""
    torch.manual_seed(seed)
    network = settings.build(SHAPE[0], SHAPE[1], CLASSES)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return Denoiser(network, make_target("edm"))


def inputs(count: int = 3, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    """Images, noise conditioning, labels."""
    torch.manual_seed(5)
    labels = torch.eye(CLASSES)[torch.arange(count) % CLASSES]
    return torch.randn(count, *SHAPE, dtype=dtype), torch.linspace(-1.5, 1, count, dtype=dtype), labels.to(dtype)


def mask(network: nn.Module, kept: Mapping[str, Tensor]) -> list[RemovableHandle]:
    """Hold all other units at zero, as they are computed and as they are read, until the hooks are removed."""
    hooks = []
    for name, indices in kept.items():
        units = prunable(network)[name]
        mask = torch.zeros(units.count).index_fill(0, indices, 1.0).repeat_interleave(units.reads.inner)
        reader = network.get_submodule(units.reads.layer)
        hooks.append(reader.register_forward_pre_hook(lambda module, args, mask=mask: (_masked(module, args[0], mask), *args[1:])))
        if name.endswith("hidden"):
            maker = network.get_submodule(units.makes[0].layer)
            hooks.append(maker.register_forward_hook(lambda module, args, out, mask=mask: _masked(module, out, mask)))
    return hooks


def _masked(layer: nn.Module, x: Tensor, mask: Tensor) -> Tensor:
    return x * (mask if isinstance(layer, nn.Linear) else mask[:, None, None]).to(x.dtype)
