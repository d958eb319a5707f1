"""Where Optuna keeps the trials of a study: a journal file in its folder, or a database that several machines share."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import BaseJournalBackend, JournalFileBackend
from optuna.trial import TrialState

from orchestrator.cluster.addresses import without_password
from orchestrator.search.journal import ObjectJournal
from trainables.errors import UserError, in_one_line
from trainables.files.storage import is_local

if TYPE_CHECKING:
    from orchestrator.records.definition import Definition
    from orchestrator.records.folders import StudyFolder


@dataclass(frozen=True)
class SearchState:
    """An Optuna study: a storage, and the study's name in it."""

    storage: BaseStorage
    name: str

    def load(self) -> optuna.Study:
        return optuna.load_study(study_name=self.name, storage=self.storage)


def open_state(folder: StudyFolder, definition: Definition, url: str = "") -> SearchState:
    """The state of a study that has been defined; `url` as SQLAlchemy writes it, empty for the journal. UserError if out of reach."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if not url:
        return SearchState(JournalStorage(_journal(folder.journal)), definition.study.name)
    try:
        with warnings.catch_warnings(action="ignore"):
            storage = optuna.storages.RDBStorage(url, engine_kwargs={"pool_pre_ping": True})  # a connection may be lost in between
    except Exception as error:  # whatever the database's driver raises
        raise UserError(f"--search-storage {without_password(url)}: cannot be used ({in_one_line(error)})") from None
    return SearchState(storage, f"{definition.study.name}-{definition.id}")  # others may have a study of that name


def _journal(path: Path) -> BaseJournalBackend:
    if not is_local(path):
        return ObjectJournal(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    return JournalFileBackend(str(path))


def importances(state: SearchState) -> dict[str, float]:
    """How much each searched parameter mattered for being among the best trials (PED-ANOVA, Watanabe et al. 2023), in shares of 1.

    The best are the top tenth, or five trials where those are fewer.  Conditional parameters count within their condition.
    Empty where there are fewer than three completed trials, or nothing varies.
    """
    loaded = state.load()
    complete = len(loaded.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))
    if complete < 3:
        return {}
    with warnings.catch_warnings(action="ignore"):
        evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=min(0.5, max(0.1, 5 / complete)))
        try:
            return {path: float(share) for path, share in optuna.importance.get_param_importances(loaded, evaluator=evaluator).items()}
        except (ValueError, RuntimeError):
            return {}
