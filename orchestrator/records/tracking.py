"""Everything that was found out, in MLflow: a run per study and a child per trial (and, if wanted, a grandchild per EMA length).

The files in a trial's folder are the write-ahead log: training and sweeps write there first, and one writer (in a process of
its own, see tracker.py) brings MLflow up to date from them, whenever it can.  What a server has is noted on that server, as
the checksum of the trial's document: another server, or one that lost something, gets what it lacks.  Writing twice changes
nothing, so any crash is mended by writing again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from tenacity import RetryCallState, retry, retry_if_exception, wait_exponential

from orchestrator.records import provenance
from orchestrator.records.definition import Definition
from orchestrator.records.experiment import POINT, Batch, Experiment, TrackedRun
from orchestrator.records.folders import StudyFolder, SweepRecord, TrialFolder
from orchestrator.records.stages import stages
from orchestrator.records.trial_document import TrialContent, measured, read_trial
from reports import documents
from reports.mlflow_client import knock, may_pass, understood
from search_spaces.versions import version
from trainables.errors import UserError, in_one_line
from trainables.files import document
from trainables.files.storage import local_copy
from trainables.secrets import redact

log = logging.getLogger(__name__)

PATIENCE = 600.0  # seconds
_STATUS = {"running": "RUNNING", "completed": "FINISHED", "stopped": "KILLED", "failed": "FAILED", "infeasible": "FAILED"}
_LENGTHS = 100_000  # steps of a sigma_rel of 1, on the axis of scores by EMA length


def _say(state: RetryCallState) -> None:
    error, action = state.outcome and state.outcome.exception(), state.next_action
    if error and action:
        log.warning("MLflow: %s; trying again in %.0f s", redact(in_one_line(error)), action.sleep)


_persistent = retry(
    retry=retry_if_exception(may_pass), wait=wait_exponential(max=30), before_sleep=_say, reraise=True,
    stop=lambda state: (state.seconds_since_start or 0.0) > state.args[0].patience(),
)


@dataclass
class _Sent:
    """What the server has of a trial."""

    digest: str = ""  # of the document
    rows: int = 0  # of the metrics log
    numbers: dict[str, float] = field(default_factory=dict)  # which its run is to show


class MlflowWriter:
    """Writes a study's trials; each call goes on trying while the server is away, for as many seconds as `patience` says."""

    def __init__(self, folder: StudyFolder, definition: Definition, uri: str, artifacts: Path, bounds: Mapping[str, float] | None = None,
                 patience: Callable[[], float] = lambda: PATIENCE) -> None:
        """`bounds` (what a feasible trial may cost) are remembered in the study's folder; None: those that are remembered."""
        self.patience, self._folder, self._study, self._id = patience, folder, definition.study, definition.id
        self._uri, self._artifacts, self._bounds = uri, artifacts, bounds
        self._sent: dict[int, _Sent] = {}

    @_persistent
    def connect(self) -> None:
        """Open the study's run, which is made first where there is none."""
        self._experiment = Experiment(self._uri, self._study.name, self._id, self._artifacts)
        note = self._study.description
        tags = {"snrlab.kind": "study", "snrlab.metric": self._study.metric, "mlflow.note.content": note, **_commit_tags(provenance.code())}
        self._parent = self._experiment.find_or_create(tags, self._study.name)
        self._status_before = self._parent.status
        self._remember(bounds=self._bounds)
        self._write_study()
        numbers = [o.metric for o in self._study.objectives] + [c.metric for c in self._study.search.constraints]
        self._experiment.offer_view(self._study.metric, self._study.axes, [*numbers, "train_seconds"])
        self._experiment.log(self._parent, Batch(tags={"mlflow.note.content": note}))
        self._experiment.client.update_run(self._parent.id, status="RUNNING")

    @_persistent
    def sync(self, folder: TrialFolder) -> None:
        """Bring the trial's run up to date with its folder."""
        trial = read_trial(folder, self._study)
        text = documents.pack(trial.document(self._id))
        digest = hashlib.sha256(text.encode()).hexdigest()
        sent = self._sent.get(folder.number) or self._what_is_there(folder.number, trial, digest)
        if sent.digest != digest:
            self._write(folder, trial, sent, text, digest)
        self._sent[folder.number] = _Sent(digest, len(trial.rows), trial.key_numbers)

    @_persistent
    def finish(self, status: str = "", importances: Mapping[str, Sequence[float]] | None = None) -> None:
        """Close the study's run as FINISHED, FAILED or KILLED (empty: as it was), once the server holds what the folders say.

        `importances` are share, low and high of each searched parameter.
        """
        self._compare()
        self._remember(importances=importances)
        batch = Batch()
        known = self._remembered().get("importances", {})
        batch.add({f"importance/{path}": documents.with_interval(found)[0] for path, found in known.items()}, 0, 0.0)
        self._experiment.log(self._parent, batch)
        self._write_study()
        before = self._status_before if self._status_before != "RUNNING" else "FINISHED" if self._all_ended() else "KILLED"
        self._experiment.client.set_terminated(self._parent.id, status or before)

    def _what_is_there(self, number: int, trial: TrialContent, digest: str) -> _Sent:
        """What the server has of a trial, looked at once; a run that was damaged there, or is of other values, is thrown away."""
        run = self._experiment.runs.get(("trial", str(number)))
        if run is None:
            return _Sent()
        if run.tags.get("snrlab.recipe_key") != trial.record.recipe_key:
            self._experiment.delete(("trial", str(number)))
            return _Sent()
        if run.tags.get("snrlab.document") != digest or run.tags.get("mlflow.parentRunId") != self._parent.id:
            return _Sent()
        if _same(run, trial.key_numbers) and self._document_is_whole(run, digest):
            return _Sent(digest)
        self._experiment.delete(("trial", str(number)))
        return _Sent()

    def _document_is_whole(self, run: TrackedRun, digest: str) -> bool:
        return hashlib.sha256(self._experiment.read_text(run, documents.TRIAL).encode()).hexdigest() == digest

    def _compare(self) -> None:
        """Look at what the server has of each trial; write again what is missing or different. UserError where that does not help."""
        for attempt in range(2):
            self._experiment.look()
            runs = self._experiment.runs
            wrong = [n for n, sent in self._sent.items() if not _holds(runs.get(("trial", str(n))), sent)]
            if not wrong:
                return
            if attempt:
                raise UserError(f"MLflow does not keep what it is told of trials {', '.join(map(str, wrong))} of study {self._study.name}")
            for number in wrong:
                self._experiment.delete(("trial", str(number)))
                self._sent[number] = _Sent()
                self.sync(self._folder.trial(number))

    def _write(self, folder: TrialFolder, trial: TrialContent, sent: _Sent, text: str, digest: str) -> None:
        """Documents first, and what says that all is there last."""
        record, batch = trial.record, Batch()
        tags = self._trial_tags(trial)
        run = self._experiment.find_or_create(tags, self._trial_name(trial), int(record.started * 1000) or None)
        if not sent.digest:
            batch.params = self._params(trial)
            self._log_data(run, trial)
        for row in trial.rows[sent.rows :]:
            batch.add(measured(row), row["images"], row["time"])
        self._experiment.put_text(run, documents.TRIAL, text)
        if trial.trained_by and (changes := trial.trained_by[-1]["code"]["diff"]):
            self._experiment.put_text(run, documents.CHANGES, changes)
        if trial.sweeps:
            self._write_sweeps(run, folder, trial, batch)
        batch.tags |= {**tags, "snrlab.status": trial.status, "snrlab.document": digest, **_reason_tags(trial)}
        if trial.trained_by:
            batch.tags |= _commit_tags(trial.trained_by[-1]["code"])
        if trial.ended:
            self._experiment.client.set_terminated(run.id, _STATUS[trial.status], int(record.ended * 1000) or None)
        elif run.status != "RUNNING":
            self._experiment.client.update_run(run.id, status="RUNNING")  # it was tried again
        run.status = _STATUS[trial.status]
        self._experiment.log(run, batch)

    def _write_sweeps(self, run: TrackedRun, folder: TrialFolder, trial: TrialContent, batch: Batch) -> None:
        """A table of all lengths, the score at the trial's own best one, and the curve over the others."""
        best, ended = trial.sweep.best if trial.sweep else None, trial.record.ended
        self._experiment.put_text(run, documents.EMA_LENGTHS, documents.ema_table(vars(sweep) for sweep in trial.sweeps))
        batch.tags["mlflow.loggedArtifacts"] = json.dumps([{"path": documents.EMA_LENGTHS, "type": "table"}])
        for point in trial.best_slice:
            curve = {f"by_ema_length/{name}": value for name, value in point["metrics"].items()}
            batch.add(curve, round(point["sigma_rel"] * _LENGTHS), ended)
        if best:
            batch.add(trial.score, best["images"], ended)
            batch.tags["snrlab.feature_hash"] = best.get("feature_hash", "")
            self._log_picture(run, folder.samples(best), "samples")
            for name in trial.sweep.sheets if trial.sweep else ():
                self._log_picture(run, folder.sheet(name), documents.SHEETS)
        if self._study.tracking.ema_runs:
            for sweep in trial.sweeps:
                self._log_points(run, folder, trial, sweep)

    def _log_points(self, parent: TrackedRun, folder: TrialFolder, trial: TrialContent, sweep: SweepRecord) -> None:
        """A grandchild per point; a point that is there already stays one."""
        number, key = trial.record.number, trial.record.recipe_key
        for point in sweep.points:
            where = {name: json.dumps(point[name]) for name in POINT}
            tags = {
                "snrlab.kind": "ema", "snrlab.number": str(number), "snrlab.solver": sweep.solver, "mlflow.parentRunId": parent.id,
                "snrlab.recipe_key": key, **{f"snrlab.{name}": value for name, value in where.items()},
            }
            child = self._experiment.find_or_create(tags, f"{self._trial_name(trial)} sigma_rel={point['sigma_rel']:.4g}")
            if child.status == "FINISHED":
                continue
            errors = ("standard_error", "profile_error", "drift_error", "coefficient_norm", "storage_error")
            known = {name: point[name] for name in errors if name in point}
            repeats = {f"repeats_{name}": value for name, value in point.get("repeats", {}).items()}
            batch = Batch(params={**where, "solver": sweep.solver})
            batch.add({**point["metrics"], **known, **repeats}, point["images"], trial.record.ended)
            self._experiment.log(child, batch)
            self._log_picture(child, folder.samples(point), "samples")
            self._experiment.client.set_terminated(child.id)
            child.status = "FINISHED"

    def _log_picture(self, run: TrackedRun, picture: Path, folder: str) -> None:
        if picture.exists():
            with local_copy(picture) as sheet:
                self._experiment.put_file(run, sheet, folder)

    def _log_data(self, run: TrackedRun, trial: TrialContent) -> None:
        """The data as a data set of MLflow: its kind, the hash of its content, counts and settings."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        if trial.trained_by and trial.recipe:
            data, settings = trial.trained_by[-1]["data"], trial.recipe.data.model_dump_json()
            profile = json.dumps({key: data[key] for key in ("images", "shape", "classes")})
            entry = Dataset(data["kind"], data["hash"][:36], "snrlab", settings, profile=profile)
            self._experiment.client.log_inputs(run.id, [DatasetInput(entry, [InputTag("mlflow.data.context", "training")])])

    def _trial_tags(self, trial: TrialContent) -> dict[str, str]:
        record = trial.record
        reused = documents.reused_text(record.reused)
        return {
            "snrlab.kind": "trial", "snrlab.number": str(record.number), "mlflow.parentRunId": self._parent.id,
            "snrlab.variant": record.variant_key[:12], "snrlab.recipe_key": record.recipe_key, "snrlab.status": "running",
            **({"snrlab.reused": reused, "mlflow.note.content": reused} if reused else {}),
        }

    def _trial_name(self, trial: TrialContent) -> str:
        """A design's variant and the seed, or what was varied."""
        seed = trial.recipe.seed if trial.recipe else self._study.base_recipe.seed
        variant = self._variant(trial)
        return f"{variant} s{seed}" if variant else documents.variant_name(trial.record.values, seed)

    def _params(self, trial: TrialContent) -> dict[str, str]:
        """The whole recipe, and once more what was searched, under a name that MLflow's pages show together; a design's variant."""
        searched = documents.flatten({f"searched/{path}": value for path, value in trial.record.values.items()})
        variant = {"variant": name} if (name := self._variant(trial)) else {}
        return {**variant, **searched, **(documents.flatten(trial.recipe.model_dump(mode="json")) if trial.recipe else {})}

    def _variant(self, trial: TrialContent) -> str:
        return self._variants.get(_text(trial.record.values), "")

    @cached_property
    def _variants(self) -> dict[str, str]:
        """A design's variants by the values of their trials."""
        return {_text(planned.values): planned.variant for planned in self._study.design_trials}

    def _write_study(self) -> None:
        """The study's document, and its file as people write it."""
        remembered, definition = self._remembered(), self._study.model_dump(mode="json")
        text = documents.pack({
            "study_id": self._id, "version": version(), "definition": definition,
            "metric": self._study.metric, "description": self._study.description,
            "axes": self._study.axes, "bounds": remembered.get("bounds", {}), "importances": remembered.get("importances", {}),
            "trials": [trial.number for trial in self._folder.trials()], "stages": stages(self._folder) if self._study.chain else [],
        })
        self._experiment.put_text(self._parent, documents.STUDY, text)
        written = yaml.safe_dump({"version": version(), **definition}, sort_keys=False, allow_unicode=True)
        self._experiment.put_text(self._parent, f"{self._study.name}.yaml", written)

    def _all_ended(self) -> bool:
        return all(trial.record.training != "running" for trial in self._folder.trials())

    def _remembered(self) -> dict[str, Any]:
        """Bounds and importances, which the search knows and no trial's folder; so that any server can be told later."""
        path = self._folder.root / "tracking.json"
        return document.read(path, "delete it: the next run writes it again") if path.exists() else {}

    def _remember(self, **fields: Mapping[str, Any] | None) -> None:
        before = self._remembered()
        now = before | {name: dict(value) for name, value in fields.items() if value is not None}
        if now != before:
            document.write(self._folder.root / "tracking.json", now)


def track_study(folder: StudyFolder, definition: Definition, uri: str, artifacts: Path, patience: float = 30.0) -> None:
    """Write what a server lacks of a study that is not being run; UserError where that cannot be."""
    knock(uri)
    with understood(uri):
        writer = MlflowWriter(folder, definition, uri, artifacts, patience=lambda: patience)
        writer.connect()
        for trial in folder.trials():
            writer.sync(trial)
        writer.finish()


def _same(run: TrackedRun, numbers: Mapping[str, float]) -> bool:
    """Whether the run's numbers are those of the trial's record."""
    return all(math.isclose(run.metrics.get(key, math.inf), value, rel_tol=1e-12) for key, value in numbers.items())


def _holds(run: TrackedRun | None, sent: _Sent) -> bool:
    return run is not None and run.tags.get("snrlab.document") == sent.digest and _same(run, sent.numbers)


def _text(values: Mapping[str, Any]) -> str:
    return json.dumps(values, sort_keys=True)


def _reason_tags(trial: TrialContent) -> dict[str, str]:
    return {"snrlab.reason": trial.reason} if trial.reason else {}


def _commit_tags(code: Mapping[str, Any]) -> dict[str, str]:
    """The commit of the code, and a word where it alone does not give this code."""
    if not code["commit"]:
        return {"snrlab.code": "no commit"}
    return {"mlflow.source.git.commit": code["commit"], "snrlab.code": "commit with uncommitted changes" if code["dirty"] else "commit"}
