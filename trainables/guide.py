"""A second network that guides sampling (autoguidance, Karras et al. 2024b): a smaller one, trained less. No torch here."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from trainables.ema.settings import SigmaRels, told_apart
from trainables.method import Settings, searchable
from trainables.networks import AnyNetwork
from trainables.networks.edm2 import Edm2
from trainables.sampling.guidance import Guidance


class Guide(Settings):
    """The network that guides, and its training; everything that is not said here is as in the recipe that it belongs to."""

    network: AnyNetwork = Field(default_factory=Edm2, description="its denoiser, usually a smaller one")
    share: float = searchable(
        1 / 16, low=1 / 64, high=1.0, log=True, gt=0, le=10, description="its training images over those of the recipe"
    )
    sigma_rels: Annotated[SigmaRels, AfterValidator(told_apart)] = Field((0.05, 0.10), description="widths of its tracked averages")

    def images(self, main: int, batch: int) -> int:
        """Training images of the guide: whole batches, at least one."""
        return max(round(self.share * main / batch), 1) * batch

    def recipe_fields(self, fields: dict[str, Any]) -> dict[str, Any]:
        """The guide's recipe as plain data, from that of the recipe that it belongs to.

        As many averages are stored as in the other training, at the same shares of it; the clock of the learning rate is not scaled.
        """
        duration, ema, evaluation = fields["duration"], fields["ema"], fields["evaluation"]
        batch = duration["batch_size"]
        images = self.images(duration["images"], batch)
        every = max(round(ema["snapshot_every"] * images / duration["images"] / batch), 1) * batch
        return {
            **fields, "guide": None, "experts": None, "network": self.network.model_dump(mode="json"),
            "duration": {**duration, "images": images},
            "ema": {**ema, "sigma_rels": list(self.sigma_rels), "snapshot_every": every, "classical": []},
            "evaluation": {**evaluation, "guidance": Guidance().model_dump(mode="json"), "every": min(evaluation["every"], images)},
        }
