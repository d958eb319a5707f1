"""Options of the command line that belong to no command."""

from __future__ import annotations

from importlib import metadata

from typer.testing import CliRunner

from orchestrator.cli.app import app


def test_the_version_is_that_of_the_distribution() -> None:
    found = CliRunner().invoke(app, ["--version"])
    assert found.exit_code == 0 and found.output == f"snrlab {metadata.version('snrlab')}\n"


def test_without_a_command_there_is_help() -> None:
    found = CliRunner().invoke(app, [])
    assert "Usage:" in found.output and "Searches and ablations of diffusion-model training efficiency." in found.output
