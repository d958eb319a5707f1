"""Failed trials as trials that are still to be run: `snrlab retry`."""

from __future__ import annotations

from orchestrator.records import events
from orchestrator.records.folders import StudyFolder


def let_run_again(folder: StudyFolder, number: int | None = None) -> list[int]:
    """Let the next run go on with failed trials (all of them, or one) where their training ended; their numbers.

    A trial whose training is there and whose sweep failed is swept again by every run anyway.  UserError where a process is at the study.
    """
    trials = folder.trials() if number is None else [folder.known_trial(number)]
    with folder.held():
        again = [trial for trial in trials if trial.record.training == "failed"]
        for trial in again:
            record = trial.record
            record.training, record.reason, record.ended = "running", "", 0.0
            trial.write_record(record)
            events.note(trial.root, "retry")
    return [trial.number for trial in again]
