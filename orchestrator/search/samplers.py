"""Optuna samplers from a study's settings; their random numbers belong to one trial, so that a resumed search goes on as it would have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial

from orchestrator.search.cma import ReplayedCma
from search_spaces.search import CmaEs, Gp, Grid, Nsga2, Nsga3, Qmc, Random, Tpe
from search_spaces.study import Study
from trainables.randomness import key_of

CONSTRAINTS = "snrlab:constraints"  # user attribute of a trial: how far it is beyond each bound


def sampler_for(study: Study, number: int) -> optuna.samplers.BaseSampler:
    """What proposes trial `number`."""
    search = study.search
    seed = key_of(search.seed, f"sampler/{number}") % 2**32
    limits: Callable[[FrozenTrial], Sequence[float]] | None = _excess if search.constraints else None
    match search.sampler:
        case Tpe(startup_trials=startup):
            return optuna.samplers.TPESampler(
                seed=seed, n_startup_trials=startup, multivariate=True, group=True, constant_liar=True, constraints_func=limits
            )
        case Gp(startup_trials=startup):
            return optuna.samplers.GPSampler(seed=seed, n_startup_trials=startup, constraints_func=limits, warn_independent_sampling=False)
        case CmaEs(population=population):
            return ReplayedCma(search.seed, number, population)
        case Nsga2(population=population):
            return optuna.samplers.NSGAIISampler(seed=seed, population_size=population, constraints_func=limits)
        case Nsga3(population=population):
            return optuna.samplers.NSGAIIISampler(seed=seed, population_size=population, constraints_func=limits)
        case Qmc():  # one scrambled sequence for the whole study; the place in it is kept in the storage
            one = key_of(search.seed, "sampler") % 2**32
            return optuna.samplers.QMCSampler(seed=one, scramble=True, warn_asynchronous_seeding=False, warn_independent_sampling=False)
        case Grid(points=points):
            values: dict[str, Any] = {path: distribution.grid(points) for path, distribution in study.space.items()}
            return _Grid(values, seed=key_of(search.seed, "sampler") % 2**32)
        case Random():
            return optuna.samplers.RandomSampler(seed=seed)
    raise AssertionError(f"no sampler for {search.sampler}")


class _Grid(optuna.samplers.GridSampler):
    """Without its stop of the study at the last point, which Optuna allows only in a loop of its own; ours ends by `grid_size`."""

    def after_trial(self, *_: Any) -> None:
        pass


def grid_size(study: Study) -> int | None:
    """Number of combinations of a grid; None for other samplers."""
    sampler = study.search.sampler
    if not isinstance(sampler, Grid):
        return None
    return int(np.prod([len(d.grid(sampler.points)) for d in study.space.values()]))


def _excess(trial: FrozenTrial) -> Sequence[float]:
    return trial.user_attrs.get(CONSTRAINTS, [1.0])  # a trial without numbers is not feasible
