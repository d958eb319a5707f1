"""docs/plugins.md, followed to the letter in an empty folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from trainables.plugins.entry_points import GROUP
from trainables.recipe import FAMILIES

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/plugins.md").read_text()
BLOCKS = re.findall(r"```(\w+)( slow)?\n(.*?)```", PAGE, re.DOTALL)


def follow(folder: Path, slow: bool) -> str:
    """Write the files and run the commands in their order; what the commands print."""
    commands = folder / "bin"
    commands.mkdir()
    for name, code in {"snrlab": "-c 'from orchestrator.cli.app import main; main()'", "python": ""}.items():
        (commands / name).write_text(f'#!/bin/sh\nexec {sys.executable} {code} "$@"\n')
        (commands / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{commands}:{os.environ['PATH']}", "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"}
    shown = ""
    for language, marked, text in BLOCKS:
        if language in ("python", "yaml"):
            first, rest = text.split("\n", 1)
            (folder / first.removeprefix("# ")).write_text(rest)
        elif language == "sh" and (slow or not marked):
            done = subprocess.run(["sh", "-ec", text], cwd=folder, env=environment, capture_output=True, text=True)
            assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
            shown += done.stdout
    return shown


@pytest.mark.timeout(600)
def test_every_block_works_as_it_stands_there(tmp_path: Path) -> None:
    shown = follow(tmp_path, slow=False)
    for words in ("weighting snr_power: all 10 checks pass", "1 passed", "study       my-weighting: 3 variants x 3 seeds",
                  "network my_net: all 11 checks pass", "network     my_net"):
        assert words in shown


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_study_runs(tmp_path: Path) -> None:
    assert "steeper" in follow(tmp_path, slow=True)


def test_the_method_shown_is_the_one_that_new_writes(tmp_path: Path) -> None:
    from trainables.plugins.new import new_method

    shown = next(text for language, _, text in BLOCKS if language == "python")
    source, _ = new_method("weighting", "snr_power", tmp_path)
    assert shown == f"# snr_power.py\n{source.read_text()}"


def test_the_entry_point_is_the_one_that_is_looked_for() -> None:
    assert tomllib.loads(next(text for language, _, text in BLOCKS if language == "toml"))["project"]["entry-points"].keys() == {GROUP}


def test_the_table_has_every_family_with_its_class() -> None:
    rows = dict(re.findall(r"\| `(\w+)` \| `([\w.]+)` \|", PAGE))
    interfaces = {name: kinds.interface for name, kinds in FAMILIES.items() if name != "importance_base"}  # type: ignore[attr-defined]
    assert rows == {name: f"{cls.__module__}.{cls.__name__}" for name, cls in interfaces.items()}
