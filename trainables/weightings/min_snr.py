"""Min-SNR-gamma and its relatives (Hang et al. 2023, "Efficient Diffusion Training via Min-SNR Weighting Strategy")."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import field_validator

from trainables.log_snr import as_array
from trainables.method import Array, searchable
from trainables.targets.target import Target
from trainables.weightings.weighting import Weighting


class _WithGamma(Weighting):
    gamma: float = searchable(5.0, low=1.0, high=20.0, log=True, gt=0, description="SNR at which the weight is clipped")

    @field_validator("gamma", mode="before")
    @classmethod
    def _infinity_has_a_name(cls, value: Any) -> Any:
        if isinstance(value, float | str) and str(value).lower().lstrip(".+") in ("inf", "infinity"):
            raise ValueError("gamma must be finite; gamma = inf is SNR weighting: use kind: snr")
        return value

    @property
    def _log_gamma(self) -> float:
        return math.log(self.gamma)


class MinSnr(_WithGamma):
    """w = min(SNR, gamma); on eps min(1, gamma/SNR), on v min(SNR, gamma)/(SNR + 1). gamma = 5 is the paper's default."""

    kind: Literal["min_snr"] = "min_snr"

    def log_weight(self, log_snr: Array, target: Target) -> Array:
        xp, x = as_array(log_snr)
        return xp.clip(x, None, self._log_gamma)


class MaxSnr(_WithGamma):
    """w = max(SNR, gamma), for ablation only."""

    kind: Literal["max_snr"] = "max_snr"

    def log_weight(self, log_snr: Array, target: Target) -> Array:
        xp, x = as_array(log_snr)
        return xp.clip(x, self._log_gamma, None)


class SoftMinSnr(_WithGamma):
    """w = SNR gamma / (SNR + gamma), a smooth min-SNR (Crowson et al. 2024)."""

    kind: Literal["soft_min_snr"] = "soft_min_snr"

    def log_weight(self, log_snr: Array, target: Target) -> Array:
        xp, x = as_array(log_snr)
        return x + self._log_gamma - xp.logaddexp(x, xp.full_like(x, self._log_gamma))
