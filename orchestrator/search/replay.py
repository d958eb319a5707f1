"""Replaying a search from its log: the same proposals and the same stopping decisions, or where they differ."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.search.chain import next_of_chain
from orchestrator.search.early_stopping import rule_for
from orchestrator.search.history import History
from orchestrator.search.next_trial import decide, may_be_stopped
from orchestrator.search.optuna_study import OptunaView
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
        if event["event"] in ("proposed", "repeated", "dropped", "spared"):
            proposals += event["event"] == "proposed"
            again = next(decide(view, len(history.trials), history, enough=event["event"] != "proposed"), None)
            if _said(again) != _said(event):
                differences.append(f"trial {len(history.trials)}: was {_said(event)}, and would be {_said(again)} now")
        elif event["event"] == "stage":
            again = next(next_of_chain(view, event["trial"], history), None)
            if again != event:
                differences.append(f"stage {event['stage']}: was {event['design'] or event['reason']}, and would be another one now")
        history.take(event)
        if event["event"] == "reported":
            decisions += 1
            report = history.reports[event["trial"], event["images"]]
            if (may_be_stopped(history, event["trial"]) and rule.stops(report)) != event["stops"]:
                did = "stopped" if event["stops"] else "went on"
                differences.append(f"trial {event['trial']}: {did} at {event['images']} images, and would not now")
    return Replay(proposals, decisions, tuple(differences))


def _said(event: Mapping[str, Any] | None) -> str:
    """What an entry begins, or that a proposal is dropped."""
    match event and event["event"]:
        case "proposed":
            seed = f" on seed {event['seed']}" if event and "seed" in event else ""
            return f"proposed {event['values'] if event else ''}{seed}"
        case "repeated":
            return f"proposal {event['proposal']} on seed {event['seed']}" if event else ""
        case "spared":
            return f"waiting, with trial {event['planned']} of the design spared" if event else ""
        case "dropped":
            return f"waiting, with proposal {event['proposal']} dropped" if event else ""
    return "waiting"
