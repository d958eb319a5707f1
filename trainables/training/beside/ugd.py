"""UGD's estimator: gradients by bucket of log SNR, every so many steps, and the weights that make their combination shortest."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from trainables.timesteps.policy import Draws
from trainables.training.beside import Beside, Step
from trainables.training.bucket_gradients import BUCKETS, bucket_gradients, bucket_of
from trainables.weightings.ugd import Ugd, min_norm_weights


def start(settings: Ugd, _: Draws) -> Beside:
    return BucketWeights(settings)


class BucketWeights(Beside):
    """One weight per bucket, from a running mean of the gradients' inner products."""

    def __init__(self, settings: Ugd) -> None:
        self._settings = settings
        self.weights = np.ones(BUCKETS)  # mean 1 over the buckets that have been seen
        self._sum, self._seen = np.zeros((2, BUCKETS, BUCKETS))  # decaying sums of inner products, and of how often each was estimated

    def factor(self, log_snr: Tensor) -> Tensor:
        return torch.from_numpy(self.weights).to(log_snr)[bucket_of(log_snr)]

    def before_step(self, step: Step) -> None:
        if step.index % self._settings.every:
            return
        found = bucket_gradients(step.denoiser, step.batch.unweighted(), step.ranks, step.arithmetic)
        if not np.isfinite(found.unbiased_gram).all():
            return
        here = np.ix_(found.buckets, found.buckets)
        self._sum, self._seen = self._settings.decay * self._sum, self._settings.decay * self._seen
        self._sum[here] += found.unbiased_gram
        self._seen[here] += 1.0
        known = np.flatnonzero(np.diag(self._seen))
        if len(known) > 1:
            mean = np.divide(self._sum, self._seen, out=np.zeros_like(self._sum), where=self._seen > 0)[np.ix_(known, known)]
            self.weights = np.ones(BUCKETS)
            self.weights[known] = len(known) * min_norm_weights(mean, self._settings.ridge)

    def state(self) -> dict[str, Tensor]:
        return {name: torch.from_numpy(array.copy()) for name, array in self._arrays.items()}

    def restore(self, state: dict[str, Tensor]) -> None:
        for name, array in self._arrays.items():
            array[...] = state[name].numpy()

    @property
    def _arrays(self) -> dict[str, np.ndarray]:
        return {"weights": self.weights, "sum": self._sum, "seen": self._seen}
