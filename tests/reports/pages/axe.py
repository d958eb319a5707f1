"""axe-core, which looks for what keeps people from using a page: fetched from npm once, and never kept in the repository."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

_VERSION = "4.14.1"
_SERIOUS = ("serious", "critical")


def violations(page: Any) -> list[str]:
    """Serious ones of a page in the browser, each with the first element concerned; skips where axe-core cannot be had."""
    page.evaluate(_script())
    found = page.evaluate("() => axe.run()")["violations"]
    return [f"{v['id']}: {v['help']}: {v['nodes'][0]['html'][:200]}" for v in found if v["impact"] in _SERIOUS]


def _script() -> str:
    """`axe.min.js` at $SNRLAB_AXE, in the cache, or from npm."""
    if given := os.environ.get("SNRLAB_AXE"):
        return Path(given).read_text()
    kept = Path.home() / ".cache" / "snrlab-tests" / f"axe-core-{_VERSION}.js"
    if not kept.exists():
        _fetch(kept)
    return kept.read_text()


def _fetch(kept: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("needs axe-core: npm is missing, and SNRLAB_AXE names no axe.min.js")
    kept.parent.mkdir(parents=True, exist_ok=True)
    command = [npm, "pack", f"axe-core@{_VERSION}", "--pack-destination", str(kept.parent)]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=120)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        pytest.skip("needs axe-core, which npm cannot fetch here")
    archive = kept.parent / f"axe-core-{_VERSION}.tgz"
    with tarfile.open(archive) as files:
        member = files.extractfile("package/axe.min.js")
        assert member is not None
        kept.write_bytes(member.read())
    archive.unlink()
