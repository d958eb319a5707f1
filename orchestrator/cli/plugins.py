"""Commands for one's own methods: `snrlab new|check-plugin` (docs/plugins.md)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trainables.errors import UserError

plugins = typer.Typer()


@plugins.command()
def new(family: Annotated[str, typer.Argument(help="weighting, schedule, target, timesteps, network, data, augment, optimiser, sampler, "
                                              "features, sample_metric, split, budgets or criterion")],
        name: Annotated[str, typer.Argument(help="the method's name in study files, e.g. snr_power")]) -> None:
    """Write a working method of one's own, with a test, into this folder."""
    from trainables.plugins.new import new_method

    source, test = (path.name for path in new_method(family, name, Path()))
    typer.echo(f"{source}: a {family} that works; change it, and name it in a study: plugins: [./{source}]\n"
               f"{test}: its test; also: snrlab check-plugin ./{source}")


@plugins.command("check-plugin")
def check(plugins: Annotated[list[str], typer.Argument(metavar="MODULE_OR_PATH...",
                                                       help="as in a study's plugins: ./my_method.py, my_lab.methods")]) -> None:
    """Check that one's own methods do what every method of their family must; exit code 2 if one does not."""
    from trainables.plugins.contracts.check import check_plugin

    reports = [report for plugin in plugins for report in check_plugin(plugin)]
    for report in reports:
        typer.echo(str(report))
    if broken := [report for report in reports if report.problems]:
        raise UserError(f"{', '.join(plugins)}: {len(broken)} of {len(reports)} methods break the contract of their family")
