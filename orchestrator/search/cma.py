"""CMA-ES (Hansen 2016) whose state is the search's own history.

The optimiser is made anew for each proposal and told all finished generations again, which takes milliseconds: nothing is
pickled, and a resumed search is exact.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from optuna.trial import TrialState

from orchestrator.search.history import History, Proposal
from orchestrator.search.seeds import Seeds
from orchestrator.search.verdicts import Verdict
from search_spaces.distributions import Categorical
from search_spaces.study import Study
from trainables.randomness import key_of, uniform

_GENERATION = "cma generation"


def draw_cma(study: Study, number: int, population: int, history: History) -> tuple[dict[str, Any], dict[str, Any]]:
    """(values of all axes, attributes of the proposal): unconditional numbers by CMA-ES, the others at random.

    A generation ends when `population` of its trials are complete; 0 is the usual 4 + 3 ln(dimensions).
    """
    seed = study.search.seed
    drawn: dict[str, Any] = {path: axis.at(uniform(seed, f"cma/{path}", number, 1)[0]) for path, axis in study.space.items()}
    axes = {path: axis for path, axis in study.space.items() if not axis.when and not isinstance(axis, Categorical)}
    if not axes:
        return drawn, {}
    from cmaes import CMA  # it loads SciPy's statistics, which no other sampler needs

    population = max(population, 2) if population else 4 + math.floor(3 * math.log(len(axes)))
    bounds = np.tile([0.0, 1.0], (len(axes), 1))  # each axis on its own scale, logarithmic or stepped
    optimiser = CMA(mean=np.full(len(axes), 0.5), sigma=1 / 6, bounds=bounds, population_size=population)
    sign = -1.0 if study.objectives[0].direction == "maximise" else 1.0
    generation, verdicts = 0, Seeds(study).verdicts(history)
    while len(members := _complete(history, verdicts, generation)) >= population:
        told = []
        for member in members[:population]:
            (score,) = verdicts[member.number].values or (math.inf,)
            told.append((np.array([axis.share_of(member.values[path]) for path, axis in axes.items()]), sign * score))
        optimiser.tell(told)
        generation += 1
    optimiser.reseed_rng(key_of(seed, f"cma/{number}") % 2**31)
    drawn |= {path: axis.at(float(np.clip(share, 0.0, 1.0))) for (path, axis), share in zip(axes.items(), optimiser.ask(), strict=True)}
    return drawn, {_GENERATION: generation}


def _complete(history: History, verdicts: Mapping[int, Verdict], generation: int) -> list[Proposal]:
    """Complete proposals of a generation, by number."""
    return [
        proposal for number, proposal in sorted(history.proposals.items())
        if proposal.attributes.get(_GENERATION) == generation and number in verdicts and verdicts[number].state == TrialState.COMPLETE
    ]
