"""Replaying a search from its log: the same proposals and the same stopping decisions, or where they differ."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.search.early_stopping import rule_for
from orchestrator.search.history import History
from orchestrator.search.optuna_study import OptunaView
from orchestrator.search.proposals import propose
from orchestrator.search.searcher import end_of
from search_spaces.study import Study


@dataclass(frozen=True)
class Replay:
    """What was computed again, and what came out differently, a line each."""

    proposals: int
    decisions: int
    differences: tuple[str, ...]


def replay_search(study: Study, events: Iterable[Mapping[str, Any]]) -> Replay:
    """Propose every trial and decide on every intermediate score again, from what the log says was known at that moment."""
    history, rule, view = History(), rule_for(study, end_of(study)), OptunaView(study)
    proposals = decisions = 0
    differences = []
    for event in events:
        if event["event"] == "proposed":
            proposals += 1
            again = propose(view, event["trial"], history).values
            if again != event["values"]:
                differences.append(f"trial {event['trial']}: was proposed {event['values']}, and would be {again} now")
        history.take(event)
        if event["event"] == "reported":
            decisions += 1
            if rule.stops(history.reports[event["trial"], event["images"]]) != event["stops"]:
                did = "stopped" if event["stops"] else "went on"
                differences.append(f"trial {event['trial']}: {did} at {event['images']} images, and would not now")
    return Replay(proposals, decisions, tuple(differences))
