"""Plug-ins as users write them, and the outside package as they install it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

OUTSIDE = Path(__file__).parents[2] / "outside_package"

WEIGHTING = '''
"""A weighting of one's own."""
from __future__ import annotations
from typing import Literal
from trainables.log_snr import as_array
from trainables.method import searchable
from trainables.weightings.weighting import Weighting
{imports}

class Mine(Weighting):
    """w = SNR^power."""
    kind: Literal["{kind}"] = "{kind}"
    power: float = searchable(0.5, low=0.1, high=1.0, ge=0, le=2, description="power of the SNR")

    def log_weight(self, log_snr, target):
        _, x = as_array(log_snr)
        return {formula}
'''


def weighting(path: Path, kind: str = "mine", formula: str = "self.power * x", imports: str = "") -> Path:
    """A file with one weighting."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(WEIGHTING.format(kind=kind, formula=formula, imports=imports))
    return path


def folder(path: Path, formula: str = "power * x", kind: str = "mine") -> Path:
    """A plug-in of two files: the weighting's formula is in the other one."""
    weighting(path / "weighting.py", kind, "of_power(x, self.power)", "from .maths import of_power")
    (path / "__init__.py").write_text("from .weighting import Mine\n")
    (path / "maths.py").write_text(f"def of_power(x, power):\n    return {formula}\n")
    return path


def installed(target: Path, scratch: Path) -> Path:
    """The outside package, installed by pip into a folder."""
    shutil.copytree(OUTSIDE, scratch)
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-build-isolation", "--no-deps"]
    subprocess.run([*pip, "--target", target, scratch], check=True, timeout=240)
    return target
