"""Trials that are guided by a network of its own, without Ray: stages through the store, sweeps, further sweeps, export, plan."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cli.export import export_trial
from orchestrator.cli.step_groups import guide_lines, most_stages
from orchestrator.execution.resweep import save_averages, swept_trial
from orchestrator.execution.sweep_tasks import read_range, run_sweep
from orchestrator.execution.trial import Trial
from orchestrator.records import events
from orchestrator.records.folders import StudyFolder, SweepRecord, WorkFolder
from search_spaces.study import Study, make_study
from tests.orchestrator.execution.test_expert_trials import reports
from tests.trainables.stages.test_guided import RECIPE, SMALL
from trainables.ema.sweep_settings import Sweep
from trainables.exported import load_exported
from trainables.recipe import load_recipe

WEIGHTS = [1.5, 3.0]
STUDY: Study = make_study({
    "name": "guided", "base": RECIPE.model_dump(mode="json"), "space": {"evaluation.guidance.weight": {"low": 1.0, "high": 4.0}},
    "sweep": {"sigma_rels": [0.08, 0.12]}, "compute": {"workers": 0},
})


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[list[dict[str, Any]]], list[SweepRecord]]:
    """Two trials that differ in how strongly they are guided; their reports and sweeps."""
    root = tmp_path_factory.mktemp("guided")
    folder, told, found = WorkFolder(root), [], []
    for number, weight in enumerate(WEIGHTS):
        made: Trial = object.__new__(Trial)
        config = {"number": number, "values": {"evaluation.guidance.weight": weight}, "decided": 0}
        trials = str(folder.study("guided").root / "trials")
        made.setup(config, json.dumps(STUDY.packed), None, trials, str(folder.cache), str(folder.store))
        told.append(reports(made))
        trial = folder.study("guided").trial(number)
        found.append(run_sweep(str(trial.root), number, STUDY.sweep.model_dump_json(), False, str(folder.cache), 1, 0.0))
    return root, told, found


def study_folder(work: Any) -> StudyFolder:
    return WorkFolder(work[0]).study("guided")


def test_guide_and_network_are_trained_by_the_first_trial_alone(work: Any) -> None:
    _, (first, second), _ = work
    assert [r["images"] for r in first] == [r["images"] for r in second] == [128, 256]  # of the network; early stopping compares these
    assert [r["interim_fd_probe"] for r in first] == [r["interim_fd_probe"] for r in second]
    assert not any(r["recalled"] for r in first) and all(r["recalled"] for r in second)
    told = events.lines(study_folder(work).trial(1).root)
    assert all(any("reused" in line and f"stage={stage}" in line for line in told) for stage in ("guide", "base"))


def test_sweeps_are_guided_and_have_a_ledger_of_both_networks(work: Any) -> None:
    _, _, records = work
    assert not any(record.error for record in records)
    for number, (record, weight) in enumerate(zip(records, WEIGHTS, strict=True)):
        assert {(p["guidance_weight"], p["guide_sigma_rel"], p["images"]) for p in record.points} == {(weight, 0.1, 256)}
        assert [(s["stage"], s["images"]) for s in record.stages] == [("guide", 128), ("base", 256)]
        assert all(bool(s["reused"]) == (number == 1) for s in record.stages)
        assert record.cost["train_seconds"] == sum(s["train_seconds"] for s in record.stages)
        assert record.stages[1]["train_macs"] == 3 * 256 * record.cost["macs"] > record.stages[0]["train_macs"]
    assert records[0].points[0]["distance"] != records[1].points[0]["distance"]


def test_it_is_swept_again_with_other_weights_and_lengths_of_the_guide(work: Any) -> None:
    trial = swept_trial(study_folder(work), 1)
    wanted = Sweep(sigma_rels=(0.08,), guidance_weights=(1.0, 3.0), guide_sigma_rels=(0.1, 0.15))
    record = run_sweep(str(trial.root), 1, wanted.model_dump_json(), True, str(WorkFolder(work[0]).cache), 1, 0.0)
    assert len(record.points) == 4 and trial.sweep == work[2][1] and len(trial.further_sweeps) == 1
    by = {(p["guidance_weight"], p["guide_sigma_rel"]): p["distance"] for p in record.points}
    assert by[1.0, 0.1] == by[1.0, 0.15] and by[3.0, 0.1] == work[2][1].points[0]["distance"] != by[3.0, 0.15]
    assert len(save_averages(trial, wanted)) == 1  # of the network; the guide's averages are not its own
    assert read_range(str(trial.root), wanted.model_dump_json(), 0, 2, 1).shape[0] == 1


def test_the_best_score_is_exported_with_its_guide(work: Any, tmp_path: Path) -> None:
    target, lengths = export_trial(study_folder(work), 1, "best", tmp_path / "out", WorkFolder(work[0]).cache)
    exported = load_exported(target)
    assert exported.guide is not None and exported.evaluation.guidance.weight == 3.0 and len(lengths) == 1
    count = [sum(p.numel() for p in network.parameters()) for network in (exported.guide, exported.denoiser)]
    assert count[0] < count[1] and load_recipe(study_folder(work).trial(1).root / "recipe.json").guide.network.mult == tuple(SMALL["mult"])


def test_a_plan_says_what_the_guide_is() -> None:
    (line,) = guide_lines(STUDY)
    assert line.startswith("guide       edm2, ") and "128 images" in line and most_stages(STUDY) == 2
