"""What the pages of a report share: templates, and whether scripts and styles lie beside them or, for a page to mail, in them."""

from __future__ import annotations

import functools
import importlib.resources
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from reports.documents import short
from reports.results import Sheet, TrialResult

ASSETS = ("report.css", "report.js")


@dataclass(frozen=True)
class Site:
    """Where a page stands."""

    single: bool = False  # everything in one file
    written: str = ""  # mark of the report's content: a page of a running study loads itself again when it changes
    index: str = ""  # address of the page of all studies, from the study's own
    server: str = ""  # address of MLflow's pages; empty where it is not served

    @property
    def css(self) -> Markup:
        return Markup(asset("report.css"))  # noqa: S704 - our own file

    @property
    def script(self) -> Markup:
        return Markup(asset("report.js"))  # noqa: S704

    @property
    def plotly(self) -> Markup:
        return Markup(plotly())  # noqa: S704


@functools.cache
def asset(name: str) -> str:
    return (importlib.resources.files("reports") / "assets" / name).read_text()


@functools.cache
def plotly() -> str:
    """The script, without the library around it, which takes seconds to import."""
    return (importlib.resources.files("plotly") / "package_data" / "plotly.min.js").read_text()


@functools.cache
def environment() -> Environment:
    """Every value is escaped; an unknown name is an error."""
    made = Environment(loader=PackageLoader("reports"), autoescape=select_autoescape(), trim_blocks=True, lstrip_blocks=True,
                       undefined=StrictUndefined)
    made.filters |= {
        "short": lambda value: "–" if value is None else short(value),
        "change": lambda value: "–" if value is None else f"{value:+.1%}",
        "count": lambda value: "–" if value is None else f"{value:,.0f}",
        "numbers": number_ranges,
        "sentence": lambda text: f"{text[:1].upper()}{text[1:]}",
    }
    return made


def number_ranges(numbers: Iterable[int]) -> str:
    """`0, 1, 4 to 9`."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(_run(run) for run in runs)


def _run(run: Sequence[int]) -> str:
    return f"{run[0]} to {run[-1]}" if len(run) > 5 else ", ".join(map(str, run))


def trial_page(number: int) -> str:
    """Path of a trial's page in the report's folder."""
    return f"trials/{number:04d}.html"


def sheet_file(trial: TrialResult, sheet: Sheet) -> str:
    """Path of a contact sheet in the report's folder."""
    return f"samples/{trial.number:04d}-{sheet.name}.png"
