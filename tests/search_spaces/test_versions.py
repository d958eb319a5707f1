"""Study files of older versions are brought up to date wherever they are read; newer ones are refused in one message."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.records.definition import define, recall
from orchestrator.records.folders import WorkFolder
from search_spaces import versions
from search_spaces.study import compose_study, load_study
from tests.conftest import tiny_fields
from trainables.errors import ConfigError, UserError
from trainables.files import document

FIELDS: dict[str, Any] = {
    "name": "s", "base": tiny_fields(), "space": {"optimiser.lr": {"low": 0.01, "high": 0.1}}, "search": {"trials": 2},
}


def test_a_file_of_this_version_may_say_so(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(yaml.safe_dump({"version": versions.version(), **FIELDS}))
    assert load_study(str(tmp_path / "s.yaml")) == compose_study(FIELDS, {})


@pytest.mark.parametrize(("given", "words"), [
    (99, "99 is newer than this snrlab, which knows 1 to 1: update snrlab"), (0, "whole number"), (True, "True was given"),
    ("1", "'1' was given"), (1.0, "1.0 was given"), (None, "None was given"),
])
def test_another_version_is_one_message(given: object, words: str, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(yaml.safe_dump({"version": given, **FIELDS, "a_field_of_the_future": 1}))
    with pytest.raises(ConfigError, match=words) as caught:
        load_study(str(tmp_path / "s.yaml"))
    assert "\n" not in str(caught.value) and "study s.yaml: version:" in str(caught.value)


def _trials_were_called_runs(fields: dict[str, Any]) -> dict[str, Any]:
    search = dict(fields.get("search") or {})
    if "runs" in search:
        search["trials"] = search.pop("runs")
    return {**fields, "search": search}


def test_an_older_file_is_migrated_before_scales_and_overrides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "_MIGRATIONS", (_trials_were_called_runs,))
    older = {**FIELDS, "search": {"runs": 7}}
    assert compose_study(older, {}).search.trials == 7 and "runs" in older["search"]
    assert compose_study({**older, "scales": {"digits": {}}}, {}).search.trials == 7
    assert compose_study(older, {"search.trials": 3}).search.trials == 3
    with pytest.raises(ConfigError, match="runs"):
        compose_study({"version": 2, **older}, {})


def test_a_study_goes_on_with_a_definition_of_an_older_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, study = WorkFolder(tmp_path).study("s"), compose_study(FIELDS, {})
    identity = define(study, folder).id
    written = document.read(folder.definition, "")
    assert written["version"] == 1
    written["study"]["search"]["runs"] = written["study"]["search"].pop("trials")
    del written["version"]  # as before there were versions
    document.write(folder.definition, written)
    monkeypatch.setattr(versions, "_MIGRATIONS", (_trials_were_called_runs,))
    assert recall(folder).study == study and define(study, folder).id == identity
    document.write(folder.definition, {**written, "version": 3})
    with pytest.raises(UserError, match=r"study.json: version: 3 is newer"):
        recall(folder)
