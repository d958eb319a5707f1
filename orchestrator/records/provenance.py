"""What a trial was trained by: commit with uncommitted changes, library versions, hardware, data, seed.

Collected in the process that trains, and kept in the trial's folder.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from trainables import determinism
from trainables.files import document
from trainables.plugins.code import code_of_plugins
from trainables.recipe import Recipe

_ROOT = Path(__file__).parents[2]
CODE_FILE = "code.json"
_PACKAGES = ("orchestrator", "trainables", "search_spaces", "reports")
_LIBRARIES = ("snrlab", "torch", "torchvision", "numpy", "ray", "optuna", "mlflow")
_LONGEST_DIFF = 200_000  # characters


def write(folder: Path, recipe: Recipe, cache: Path | None = None) -> None:
    """Note what trains in this process; a trial that went on elsewhere, or with other code, has an entry for each.

    Call it once per trial and worker group, before training: the data, read here (in `cache`, once per machine), stay in memory for it.
    """
    entry, known = collect(recipe, cache), read(folder)
    if entry not in known:
        document.write(_path(folder), {"entries": [*known, entry]}, indent=1)


def read(folder: Path) -> list[dict[str, Any]]:
    """Entries in the order in which they took part; none where nothing was noted. Damaged where the file is."""
    path, way_out = _path(folder), "restore it, or delete it: then it is not known what trained that trial"
    return list(document.read(path, way_out)["entries"]) if path.exists() else []


def collect(recipe: Recipe, cache: Path | None = None) -> dict[str, Any]:
    """All of it as plain data: code, versions, machine, data, seed, what determinism rests on."""
    data, kind = recipe.data.load(cache), recipe.data.model_dump()["kind"]
    return {
        "code": code(), "versions": _versions(), "machine": _machine(), "seed": recipe.seed,
        "deterministic": determinism.stated(recipe.arithmetic.deterministic),
        "data": {"kind": kind, "hash": data.key, "images": len(data.images), "shape": list(data.shape), "classes": data.classes},
        **({"plugins": code_of_plugins(recipe.plugins)} if recipe.plugins else {}),  # their source is in the trial's recipe.json
    }


@cache
def code() -> dict[str, Any]:
    """Commit of our packages, whether they differ from it, and how; an empty commit where they lie in no repository of their own.

    What was sent to a cluster as a job has no repository: there, `CODE_FILE` beside the packages says it.
    """
    if (_ROOT / CODE_FILE).exists():
        return dict(json.loads((_ROOT / CODE_FILE).read_text()))
    if _git("rev-parse", "--show-toplevel").strip() != str(_ROOT):
        return {"commit": "", "dirty": False, "diff": ""}
    packages = ["--", *_PACKAGES]
    changes = _git("diff", "HEAD", *packages)
    for name in _git("ls-files", "--others", "--exclude-standard", *packages).splitlines():
        changes += _git("diff", "--no-index", os.devnull, name)
    if len(changes) > _LONGEST_DIFF:
        changes = f"{changes[:_LONGEST_DIFF]}\n(cut: the changes have {len(changes)} characters)\n"
    return {"commit": _git("rev-parse", "HEAD").strip(), "dirty": bool(changes), "diff": changes}


def _path(folder: Path) -> Path:
    return folder / "provenance.json"


def _git(*arguments: str) -> str:
    """What git says; empty where there is no git. (`diff --no-index` exits with 1 where files differ.)"""
    try:
        done = subprocess.run(["git", *arguments], cwd=_ROOT, capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode(errors="replace") if done.returncode in (0, 1) else ""


@cache
def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


@cache
def _machine() -> dict[str, Any]:
    return {"system": platform.platform(), "cpu": _cpu(), "cpus": os.cpu_count(), "gpus": _gpus()}


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _gpus() -> list[str]:
    """Models of the GPUs that this process sees; a process that has not loaded torch uses none."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return []
    return [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())]
