"""What to try next: a proposal's values as a function of (seed, proposal, history), whoever asks and however often."""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import numpy as np
import optuna

from orchestrator.search.cma import draw_cma
from orchestrator.search.history import History, Proposal
from orchestrator.search.optuna_study import OptunaView
from search_spaces import space as spaces
from search_spaces.distributions import Scalar
from search_spaces.search import CmaEs, Gp, Grid, Nsga2, Nsga3, Qmc, Random, Tpe
from search_spaces.study import Study
from trainables.randomness import key_of

_OF_THIS_CALL = ("relative_params", "fixed_params")  # what Optuna's samplers keep of a trial only until its values are known


def propose(view: OptunaView, number: int, history: History) -> Proposal:
    """Values of proposal `number` of the view's search, by its sampler; a search begins with its points."""
    study = view.study
    points = study.search.points
    given = dict(points[number]) if number < len(points) else {}
    match study.search.sampler:
        case Grid(points=count):
            drawn = _grid_point(study, count, number - len(points)) if number >= len(points) else _first_values(study)
            return Proposal(number, spaces.choose(study.space, {**drawn, **given}.__getitem__))
        case Qmc():
            return Proposal(number, spaces.choose(study.space, {**_sobol_point(study, number), **given}.__getitem__))
        case CmaEs(population=population):
            drawn, attributes = draw_cma(study, number, population, history)
            return Proposal(number, spaces.choose(study.space, {**drawn, **given}.__getitem__), attributes)
    return _ask_optuna(view, number, history, given)


def _ask_optuna(view: OptunaView, number: int, history: History, given: dict[str, Scalar]) -> Proposal:
    with warnings.catch_warnings(action="ignore", category=optuna.exceptions.ExperimentalWarning):  # grouped TPE, in use for years
        known = view.in_memory(history, _sampler(view.study, number, after_impossible=number - 1 in history.impossible_proposals))
        if given:
            known.enqueue_trial(given)
        trial = known.ask()
        values = spaces.suggest(view.study.space, trial)
    kept = known.get_trials(deepcopy=False)[-1].system_attrs
    return Proposal(number, values, {k: v for k, v in kept.items() if not any(name in k for name in _OF_THIS_CALL)})


def _sampler(study: Study, number: int, after_impossible: bool) -> optuna.samplers.BaseSampler:
    seed = key_of(study.search.seed, f"sampler/{number}") % 2**32
    if after_impossible:
        return optuna.samplers.RandomSampler(seed=seed)
    match study.search.sampler:
        case Tpe(startup_trials=startup):
            return optuna.samplers.TPESampler(seed=seed, n_startup_trials=startup, multivariate=True, group=True, constant_liar=True)
        case Gp(startup_trials=startup):
            return optuna.samplers.GPSampler(seed=seed, n_startup_trials=startup, warn_independent_sampling=False)
        case Nsga2(population=population):
            return optuna.samplers.NSGAIISampler(seed=seed, population_size=population)
        case Nsga3(population=population):
            return optuna.samplers.NSGAIIISampler(seed=seed, population_size=population)
        case Random():
            return optuna.samplers.RandomSampler(seed=seed)
    raise AssertionError(f"no sampler for {study.search.sampler}")


def _grid_point(study: Study, points: int, index: int) -> dict[str, Any]:
    """One combination; all of them come once, in an order that the seed decides."""
    combinations = list(itertools.product(*(axis.grid(points) for axis in study.space.values())))
    order = np.random.Generator(np.random.Philox(key=key_of(study.search.seed, "grid"))).permutation(len(combinations))
    return dict(zip(study.space, combinations[order[index]], strict=True))


def _sobol_point(study: Study, number: int) -> dict[str, Any]:
    """Point `number` of one scrambled Sobol sequence over all axes."""
    from scipy.stats.qmc import Sobol

    sequence = Sobol(len(study.space), scramble=True, rng=np.random.default_rng(key_of(study.search.seed, "sobol")))
    shares = sequence.fast_forward(number).random(1)[0] if number else sequence.random(1)[0]
    return {path: axis.at(float(share)) for (path, axis), share in zip(study.space.items(), shares, strict=True)}


def _first_values(study: Study) -> dict[str, Any]:
    return {path: axis.extremes()[0] for path, axis in study.space.items()}
