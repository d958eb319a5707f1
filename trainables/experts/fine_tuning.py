"""How each group's network is fine-tuned on its own noise levels."""

from __future__ import annotations

import math

from pydantic import Field

from trainables.ema.profile import SIGMA_REL_MAX
from trainables.method import Settings, searchable


class FineTuning(Settings):
    """Everything that is not said here is as in the base's training; the clocks of averages and learning rate begin at 0."""

    share: float = searchable(0.5, low=0.1, high=1.0, gt=0, le=10, description="images of all groups together over those of the base")
    lr: float = searchable(
        0.5, low=0.1, high=2.0, log=True, gt=0,
        description="reference learning rate over the base's; its ramp-up and decay are scaled to the length of fine-tuning",
    )
    sigma_rel: float = Field(0.1, gt=0, lt=SIGMA_REL_MAX, description="EMA length of the base's average that fine-tuning starts from")

    def images(self, base: int, batch: int, groups: int) -> int:
        """Training images of each group: whole batches, at least one."""
        return max(math.floor(self.share * base / groups / batch + 0.5), 1) * batch
