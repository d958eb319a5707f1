"""UGD's estimator: gradients by bucket of log SNR, every so many steps, and the factors that make their combination shortest."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from trainables.timesteps.policy import Draws
from trainables.training.batch import Batch
from trainables.training.beside import Beside, Step
from trainables.training.bucket_gradients import BUCKETS, bucket_gradients, bucket_of
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
        self._passes = 0.0  # forward passes per image of an estimate
        self._counted = torch.zeros(BUCKETS, dtype=torch.float64)  # by how much the images since the last estimate count; on the device

    def factor(self, log_snr: Tensor) -> Tensor:
        return torch.from_numpy(self.factors).to(log_snr)[bucket_of(log_snr)]

    def before_step(self, step: Step) -> None:
        corrections = self._count(step.batch, step.ranks)
        if step.index % self._settings.every:
            return
        found = bucket_gradients(step.denoiser, _within_buckets(step.batch, corrections), step.ranks, step.arithmetic)
        self._passes = FORWARD_AND_BACKWARD * found.passes
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
        """Network evaluations of the latest estimate, per training image until the next one."""
        return {"weighting/extra_evaluations_per_image": self._passes / self._settings.every}

    def state(self) -> dict[str, Tensor]:
        return {name: torch.from_numpy(array.copy()) for name, array in self._arrays.items()} | {"counted": self._counted.cpu().clone()}

    def restore(self, state: dict[str, Tensor]) -> None:
        for name, array in self._arrays.items():
            array[...] = state[name].numpy()
        self._counted = state["counted"].clone()

    def _count(self, batch: Batch, ranks: Ranks) -> Tensor:
        """All ranks' images, each by its correction, the same at every rank; returns the mean correction of each bucket [16]."""
        levels, corrections = ranks.gather(batch.log_snr), ranks.gather(batch.correction)
        of_bucket = (bucket_of(levels)[:, None] == torch.arange(BUCKETS, device=levels.device)).double()
        counted = corrections.double() @ of_bucket
        self._counted = self._counted.to(levels.device) + counted
        return counted / of_bucket.sum(0)

    @property
    def _arrays(self) -> dict[str, np.ndarray]:
        return {"factors": self.factors, "sum": self._sum, "seen": self._seen, "share": self._share}


def _within_buckets(batch: Batch, corrections: Tensor) -> Batch:
    """The same images with weight 1 and corrections of mean 1 in each bucket, whose mean corrections [16] are given."""
    of_bucket = corrections[bucket_of(batch.log_snr)]
    relative = torch.where(of_bucket > 0, batch.correction / of_bucket, 1.0)
    return batch.unweighted().corrected(relative.to(batch.correction))
