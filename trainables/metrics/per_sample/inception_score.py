"""The inception score."""

from __future__ import annotations

from typing import Literal

import numpy as np

from trainables.metrics.per_sample.sample_metric import Compared, SampleMetric


class InceptionScore(SampleMetric):
    """Mean over ten splits (Salimans et al. 2016), with its standard error; of the feature space `inception` alone."""

    kind: Literal["inception_score"] = "inception_score"

    def names(self, space: str) -> tuple[str, ...]:
        return ("inception_score",) if space == "inception" else ()

    def of(self, images: Compared) -> dict[str, float]:
        if images.made.logits is None:
            return {}
        mean, error = inception_score(images.made.logits)
        return {"inception_score": mean, "inception_score_se": error}


def inception_score(logits: np.ndarray) -> tuple[float, float]:
    """(score, standard error) of class logits [N, K]."""
    import torch
    from torch_fidelity.metric_isc import isc_features_to_metric

    splits = 10
    found = isc_features_to_metric(torch.from_numpy(logits), splits=splits)
    return found["inception_score_mean"], found["inception_score_std"] / np.sqrt(splits)
