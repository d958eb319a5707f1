"""Runs the contracts on the methods of a plug-in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from trainables.errors import in_one_line
from trainables.plugins.contracts import draws, experts, formulas, images, networks, optimisers, settings
from trainables.plugins.contracts.requirement import Broken, Check, Contracts
from trainables.plugins.loading import load, named, use
from trainables.plugins.registry import Plugin, family_of, kind_of, word_of

CONTRACTS: Contracts = {
    **formulas.CONTRACTS, **draws.CONTRACTS, **networks.CONTRACTS, **images.CONTRACTS, **optimisers.CONTRACTS, **experts.CONTRACTS,
}


@dataclass(frozen=True)
class Report:
    """What was found of one method."""

    family: str
    kind: str
    checks: int
    problems: tuple[str, ...]

    def __str__(self) -> str:
        if not self.problems:
            return f"{self.family} {self.kind}: all {self.checks} checks pass"
        return "\n".join([f"{self.family} {self.kind}: {len(self.problems)} of {self.checks} checks fail",
                          *(f"  {problem}" for problem in self.problems)])


def check_plugin(name: str) -> list[Report]:
    """A report for each method of a plug-in, by its module or path; ConfigError where it cannot be loaded."""
    name, = named([name])
    use([name])
    plugin = load(name)
    return [_report(cls, plugin) for cls in plugin.methods]


def _report(cls: Any, plugin: Plugin) -> Report:
    problems: list[str] = []
    checks = 0
    for check in settings.of_class(cls, plugin):
        checks += 1
        problems += _problem(check, cls)
    interface = family_of(cls)
    made = None if problems else settings.example(cls)
    for check in (*settings.CHECKS, *CONTRACTS.get(interface, ())):  # type: ignore[arg-type]
        checks += 1
        if made is not None:
            problems += _problem(check, made)
    return Report(word_of(cls), kind_of(cls), checks, tuple(problems))


def _problem(check: Check, subject: Any) -> Iterator[str]:
    said = (check.__doc__ or check.__name__).strip()
    try:
        check(subject)
    except Broken as error:
        yield f"{said}: {error}"
    except Exception as error:  # whatever a method that is being written raises
        yield f"{said}: {in_one_line(error)}"
