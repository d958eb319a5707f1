"""The search in a storage that Optuna's own tools read, such as optuna-dashboard: written from the log, never read back.

A journal file in the study's folder, or a database that several machines share.  What is damaged or lost there is written again.
"""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING

import optuna
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.trial import FrozenTrial

from orchestrator.cluster.addresses import without_password
from orchestrator.search.history import History
from orchestrator.search.optuna_study import OptunaView
from trainables.errors import UserError, in_one_line
from trainables.files.storage import is_local

if TYPE_CHECKING:
    from orchestrator.records.definition import Definition
    from orchestrator.records.folders import StudyFolder

log = logging.getLogger(__name__)


class OptunaCopy:
    """Has one writer, because a study is run by one process at a time."""

    def __init__(self, folder: StudyFolder, definition: Definition, url: str = "") -> None:
        """`url` as SQLAlchemy writes it, empty for the journal; UserError where a database is out of reach."""
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._view, self._folder, self._url = OptunaView(definition.study), folder, url
        # Others may have a study of that name in a database.
        self._name = f"{definition.study.name}-{definition.id}" if url else definition.study.name
        self._storage = self._database() if url else self._journal()
        self._trials: list[FrozenTrial] | None = None  # what is there, once it has been looked at

    def load(self) -> optuna.Study:
        """The copy, as Optuna's tools see it; KeyError where nothing has been written yet."""
        assert self._storage
        return optuna.load_study(study_name=self._name, storage=self._storage)

    def update(self, history: History) -> None:
        """Add trials that are over, up to the first that is not; start anew where what is there differs or is damaged."""
        if self._storage is None:
            return
        trials = self._view.trials(history)
        for attempt in (1, 2):
            try:
                self._bring_up_to_date(trials)
                return
            except Exception as error:  # whatever a storage raises: the search itself does not depend on it
                self._trials = None
                if attempt == 1 and not self._url:
                    self._folder.journal.unlink(missing_ok=True)
                    self._storage = self._journal()
                    continue
                log.warning("Optuna's copy of the search could not be written (%s); the next run writes it", in_one_line(error))
                return

    def _bring_up_to_date(self, trials: list[FrozenTrial]) -> None:
        assert self._storage
        over = next((i for i, trial in enumerate(trials) if not trial.state.is_finished()), len(trials))
        made = optuna.create_study(study_name=self._name, storage=self._storage, directions=self._view.directions, load_if_exists=True)
        there = made.get_trials(deepcopy=False) if self._trials is None else self._trials
        if len(there) > over or any(_differ(a, b) for a, b in zip(there, trials, strict=False)):
            optuna.delete_study(study_name=self._name, storage=self._storage)
            made = optuna.create_study(study_name=self._name, storage=self._storage, directions=self._view.directions)
            there = []
        made.add_trials(trials[len(there) : over])
        self._trials = trials[:over]

    def _journal(self) -> BaseStorage | None:
        path = self._folder.journal
        if not is_local(path):
            return None  # nothing can be appended there
        path.parent.mkdir(parents=True, exist_ok=True)
        with warnings.catch_warnings(action="ignore"):
            # One process at a time holds the study: a lock that is there was left by a killed one.
            backend = JournalFileBackend(str(path), lock_obj=JournalFileSymlinkLock(str(path), grace_period=3))
        try:
            return JournalStorage(backend)
        except Exception:  # damaged: all of it is in the log
            path.unlink(missing_ok=True)
            return JournalStorage(backend)

    def _database(self) -> BaseStorage:
        try:
            with warnings.catch_warnings(action="ignore"):
                return optuna.storages.RDBStorage(self._url, engine_kwargs={"pool_pre_ping": True})  # connections may be lost in between
        except Exception as error:  # whatever the database's driver raises
            raise UserError(f"--search-storage {without_password(self._url)}: cannot be used ({type(error).__name__})") from None


def _differ(a: FrozenTrial, b: FrozenTrial) -> bool:
    return a.state != b.state or a.params != b.params or a.values != b.values
