"""The trials of a design in its order; after each planned look, variants that are decided are spared their further seeds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from orchestrator.search import history as events
from orchestrator.search.history import History, Proposal
from reports.statistics.blocked_model import SeedScore
from reports.statistics.race import race
from search_spaces.study import Study


def next_of_design(study: Study, number: int, history: History) -> Iterator[dict[str, Any]]:
    """Entries that begin trial `number`, trials that are spared before it first; none at the end of the design, and while a look waits.

    Each entry is to be taken into the history before the next is asked for.
    """
    while (planned := planned_so_far(history)) < len(study.design_trials):
        if any(earlier not in history.verdicts for earlier in range(looked_at(study, history))):
            return
        trial = study.design_trials[planned]
        if trial.variant in _undecided(study, history, planned):
            yield events.proposed(Proposal(number, dict(trial.values)))
            return
        yield events.spared(planned)


def planned_so_far(history: History) -> int:
    """Trials of the design that have begun or are spared, which are the first ones in its order."""
    return len(history.proposals) + len(history.spared)


def looked_at(study: Study, history: History) -> int:
    """How many trials were begun before the last look: their results decide what comes next."""
    end = _last_look(study, planned_so_far(history))
    return sum(planned < end for planned in _begun(history))


def _undecided(study: Study, history: History, planned: int) -> frozenset[str]:
    """Variants that still get seeds when this trial of the design is next: all before the first look, and where nothing can be compared."""
    design, end = study.design, _last_look(study, planned)
    assert design
    everyone = frozenset(design.changes())
    if not end:
        return everyone
    scores: list[SeedScore] = []
    ended: set[tuple[str, int]] = set()
    for number, place in enumerate(_begun(history)[: looked_at(study, history)]):
        trial, values = study.design_trials[place], history.verdicts[number].values
        ended.add((trial.variant, trial.seed))
        if values and values[0] > 0:
            scores.append(SeedScore(trial.variant, trial.seed, values[0]))
    try:
        return race(scores, ended, design.seed_list, design.looks, design.family, design.baseline_name, design.smallest_effect).undecided
    except ValueError:
        return everyone


def _begun(history: History) -> list[int]:
    """Places in the design of the trials that have begun, by their number."""
    return [planned for planned in range(planned_so_far(history)) if planned not in history.spared]


def _last_look(study: Study, planned: int) -> int:
    """Trials of the design before the last look that comes before this one; 0 before the first look."""
    design = study.design
    variants = len(design.changes()) if design else 0
    return max((look * variants for look in (design.looks if design else ()) if look * variants <= planned), default=0)
