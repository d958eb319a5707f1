"""Two studies at once in one work folder whose trials have one base, also when both are killed while it is trained."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from orchestrator.records.folders import WorkFolder
from tests.faults.interrupted import kill, wait_for
from tests.studies import SNRLAB
from tests.trainables.stages.recipes import stepwise

NAMES = ("one", "other")


def start(folder: Path, name: str) -> subprocess.Popen[bytes]:
    with (folder / f"{name}.log").open("ab") as log:
        command = [*SNRLAB, "run", f"{name}.yaml"]
        return subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)


def ledger(folder: Path, name: str) -> dict[str, int]:
    """Images by stage that were trained for the study, and not taken over."""
    spent: dict[str, int] = {}
    for number in (0, 1):
        sweep = WorkFolder(folder / "runs").study(name).trial(number).sweep
        assert sweep and sweep.experts
        for stage in sweep.experts["ledger"]:
            spent[stage["stage"]] = spent.get(stage["stage"], 0) + stage["images"] - int(stage["reused"].get("images", 0))
    return spent


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("killed", [False, True], ids=["unbroken", "both killed in the base"])
def test_two_drivers_at_once_train_one_base_once(killed: bool, tmp_path: Path) -> None:
    base = stepwise(duration={"images": 2048, "batch_size": 32}).model_dump(mode="json")
    for k, name in zip((0.5, 0.6), NAMES, strict=True):
        study = {"name": name, "base": base, "space": {"experts.budgets.k": [k, k + 0.2]}, "search": {"trials": 2, "sampler": "grid"},
                 "sweep": {"sigma_rels": [0.08, 0.12]}, "compute": {"workers": 0}}
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(study))
    drivers = [start(tmp_path, name) for name in NAMES]
    if killed:
        wait_for(lambda: any(tmp_path.glob("runs/*/trials/0000/base/checkpoint.safetensors")), seconds=300)
        for driver in drivers:
            kill(driver)
        drivers = [start(tmp_path, name) for name in NAMES]
    for name, driver in zip(NAMES, drivers, strict=True):
        assert driver.wait(timeout=500) == 0, (tmp_path / f"{name}.log").read_text()
    spent = [ledger(tmp_path, name) for name in NAMES]
    assert sorted(each["base"] for each in spent) == [0, 2048]
    assert sum(each["group-2"] for each in spent) == 1024  # the full network on one interval: all four trials have it in common
    assert [each["group-1"] for each in spent] == [2048, 2048]  # two widths each, of no other trial
