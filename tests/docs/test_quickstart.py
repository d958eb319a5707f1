"""The quick start finds what the README says that it finds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT
from tests.studies import snrlab

_BEST = re.compile(r"best variant: +(?P<trial>.+)\n +fd_probe (?P<score>[0-9.]+) at sigma_rel (?P<length>[0-9.]+)")


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_the_quick_start_ends_as_the_readme_says(tmp_path: Path) -> None:
    """The score to 3 %: another processor rounds otherwise."""
    done = snrlab("run", "quickstart", cwd=tmp_path, timeout=2300)
    assert done.returncode == 0, done.stderr
    promised, found = _BEST.search((ROOT / "README.md").read_text()), _BEST.search(done.stdout)
    assert promised and found and found["trial"] == promised["trial"] and found["length"] == promised["length"]
    assert float(found["score"]) == pytest.approx(float(promised["score"]), rel=0.03)
