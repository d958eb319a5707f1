"""EDM2's learned uncertainty (Karras et al. 2024, section 2 and eq. 18-21), on top of any other weighting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, SerializeAsAny, field_validator

from trainables.method import Array
from trainables.targets.target import Target
from trainables.weightings.edm import Edm
from trainables.weightings.weighting import Weighting

if TYPE_CHECKING:
    from torch import nn


class Uncertainty(Weighting):
    """loss = w l / exp(u(lambda)) + u(lambda), with u learned beside the network and dropped after training.

    At its optimum u cancels w: with it on, an ablation of the weighting underneath compares nothing.
    """

    kind: Literal["uncertainty"] = "uncertainty"
    base: SerializeAsAny[Weighting] = Field(default_factory=Edm, description="the weighting underneath")

    @field_validator("base", mode="before")
    @classmethod
    def _by_name(cls, value: Any) -> Any:
        from trainables.errors import ConfigError
        from trainables.method import build
        from trainables.weightings import KINDS

        if isinstance(value, Weighting):
            return value
        fields = {"kind": value} if isinstance(value, str) else dict(value)
        if fields.get("kind") == "uncertainty":
            raise ValueError("uncertainty cannot stand on itself")
        try:
            return build(KINDS, "weighting", str(fields.pop("kind", "")), fields)
        except ConfigError as error:
            raise ValueError(str(error)) from None

    def log_weight(self, log_snr: Array, target: Target) -> Array:
        """log w of the weighting underneath (u is 0 at the start of training)."""
        return self.base.log_weight(log_snr, target)

    @property
    def innermost(self) -> Weighting:
        return self.base.innermost

    def head(self) -> nn.Module:
        from trainables.networks.modules.uncertainty import UncertaintyHead

        return UncertaintyHead()
