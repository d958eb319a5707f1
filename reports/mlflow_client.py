"""A client of MLflow's tracking server or database, which says in one line, and soon, what is wrong with it."""

from __future__ import annotations

import logging
import os
import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import unquote, urlencode, urlsplit

from filelock import FileLock
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random

from trainables.errors import UserError, did_you_mean, in_one_line
from trainables.secrets import redact, remember

if TYPE_CHECKING:
    from mlflow import MlflowClient

Result = TypeVar("Result")

log = logging.getLogger(__name__)

_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",  # nothing is sent anywhere but to the address
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # who can wait tries again, and says so
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
# What SQLite says when it is only busy or away; everything else means that the file is damaged or from another version.
_PASSING = ("database is locked", "database table is locked", "disk I/O error", "unable to open database file", "database or disk is full")
_SECONDS_TO_ANSWER, _SECONDS_BUSY = 5.0, 60.0
SHARED_VIEW = "snrlab"  # name of the view that each study offers for comparing its trials


class DamagedDatabase(UserError):
    """A database of MLflow that cannot be used any more."""

    def __init__(self, file: Path, reason: str) -> None:
        super().__init__(
            f"{file}: MLflow's database cannot be used ({reason}). Move it away: the next `snrlab run`, or `snrlab track STUDY`, "
            "writes everything again from the trials' folders"
        )


def connect(uri: str, patient: bool = False) -> MlflowClient:
    """A client whose database, if it has one here, is made, migrated and whole; UserError where it is damaged or none.

    One process at a time makes and migrates a database: MLflow itself does not expect two.  A `patient` caller tries errors
    that may pass again itself.
    """
    remember(uri)
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    for name in ("alembic", "mlflow.store.db.utils", "mlflow.tracking"):
        logging.getLogger(name).setLevel(logging.WARNING)
    from mlflow import MlflowClient

    file = sqlite_file(uri)
    if file is None:
        return MlflowClient(tracking_uri=uri)
    with _first_start(file), understood(uri, patient):
        _check(file)
        client = MlflowClient(tracking_uri=uri)
        client.search_experiments(max_results=1)
        return client


def comparison(uri: str, study: str | None = None) -> str:
    """The page, of MLflow's own, that compares the trials of a study (default: of the one written to last); UserError without one."""
    from mlflow.entities import ViewType

    with understood(uri):
        client = connect(uri)
        found = [e for e in client.search_experiments(ViewType.ACTIVE_ONLY, order_by=["last_update_time DESC"]) if e.name != "Default"]
        chosen = [e for e in found if study in (None, e.name)]
        if not chosen:
            names = [e.name for e in found]
            hint = did_you_mean(study or "", names)
            raise UserError(f"study '{study}' has no tracked results. Studies: {', '.join(names) or 'none'}.{hint}")
    return comparison_of(chosen[0].experiment_id)


def comparison_of(experiment: str) -> str:
    """The page of an experiment by its id, as what follows a server's address."""
    return f"/#/experiments/{experiment}/runs?{urlencode({'workflowType': 'machine_learning', 'viewStateShareKey': SHARED_VIEW})}"


def sqlite_file(uri: str) -> Path | None:
    """The file of an SQLite address."""
    scheme, _, path = uri.partition(":///")
    return Path(unquote(path.partition("?")[0])) if scheme.partition("+")[0] == "sqlite" and path else None


def knock(uri: str) -> None:
    """UserError where nothing listens at a server's address; MLflow itself would try for long."""
    parts = urlsplit(uri)
    if parts.scheme in ("http", "https"):
        try:
            port = parts.port or (443 if parts.scheme == "https" else 80)
            socket.create_connection((parts.hostname or "", port), timeout=_SECONDS_TO_ANSWER).close()
        except (OSError, ValueError) as error:
            raise UserError(f"MLflow does not answer at {redact(uri)} ({error}): check the address, or start its server") from None


def may_pass(error: BaseException) -> bool:
    """Whether trying again may help: not where MLflow says that the request is wrong, where a database is damaged, or where we are."""
    from mlflow.exceptions import MlflowException

    text = str(error)
    if "(sqlite3." in text or isinstance(error, sqlite3.Error):
        return any(words in text for words in _PASSING)
    if isinstance(error, MlflowException):
        return error.error_code in ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED", "RESOURCE_CONFLICT")
    if isinstance(error, OSError):  # also an answer that is no JSON, of a proxy whose server is away
        return True
    return not isinstance(error, (UserError, AssertionError, AttributeError, LookupError, TypeError, ValueError))


@contextmanager
def understood(uri: str, patient: bool = False) -> Iterator[None]:
    """What goes wrong inside becomes a UserError in one line, without anything secret; what may pass does not, for a `patient` caller."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if patient and may_pass(error):
            raise
        log.debug("what MLflow said", exc_info=True)
        file = sqlite_file(uri)
        if file is not None and not may_pass(error) and _of_database(error):
            raise DamagedDatabase(file, _first_words(error)) from error
        raise UserError(f"MLflow at {redact(uri)}: {redact(in_one_line(error))}") from None


def when_free(uri: str, action: Callable[[], Result]) -> Result:
    """What the action returns; tried again for a minute where the database is only busy with others. UserError where it cannot be done."""
    with understood(uri):
        busy = retry_if_exception(lambda error: sqlite_file(uri) is not None and may_pass(error))
        return Retrying(retry=busy, wait=wait_random(0.1, 1.0), stop=stop_after_delay(_SECONDS_BUSY), reraise=True)(action)


def _of_database(error: BaseException) -> bool:
    from sqlalchemy.exc import SQLAlchemyError

    kinds = (SQLAlchemyError, sqlite3.Error, UnicodeDecodeError)
    return isinstance(error, kinds) or any(words in str(error) for words in ("(sqlite3.", "database schema", "locate revision"))


def _first_words(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]


@contextmanager
def _first_start(file: Path) -> Iterator[None]:
    """The database's lock; none where we may only read, because nothing is made there."""
    writable = os.access(file.parent, os.W_OK)
    with FileLock(f"{file}.lock") if writable else nullcontext():
        yield


def _check(file: Path) -> None:
    """DamagedDatabase where SQLite finds its pages, or its indices, in disorder."""
    if not file.exists() or not file.stat().st_size:
        return
    try:
        with closing(sqlite3.connect(file, timeout=60)) as connection:
            found = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    except sqlite3.DatabaseError as error:
        if may_pass(error):
            raise
        raise DamagedDatabase(file, str(error)) from None
    if found != "ok":
        raise DamagedDatabase(file, " ".join(found.split())[:200])
