"""The chain of a study in its log: each stage is laid out once, from all results of the search, and its trials follow in order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from orchestrator.search import history as events
from orchestrator.search.history import History
from orchestrator.search.optuna_study import OptunaView
from search_spaces.designs import Variants
from search_spaces.stages import stage_design
from search_spaces.study import Study
from trainables.errors import ConfigError


def chain_begun(study: Study, history: History) -> bool:
    """Whether every trial of every stage has begun."""
    return len(history.stages) == len(_wanted(study)) and chain_so_far_begun(history)


def next_of_chain(view: OptunaView, number: int, history: History) -> Iterator[dict[str, Any]]:
    """Entries that begin trial `number`, the lay-out of its stage first where that is new; none at the end of the chain.

    Each entry is to be taken into the history before the next is asked for.
    """
    wanted = _wanted(view.study)
    while chain_so_far_begun(history):
        if len(history.stages) == len(wanted):
            return
        yield _laid_out(view, wanted[len(history.stages)], number, history)
    yield events.staged(number)


def chain_so_far_begun(history: History) -> bool:
    """Whether every trial of the stages that are laid out has begun."""
    return len(history.staged) == sum(len(stage.trials) for stage in history.stages)


def _wanted(study: Study) -> tuple[str, ...]:
    return study.chain.stages if study.chain else ()


def _laid_out(view: OptunaView, name: str, number: int, history: History) -> dict[str, Any]:
    design: Variants | None = None
    reason = ""
    try:
        design = stage_design(view.study, name, view.seeds.ranking(history))
    except ConfigError as error:
        reason = str(error)
    return events.stage(name, number, design, reason)
