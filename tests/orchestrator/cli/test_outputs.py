"""Where something lies in the way of what a command writes, it says so in one message; the other studies are reported all the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestrator.cli.app import app
from orchestrator.records.tracking import track_study
from tests.orchestrator.records.written import written_study
from trainables.errors import UserError

FILE, FOLDER = "is a folder, and a file is needed", "is a file, and a folder is needed"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two studies that are tracked."""
    work = tmp_path_factory.mktemp("outputs") / "runs"
    for name in ("first", "second"):
        folder, definition = written_study(work, 1, name=name)
        track_study(folder, definition, f"sqlite:///{work / 'mlflow.db'}", work / "mlflow-artifacts")
    return work


def said(*arguments: str) -> str:
    shown = CliRunner().invoke(app, list(arguments))
    assert isinstance(shown.exception, UserError), shown.output
    return str(shown.exception)


@pytest.mark.parametrize("command", [["schema"], ["results", "first"], ["data", "import", "{kind: digits}"]], ids=lambda c: c[0])
@pytest.mark.parametrize(("output", "reason"), [
    ("folder", f"folder {FILE}"), ("file/x", f"file {FOLDER}"), ("file/x/y", f"file {FOLDER}"),
    ("x" * 300, "File name too long"),
])
def test_a_file(command: list[str], output: str, reason: str, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("file").write_text("mine")
    workdir = ["--workdir", str(runs)] if command[0] == "results" else []
    message = said(*command, "--output", output, *workdir)
    assert message == f"{output}: cannot be written ({reason}); name another file with --output"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder"], "nothing is left behind"


@pytest.mark.parametrize("output", ["file", "file/x", "file/x/y"])
def test_a_folder(output: str, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("mine")
    message = said("export", "first", "--csv", "--output", output, "--workdir", str(runs))
    assert message == f"{output}: cannot be written (file {FOLDER}); name another folder with --output"
    assert Path("file").read_text() == "mine"


def test_a_page_as_one_file(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("first-report.html").mkdir()
    message = said("report", "first", "--single", "--workdir", str(runs))
    assert message == f"first-report.html: cannot be written (first-report.html {FILE}); move it away"


def test_the_folder_of_a_report_and_the_others_are_written_all_the_same(runs: Path) -> None:
    report = runs / "first/report"
    report.write_text("mine")
    reason = f"{report}: cannot be written ({report} {FOLDER}); move it away"
    assert said("report", "first", "--workdir", str(runs)) == reason
    shown = CliRunner().invoke(app, ["report", "--all", "--workdir", str(runs)])
    assert shown.exit_code == 0 and f"warning: {reason}" in shown.stderr
    assert (runs / "second/report/index.html").exists() and "cannot be shown: " in (runs / "index.html").read_text()
    report.unlink()
    (report / "index.html").mkdir(parents=True)
    assert FILE in said("report", "first", "--workdir", str(runs))


def test_the_page_of_all_studies(runs: Path) -> None:
    (runs / "index.html").unlink(missing_ok=True)
    (runs / "index.html").mkdir()
    assert said("report", "--all", "--workdir", str(runs)).startswith(f"{runs / 'index.html'}: cannot be written")
    (runs / "index.html").rmdir()
