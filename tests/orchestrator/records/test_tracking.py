"""What is written to MLflow: whole on any server, again after any loss, and never other numbers than the trials' folders hold."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST

from orchestrator.records.definition import Definition, recall
from orchestrator.records.folders import StudyFolder, TrialRecord
from orchestrator.records.tracking import track_study
from reports.load import load_study_results
from reports.mlflow_client import may_pass, when_free
from reports.results import StudyResults
from reports.tables import rows
from tests.orchestrator.records.written import write_trial, written_study
from tests.studies import SNRLAB
from trainables.errors import UserError
from trainables.files import document


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A database with MLflow's tables, which take seconds to make."""
    from reports.mlflow_client import connect

    file = tmp_path_factory.mktemp("empty") / "mlflow.db"
    connect(f"sqlite:///{file}")
    return file.read_bytes()


class Written:
    """A study in a folder and the server beside it."""

    def __init__(self, work: Path, empty: bytes, **changes) -> None:
        self.work, self.empty, self.moves = work, empty, 0
        self.database = work / "mlflow.db"
        self.database.write_bytes(empty)
        self.folder, self.definition = written_study(work, **changes)

    def track(self, uri: str = "") -> None:
        track_study(self.folder, recall(self.folder), uri or self.uri, self.work / "artifacts")

    def results(self, uri: str = "", **options) -> StudyResults:
        return load_study_results(uri or self.uri, self.folder.root.name, **options)

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.database}"

    def restart(self) -> None:
        """As a new process finds the database: MLflow keeps what it knows of one in memory, by its name."""
        self.moves += 1
        self.database = self.database.rename(self.work / f"mlflow-{self.moves}.db")

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(self.uri)

    def runs(self, kind: str) -> list:
        experiment = self.client.get_experiment_by_name(self.folder.root.name)
        return list(self.client.search_runs([experiment.experiment_id], f"tags.`snrlab.kind` = '{kind}'"))


@pytest.fixture
def written(tmp_path: Path, empty_database: bytes) -> Written:
    return Written(tmp_path, empty_database)


def test_a_server_gets_everything_and_twice_is_as_good_as_once(written: Written) -> None:
    written.track()
    first = rows(written.results())
    written.track()
    assert rows(written.results()) == first and [r["fd_probe"] for r in first] == [10.05, 5.05, pytest.approx(10 / 3 + 0.05)]
    assert [len(written.runs(kind)) for kind in ("study", "trial", "ema")] == [1, 3, 0]
    assert {r.info.status for r in written.runs("trial") + written.runs("study")} == {"FINISHED"}


def _forget_the_database(written: Written) -> None:
    written.database.write_bytes(written.empty)


def _empty_the_database(written: Written) -> None:
    written.database.write_bytes(b"")


def _restore_a_backup(written: Written) -> None:
    """From a time when there was one trial less."""
    written.database.write_bytes((written.work / "backup.db").read_bytes())


def _delete_a_run(written: Written) -> None:
    written.client.delete_run(written.runs("trial")[1].info.run_id)


def _delete_the_studys_run(written: Written) -> None:
    written.client.delete_run(written.runs("study")[0].info.run_id)


def _delete_the_experiment(written: Written) -> None:
    written.client.delete_experiment(written.client.get_experiment_by_name("small").experiment_id)


def _change_a_score(written: Written) -> None:
    with closing(sqlite3.connect(written.database)) as connection, connection:
        assert connection.execute("UPDATE latest_metrics SET value = value / 4 WHERE key = 'fd_probe' AND value > 10").rowcount == 1


def _change_a_tag(written: Written) -> None:
    with closing(sqlite3.connect(written.database)) as connection, connection:
        connection.execute("UPDATE tags SET value = '3' WHERE key = 'snrlab.number' AND value = '1'")


def _damage_a_document(written: Written) -> None:
    path = next((written.work / "artifacts").glob("small/*/artifacts/trial.json"))
    path.write_text(path.read_text().replace('"completed"', '"complexed"'))


def _delete_the_artifacts(written: Written) -> None:
    for path in (written.work / "artifacts").glob("small/*/artifacts/*.*"):
        path.unlink()


@pytest.mark.parametrize("lose", [
    _forget_the_database, _empty_the_database, _restore_a_backup, _delete_a_run, _delete_the_studys_run, _delete_the_experiment,
    _change_a_score, _change_a_tag, _damage_a_document, _delete_the_artifacts,
])
def test_what_a_server_lost_is_written_again_and_a_reader_never_takes_a_part_for_the_whole(
    written: Written, lose: Callable[[Written], None]
) -> None:
    written.track()
    (written.work / "backup.db").write_bytes(written.database.read_bytes())
    write_trial(written.folder.trial(3), written.definition)
    written.track()
    whole = rows(written.results())
    lose(written)
    written.restart()
    try:
        seen = written.results(recorded=[0, 1, 2, 3], study_id=written.definition.id)
        assert rows(seen) == whole or seen.missing
    except UserError as error:
        assert "snrlab track small" in str(error)
    written.track()
    again = written.results(recorded=[0, 1, 2, 3])
    assert rows(again) == whole and not again.missing
    assert len(written.runs("trial")) >= 4 and {r.data.tags["mlflow.parentRunId"] for r in written.runs("trial")} == {again.run_id}


def test_another_server_gets_everything(written: Written, tmp_path: Path) -> None:
    written.track()
    other = tmp_path / "other.db"
    other.write_bytes(written.empty)
    with pytest.raises(UserError, match=r"has not been written to MLflow.*snrlab track small"):
        written.results(f"sqlite:///{other}", study_id=written.definition.id)
    written.track(f"sqlite:///{other}")
    assert rows(written.results(f"sqlite:///{other}")) == rows(written.results())


def test_a_kill_between_a_trials_numbers_and_its_end_leaves_no_run_running(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(MlflowClient, "set_terminated", killed)
        written.track()
    written.restart()
    written.track()
    assert len(written.runs("trial")) == len(written.folder.trials())
    assert all(run.info.status != "RUNNING" for run in written.runs("trial"))


def test_importances_of_an_earlier_version_have_no_interval(written: Written) -> None:
    document.write(written.folder.root / "tracking.json", {"importances": {"optimiser.lr": 0.75}})
    written.track()
    assert written.results().importances == {"optimiser.lr": (0.75, 0.75, 0.75)}
    (study,) = written.runs("study")
    assert study.data.metrics["importance/optimiser.lr"] == 0.75


def test_trials_that_are_missing_are_named_and_nothing_is_called_best(written: Written) -> None:
    from reports.pages.study_page import render_page
    from reports.tables import summary_lines

    written.track()
    results = written.results(recorded=[0, 1, 2, 7])
    assert results.missing == [7] and "trials 7 are not in MLflow" in results.missing_text
    summary = "\n".join(summary_lines(results))
    assert "best variant" not in summary and "snrlab track small" in summary
    assert "Trials 7 are not in MLflow" in render_page(results)


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"not SQLite" * 1000], ids=["halved", "overwritten"])
def test_a_damaged_database_is_one_message_that_names_it_and_the_way_out(written: Written, damage: Callable[[bytes], bytes]) -> None:
    written.track()
    written.database.write_bytes(damage(written.database.read_bytes()))
    written.restart()
    for action in (written.track, written.results):
        with pytest.raises(UserError, match=r"mlflow-1.db: MLflow's database cannot be used \(.*\)\. Move it away.*snrlab track STUDY"):
            action()
    written.database.unlink()
    written.track()
    assert len(written.results().trials) == 3


def test_a_hundred_flipped_bits_never_change_a_number(written: Written) -> None:
    import random

    written.track()
    whole, content, draw = rows(written.results()), written.database.read_bytes(), random.Random(0)
    for _ in range(20):
        bad = bytearray(content)
        for _ in range(5):
            bad[draw.randrange(len(bad))] ^= 1 << draw.randrange(8)
        written.database.write_bytes(bytes(bad))
        written.restart()
        try:
            seen = written.results(recorded=[0, 1, 2])
            assert rows(seen) == whole or seen.missing
        except UserError as error:
            assert "\n" not in str(error)


def test_a_trial_that_is_tried_again_has_its_new_outcome(written: Written) -> None:
    trial = written.folder.trial(3)
    write_trial(trial, written.definition, training="failed", reason="out of memory\nTraceback ...")
    written.track()
    assert [r["status"] for r in rows(written.results())] == ["completed"] * 3 + ["failed"]
    write_trial(trial, written.definition)
    written.track()
    assert rows(written.results())[3]["status"] == "completed"
    assert len(written.runs("trial")) == 4 and {r.info.status for r in written.runs("trial")} == {"FINISHED"}


def test_how_a_trial_ended_shows_in_its_run(written: Written) -> None:
    for number, training in enumerate(("stopped", "failed", "infeasible", "running"), start=3):
        write_trial(written.folder.trial(number), written.definition, training=training, reason="" if training == "running" else "because")
    written.track()
    found = {r.data.tags["snrlab.status"]: r for r in written.runs("trial")}
    assert {status: run.info.status for status, run in found.items()} == {
        "completed": "FINISHED", "stopped": "KILLED", "failed": "FAILED", "infeasible": "FAILED", "running": "RUNNING"}
    assert found["infeasible"].data.tags["snrlab.reason"] == "because" and "snrlab.reason" not in found["completed"].data.tags
    assert written.runs("study")[0].info.status == "KILLED"
    assert [t.status for t in written.results().trials][3:] == ["stopped", "failed", "infeasible", "running"]


def test_long_documents_are_artifacts_and_tags_are_short(tmp_path: Path, empty_database: bytes) -> None:
    points = [{"weighting.gamma": 1.5 + n / 100, "optimiser.lr": 0.01} for n in range(150)]
    search = {"trials": 3, "points": points, "sampler": {"kind": "tpe", "startup_trials": 2}}
    written = Written(tmp_path, empty_database, trials=0, search=search, description="long " * 2000)
    write_trial(written.folder.trial(0), written.definition, points=200)
    written.track()
    results = written.results()
    assert len(results.trials[0].optima) == 200 and len(results.definition["search"]["points"]) == 150
    assert results.description == written.definition.study.description
    runs = written.runs("study") + written.runs("trial")
    assert max(len(value) for run in runs for value in run.data.tags.values()) <= 5000
    assert max(len(value) for run in runs for value in run.data.params.values()) <= 500


def test_runs_are_made_for_comparing_in_mlflows_own_pages(written: Written) -> None:
    written.track()
    run = next(r for r in written.runs("trial") if r.data.tags["snrlab.number"] == "0")
    assert run.info.run_name == "gamma=2.5 lr=0.0123 s0"
    assert run.data.params["searched/weighting.gamma"] == run.data.params["weighting.gamma"] == "2.5"
    lengths = written.client.get_metric_history(run.info.run_id, "by_ema_length/fd_probe")
    assert [(m.step, m.value) for m in lengths] == [(5000, 10.05), (12000, 10.12)]
    table = json.loads(Path(written.client.download_artifacts(run.info.run_id, "ema_lengths.json")).read_text())
    assert [row[table["columns"].index("fd_probe")] for row in table["data"]] == [10.05, 10.12]
    assert json.loads(run.data.tags["mlflow.loggedArtifacts"]) == [{"path": "ema_lengths.json", "type": "table"}]
    (data,) = run.inputs.dataset_inputs
    assert data.dataset.name == "digits" and json.loads(data.dataset.profile)["images"] == 1797


def test_runs_of_a_design_have_the_names_of_its_variants(tmp_path: Path, empty_database: bytes) -> None:
    design = {"variants": {"base": {}, "wider": {"network.channels": 16, "network.mult": [1, 1]}}, "seeds": 2}
    written = Written(tmp_path, empty_database, trials=0, space={}, search={}, design=design)
    for number, planned in enumerate(written.definition.study.design_trials):
        record = TrialRecord(number, planned.values, f"key{number}", f"variant{number}", started=1e9)
        record.training = "failed"
        written.folder.trial(number).write_record(record)
    written.track()
    assert sorted(run.info.run_name for run in written.runs("trial")) == ["base s0", "base s1", "wider s0", "wider s1"]
    assert sorted(run.data.params["variant"] for run in written.runs("trial")) == ["base", "base", "wider", "wider"]


def test_ema_lengths_are_runs_of_their_own_where_wanted(tmp_path: Path, empty_database: bytes) -> None:
    written = Written(tmp_path, empty_database, tracking={"ema_runs": True})
    written.track()
    written.track()
    assert [len(written.runs(kind)) for kind in ("trial", "ema")] == [3, 6]


def test_a_reused_trial_says_whose_training_it_has(written: Written) -> None:
    write_trial(written.folder.trial(3), written.definition, reused={"study": "first", "trial": 5, "images": 256})
    written.track()
    text = "trained in study first, trial 5, reused (up to 256 images)"
    assert text in [r.data.tags.get("mlflow.note.content") for r in written.runs("trial")]
    assert written.results().trials[3].origin == text


def test_a_changed_description_reaches_the_server(written: Written) -> None:
    from orchestrator.records.definition import define

    written.track()
    define(written.definition.study.model_copy(update={"description": "what it asks now"}), written.folder)
    written.track()
    assert written.results().description == "what it asks now"
    assert written.runs("study")[0].data.tags["mlflow.note.content"] == "what it asks now"


_OPEN = """
import sys
from pathlib import Path
from orchestrator.records.definition import recall
from orchestrator.records.folders import StudyFolder
from orchestrator.records.tracking import MlflowWriter
work = Path(sys.argv[1])
folder = StudyFolder(work / sys.argv[2])
writer = MlflowWriter(folder, recall(folder), f"sqlite:///{work}/mlflow.db", work / "artifacts")
writer.connect()
for trial in folder.trials():
    writer.sync(trial)
writer.finish()
"""


def test_five_writers_at_once_in_a_fresh_folder(tmp_path: Path) -> None:
    studies: list[tuple[StudyFolder, Definition]] = [written_study(tmp_path, 2, name=f"study-{n}") for n in range(5)]
    names = [folder.root.name for folder, _ in studies]
    command = [sys.executable, "-c", _OPEN, str(tmp_path)]
    writers = [subprocess.Popen([*command, name], stderr=subprocess.PIPE, text=True) for name in names]
    for writer in writers:
        _, errors = writer.communicate(timeout=240)
        assert writer.returncode == 0, errors
    for name in names:
        assert len(load_study_results(f"sqlite:///{tmp_path}/mlflow.db", name).trials) == 2


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_twenty_commands_at_once_in_a_fresh_folder(tmp_path: Path) -> None:
    """From the first table of the database to the attached report; twenty starts of Ray at once are too much for two cores."""
    names = [written_study(tmp_path / "runs", 2, name=f"study-{n}")[0].root.name for n in range(20)]
    commands = [[*SNRLAB, "track", name] for name in names]
    drivers = [subprocess.Popen(c, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for c in commands]
    for driver in drivers:
        output = driver.communicate(timeout=600)[0]
        assert driver.returncode == 0 and "2 trials are in MLflow" in output and "Traceback" not in output, output
    for name in names:
        assert [t.status for t in load_study_results(f"sqlite:///{tmp_path}/runs/mlflow.db", name).trials] == ["completed"] * 2


def test_the_command_line_tells_what_is_missing_and_track_writes_it(written: Written) -> None:
    from typer.testing import CliRunner

    from orchestrator.cli.app import app

    def snrlab(command: str, *options: str):
        return CliRunner().invoke(app, [command, "small", "--workdir", str(written.work), *options])

    gone = snrlab("results")
    assert "has not been written to MLflow" in str(gone.exception) and "snrlab track small" in str(gone.exception)
    assert snrlab("track").exit_code == 0
    write_trial(written.folder.trial(3), written.definition)
    partly = snrlab("results", "--format", "json")
    assert partly.exit_code == 0 and "trials 3 are not in MLflow" in partly.stderr and len(json.loads(partly.stdout)) == 3
    assert "4 trials are in MLflow" in snrlab("track").stdout
    whole = snrlab("results", "--format", "json")
    assert len(json.loads(whole.stdout)) == 4 and not whole.stderr
    (study,) = written.runs("study")
    assert study.data.metrics["best_fd_probe"] == pytest.approx(2.55)
    assert study.data.tags["snrlab.best_trial"] == "trial 3: gamma=5.5 lr=0.0123 s0"
    table = Path(written.client.download_artifacts(study.info.run_id, "results.json"))
    assert [row[0] for row in json.loads(table.read_text())["data"]] == [0, 1, 2, 3]
    assert "<html" in Path(written.client.download_artifacts(study.info.run_id, "report/index.html")).read_text()


def test_a_reader_waits_while_a_database_is_busy_and_not_where_it_is_damaged(tmp_path: Path) -> None:
    uri, answers = f"sqlite:///{tmp_path}/mlflow.db", iter([sqlite3.OperationalError("database is locked"), "an answer"])

    def ask() -> str:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert when_free(uri, ask) == "an answer"
    answers = iter([sqlite3.DatabaseError("database disk image is malformed"), "never"])
    with pytest.raises(UserError, match="Move it away"):
        when_free(uri, ask)


@pytest.mark.parametrize(("error", "passes"), [
    (OSError("connection reset"), True), (sqlite3.OperationalError("database is locked"), True), (RuntimeError("of storage"), True),
    (sqlite3.DatabaseError("database disk image is malformed"), False), (sqlite3.OperationalError("no such table: runs"), False),
    (ValueError("ours"), False), (KeyError("ours"), False), (UserError("theirs"), False),
    (MlflowException("(sqlite3.OperationalError) database is locked"), True),
    (MlflowException("(sqlite3.DatabaseError) file is not a database"), False),
    (MlflowException("API request failed"), True), (MlflowException("no such run", RESOURCE_DOES_NOT_EXIST), False),
])
def test_only_what_may_pass_is_tried_again(error: Exception, passes: bool) -> None:
    assert may_pass(error) is passes
