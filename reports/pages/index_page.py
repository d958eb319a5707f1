"""The page of all studies: a row each, with a search field."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reports.headline import headline
from reports.pages.site import Site, environment
from reports.pages.study_page import last_result
from reports.results import StudyResults
from trainables.files import atomic


@dataclass(frozen=True)
class StudyLine:
    """A study in the index."""

    name: str
    description: str
    found: str  # its verdict in a sentence, or why it cannot be read
    page: str = ""  # address of its report, from the index
    status: str = ""
    metric: str = ""
    best: float | None = None
    trials: int = 0
    completed: int = 0
    last: str = ""  # time of the last result


def line_of(results: StudyResults, page: str) -> StudyLine:
    """What the index says of a study."""
    best = results.score(results.ranked[0], results.metric) if results.ranked else None
    return StudyLine(
        results.name, results.description, headline(results), page, results.status.lower(), results.metric, best, len(results.trials),
        sum(t.status == "completed" for t in results.trials), last_result(results),
    )


def write_index(lines: Sequence[StudyLine], path: Path) -> Path:
    """One file beside the studies' folders, atomically."""
    text = environment().get_template("index.html").render(site=Site(single=True), running=False, charts_here=False, root="", lines=lines)
    atomic.write_text(path, text)
    return path
