"""Everything that was found out, in MLflow: a run per study, a child per trial, a grandchild per EMA length.

The files in a trial's folder are the write-ahead log: training and sweeps write there first, and one writer (in a process of
its own, see tracker.py) brings MLflow up to date from them, whenever it can.  Writing twice changes nothing, so any crash is
mended by writing again.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenacity import before_sleep_log, retry, retry_if_exception, wait_exponential

from orchestrator.records.folders import SweepRecord, TrialFolder, TrialRecord
from search_spaces.study import Study
from trainables.errors import UserError
from trainables.files import atomic
from trainables.files.storage import local_copy
from trainables.training import metrics_log

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

PATIENCE = 600.0  # seconds
_PARAMS_PER_BATCH, _METRICS_PER_BATCH = 100, 1000  # MLflow's own limits
_POINT = ("sigma_rel", "images", "guidance_weight", "guide_sigma_rel")  # what tells a sweep's points apart
_STATUS = {"running": "RUNNING", "completed": "FINISHED", "stopped": "FINISHED", "failed": "FAILED"}


def _may_pass(error: BaseException) -> bool:
    """Whether trying again may help: not where MLflow says that the request is wrong, or where we are."""
    from mlflow.exceptions import MlflowException

    if isinstance(error, MlflowException):
        return error.error_code in ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED", "RESOURCE_CONFLICT")
    return not isinstance(error, (UserError, AssertionError, AttributeError, LookupError, TypeError))


_persistent = retry(
    retry=retry_if_exception(_may_pass), wait=wait_exponential(max=30),
    stop=lambda state: (state.seconds_since_start or 0.0) > state.args[0].patience(),
    before_sleep=before_sleep_log(log, logging.WARNING), reraise=True,
)


@dataclass
class _Sent:
    """How much of a trial MLflow has confirmed."""

    run_id: str = ""
    rows: int = 0
    swept: bool = False
    further: list[str] = field(default_factory=list)  # further sweeps, by file name
    ended: bool = False


@dataclass(frozen=True)
class _Run:
    """A run in MLflow, and where its files go."""

    id: str
    artifacts: str


@dataclass
class _Batch:
    """What one run is to be told."""

    metrics: list[tuple[str, float, int, int]] = field(default_factory=list)  # name, value, milliseconds since 1970, images
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def add(self, values: Mapping[str, float | None], images: int, when: float) -> None:
        self.metrics += [(key, float(value), int(when * 1000), int(images)) for key, value in values.items() if value is not None]


class MlflowWriter:
    """Writes a study's trials; each call goes on trying while the server is away, for as many seconds as `patience` says."""

    def __init__(self, study: Study, study_id: str, uri: str, artifacts: Path, bounds: Mapping[str, float] | None = None,
                 patience: Callable[[], float] = lambda: PATIENCE) -> None:
        """`bounds` (what a feasible trial may cost) are for a study that is not there yet."""
        self.patience = patience
        self._study, self._id, self._uri, self._artifacts, self._bounds = study, study_id, uri, artifacts, dict(bounds or {})

    @_persistent
    def connect(self) -> None:
        """Open the study's run, which is made first where there is none."""
        self._client = connect(self._uri)
        self._experiment = _experiment(self._client, self._uri, self._study.name, self._artifacts)
        tags = {
            "snrlab.kind": "study", "snrlab.metric": self._study.metric, "snrlab.space": json.dumps(list(self._study.space)),
            "snrlab.definition": self._study.model_dump_json(), "mlflow.note.content": self._study.description,
            "snrlab.bounds": json.dumps(self._bounds),
        }
        self._known = self._known_runs()
        self._parent = self._find_or_create(tags, self._study.name).id
        self._status_before = self._client.get_run(self._parent).info.status
        self._client.update_run(self._parent, status="RUNNING")

    @_persistent
    def sync(self, folder: TrialFolder) -> None:
        """Bring the trial's runs up to date with its folder."""
        sent = _Sent(**json.loads(folder.tracked.read_text())) if folder.tracked.exists() else _Sent()
        record, sweep = folder.record, folder.sweep
        before, rows, batch = asdict(sent), metrics_log.read(folder.root), _Batch()
        if not sent.run_id:
            sent.run_id = self._trial_run(record).id
            batch.params = flatten(self._study.recipe(record.values).model_dump(mode="json"))
        for row in rows[sent.rows :]:
            batch.add({k: v for k, v in row.items() if k not in ("images", "time", "feature_hash")}, row["images"], row["time"])
        sent.rows = len(rows)
        if sweep and not sent.swept:
            self._log_points(sent.run_id, folder, record, sweep)
            self._add_best(batch, folder, record, sweep)
            sent.swept = True
        for name, further in folder.further_sweeps.items():
            if name not in sent.further:
                self._log_points(sent.run_id, folder, record, further)
                sent.further.append(name)
        ended = not sent.ended and (record.training == "failed" or (record.training != "running" and sweep is not None))
        if ended:
            batch.tags |= {"snrlab.status": record.training, **({"snrlab.reason": record.reason[:5000]} if record.reason else {})}
        self._log(sent.run_id, batch)
        if ended:
            self._client.set_terminated(sent.run_id, _STATUS[record.training], int(record.ended * 1000))
            sent.ended = True
        if asdict(sent) != before:
            atomic.write_text(folder.tracked, json.dumps(asdict(sent)))

    @_persistent
    def finish(self, status: str = "", importances: dict[str, float] | None = None) -> None:
        """Close the study's run as FINISHED, FAILED or KILLED; empty is as it was."""
        for path, share in (importances or {}).items():
            self._client.log_metric(self._parent, f"importance/{path}", share)
        self._client.set_terminated(self._parent, status or self._status_before)

    def _trial_run(self, record: TrialRecord) -> _Run:
        tags = {
            "snrlab.kind": "trial", "snrlab.number": str(record.number), "mlflow.parentRunId": self._parent,
            "snrlab.variant": record.variant_key[:12], "snrlab.recipe_key": record.recipe_key,
            "snrlab.values": json.dumps(record.values), "snrlab.status": "running",
        }
        return self._find_or_create(tags, f"trial {record.number:04d}", int(record.started * 1000))

    def _log_points(self, run: str, folder: TrialFolder, record: TrialRecord, sweep: SweepRecord) -> None:
        """A grandchild per point; a point that is there already is written again, and stays one."""
        for point in sweep.points:
            where = {key: json.dumps(point[key]) for key in _POINT}
            tags = {
                "snrlab.kind": "ema", "snrlab.number": str(record.number), "snrlab.solver": sweep.solver,
                **{f"snrlab.{key}": value for key, value in where.items()},
                "mlflow.parentRunId": run, "snrlab.recipe_key": record.recipe_key,
            }
            child = self._find_or_create(tags, f"trial {record.number:04d} sigma_rel {point['sigma_rel']:.4g}")
            known = {key: point[key] for key in ("standard_error", "profile_error", "drift_error", "coefficient_norm", "storage_error")}
            batch = _Batch(params={**where, "solver": sweep.solver})
            batch.add({**point["metrics"], **known, **_repeats(point)}, point["images"], record.ended)
            self._log(child.id, batch)
            self._log_sheet(child, folder, point)
            self._client.set_terminated(child.id)

    def _add_best(self, batch: _Batch, folder: TrialFolder, record: TrialRecord, sweep: SweepRecord) -> None:
        """A trial's score is that at its own best EMA length."""
        best, optimum = sweep.best, sweep.optimum or {}
        if best:
            values = {**best["metrics"], **sweep.cost, "sigma_rel": best["sigma_rel"], "sweep_seconds": sweep.seconds,
                      "sweep_evaluations": sweep.evaluations, "standard_error": best["standard_error"],
                      "sigma_rel_optimum": optimum.get("sigma_rel"),
                      "sigma_rel_low": optimum.get("low"), "sigma_rel_high": optimum.get("high")}
            batch.add({**values, **_repeats(best)}, best["images"], record.ended)
            batch.tags |= {"snrlab.solver": sweep.solver, "snrlab.optima": json.dumps(sweep.optima)}
            self._log_sheet(self._trial_run(record), folder, best)
        if sweep.error:
            batch.tags["snrlab.reason"] = sweep.error[:5000]

    def _log_sheet(self, run: _Run, folder: TrialFolder, point: dict[str, Any]) -> None:
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        # The client's own log_artifact would ask the server for the run first, each time.
        with local_copy(folder.samples(point)) as sheet:
            get_artifact_repository(run.artifacts, tracking_uri=self._uri).log_artifact(str(sheet), "samples")

    def _log(self, run: str, batch: _Batch) -> None:
        """Send a batch in as few requests as MLflow's limits allow."""
        from mlflow.entities import Metric, Param, RunTag

        metrics = [Metric(*row) for row in batch.metrics]
        params, tags = [Param(*item) for item in batch.params.items()], [RunTag(*item) for item in batch.tags.items()]
        while metrics or params or tags:
            at_once = _METRICS_PER_BATCH - min(len(params), _PARAMS_PER_BATCH) - len(tags)
            self._client.log_batch(run, metrics=metrics[:at_once], params=params[:_PARAMS_PER_BATCH], tags=tags)
            metrics, params, tags = metrics[at_once:], params[_PARAMS_PER_BATCH:], []

    def _find_or_create(self, tags: dict[str, str], name: str, start: int | None = None) -> _Run:
        """The run of this study that its tags identify; made if there is none (a crash may have come before its id was kept)."""
        key = _identity(tags)
        if key not in self._known:
            tags = {**tags, "snrlab.study": self._study.name, "snrlab.study_id": self._id, **_commit()}
            run = self._client.create_run(self._experiment, start_time=start, tags=tags, run_name=name)
            self._known[key] = _Run(run.info.run_id, run.info.artifact_uri)
        return self._known[key]

    def _known_runs(self) -> dict[tuple[str, ...], _Run]:
        """Runs of this study that the server has already."""
        known: dict[tuple[str, ...], _Run] = {}
        token: str | None = None
        while True:
            query = f"tags.`snrlab.study_id` = '{self._id}'"
            page = self._client.search_runs([self._experiment], query, max_results=1000, page_token=token)
            known |= {_identity(run.data.tags): _Run(run.info.run_id, run.info.artifact_uri) for run in page}
            token = page.token
            if not token:
                return known


def _identity(tags: Mapping[str, str]) -> tuple[str, ...]:
    """What tells a run from all others of its study."""
    names = {"study": [], "trial": ["number"], "ema": ["number", "solver", *_POINT]}[tags["snrlab.kind"]]
    return (tags["snrlab.kind"], *(tags[f"snrlab.{name}"] for name in names))


def _repeats(point: dict[str, Any]) -> dict[str, float]:
    return {f"repeats_{key}": value for key, value in point.get("repeats", {}).items()}


def connect(uri: str) -> MlflowClient:
    """A client; nothing is sent anywhere but to this address."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # we wait and try again ourselves, and say so
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # a line per EMA length
    for name in ("alembic", "mlflow.store.db.utils", "mlflow.tracking"):
        logging.getLogger(name).setLevel(logging.WARNING)
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri)


def flatten(fields: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as dotted paths with text values, as MLflow wants parameters."""
    flat: dict[str, str] = {}
    for key, value in fields.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value if isinstance(value, str) else json.dumps(value)
    return flat


def _experiment(client: MlflowClient, uri: str, name: str, artifacts: Path) -> str:
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            on_server = uri.startswith(("http", "databricks"))  # which keeps files where it likes
            return str(client.create_experiment(name, artifact_location=None if on_server else (artifacts / name).as_uri()))
        except MlflowException:  # another driver was faster
            found = client.get_experiment_by_name(name)
            assert found is not None
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


@cache
def _commit() -> dict[str, str]:
    """The commit of the code that runs, where it runs from a checkout."""
    try:
        out = subprocess.run(["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"mlflow.source.git.commit": out.stdout.strip()}
