"""Everything that was found out, in MLflow: a run per study, a child per trial, a grandchild per EMA length.

The files in a trial's folder are the write-ahead log: training and sweeps write there first, and one writer thread brings
MLflow up to date from them, whenever it can.  Writing twice changes nothing, so any crash is mended by writing again.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import subprocess
import threading
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenacity import before_sleep_log, retry, retry_if_exception_type, stop_after_delay, wait_exponential

from orchestrator.folders import SweepRecord, TrialFolder, TrialRecord
from search_spaces.study import Study
from trainables import atomic, metrics_log

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

_PARAMS_PER_BATCH, _METRICS_PER_BATCH = 100, 1000  # MLflow's own limits
_STATUS = {"running": "RUNNING", "completed": "FINISHED", "stopped": "FINISHED", "failed": "FAILED"}


@dataclass
class _Sent:
    """How much of a trial MLflow has confirmed."""

    run_id: str = ""
    rows: int = 0
    swept: bool = False
    further: list[str] = field(default_factory=list)  # further sweeps, by file name
    ended: bool = False


class Tracker:
    """Call `touch` after a trial's folder has changed; a thread of its own does the writing."""

    def __init__(self, study: Study, study_id: str, uri: str, artifacts: Path) -> None:
        self._study, self._id, self._uri, self._artifacts = study, study_id, uri, artifacts
        self._queue: queue.Queue[TrialFolder | None] = queue.Queue()
        self._queued: set[int] = set()  # trials that will be looked at anyway
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._write, name="tracking", daemon=True)
        self._failure: BaseException | None = None

    def start(self) -> None:
        self._thread.start()

    def touch(self, folder: TrialFolder) -> None:
        with self._lock:
            if folder.number in self._queued:
                return
            self._queued.add(folder.number)
        self._queue.put(folder)

    def finish(self, status: str = "", importances: dict[str, float] | None = None) -> None:
        """Wait until all is written, then close the study's run (FINISHED, FAILED or KILLED; empty is as it was)."""
        self._queue.put(None)
        self._thread.join()
        if self._failure:
            raise self._failure
        for path, share in (importances or {}).items():
            self._client.log_metric(self._parent, f"importance/{path}", share)
        self._client.set_terminated(self._parent, status or self._status_before)

    def _write(self) -> None:
        try:
            self._connect()
            while (folder := self._queue.get()) is not None:
                with self._lock:
                    self._queued.discard(folder.number)
                self._sync(folder)
        except BaseException as error:
            self._failure = error

    @retry(retry=retry_if_exception_type(Exception), wait=wait_exponential(max=30), stop=stop_after_delay(600),
           before_sleep=before_sleep_log(log, logging.WARNING), reraise=True)
    def _connect(self) -> None:
        self._client = connect(self._uri)
        self._experiment = _experiment(self._client, self._uri, self._study.name, self._artifacts)
        tags = {
            "snrlab.kind": "study", "snrlab.study": self._study.name, "snrlab.study_id": self._id,
            "snrlab.metric": self._study.metric, "snrlab.space": json.dumps(list(self._study.space)),
            "snrlab.definition": self._study.model_dump_json(), "mlflow.note.content": self._study.description, **_commit(),
        }
        self._known = self._known_runs()
        self._parent = self._find_or_create({"snrlab.kind": "study"}, self._study.name, tags)
        self._status_before = self._client.get_run(self._parent).info.status
        self._client.update_run(self._parent, status="RUNNING")

    @retry(retry=retry_if_exception_type(Exception), wait=wait_exponential(max=30), stop=stop_after_delay(600),
           before_sleep=before_sleep_log(log, logging.WARNING), reraise=True)
    def _sync(self, folder: TrialFolder) -> None:
        sent = _Sent(**json.loads(folder.tracked.read_text())) if folder.tracked.exists() else _Sent()
        record, sweep = folder.record, folder.sweep
        before = asdict(sent)
        rows, params = metrics_log.read(folder.root), {}
        if not sent.run_id:
            sent.run_id = self._create_trial(folder, record)
            params = flatten(self._study.recipe(record.values).model_dump(mode="json"))
        if sent.rows < len(rows) or params:
            self._log_rows(sent.run_id, rows[sent.rows :], params)
            sent.rows = len(rows)
        if sweep and not sent.swept:
            self._log_points(sent.run_id, folder, record, sweep)
            self._log_best(sent.run_id, folder, record, sweep)
            sent.swept = True
        for name, further in folder.further_sweeps.items():
            if name not in sent.further:
                self._log_points(sent.run_id, folder, record, further)
                sent.further.append(name)
        ended = record.training == "failed" or (record.training != "running" and sweep is not None)
        if ended and not sent.ended:
            self._client.set_tag(sent.run_id, "snrlab.status", record.training)
            if record.reason:
                self._client.set_tag(sent.run_id, "snrlab.reason", record.reason[:5000])
            self._client.set_terminated(sent.run_id, _STATUS[record.training], int(record.ended * 1000))
            sent.ended = True
        if asdict(sent) != before:
            atomic.write_text(folder.tracked, json.dumps(asdict(sent)))

    def _create_trial(self, folder: TrialFolder, record: TrialRecord) -> str:
        tags = {
            "mlflow.parentRunId": self._parent, "snrlab.kind": "trial", "snrlab.study": self._study.name,
            "snrlab.study_id": self._id, "snrlab.number": str(record.number), "snrlab.variant": record.variant_key[:12],
            "snrlab.recipe_key": record.recipe_key, "snrlab.values": json.dumps(record.values), "snrlab.status": "running", **_commit(),
        }
        wanted = {"snrlab.kind": "trial", "snrlab.number": str(record.number)}
        return self._find_or_create(wanted, f"trial {record.number:04d}", tags, int(record.started * 1000))

    def _log_points(self, run: str, folder: TrialFolder, record: TrialRecord, sweep: SweepRecord) -> None:
        """A grandchild per point; a point that is there already is written again, and stays one."""
        for point in sweep.points:
            where = {key: json.dumps(point[key]) for key in ("sigma_rel", "images", "guidance_weight", "guide_sigma_rel")}
            wanted = {"snrlab.kind": "ema", "snrlab.number": str(record.number), "snrlab.solver": sweep.solver,
                      **{f"snrlab.{key}": value for key, value in where.items()}}
            tags = {**wanted, "mlflow.parentRunId": run, "snrlab.study": self._study.name, "snrlab.study_id": self._id,
                    "snrlab.recipe_key": record.recipe_key, **_commit()}
            child = self._find_or_create(wanted, f"trial {record.number:04d} sigma_rel {point['sigma_rel']:.4g}", tags)
            known = {key: point[key] for key in ("standard_error", "profile_error", "drift_error", "coefficient_norm", "storage_error")}
            known |= {f"repeats_{key}": value for key, value in point.get("repeats", {}).items()}
            values = {**point["metrics"], **{key: value for key, value in known.items() if value is not None}}
            self._log_metrics(child, values, point["images"], record.ended, {**where, "solver": sweep.solver})
            self._client.log_artifact(child, str(folder.samples(point)), "samples")
            self._client.set_terminated(child)

    def _log_best(self, run: str, folder: TrialFolder, record: TrialRecord, sweep: SweepRecord) -> None:
        """A trial's score is that at its own best EMA length."""
        best, optimum = sweep.best, sweep.optimum or {}
        if best:
            values = {**best["metrics"], **sweep.cost, "sigma_rel": best["sigma_rel"], "sweep_seconds": sweep.seconds,
                      "sweep_evaluations": sweep.evaluations, "standard_error": best["standard_error"],
                      "sigma_rel_optimum": optimum.get("sigma_rel"),
                      "sigma_rel_low": optimum.get("low"), "sigma_rel_high": optimum.get("high")}
            values |= {f"repeats_{key}": value for key, value in best.get("repeats", {}).items()}
            self._log_metrics(run, {key: value for key, value in values.items() if value is not None}, best["images"], record.ended)
            self._client.log_artifact(run, str(folder.samples(best)), "samples")
            self._client.set_tag(run, "snrlab.solver", sweep.solver)
            self._client.set_tag(run, "snrlab.optima", json.dumps(sweep.optima))
        if sweep.error:
            self._client.set_tag(run, "snrlab.reason", sweep.error[:5000])

    def _log_rows(self, run: str, rows: list[dict[str, Any]], params: dict[str, str] | None = None) -> None:
        from mlflow.entities import Metric, Param

        metrics = [
            Metric(key, float(value), int(row["time"] * 1000), int(row["images"]))
            for row in rows for key, value in row.items() if key not in ("images", "time")
        ]
        items = [Param(key, value) for key, value in (params or {}).items()]
        while metrics or items:
            at_once = _METRICS_PER_BATCH - min(len(items), _PARAMS_PER_BATCH)
            self._client.log_batch(run, metrics=metrics[:at_once], params=items[:_PARAMS_PER_BATCH])
            metrics, items = metrics[at_once:], items[_PARAMS_PER_BATCH:]

    def _log_metrics(self, run: str, values: dict[str, float], images: int, when: float, params: dict[str, str] | None = None) -> None:
        self._log_rows(run, [{"images": images, "time": when, **values}], params)

    def _find_or_create(self, wanted: dict[str, str], name: str, tags: dict[str, str], start: int | None = None) -> str:
        """The run of this study with the wanted tags; made if there is none (a crash may have come before its id was kept)."""
        key = frozenset(wanted.items())
        for known, run_id in self._known.items():
            if key <= known:
                return run_id
        run = self._client.create_run(self._experiment, start_time=start, tags=tags, run_name=name)
        self._known[frozenset(tags.items())] = str(run.info.run_id)
        return str(run.info.run_id)

    def _known_runs(self) -> dict[frozenset[tuple[str, str]], str]:
        """Runs of this study that the server has already, by their tags."""
        known: dict[frozenset[tuple[str, str]], str] = {}
        token: str | None = None
        while True:
            query = f"tags.`snrlab.study_id` = '{self._id}'"
            page = self._client.search_runs([self._experiment], query, max_results=1000, page_token=token)
            known |= {frozenset(run.data.tags.items()): str(run.info.run_id) for run in page}
            token = page.token
            if not token:
                return known


def connect(uri: str) -> MlflowClient:
    """A client; nothing is sent anywhere but to this address."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # we wait and try again ourselves, and say so
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
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
            local = (artifacts / name).as_uri() if uri.startswith(("sqlite:", "file:")) else None  # a server keeps them where it likes
            return str(client.create_experiment(name, artifact_location=local))
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
