"""The report's folder: pages that name only files that are there, data of every figure, and nothing written twice."""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from reports.pages.folder import write_report
from reports.pages.site import Site
from reports.pages.study_page import StudyPage, _not_reproducible
from reports.results import StudyResults
from tests.reports.pages.studies import HOSTILE, a_design, a_search

STUDIES = {"search": a_search, "design": a_design}


@pytest.fixture(params=STUDIES, scope="module")
def written(request, tmp_path_factory) -> tuple[StudyResults, Path]:
    results = STUDIES[request.param]()
    return results, write_report(results, tmp_path_factory.mktemp(request.param) / "report").parent


def test_every_local_address_is_a_file(written) -> None:
    _, folder = written
    for page in folder.rglob("*.html"):
        text = page.read_text()
        for address in re.findall(r'(?:href|src)="([^"#]+)"', text):
            assert address.startswith(("http://127.0.0.1:5000/", "data:")) or (page.parent / address).is_file(), (page, address)


def test_every_figure_has_its_data_and_an_svg(written) -> None:
    _, folder = written
    keys = re.findall(r'<figure id="chart-([^"]+)"', (folder / "index.html").read_text())
    assert len(keys) == len(set(keys)) > 8
    for key in keys:
        rows = list(csv.DictReader((folder / "data" / f"{key}.csv").open()))
        table = pq.read_table(folder / "data" / f"{key}.parquet")
        assert rows and len(rows) == table.num_rows and list(rows[0]) == table.column_names
        assert "<svg" in (folder / "data" / f"{key}.svg").read_text()


def test_scripts_and_styles_lie_there_once(written) -> None:
    results, folder = written
    assert len(list(folder.rglob("*.min.js"))) == 1 and len(list(folder.glob("trials/*.html"))) == len(results.trials)
    pages = [page.read_text() for page in folder.rglob("*.html")]
    assert not any("<style" in page or "Plotly.newPlot" in page for page in pages) and max(map(len, pages)) < 300_000


def test_what_users_wrote_is_text_everywhere(written) -> None:
    _, folder = written
    for page in folder.rglob("*.html"):
        text = page.read_text()
        assert "alert(1)</script>" not in text and "<img src=x" not in text, page
    for drawing in folder.rglob("*.svg"):
        assert "<script" not in drawing.read_text() and "<img" not in drawing.read_text()


def test_nothing_is_written_twice_and_what_changed_is(tmp_path: Path) -> None:
    results = a_search(status="RUNNING")
    first = write_report(results, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    write_report(results, tmp_path)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    mark = re.search(r'data-written="(\w+)"', first.read_text())[1]
    assert f"reportWritten('{mark}')" in (tmp_path / "written.js").read_text()
    write_report(replace(results, trials=results.trials[:-1]), tmp_path)
    assert mark not in (tmp_path / "written.js").read_text() and mark not in first.read_text()


def test_a_trials_page_shows_what_it_changed_and_where_it_is_in_mlflow(written) -> None:
    results, folder = written
    number = 1
    page = (folder / "trials" / f"{number:04d}.html").read_text()
    changed = "optimiser.lr" if results.name == "a-search" else "weighting.kind"
    assert re.search(rf"<tr><td>{changed}</td><td>[^<]+</td><td><ins>", page) and f"runs/run{number}" in page
    assert 'rel="prev">trial 0' in page and 'rel="next">trial 2' in page


def test_a_failed_trials_page_shows_its_whole_reason(tmp_path: Path) -> None:
    write_report(a_search(), tmp_path)
    assert "second line" in (tmp_path / "trials/0015.html").read_text() and "second line" not in (tmp_path / "index.html").read_text()


def test_a_study_without_results_has_a_folder(tmp_path: Path) -> None:
    for place, results in enumerate((a_search(trials=[], importances={}), a_design(trials=[]))):
        page = write_report(results, tmp_path / str(place))
        assert page.exists() and (tmp_path / str(place) / "data" / "trials.csv").exists()


def test_a_server_is_linked_and_an_index_is_named(tmp_path: Path) -> None:
    write_report(a_search(), tmp_path, "https://mlflow.example", "../../index.html")
    assert 'href="https://mlflow.example/#/experiments/7/runs/run3"' in (tmp_path / "trials/0003.html").read_text()
    assert 'href="../../index.html"' in (tmp_path / "index.html").read_text() and HOSTILE not in (tmp_path / "index.html").read_text()


def test_of_more_trials_than_fit_the_best_are_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reports.pages.study_page.MOST_ROWS", 5)
    results = a_search()
    page = write_report(results, tmp_path).read_text()
    shown = re.findall(r'data-trial="(\d+)"', page)
    assert shown == [str(t.number) for t in results.ranked[:5]] and "12 more are in" in page


def test_a_page_says_which_completed_trials_cannot_be_reproduced_and_how_intervals_are_read() -> None:
    results = a_design()
    results.trials[2].provenance[0]["code"] = {"commit": "c0ffee", "dirty": True}
    results.trials[4].provenance[0]["code"] = {"commit": "c0ffee", "dirty": True}
    results.trials[4].status = "stopped"
    found = _not_reproducible(results)
    assert list(found.values()) == [[2]]
    text = StudyPage(results).forest
    assert text is not None and "simultaneous 95 % intervals" in text.text and "5 %, a difference does not matter" in text.text


def test_the_last_picture_of_a_search_is_the_worst_and_few_trials_are_all_in_the_table() -> None:
    page = StudyPage(a_search())
    titles = [title for title, _ in page.pictured]
    assert titles[:2] == ["Best", "Number 2"] and [t.startswith("Worst") for t in titles] == [False] * (len(titles) - 1) + [True]
    assert "more are in" not in page.render(Site(single=True))


def test_changes_are_against_the_baseline_where_there_is_one() -> None:
    pairs = a_design()
    design = {key: value for key, value in pairs.definition["design"].items() if key in ("variants", "seeds")}
    pairs.definition = {**pairs.definition, "design": {"kind": "all_pairs", **design}}
    titles = [page.forest.title for page in map(StudyPage, (a_design(), pairs)) if page.forest]
    assert titles == ["Changes against the baseline", "Changes"]
