"""Power-function averages of the weights, followed during training."""

from __future__ import annotations

import torch
from torch import nn

from trainables.ema.profile import sigma_rel_to_gamma
from trainables.ema.tracked import Tracked


class PowerEma(Tracked[float]):
    """One average per width; call `update` after each optimiser step. Buffers are copied, not averaged."""

    def __init__(self, module: nn.Module, sigma_rels: tuple[float, ...]) -> None:
        super().__init__(module, sigma_rels)
        self._exponents = {s: float(sigma_rel_to_gamma(s)) + 1.0 for s in sigma_rels}

    @torch.no_grad()
    def update(self, images: int, step: int) -> None:
        """Take in the weights after a step of `step` images that ends at `images` seen (Karras et al. 2024, eq. 121)."""
        for sigma_rel, exponent in self._exponents.items():
            beta = (1.0 - step / images) ** exponent
            torch._foreach_lerp_(self.averages[sigma_rel], self._parameters, 1.0 - beta)

    @torch.no_grad()
    def copy_to(self, sigma_rel: float, module: nn.Module) -> None:
        """Load one average into a module of the same architecture."""
        torch._foreach_copy_(list(module.parameters()), self.averages[sigma_rel])
