"""A study's search as a run of Ray Tune: warm trial actors, early stopping, and an eye on what else happens."""

from __future__ import annotations

from typing import Any

import ray
from ray import tune
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, MedianStoppingRule
from ray.tune.stopper import NoopStopper
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from orchestrator.cluster.ray_cluster import ray_storage
from orchestrator.execution.dispatcher import Dispatcher
from orchestrator.execution.trial import Trial
from orchestrator.records.folders import StudyFolder, WorkFolder
from orchestrator.search.searcher import Course, StudySearch
from search_spaces.search import Asha, HyperBand, Median
from search_spaces.study import Study


def tune_study(study: Study, searcher: StudySearch, course: Course, work: WorkFolder, folder: StudyFolder) -> None:
    """Returns when the searcher has no more trials and the last has been trained."""
    # It lives and dies with this driver, wherever else a node is lost.
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    dispatcher = Dispatcher.options(scheduling_strategy=here).remote()  # type: ignore[attr-defined]
    trainable = tune.with_parameters(
        Trial, study=study, dispatcher=dispatcher, folder=str(folder.root / "trials"), cache=str(work.cache), store=str(work.store)
    )
    # The driver of a trial only waits: a token of memory instead of a CPU keeps it from starving its own workers.
    resources: dict[str, float] = {"memory": 1 << 20} if study.compute.workers else {"CPU": study.compute.cpus_per_worker}
    tune.Tuner(
        tune.with_resources(trainable, resources),
        tune_config=tune.TuneConfig(
            search_alg=searcher, scheduler=_scheduler(study), num_samples=-1, reuse_actors=True,
            max_concurrent_trials=study.compute.concurrent_trials,
        ),
        run_config=tune.RunConfig(
            name="tune", **ray_storage(folder.root / "ray"), verbose=0, stop=_Watch(course),
            failure_config=tune.FailureConfig(max_failures=study.compute.max_failures),
        ),
    ).fit()
    ray.kill(dispatcher)


class _Watch(tune.Stopper):
    """Sees every result and every turn of Tune's loop.  (For a callback, Tune would load MLflow to see whether it is one of those.)"""

    def __init__(self, course: Course) -> None:
        self._course = course

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        self._course.reported(result)
        return False

    def stop_all(self) -> bool:
        self._course.look_around()
        return False

    def __reduce__(self) -> Any:
        return NoopStopper, ()  # Tune pickles its own state beside the trials; nobody ever reads it


def _scheduler(study: Study) -> Any:
    common: dict[str, Any] = {"time_attr": "images", "metric": f"interim_{study.metric}", "mode": "min"}
    longest = study.base_recipe.duration.images
    match study.search.early_stopping:
        case Asha(grace_images=grace, reduction_factor=factor):
            return ASHAScheduler(**common, max_t=longest, grace_period=grace, reduction_factor=factor)
        case HyperBand(grace_images=grace, reduction_factor=factor, brackets=brackets):
            return ASHAScheduler(**common, max_t=longest, grace_period=grace, reduction_factor=factor, brackets=brackets)
        case Median(grace_images=grace, min_trials=trials):
            return MedianStoppingRule(**common, grace_period=grace, min_samples_required=trials)
    return FIFOScheduler()
