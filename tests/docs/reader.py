"""A reader who follows the pages: a folder with the files that they show, and a `snrlab` whose trainings are short."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

from tests.docs.blocks import ROOT, all_blocks

FIRST = "snrlab run first.yaml\n"  # the one study that the quick tests run


def prepare(folder: Path) -> None:
    """Write the files that the pages show, and the programs, and run the first study."""
    programs = folder / "bin"
    programs.mkdir()
    for name, module in {"snrlab": "-m tests.docs.shortened", "python": ""}.items():
        (programs / name).write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {module} "$@"\n')
        (programs / name).chmod(0o755)
    blocks = all_blocks()
    for block in blocks:
        if block.file:
            (folder / block.file).write_text(block.text)
    assert any(block.text == FIRST for block in blocks)
    in_a_shell(FIRST, folder)


def in_a_shell(line: str, folder: Path) -> None:
    """Run a line there; AssertionError with what it said where it fails."""
    paths = filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])
    environment = {**os.environ, "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(["bash", "-euc", line], cwd=folder, env=environment, capture_output=True, text=True, timeout=800)
    assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
