"""What a shell is told when Tab is pressed, by the protocol that it uses."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def offered(line: str, folder: Path) -> list[str]:
    """What `snrlab` answers bash for a line whose last word is to be completed."""
    program = "import sys; sys.argv[0] = 'snrlab'; from orchestrator.cli.app import main; main()"
    environment = {**os.environ, "_SNRLAB_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for workdir, name in (("runs", "first"), ("runs", "other"), ("elsewhere", "further")):
        (tmp_path / workdir / name).mkdir(parents=True)
        (tmp_path / workdir / name / "study.json").write_text("{}")
    (tmp_path / "mine.yaml").write_text("name: mine\n")
    (tmp_path / "quick [a].yml").write_text("name: quick\n")
    return tmp_path


@pytest.mark.parametrize(("line", "words"), [
    ("snrlab sub", ["submit"]), ("snrlab run qu", ["quickstart", "quick", "[a].yml"]), ("snrlab plan mi", ["min_snr_gamma", "mine.yaml"]),
    ("snrlab report fir", ["first"]), ("snrlab status --workdir elsewhere f", ["further"]), ("snrlab status nothing", []),
    ("snrlab run no-such", []), ("snrlab plan 'quick [", []),
])
def test_commands_bundled_studies_files_and_what_was_run_are_offered(line: str, words: list[str], folder: Path) -> None:
    assert offered(line, folder) == words
