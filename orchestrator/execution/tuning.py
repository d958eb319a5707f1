"""A study's search as a run of Ray Tune: warm trial actors, early stopping, and an eye on what else happens."""

from __future__ import annotations

import json
import logging
from typing import Any, Protocol

import ray
from ray import tune
from ray.tune.error import TuneError
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import FIFOScheduler
from ray.tune.stopper import NoopStopper
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from orchestrator.cluster.ray_cluster import ray_storage
from orchestrator.execution.dispatcher import Dispatcher
from orchestrator.execution.trial import Trial
from orchestrator.records.folders import StudyFolder, WorkFolder
from orchestrator.search.searcher import StudySearch
from search_spaces.study import Study
from trainables.errors import in_one_line


class Onlooker(Protocol):
    """Who follows a run of Tune."""

    def reported(self, result: dict[str, Any]) -> None:
        """Tune has had a result."""

    def look_around(self) -> None:
        """Nothing in particular has happened; raise what is to end the search."""


def tune_study(study: Study, searcher: StudySearch, onlooker: Onlooker, work: WorkFolder, folder: StudyFolder) -> None:
    """Returns when the searcher has no more trials and the last has been trained."""
    # It lives and dies with this driver, wherever else a node is lost.
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    dispatcher = Dispatcher.options(scheduling_strategy=here).remote()  # type: ignore[attr-defined]
    trainable = tune.with_parameters(
        Trial, study=json.dumps(study.packed), dispatcher=dispatcher, folder=str(folder.root / "trials"), cache=str(work.cache),
        store=str(work.store),
    )
    # The driver of a trial only waits: a token of memory instead of a CPU keeps it from starving its own workers.
    resources: dict[str, float] = {"memory": 1 << 20} if study.compute.workers else {"CPU": study.compute.cpus_per_worker}
    tuner = tune.Tuner(
        tune.with_resources(trainable, resources),
        tune_config=tune.TuneConfig(
            search_alg=searcher, scheduler=_Decisions(searcher), num_samples=-1, reuse_actors=True,
            max_concurrent_trials=study.compute.concurrent_trials,
        ),
        run_config=tune.RunConfig(
            name="tune", **ray_storage(folder.root / "ray"), verbose=0, stop=_Watch(onlooker),
            failure_config=tune.FailureConfig(max_failures=study.compute.max_failures),
        ),
    )
    logging.getLogger("ray.tune.execution.tune_controller").addFilter(without_stack_trace)
    try:
        tuner.fit()
    except TuneError:
        if searcher.trouble:
            raise searcher.trouble from None
        raise
    ray.kill(dispatcher)


def without_stack_trace(record: logging.LogRecord) -> bool:
    """A filter that leaves one line of an error that Tune logs whole: a trial's actor that is lost is started again by Tune itself."""
    if record.exc_info and record.exc_info[1]:
        record.msg, record.args = f"{record.getMessage()}: {in_one_line(record.exc_info[1])}", ()
        record.exc_info = record.exc_text = None
    return True


class _Watch(tune.Stopper):
    """Sees every result and every turn of Tune's loop.  (For a callback, Tune would load MLflow to see whether it is one of those.)"""

    def __init__(self, onlooker: Onlooker) -> None:
        self._onlooker = onlooker

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        self._onlooker.reported(result)
        return False

    def stop_all(self) -> bool:
        self._onlooker.look_around()
        return False

    def __reduce__(self) -> Any:
        return NoopStopper, ()  # Tune pickles its own state beside the trials; nobody ever reads it


class _Decisions(FIFOScheduler):
    """Trials in their order; each stops where the search's log says so."""

    def __init__(self, searcher: StudySearch) -> None:
        super().__init__()
        self._searcher = searcher

    def on_trial_result(self, tune_controller: Any, trial: TuneTrial, result: dict[str, Any]) -> str:
        return str(self.STOP if self._searcher.report_result(trial.trial_id, result) else self.CONTINUE)
