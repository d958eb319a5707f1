"""Guidance: classifier-free (Ho & Salimans 2022), limited to an interval of noise levels (Kynkäänniemi et al. 2024), and by a
weaker version of the network itself or a separate one (autoguidance, Karras et al. 2024b)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from trainables.method import Settings

if TYPE_CHECKING:
    from torch import Tensor

    from trainables.networks.modules.denoiser import Denoiser
    from trainables.sampling.sampler import Denoise


class Guidance(Settings):
    """D = D_guide + weight (D_main - D_guide) for sigma in (sigma_low, sigma_high], D_main elsewhere; weight 1 is none."""

    weight: float = Field(1.0, ge=0, le=20, description="guidance weight w; 1 is off")
    by: Literal["unconditional", "weaker", "network"] = Field(
        "unconditional",
        description="'unconditional': the same network without labels; 'weaker': an earlier stored average, with labels; "
        "'network': the recipe's `guide`, a network of its own, with labels",
    )
    sigma_low: float = Field(0.0, ge=0, description="guide above this noise level only")
    sigma_high: float = Field(1e9, gt=0, description="guide up to this noise level only")
    weaker_share: float = Field(1 / 16, gt=0, le=1, description="by weaker: share of the training after which it was stored")
    weaker_sigma_rel: float = Field(0.1, gt=0, lt=1 / math.sqrt(12), description="EMA length of the weaker or the separate network")

    @model_validator(mode="after")
    def _interval(self) -> Guidance:
        if self.sigma_low >= self.sigma_high:
            raise ValueError("sigma_low must be below sigma_high")
        if self.by == "network" and self.weaker_share != type(self).model_fields["weaker_share"].default:
            raise ValueError("weaker_share is of by: weaker; how long a separate network is trained is guide.share of the recipe")
        return self

    @property
    def second_network(self) -> bool:
        """Whether another network guides than the one that is sampled from."""
        return self.by != "unconditional"

    @property
    def off(self) -> bool:
        return self.weight == 1.0

    def guides(self, sigma: float) -> bool:
        """Whether a noise level lies in the interval."""
        return self.sigma_low < sigma <= self.sigma_high


def guided(settings: Guidance, main: Denoiser, labels: Tensor | None, weaker: Denoiser | None = None) -> Denoise:
    """The denoising function of a (guided) network; `weaker` is the second one, where there is one."""
    if settings.off:
        return lambda x, sigma: main.denoise(x, sigma, labels)
    if settings.second_network and weaker is None:
        raise ValueError("autoguidance needs the weaker network")

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        clean = main.denoise(x, sigma, labels)
        if not settings.guides(float(sigma)):
            return clean
        guide = weaker.denoise(x, sigma, labels) if weaker and settings.second_network else main.denoise(x, sigma, None)
        return guide.lerp(clean, settings.weight)

    return denoise
