"""UGD's estimator: gradients by bucket of log SNR, every so many steps, and the weights that make their combination shortest."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from trainables.timesteps.policy import Draws
from trainables.training.beside import Beside, Step
from trainables.training.diagnostics import BUCKETS, bucket_gradients, bucket_of
from trainables.weightings.ugd import Ugd, min_norm_weights


def start(settings: Ugd, _: Draws) -> Beside:
    return BucketWeights(settings)


class BucketWeights(Beside):
    """One weight per bucket."""

    def __init__(self, settings: Ugd) -> None:
        self._settings = settings
        self.weights = np.ones(BUCKETS)  # mean 1 over the buckets that have been seen

    def factor(self, log_snr: np.ndarray) -> np.ndarray:
        return self.weights[bucket_of(log_snr)]

    def before_step(self, step: Step) -> None:
        if step.index % self._settings.every:
            return
        batch = step.batch.unweighted()
        gram, seen = torch.zeros(BUCKETS, BUCKETS), torch.zeros(BUCKETS)
        gradients = {b: g.mean(0) for b, g in bucket_gradients(step.denoiser, batch, step.arithmetic).items()}
        for a, ga in gradients.items():
            seen[a] = 1
            for b, gb in gradients.items():
                gram[a, b] = float(ga @ gb)
        # Ranks average their Gram matrices (a few numbers) rather than their gradients.
        device = batch.log_snr.device
        grams = step.ranks.gather(gram[None].to(device)).sum(0).cpu().double().numpy()
        both = step.ranks.gather((seen[:, None] * seen[None])[None].to(device)).sum(0).cpu().double().numpy()
        known = np.flatnonzero(np.diag(both))
        if len(known) > 1:
            mean = np.divide(grams, both, out=np.zeros_like(grams), where=both > 0)[np.ix_(known, known)]
            self.weights = np.ones(BUCKETS)
            self.weights[known] = len(known) * min_norm_weights(mean, self._settings.ridge)

    def state(self) -> dict[str, Tensor]:
        return {"weights": torch.from_numpy(self.weights.copy())}

    def restore(self, state: dict[str, Tensor]) -> None:
        self.weights = state["weights"].numpy().copy()
