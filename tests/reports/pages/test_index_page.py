"""The page of all studies."""

from __future__ import annotations

from pathlib import Path

from reports.headline import headline
from reports.pages.index_page import StudyLine, line_of, write_index
from tests.reports.pages.studies import HOSTILE, a_design, a_search


def test_each_study_has_its_verdict_and_address(tmp_path: Path) -> None:
    lines = [line_of(results, f"{results.name}/report/index.html") for results in (a_search(), a_design(), a_search(trials=[]))]
    page = write_index([*lines, StudyLine("broken", HOSTILE, "cannot be read")], tmp_path / "index.html").read_text()
    assert '<a href="a-design/report/index.html">a-design</a>' in page and "laplace lowers fd_probe by" in page
    assert "best of 12: gamma=" in page and "12 of 17" in page and "no trial has been completed yet" in page
    assert "<td>broken" in page and "alert(1)</script>" not in page and len(page) < 60_000  # no charts, and so no Plotly


def test_trials_that_are_missing_are_the_headline() -> None:
    assert headline(a_search(missing=[3])).startswith("trials 3 are not in MLflow")
