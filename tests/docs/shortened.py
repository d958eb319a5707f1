"""`snrlab`, or a Python script, with trainings of a second wherever a study says `scales: {digits: {}}`.

    python -m tests.docs.shortened run first.yaml
    python -m tests.docs.shortened script.py
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

from search_spaces import scales

_known = scales.scales


def short_scales() -> dict[str, Path]:
    """All scales, with the file beside this one in place of the digits'."""
    return {**_known(), "digits": Path(__file__).with_name("digits.yaml")}


if __name__ == "__main__":
    scales.scales = short_scales
    if sys.argv[1].endswith(".py"):
        runpy.run_path(sys.argv[1], run_name="__main__")
    else:
        from orchestrator.cli.app import main

        main()
