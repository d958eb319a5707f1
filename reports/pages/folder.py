"""A report as a folder: the study's page, a page per trial, scripts and styles once, and the data of every figure."""

from __future__ import annotations

import hashlib
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from reports.figures.drawing import svg
from reports.pages.site import ASSETS, Site, asset, plotly, sheet_file, trial_page
from reports.pages.study_page import StudyPage
from reports.pages.trial_page import TrialPages
from reports.results import StudyResults
from reports.tables import FORMATS, curve_rows, rows, score_rows
from trainables.files import atomic

Rows = list[dict[str, Any]]
_MARK = "0123456789abcdef"  # stands for the mark of the page's content, until that is known
_WRITERS = 16


def write_report(results: StudyResults, folder: Path, server: str = "", index: str = "") -> Path:
    """Write a study's report into `folder`; returns its first page.  Files that are as they should be are not written again.

    `server` is the address of MLflow's pages, without anything secret; empty where `snrlab ui` serves them.  `index` is that of the page of
    all studies, from this one.
    The first page is written last, so that it never names a file that is not there.
    """
    page, files = StudyPage(results), {f"assets/{name}": asset(name).encode() for name in ASSETS}
    files["assets/plotly.min.js"] = plotly().encode()
    samples = {trial.number: f"samples/{trial.number:04d}.png" for trial in results.trials if trial.samples}
    files |= {samples[trial.number]: trial.samples for trial in results.trials if trial.samples}
    files |= {sheet_file(t, sheet): sheet.png for t in results.trials for sheet in t.sheets if sheet.png}
    site = Site(written=_MARK, index=index, server=server)
    pages = TrialPages(results, site)
    files |= {trial_page(trial.number): pages.render(trial, samples.get(trial.number, "")).encode() for trial in results.trials}
    for chart in page.charts:
        files |= _data_files(chart.key, chart.figure.rows()) | {f"data/{chart.key}.svg": svg(chart.figure).encode()}
    for name, found in (("trials", rows(results)), ("scores", _scores(results)), ("curves", _curves(results))):
        files |= _data_files(name, found)
    first = page.render(site, samples)
    written = hashlib.sha256(first.encode()).hexdigest()[: len(_MARK)]
    with ThreadPoolExecutor(_WRITERS) as pool:  # most of the time of a small file is waiting for the disk
        list(pool.map(lambda item: _write(folder / item[0], item[1]), files.items()))
    _write(folder / "written.js", f"reportWritten({written!r});\n".encode())
    _write(folder / "index.html", first.replace(_MARK, written).encode())
    return folder / "index.html"


def _data_files(name: str, found: Rows) -> dict[str, bytes]:
    return {f"data/{name}.{format_}": data_file(found, format_) for format_ in ("csv", "parquet")}


def data_file(found: Rows, format_: str) -> bytes:
    """Rows, which may differ in their columns, as csv or parquet."""
    return FORMATS[format_](_of_one_kind(found), ())


def _of_one_kind(found: Rows) -> Rows:
    """Columns of words and numbers become words: a file's column has one type."""
    columns = dict.fromkeys(name for row in found for name in row)
    mixed = {name for name in columns if len({isinstance(row[name], str) for row in found if row.get(name) is not None}) > 1}
    return [{name: str(row[name]) if name in mixed and row.get(name) is not None else row.get(name) for name in columns} for row in found]


def _scores(results: StudyResults) -> Rows:
    """With the trials' variants."""
    variants = {trial.number: trial.variant for trial in results.trials}
    return [{"trial": row["trial"], "variant": variants[row["trial"]], **row} for row in score_rows(results)]


def _curves(results: StudyResults) -> Rows:
    """Without scores that are not finite."""
    interim = f"interim_{results.metric}"
    return [{**row, interim: row[interim] if math.isfinite(row[interim]) else None} for row in curve_rows(results)]


def _write(path: Path, content: bytes) -> None:
    """Atomically, and only where it changes something."""
    if isinstance(path, Path) and path.exists() and path.read_bytes() == content:
        return
    atomic.write_bytes(path, content)
