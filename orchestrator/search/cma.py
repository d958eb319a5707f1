"""CMA-ES whose state is the study's own history.

Optuna's sampler keeps its optimiser pickled in the storage, and we load no pickle: here the optimiser is made anew for
each proposal and told all finished generations again, which takes milliseconds and makes a resumed search exact.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from trainables.randomness import key_of

if TYPE_CHECKING:
    from cmaes import CMA

_GENERATION = "snrlab:cma-generation"


class ReplayedCma(optuna.samplers.BaseSampler):
    """Proposes trial `number`; a generation ends when `population` of its trials are complete."""

    def __init__(self, seed: int, number: int, population: int) -> None:
        self._seed, self._population = seed, population
        self._number_seed = key_of(seed, f"cma/{number}") % 2**31
        self._independent = optuna.samplers.RandomSampler(seed=key_of(seed, f"sampler/{number}") % 2**32)
        self._search_space = optuna.search_space.IntersectionSearchSpace()

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        common = self._search_space.calculate(study)
        return {name: d for name, d in common.items() if not d.single() and not isinstance(d, CategoricalDistribution)}

    def sample_relative(self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> dict[str, Any]:
        if not search_space:
            return {}
        # Values on [0, 1] on each parameter's own (logarithmic, stepped) scale.
        scale = optuna._transform._SearchSpaceTransform(search_space, transform_0_1=True)
        dimensions = len(scale.bounds)
        population = max(self._population, 2) if self._population else 4 + math.floor(3 * math.log(dimensions))
        sign = -1.0 if study.direction == StudyDirection.MAXIMIZE else 1.0
        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        usable = [t for t in complete if all(name in t.params for name in search_space)]
        optimiser = self._new(dimensions, population, self._seed)
        generation = 0
        while len(members := [t for t in usable if t.system_attrs.get(_GENERATION, 0) == generation]) >= population:
            places = [scale.transform({n: t.params[n] for n in search_space}) for t in members[:population]]
            optimiser.tell([(place, sign * (t.value or 0.0)) for place, t in zip(places, members, strict=False)])
            generation += 1
        study._storage.set_trial_system_attr(trial._trial_id, _GENERATION, generation)
        optimiser._rng = np.random.RandomState(self._number_seed)
        return scale.untransform(np.asarray(optimiser.ask()))

    def sample_independent(self, study: optuna.Study, trial: FrozenTrial, name: str, distribution: BaseDistribution) -> Any:
        return self._independent.sample_independent(study, trial, name, distribution)

    def _new(self, dimensions: int, population: int, seed: int) -> CMA:
        bounds = np.tile([0.0, 1.0], (dimensions, 1))
        from cmaes import CMA  # it loads SciPy's statistics, which no other sampler needs

        return CMA(mean=np.full(dimensions, 0.5), sigma=1 / 6, bounds=bounds, seed=seed, population_size=population)
