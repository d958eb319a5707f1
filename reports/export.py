"""What a paper takes from a study: a LaTeX table, the figures as SVG, and the numbers behind both as CSV."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reports.documents import short
from reports.figures.drawing import svg
from reports.headline import headline
from reports.methods_text import methods_text
from reports.pages.folder import data_file
from reports.pages.study_page import StudyPage
from reports.references import bibtex
from reports.results import StudyResults
from reports.tables import rows
from reports.variant_tables import candidate_rows, variant_rows
from trainables.files import atomic

_MOST_TRIALS = 20  # of a search, in a table that fits a page
_SPECIAL = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
            **{c: f"\\{c}" for c in "&%$#_{}"}}


def export_study(results: StudyResults, folder: Path, latex: bool, csv: bool, svgs: bool) -> list[Path]:
    """Write what is asked for into `folder`; returns the files."""
    page = StudyPage(results)
    files: dict[str, bytes] = {}
    if latex:
        files["table.tex"] = latex_table(page).encode()
        files["methods.tex"] = (latex_text(methods_text(page.results, page.ablation)) + "\n").encode()
        files["references.bib"] = (bibtex(page.citations) + "\n").encode()
    if csv:
        files["trials.csv"] = data_file(rows(results), "csv")
        if found := _variants(page):
            files["variants.csv"] = data_file(found, "csv")
        files |= {f"{chart.key}.csv": data_file(chart.figure.rows(), "csv") for chart in page.charts}
    if svgs:
        files |= {f"{chart.key}.svg": svg(chart.figure).encode() for chart in page.charts}
    for name, content in files.items():
        atomic.write_bytes(folder / name, content)
    return [folder / name for name in files]


def latex_table(page: StudyPage) -> str:
    """The variants of a design, the proposals of a search with several seeds, or the best trials of another one (needs booktabs)."""
    results, ablation = page.results, page.ablation
    if ablation:
        columns = ["variant", results.metric, "change", "95 % interval", "verdict", "EMA length", "seeds"]
        cells = [[row["variant"], _number(row[results.metric]), _change(row["change"]), _interval(row), row["verdict"] or "",
                  _number(row["sigma_rel"]), str(row["seeds"])] for row in variant_rows(ablation)]
    elif results.candidates:
        columns = ["variant", results.metric, "SD of log", "seeds"]
        cells = [[row["variant"], _number(row[results.metric]), _number(row["log_sd"]), str(row["seeds"])]
                 for row in candidate_rows(results)]
    else:
        columns = ["trial", *results.axes, results.metric, "EMA length"]
        cells = [[str(t.number), *(_number(t.values.get(axis)) for axis in results.axes), _number(t.best), _number(t.sigma_rel)]
                 for t in results.ranked]
    return "\n".join(_tabular(columns, cells[:_MOST_TRIALS] if not ablation else cells, headline(results, ablation), results.name)) + "\n"


def _tabular(columns: list[str], cells: list[list[str]], caption: str, name: str) -> Iterator[str]:
    yield r"\begin{table}"
    yield r"\centering"
    yield rf"\caption{{{latex_text(caption)}}}"
    yield rf"\label{{tab:{re.sub(r'[^A-Za-z0-9-]+', '-', name)}}}"
    yield rf"\begin{{tabular}}{{l{'r' * (len(columns) - 1)}}}"
    yield r"\toprule"
    for row, after in ((columns, [r"\midrule"]), *((row, []) for row in cells)):
        line = " & ".join(map(latex_text, row))
        yield ("{}" if line.lstrip().startswith(("[", "*")) else "") + line + r" \\"  # else an argument of the \\ before
        yield from after
    yield r"\bottomrule"
    yield r"\end{tabular}"
    yield r"\end{table}"


def latex_text(text: str) -> str:
    """As it is, whatever characters it has."""
    return "".join(_SPECIAL.get(c, c) for c in text)


def _variants(page: StudyPage) -> list[dict[str, Any]]:
    return variant_rows(page.ablation) if page.ablation else candidate_rows(page.results)


def _number(value: Any) -> str:
    return "–" if value is None else short(value)


def _change(value: float | None) -> str:
    return "–" if value is None else f"{value:+.1%}"


def _interval(row: dict[str, Any]) -> str:
    return "" if row["low"] is None else f"{row['low']:+.1%} to {row['high']:+.1%}"
