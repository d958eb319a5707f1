"""The next trial of a search, as entries of its log: of a design, a further seed of a proposal, or a new proposal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from orchestrator.search import history as events
from orchestrator.search.history import History
from orchestrator.search.looks import next_of_design
from orchestrator.search.optuna_study import OptunaView
from orchestrator.search.proposals import propose


def decide(view: OptunaView, number: int, history: History, enough: bool) -> Iterator[dict[str, Any]]:
    """Entries that begin trial `number`, hopeless proposals first; no trial where all wait for results, and `enough` is proposed.

    Each entry is to be taken into the history before the next is asked for.
    """
    if view.study.design:
        yield from next_of_design(view.study, number, history)
        return
    seeds = view.seeds
    while further := seeds.next_trial(history):
        proposal, seed = further
        if not seeds.is_hopeless(history, proposal):
            yield events.repeated(number, proposal, seed)
            return
        yield events.dropped(proposal)
    if not enough:
        yield events.proposed(propose(view, len(history.proposals), history), number, seeds.all[0])


def may_be_stopped(history: History, trial: int) -> bool:
    """Whether early stopping looks at a trial: at the first of its proposal alone, and at none of a chain."""
    return trial not in history.staged and history.trials_of[history.trials[trial].proposal][0] == trial
