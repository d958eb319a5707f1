"""UGD's estimator: gradients by bucket of log SNR, every so many steps, and the factors that make their combination shortest."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from trainables.timesteps.policy import Draws
from trainables.training.batch import Batch
from trainables.training.beside import Beside, Step
from trainables.training.bucket_gradients import BUCKETS, bucket_gradients, bucket_of, two_halves
from trainables.training.passes import FORWARD_AND_BACKWARD
from trainables.training.ranks import Ranks
from trainables.weightings.ugd import Ugd, min_norm_weights


def start(settings: Ugd, _: Draws) -> Beside:
    return BucketFactors(settings)


class BucketFactors(Beside):
    """One factor per bucket: its min-norm weight over its share of the images, as their corrections count them.

    The weights are those of running means of the gradients' inner products and of the shares.
    """

    def __init__(self, settings: Ugd) -> None:
        self._settings = settings
        self.factors = np.ones(BUCKETS)  # of mean 1 over the images of buckets that have been seen, and 1 elsewhere
        self._sum, self._seen = np.zeros((2, BUCKETS, BUCKETS))  # decaying sums of inner products, and of how often each was estimated
        self._share = np.zeros(BUCKETS)  # decaying sum of what was counted
        self._spent = np.zeros(2)  # forward passes of images in estimates, and images of training
        self._counted = torch.zeros(BUCKETS, dtype=torch.float64)  # by how much the images since the last estimate count; on the device

    def factor(self, log_snr: Tensor) -> Tensor:
        return torch.from_numpy(self.factors).to(log_snr)[bucket_of(log_snr)]

    def before_step(self, step: Step) -> None:
        self._count(step.batch, step.ranks)
        images = len(step.batch) * step.ranks.world
        self._spent[1] += images
        if step.index % self._settings.every:
            return
        found = bucket_gradients(step.denoiser, _within_buckets(step.batch, step.ranks), step.ranks, step.arithmetic)
        self._spent[0] += FORWARD_AND_BACKWARD * found.passes * images
        if not np.isfinite(found.unbiased_gram).all():
            return
        here = np.ix_(found.buckets, found.buckets)
        for sums in (self._sum, self._seen, self._share):
            sums *= self._settings.decay
        self._sum[here] += found.unbiased_gram
        self._seen[here] += 1.0
        self._share += self._counted.cpu().numpy()
        self._counted.zero_()
        known = np.flatnonzero((np.diag(self._seen) > 0) & (self._share > 0))
        if len(known) > 1:
            mean = np.divide(self._sum, self._seen, out=np.zeros_like(self._sum), where=self._seen > 0)[np.ix_(known, known)]
            shares = self._share[known] / self._share[known].sum()
            self.factors = np.ones(BUCKETS)
            self.factors[known] = min_norm_weights(mean, self._settings.ridge, shares) / shares

    def report(self) -> dict[str, float]:
        """Network evaluations beside training, per training image."""
        return {"weighting/extra_evaluations_per_image": float(self._spent[0] / max(self._spent[1], 1.0))}

    def state(self) -> dict[str, Tensor]:
        return {name: torch.from_numpy(array.copy()) for name, array in self._arrays.items()} | {"counted": self._counted.cpu().clone()}

    def restore(self, state: dict[str, Tensor]) -> None:
        for name, array in self._arrays.items():
            array[...] = state[name].numpy()
        self._counted = state["counted"].clone()

    def _count(self, batch: Batch, ranks: Ranks) -> None:
        """All ranks' images, each by its correction; the same at every rank."""
        levels, corrections = ranks.gather(batch.log_snr), ranks.gather(batch.correction)
        of_bucket = bucket_of(levels)[:, None] == torch.arange(BUCKETS, device=levels.device)
        self._counted = self._counted.to(levels.device) + corrections.double() @ of_bucket.double()

    @property
    def _arrays(self) -> dict[str, np.ndarray]:
        return {"factors": self.factors, "sum": self._sum, "seen": self._seen, "share": self._share, "spent": self._spent}


def _within_buckets(batch: Batch, ranks: Ranks) -> Batch:
    """The same images with weight 1, and corrections of mean 1 in each half of each bucket, so that halves do not differ by their sums."""
    corrections, bucket = ranks.gather(batch.correction), bucket_of(ranks.gather(batch.log_snr))
    relative = torch.ones_like(corrections)
    for b in range(BUCKETS):
        for half in two_halves(torch.nonzero(bucket == b).flatten()):
            mean = corrections[half].mean()
            relative[half] = torch.where(mean > 0, corrections[half] / mean, 1.0)
    first = ranks.rank * len(batch)
    return batch.unweighted().corrected(relative[first : first + len(batch)])
