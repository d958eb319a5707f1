"""The studies that come with snrlab, in a table."""

from __future__ import annotations

import textwrap

from orchestrator.cli.step_groups import images_of_trials
from search_spaces.scales import scales_of
from search_spaces.study import Study, bundled_studies, load_study

_WIDTH = 120


def table() -> str:
    """A paragraph per study: name, what it asks, cost by scale, and the paper that it mirrors."""
    return "\n\n".join("\n".join(_lines(name)) for name in bundled_studies())


def _lines(name: str) -> list[str]:
    listed = scales_of(bundled_studies()[name])
    found = {scale: load_study(name, scale=scale) for scale in listed} or {"digits": load_study(name)}
    first = next(iter(found.values()))
    lines = [name, *_wrapped(first.description)]
    lines += [f"  {'--scale ' + scale if listed else scale:<20} {_cost(study)}" for scale, study in found.items()]
    if first.published:
        lines += _wrapped(f"{first.published.paper}: {first.published.claim}")
    return lines


def _cost(study: Study) -> str:
    least, most = images_of_trials(study)
    each = f"{most:,}" if least == most else f"{least:,} to {most:,}"
    workers = f", {study.compute.workers} GPUs a trial" if study.compute.gpus_per_worker else ""
    return f"{study.trials_wanted} trials of {each} training images{workers}"


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(" ".join(text.split()), _WIDTH, initial_indent="  ", subsequent_indent="  ")
