"""A study's state for Prometheus, through the metrics that Ray exports on every node (`ray start --metrics-export-port`)."""

from __future__ import annotations

from collections.abc import Mapping

from ray.util.metrics import Gauge


class StudyMetrics:
    """`ray_snrlab_trials{state}`, `ray_snrlab_images` and `ray_snrlab_best_score`, each with the study's name."""

    def __init__(self, study: str, metric: str) -> None:
        self._trials = Gauge("snrlab_trials", "Trials by state.", tag_keys=("study", "state"))
        self._images = Gauge("snrlab_images", "Images trained since the driver's start.", tag_keys=("study",))
        self._best = Gauge("snrlab_best_score", "Lowest score at a trial's own best EMA length.", tag_keys=("study", "metric"))
        for gauge in (self._trials, self._images, self._best):
            gauge.set_default_tags({"study": study, **({"metric": metric} if gauge is self._best else {})})

    def update(self, trials: Mapping[str, int], images: int, best: float | None) -> None:
        """Trials by state, images since the driver's start, and the best score if there is one."""
        for state, number in trials.items():
            self._trials.set(number, {"state": state})
        self._images.set(images)
        if best is not None:
            self._best.set(best)
