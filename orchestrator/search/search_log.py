"""The log of a search in its study's folder: the one truth about proposals and stopping decisions.

    begun      trials of earlier studies that the sampler learns from
    proposed   a proposal's values and its first trial
    repeated   a proposal's trial on a further seed
    spared     a trial of a design is not trained, because its variant is decided
    dropped    a proposal is hopeless, and gets no further seeds
    impossible its values make no recipe; the next trial is drawn at random, because samplers learn nothing from such a trial
    stage      a stage of the chain is laid out around what the search has found
    staged     a trial of that stage
    told       what a trial came to, as the sampler knows it from here on
    reported   an intermediate score, and whether the trial stops at it

A proposal is a function of (seed, trial, everything before it in the log), so that a killed search goes on where it was and any
search can be replayed.  Each entry is one write: there is no half of a proposal.
"""

from __future__ import annotations

from typing import Any

from orchestrator.records.folders import StudyFolder
from orchestrator.search.history import History
from trainables.errors import UserError
from trainables.files.line_log import LineLog


class SearchLog:
    """A study's log with the history that it adds up to."""

    def __init__(self, folder: StudyFolder, generation: int = 0) -> None:
        """UserError where the log is damaged, or lacks trials that have been run."""
        way_out = _way_out(folder)
        self._log = LineLog(folder.search_log, way_out, generation)
        self.events = self._log.read()
        self.history = History(self.events)
        known = set(self.history.numbers)
        unknown = [trial.number for trial in folder.trials() if trial.number not in known]
        if unknown:
            raise UserError(f"{folder.search_log}: knows nothing of trial {unknown[0]}, which has been run: entries are lost; {way_out}")

    def add(self, event: dict[str, Any]) -> None:
        """Write an event; it is on storage when this returns."""
        self._log.append(event)
        self.events.append(event)
        self.history.take(event)


def read_history(folder: StudyFolder) -> History:
    """What a search knows at this moment, whoever runs it; UserError where its log is damaged."""
    return History(LineLog(folder.search_log, _way_out(folder)).read())


def _way_out(folder: StudyFolder) -> str:
    return f"restore it, or move the folder {folder.root} away and run the study again: what was trained is reused"
