"""`snrlab report` and `snrlab export`: a folder, one file, all studies, and what a paper takes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from orchestrator.records.tracking import MlflowWriter
from tests.orchestrator.records.written import written_study
from tests.reports.pages.browser import chromium, watched_page
from tests.studies import SNRLAB, snrlab


def test_a_finished_study_is_reported_in_every_form(finished, tmp_path: Path) -> None:
    folder, _ = finished
    runs = folder / "runs"
    found = snrlab("report", "--all", "--workdir", str(runs), cwd=tmp_path)
    assert found.returncode == 0 and found.stdout.strip() == str(runs / "index.html"), found.stderr
    assert 'href="small/report/index.html"' in (runs / "index.html").read_text()
    single = snrlab("report", "small", "--single", "--workdir", str(runs), cwd=tmp_path)
    assert single.returncode == 0 and (tmp_path / "small-report.html").stat().st_size > 4_000_000
    exported = snrlab("export", "small", "--latex", "--csv", "--svg", "--workdir", str(runs), cwd=tmp_path)
    assert exported.returncode == 0 and (tmp_path / "small-export" / "table.tex").read_text().startswith(r"\begin{table}")
    assert (tmp_path / "small-export" / "ema.svg").exists() and (tmp_path / "small-export" / "trials.csv").exists()
    with chromium() as browser:
        report = runs / "small" / "report"
        for page in (runs / "index.html", report / "index.html", report / "trials" / "0001.html", tmp_path / "small-report.html"):
            with watched_page(browser) as watched:
                watched.open(page)
                assert watched.quiet, (page, watched.complaints, watched.fetched)


@pytest.mark.parametrize("arguments", [
    ["report"], ["report", "small", "--all"], ["report", "--all", "--single"], ["report", "small", "--single", "--watch"],
    ["export", "small"], ["export", "small", "--trial", "0", "--svg"],
])
def test_what_cannot_be_meant_is_refused(arguments: list[str], tmp_path: Path) -> None:
    found = snrlab(*arguments, cwd=tmp_path)
    assert found.returncode == 2 and ("name a study" in found.stderr or "--trial N" in found.stderr) and "Traceback" not in found.stderr


def test_watching_ends_when_nobody_runs_the_study_any_more(tmp_path: Path) -> None:
    folder, definition = written_study(tmp_path / "runs", 1)
    writer = MlflowWriter(folder, definition, f"sqlite:///{tmp_path / 'runs/mlflow.db'}", tmp_path / "runs/mlflow-artifacts")
    writer.connect()
    with folder.held():  # as its driver does
        watching = subprocess.Popen([*SNRLAB, "report", "small", "--watch"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                    text=True)
        page = Path(watching.stdout.readline().strip())
        assert "still running" in page.read_text() and watching.poll() is None
    writer.sync(folder.trial(0))  # its last word: it was killed before it could write an end
    try:
        _, said = watching.communicate(timeout=60)
    finally:
        watching.kill()
    assert watching.returncode == 0 and said.splitlines() == [
        "warning: study small: was stopped, and nobody runs it now; snrlab run goes on with it"]
    assert "still running" not in page.read_text() and (page.parent / "trials/0000.html").exists()
