"""Runs the contracts on the methods of a plug-in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from trainables.data.source import DataSource
from trainables.errors import ConfigError, in_one_line
from trainables.metrics.features import Features
from trainables.networks.network import Network
from trainables.optimisers.optimiser import Optimiser
from trainables.plugins.contracts import draws, experts, formulas, images, networks, optimisers, sample_metrics, settings
from trainables.plugins.contracts.requirement import Broken, Check, Contracts
from trainables.plugins.faults import line_of
from trainables.plugins.loading import load, named, use
from trainables.plugins.registry import Plugin, family_of, kind_of, plugin_of, word_of

CONTRACTS: Contracts = {
    **formulas.CONTRACTS, **draws.CONTRACTS, **networks.CONTRACTS, **images.CONTRACTS, **optimisers.CONTRACTS, **experts.CONTRACTS,
    **sample_metrics.CONTRACTS,
}
_COSTLY = (DataSource, Features, Network, Optimiser)  # families whose contracts read files or train


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
        return "\n".join([f"{self.family} {self.kind} breaks its contract:", *(f"  {problem}" for problem in self.problems)])


def check_plugin(name: str) -> list[Report]:
    """A report for each method of a plug-in, by its module or path; ConfigError where it cannot be loaded."""
    name, = named([name])
    use([name])
    plugin = load(name)
    return [_report(cls, plugin) for cls in plugin.methods]


def try_out(classes: Iterable[type]) -> None:
    """Call the methods of plug-ins among these as contracts do that cost next to nothing; ConfigError where one raises an error.

    What they do wrong otherwise is left to `check_plugin`.
    """
    for cls in classes:
        plugin, interface = plugin_of(cls), family_of(cls)
        if plugin and interface not in (None, *_COSTLY) and not any(_problem(settings.has_defaults, cls)):
            _try_out(cls, plugin, CONTRACTS[interface])


def _try_out(cls: Any, plugin: Plugin, contract: Sequence[Check]) -> None:
    for check in contract:
        try:
            check(settings.example(cls))
        except Broken:
            continue
        except (Exception, SystemExit) as error:
            why = f"{in_one_line(error)}{line_of(error, plugin.root, plugin.label)}"
            what = f"{word_of(cls)} '{kind_of(cls)}' fails when it is called"
            raise ConfigError(f"plugins: {plugin.name}: {what}: {why}; snrlab check-plugin says more") from None


def _report(cls: Any, plugin: Plugin) -> Report:
    interface = family_of(cls)
    contract = CONTRACTS[interface] if interface else ()
    of_class = {check: list(_problem(check, cls)) for check in settings.of_class(cls, plugin)}
    problems = list(chain(*of_class.values()))
    if not of_class[settings.has_defaults]:
        made = settings.example(cls)
        found = [problem for check in (*settings.CHECKS, *contract) for problem in _problem(check, made)]
        if not found and not of_class[settings.has_valid_ranges] and interface in formulas.CONTRACTS:
            edges = settings.at_edges(cls)  # a mistake in a formula may hide at the defaults
            found = [f"{where}{problem}" for where, made in edges for check in contract for problem in _problem(check, made)]
        problems += found
    return Report(word_of(cls), kind_of(cls), len(of_class) + len(settings.CHECKS) + len(contract), tuple(problems))


def _problem(check: Check, subject: Any) -> Iterator[str]:
    said = (check.__doc__ or check.__name__).strip()
    try:
        check(subject)
    except Broken as error:
        yield f"{said}: {error}"
    except (Exception, SystemExit) as error:  # whatever a method that is being written raises
        yield f"{said}: {in_one_line(error)}"
