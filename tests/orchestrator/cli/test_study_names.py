"""A command that takes a study's name takes the path of its file, too."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestrator.cli.app import app
from orchestrator.cli.operations import name_of
from orchestrator.records import events
from orchestrator.records.definition import define
from orchestrator.records.folders import TrialRecord, WorkFolder
from search_spaces.study import load_study
from trainables.errors import UserError


def test_a_path_stands_for_the_name_in_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("s1.yaml").write_text("name: first\nspace: {seed: [0, 1]}\n")
    assert name_of("s1.yaml") == "first" and name_of("s1") == "s1" and name_of("gone.yaml") == "gone.yaml"
    Path("nameless.yaml").write_text("base: {}\n")
    with pytest.raises(UserError, match="no name"):
        name_of("nameless.yaml")


@pytest.mark.parametrize("given", ["", "plug/", ".", "../s1", "/", "s 1", "x" * 101, "a\nb", "s1.yaml/", "./gone.yaml"])
def test_what_can_be_no_name_is_refused(given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("plug").mkdir()
    for command in (["status"], ["report"], ["compare", "first"], ["ui"]):
        shown = CliRunner().invoke(app, [*command, given])
        assert isinstance(shown.exception, UserError), shown.output
        message = str(shown.exception)
        assert "is neither a study file nor the name of a study: use letters, digits, '.', '_' and '-' only" in message
        assert message.isprintable() and not Path("runs").exists()
    Path("odd.yaml").write_text("name: a/b\n")
    with pytest.raises(UserError, match=r"study odd.yaml: name 'a/b': use letters"):
        name_of("odd.yaml")


@pytest.mark.parametrize("command", [["status"], ["logs", "0"], ["cancel"]])
def test_commands_take_the_path_of_a_file(command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("s1.yaml").write_text("name: first\nspace: {seed: [0, 1]}\n")
    folder = WorkFolder(tmp_path / "runs").study("first")
    define(load_study("s1.yaml"), folder)
    folder.trial(0).write_record(TrialRecord(0, {}, "", ""))
    events.note(folder.trial(0).root, "training")
    shown = CliRunner().invoke(app, [command[0], "s1.yaml", *command[1:]])
    assert shown.exit_code == 0, shown.output


@pytest.mark.parametrize("command", [["results"], ["report"], ["track"], ["sweep", "--trial", "0"], ["ui"]])
def test_other_commands_look_for_that_study(command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("s1.yaml").write_text("name: first\nspace: {seed: [0, 1]}\n")
    shown = CliRunner().invoke(app, [command[0], "s1.yaml", *command[1:]])
    assert isinstance(shown.exception, UserError) and "s1.yaml" not in str(shown.exception)
