"""Every kind of file of an interrupted study, halved, emptied, deleted, or with one bit flipped: then the study is run again."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.faults import interrupted

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

# Names of kinds by a pattern of the path below the work folder; the first that fits is the file's.
KINDS = {
    "definition": r"faults/study\.json", "study_lock": r"faults/(\.lock|optuna\.journal\.lock)",
    "search_log": r"faults/search\.jsonl", "optuna_copy": r"faults/optuna\.journal", "usage": r"faults/usage\.json",
    "finished_record": r"faults/trials/0000/trial\.json", "finished_sweep": r"faults/trials/0000/sweep\.json",
    "tracking": r"faults/tracking\.json", "provenance": r"faults/.*provenance.*", "finished_metrics": r"faults/trials/0000/metrics\.jsonl",
    "finished_checkpoint": r"faults/trials/0000/checkpoint\.safetensors", "finished_snapshot": r"faults/trials/0000/snapshots/.*",
    "finished_recipe": r"faults/trials/0000/recipe\.json", "finished_events": r"faults/trials/0000/events\.jsonl",
    "finished_samples": r"faults/trials/0000/samples/.*",
    "running_record": r"faults/trials/0001/trial\.json",
    "running_metrics": r"faults/trials/0001/metrics\.jsonl", "running_checkpoint": r"faults/trials/0001/checkpoint\.safetensors",
    "running_snapshot": r"faults/trials/0001/snapshots/.*", "running_recipe": r"faults/trials/0001/recipe\.json",
    "running_events": r"faults/trials/0001/events\.jsonl",
    "store_entry": r"store/[0-9a-f]+/\d+/entry\.json", "store_metrics": r"store/[0-9a-f]+/\d+/metrics\.jsonl",
    "store_checkpoint": r"store/[0-9a-f]+/\d+/checkpoint\.safetensors", "store_snapshot": r"store/[0-9a-f]+/\d+/snapshots/.*",
    "store_lock": r"store/[0-9a-f]+\.lock",
    "probe": r"cache/probe-.*\.safetensors", "statistics": r"cache/statistics-.*\.safetensors", "cache_lock": r"cache/.*\.lock",
    "mlflow_database": r"mlflow\.db", "mlflow_lock": r"mlflow.*\.lock", "mlflow_journal": r"mlflow\.db-.*",
    "mlflow_artifact": r"mlflow-artifacts/.*",
}
MAY_BE_MISSING = {
    "search_log", "usage", "study_lock", "store_lock", "cache_lock", "mlflow_lock", "mlflow_journal", "mlflow_artifact", "tracking",
    "provenance",
}
OF_RAY = r"faults/ray/.*"  # logs and state of Tune, which nothing of ours reads again


def halve(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    if not content:
        pytest.skip("an empty file has no bits")
    content[len(content) * 2 // 3] ^= 1
    path.write_bytes(content)


DAMAGES: dict[str, Callable[[Path], object]] = {"halved": halve, "emptied": empty, "deleted": Path.unlink, "flipped": flip}


def kinds_of(work: Path) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for path in sorted(path for path in work.rglob("*") if path.is_file()):
        relative = path.relative_to(work).as_posix()
        if not re.fullmatch(OF_RAY, relative):
            kind = next((name for name, pattern in KINDS.items() if re.fullmatch(pattern, relative)), relative)
            found.setdefault(kind, []).append(path)
    return found


def test_every_kind_of_file_is_in_the_matrix(killed: Path) -> None:
    found = kinds_of(killed / "runs").keys()
    assert found - KINDS.keys() == set(), "give these a name in KINDS"
    assert KINDS.keys() - found <= MAY_BE_MISSING


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file(kind: str, damage: str, killed: Path, wanted: list[dict[str, Any]]) -> None:
    files = kinds_of(killed / "runs").get(kind)
    if not files:
        pytest.skip("this run has left no such file")
    victim = files[len(files) // 2]
    DAMAGES[damage](victim)
    print(f"{kind} {damage}: {interrupted.check_same_or_told(killed, wanted, victim)}")
