"""What a search knows, as a fold of its log: proposals, what they came to, intermediate scores and the decisions on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from optuna.trial import TrialState

from orchestrator.search.early_stopping import Report
from orchestrator.search.verdicts import Verdict
from search_spaces.designs import DesignTrial, Variants


@dataclass(frozen=True)
class Proposal:
    """Values of the searched parameters."""

    number: int  # of its only trial, where a search has one seed
    values: dict[str, Any]
    attributes: dict[str, Any] = field(default_factory=dict)  # what the sampler keeps of it, such as its generation


@dataclass(frozen=True)
class Begun:
    """A trial: a proposal on one of its seeds."""

    proposal: int
    seed: int | None  # None: that of the recipe itself


@dataclass(frozen=True)
class Stage:
    """A stage of a study's chain, as it was laid out when the search had ended."""

    name: str
    first: int  # trial
    design: Variants | None
    reason: str = ""  # why there is none

    @property
    def trials(self) -> list[DesignTrial]:
        return self.design.trials() if self.design else []


@dataclass(frozen=True)
class Learnt:
    """A completed trial of an earlier study, from which the sampler learns."""

    study: str
    values: dict[str, Any]
    objectives: tuple[float, ...]
    excess: tuple[float, ...] = ()  # over this study's constraints


class History:
    """Grows by events, which are plain JSON; any beginning of a log is a history."""

    def __init__(self, events: Iterable[Mapping[str, Any]] = ()) -> None:
        self.learnt: tuple[Learnt, ...] = ()
        self.proposals: dict[int, Proposal] = {}
        self.trials: dict[int, Begun] = {}
        self.trials_of: dict[int, list[int]] = {}  # by proposal, in the order of its seeds
        self.stages: list[Stage] = []
        self.staged: dict[int, DesignTrial] = {}  # trials of stages
        self.spared: set[int] = set()  # trials of a design, by their place in it, of variants that are decided
        self.dropped: set[int] = set()  # proposals whose further seeds are not trained
        self.verdicts: dict[int, Verdict] = {}  # of trials, as the search has been told them
        self.reports: dict[tuple[int, int], Report] = {}  # by (trial, images), in the order in which they came
        self.stops: dict[tuple[int, int], bool] = {}
        self.reached: dict[int, int] = {}  # images at each trial's last report
        self.decided: dict[int, int] = {}  # images up to which each trial has been let go on
        self.impossible: set[int] = set()  # trials whose values make no recipe
        self.begun = False
        for event in events:
            self.take(event)

    def take(self, event: Mapping[str, Any]) -> None:
        """Take in one event."""
        match event["event"]:
            case "begun":
                self.begun = True
                self.learnt = tuple(Learnt(t["study"], t["values"], tuple(t["objectives"]), tuple(t["excess"])) for t in event["learnt"])
            case "proposed":
                number = event.get("proposal", event["trial"])
                self.proposals[number] = Proposal(number, event["values"], event["attributes"])
                self._begin(event["trial"], Begun(number, event.get("seed")))
            case "repeated":
                self._begin(event["trial"], Begun(event["proposal"], event["seed"]))
            case "stage":
                design = Variants.model_validate(event["design"]) if event["design"] else None
                self.stages.append(Stage(event["stage"], event["trial"], design, event["reason"]))
            case "staged":
                stage = next(s for s in reversed(self.stages) if s.first <= event["trial"])
                self.staged[event["trial"]] = stage.trials[event["trial"] - stage.first]
            case "spared":
                self.spared.add(event["planned"])
            case "dropped":
                self.dropped.add(event["proposal"])
            case "told":
                self.verdicts[event["trial"]] = Verdict(
                    TrialState[event["state"]], None if event["values"] is None else tuple(event["values"]), tuple(event["excess"]),
                    tuple((images, score) for images, score in event["curve"]),
                )
            case "reported":
                report = Report(event["trial"], event["images"], event["score"])
                self.reports[report.trial, report.images] = report
                self.stops[report.trial, report.images] = event["stops"]
                self.reached[report.trial] = report.images
                if not event["stops"]:
                    self.decided[report.trial] = report.images
            case "impossible":
                self.impossible.add(event["trial"])

    def values_of(self, trial: int) -> dict[str, Any]:
        """A trial's values: its proposal's, with its seed."""
        if trial in self.staged:
            return dict(self.staged[trial].values)
        begun = self.trials[trial]
        values = dict(self.proposals[begun.proposal].values)
        return values if begun.seed is None else {**values, "seed": begun.seed}

    @property
    def impossible_proposals(self) -> set[int]:
        """Proposals whose values make no recipe."""
        return {self.trials[trial].proposal for trial in self.impossible & self.trials.keys()}

    @property
    def numbers(self) -> list[int]:
        """Of all trials that have begun, in order: of the search, then of its chain."""
        return [*self.trials, *self.staged]

    def _begin(self, trial: int, begun: Begun) -> None:
        self.trials[trial] = begun
        self.trials_of.setdefault(begun.proposal, []).append(trial)


def begun(learnt: Iterable[Learnt]) -> dict[str, Any]:
    """The event that opens a log."""
    return {"event": "begun", "learnt": [
        {"study": t.study, "values": t.values, "objectives": list(t.objectives), "excess": list(t.excess)} for t in learnt
    ]}


def proposed(proposal: Proposal, trial: int | None = None, seed: int | None = None) -> dict[str, Any]:
    """The event of a new proposal and of its first trial; the trial and the seed are named where a proposal has several."""
    placed = {} if seed is None else {"proposal": proposal.number, "seed": seed}
    number = proposal.number if trial is None else trial
    return {"event": "proposed", "trial": number, **placed, "values": proposal.values, "attributes": proposal.attributes}


def repeated(trial: int, proposal: int, seed: int) -> dict[str, Any]:
    """The event of a proposal's trial on a further seed."""
    return {"event": "repeated", "trial": trial, "proposal": proposal, "seed": seed}


def staged(trial: int) -> dict[str, Any]:
    """The event that a trial of the stage that was laid out last has begun."""
    return {"event": "staged", "trial": trial}


def stage(name: str, trial: int, design: Variants | None, reason: str = "") -> dict[str, Any]:
    """The event that a stage of the chain is laid out, and begins with this trial."""
    return {"event": "stage", "stage": name, "trial": trial, "design": design.model_dump(mode="json") if design else None, "reason": reason}


def dropped(proposal: int) -> dict[str, Any]:
    """The event that no further seed of a proposal is trained, because it is hopeless."""
    return {"event": "dropped", "proposal": proposal}


def spared(planned: int) -> dict[str, Any]:
    """The event that a trial of a design, by its place in it, is not trained, because its variant is decided."""
    return {"event": "spared", "planned": planned}


def impossible(trial: int) -> dict[str, Any]:
    """The event that a trial's values make no recipe."""
    return {"event": "impossible", "trial": trial}


def told(trial: int, verdict: Verdict) -> dict[str, Any]:
    """The event that the sampler has been told what a trial came to."""
    return {
        "event": "told", "trial": trial, "state": verdict.state.name, "values": None if verdict.values is None else list(verdict.values),
        "excess": list(verdict.excess), "curve": [list(point) for point in verdict.curve],
    }


def reported(report: Report, stops: bool) -> dict[str, Any]:
    """The event of an intermediate score and the decision on it."""
    return {"event": "reported", "trial": report.trial, "images": report.images, "score": report.score, "stops": stops}
