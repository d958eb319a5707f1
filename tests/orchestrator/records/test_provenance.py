"""What a trial was trained by is noted where it is trained."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from orchestrator.records import provenance
from tests.conftest import tiny_fields
from trainables.errors import Damaged
from trainables.recipe import make_recipe


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small repository in the place of ours."""
    (tmp_path / "trainables").mkdir()
    (tmp_path / "trainables/loss.py").write_text("weight = 1\n")
    for command in (["init", "-q"], ["add", "-A"], ["-c", "user.name=x", "-c", "user.email=x@y", "commit", "-qm", "one"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    monkeypatch.setattr(provenance, "_ROOT", tmp_path)
    provenance.code.cache_clear()
    yield tmp_path
    provenance.code.cache_clear()


def test_a_clean_commit_is_told_from_one_with_changes_and_the_changes_are_kept(repository: Path) -> None:
    assert provenance.code()["dirty"] is False and len(provenance.code()["commit"]) == 40 and provenance.code()["diff"] == ""
    (repository / "notes.txt").write_text("not code")
    (repository / "trainables/new.py").write_text("new = True\n")
    (repository / "trainables/loss.py").write_text("weight = 2\n")
    provenance.code.cache_clear()
    code = provenance.code()
    assert code["dirty"] and "+weight = 2" in code["diff"] and "+new = True" in code["diff"] and "not code" not in code["diff"]


def test_changes_have_a_bounded_size(repository: Path) -> None:
    (repository / "trainables/large.py").write_text("x = 1\n" * 100_000)
    assert len(provenance.code()["diff"]) < 201_000 and "(cut:" in provenance.code()["diff"]


def test_code_outside_a_repository_of_its_own_has_no_commit(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "_ROOT", repository / "trainables")  # as an installed package inside somebody's repository
    assert provenance.code() == {"commit": "", "dirty": False, "diff": ""}
    shutil.rmtree(repository / ".git")


def test_each_process_that_took_part_has_one_entry(tmp_path: Path, repository: Path) -> None:
    recipe = make_recipe(tiny_fields(seed=3))
    assert provenance.read(tmp_path) == []
    provenance.write(tmp_path, recipe)
    provenance.write(tmp_path, recipe)
    (entry,) = provenance.read(tmp_path)
    assert entry["seed"] == 3 and entry["data"] == {**entry["data"], "kind": "digits", "images": 1797, "shape": [1, 8, 8], "classes": 10}
    assert len(entry["data"]["hash"]) == 64 and {"python", "torch", "ray", "optuna", "mlflow", "numpy"} <= entry["versions"].keys()
    assert entry["machine"]["cpu"] and entry["machine"]["system"]
    (repository / "trainables/loss.py").write_text("weight = 3\n")
    provenance.code.cache_clear()
    provenance.write(tmp_path, recipe)
    assert [e["code"]["dirty"] for e in provenance.read(tmp_path)] == [False, True]


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    provenance.write(tmp_path, make_recipe(tiny_fields()))
    path = tmp_path / "provenance.json"
    path.write_text(path.read_text().replace("digits", "digitz"))
    with pytest.raises(Damaged, match=r"provenance.json.*delete it"):
        provenance.read(tmp_path)
