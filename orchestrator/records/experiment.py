"""A study's runs on one tracking server: found by their tags, made where they are missing, told in few requests."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from reports.mlflow_client import SHARED_VIEW, connect

if TYPE_CHECKING:
    from mlflow import MlflowClient

POINT = ("sigma_rel", "images", "guidance_weight", "guide_sigma_rel")  # what tells a sweep's points apart
_PARAMS_PER_BATCH, _METRICS_PER_BATCH, _TAGS_PER_BATCH = 100, 1000, 100  # MLflow's own limits
_MOST_COLUMNS = 30
_LONGEST_PARAM, _LONGEST_TAG = 500, 5000  # characters; of the most narrow servers


@dataclass
class TrackedRun:
    """A run in MLflow as it is there."""

    id: str
    artifacts: str
    status: str
    tags: dict[str, str]
    metrics: dict[str, float] = field(default_factory=dict)  # the last values


@dataclass
class Batch:
    """What one run is to be told."""

    metrics: list[tuple[str, float, int, int]] = field(default_factory=list)  # name, value, milliseconds since 1970, step
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def add(self, values: Mapping[str, float | None], step: int, when: float) -> None:
        self.metrics += [(key, float(value), int(when * 1000), int(step)) for key, value in values.items() if value is not None]


class Experiment:
    """The experiment of a study's name; only the runs of this very study are seen."""

    def __init__(self, uri: str, name: str, study_id: str, artifacts: Path) -> None:
        self.client = connect(uri, patient=True)
        self._uri, self._name, self._study_id = uri, name, study_id
        self.id = _find_or_create(self.client, uri, name, artifacts)
        self.look()

    def look(self) -> None:
        """Read anew which runs the server has; of two that are the same, the first one stays."""
        self.runs: dict[tuple[str, ...], TrackedRun] = {}
        token: str | None = None
        while True:
            query = f"tags.`snrlab.study_id` = '{self._study_id}'"
            page = self.client.search_runs([self.id], query, max_results=1000, page_token=token, order_by=["attributes.start_time ASC"])
            for run in page:
                key = identity(run.data.tags)
                if key:
                    found = TrackedRun(run.info.run_id, run.info.artifact_uri, run.info.status, dict(run.data.tags), dict(run.data.metrics))
                    if self.runs.setdefault(key, found) is not found:
                        self.client.delete_run(found.id)
            token = page.token
            if not token:
                return

    def offer_view(self, metric: str, axes: Sequence[str], further: Sequence[str]) -> None:
        """Keep, with the experiment, the view in which MLflow's pages compare trials: best first, what was searched beside the score."""
        columns = ["tags.`snrlab.status`", *(f"metrics.`{name}`" for name in dict.fromkeys((metric, "sigma_rel", *further))),
                   *(f"params.`searched/{path}`" for path in axes), "tags.`snrlab.reused`"]
        view = {"searchFilter": "tags.`snrlab.kind` = 'trial'", "orderByKey": f"metrics.`{metric}`", "orderByAsc": True,
                "selectedColumns": columns[:_MOST_COLUMNS]}
        self.client.set_experiment_tag(self.id, f"mlflow.sharedViewState.{SHARED_VIEW}", json.dumps(view))

    def find_or_create(self, tags: dict[str, str], name: str, start: int | None = None) -> TrackedRun:
        """The run that its tags identify; made if there is none."""
        key = identity(tags)
        if key not in self.runs:
            tags = {**_short(tags), "snrlab.study": self._name, "snrlab.study_id": self._study_id}
            run = self.client.create_run(self.id, start_time=start, tags=tags, run_name=name)
            self.runs[key] = TrackedRun(run.info.run_id, run.info.artifact_uri, run.info.status, tags)
        return self.runs[key]

    def delete(self, key: tuple[str, ...]) -> None:
        """Put a run into MLflow's bin; it will be made anew."""
        if run := self.runs.pop(key, None):
            self.client.delete_run(run.id)

    def log(self, run: TrackedRun, batch: Batch) -> None:
        """Send a batch in as few requests as MLflow's limits allow."""
        from mlflow.entities import Metric, Param, RunTag

        metrics = [Metric(*row) for row in batch.metrics]
        params = [Param(key, _cut(value, _LONGEST_PARAM)) for key, value in batch.params.items()]
        tags = [RunTag(*item) for item in _short(batch.tags).items()]
        while metrics or params or tags:
            at_once = _METRICS_PER_BATCH - min(len(params), _PARAMS_PER_BATCH) - min(len(tags), _TAGS_PER_BATCH)
            self.client.log_batch(run.id, metrics=metrics[:at_once], params=params[:_PARAMS_PER_BATCH], tags=tags[:_TAGS_PER_BATCH])
            metrics, params, tags = metrics[at_once:], params[_PARAMS_PER_BATCH:], tags[_TAGS_PER_BATCH:]
        run.tags |= batch.tags

    def put_text(self, run: TrackedRun, name: str, text: str) -> None:
        """Store an artifact; one of the same name is replaced."""
        with TemporaryDirectory() as folder:
            path = Path(folder) / name
            path.write_text(text, encoding="utf-8")
            self.put_file(run, path)

    def put_file(self, run: TrackedRun, path: Path, folder: str | None = None) -> None:
        self._files(run).log_artifact(str(path), folder)  # the client's own log_artifact asks the server for the run first, each time

    def read_text(self, run: TrackedRun, name: str) -> str:
        """An artifact; empty where it is missing or no text."""
        with TemporaryDirectory() as folder:
            try:
                return Path(self._files(run).download_artifacts(name, folder)).read_text(encoding="utf-8")
            except Exception:  # each kind of artifact storage has errors of its own
                return ""

    def _files(self, run: TrackedRun) -> Any:
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        return get_artifact_repository(run.artifacts, tracking_uri=self._uri)


def identity(tags: Mapping[str, str]) -> tuple[str, ...]:
    """What tells a run from all others of its study; empty where its tags are not ours or damaged."""
    names = {"study": [], "trial": ["number"], "ema": ["number", "solver", *POINT]}.get(tags.get("snrlab.kind", ""))
    if names is None or any(f"snrlab.{name}" not in tags for name in names):
        return ()
    return (tags["snrlab.kind"], *(tags[f"snrlab.{name}"] for name in names))


def _find_or_create(client: MlflowClient, uri: str, name: str, artifacts: Path) -> str:
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        on_server = uri.startswith(("http", "databricks"))  # which keeps files where it likes
        tags = {"mlflow.experimentKind": "custom_model_development"}  # MLflow's pages for training, not those for language models
        try:
            return str(client.create_experiment(name, None if on_server else (artifacts / name).as_uri(), tags))
        except MlflowException as error:
            found = client.get_experiment_by_name(name)  # another driver was faster
            if found is None:
                raise error
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def _short(tags: Mapping[str, str]) -> dict[str, str]:
    return {key: _cut(value, _LONGEST_TAG) for key, value in tags.items()}


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"
