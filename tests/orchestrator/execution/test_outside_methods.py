"""Studies with methods from outside: planned, refused, sent to workers that never see the files, gone on with."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from orchestrator.cli.app import app
from orchestrator.records import provenance
from orchestrator.records.definition import define, recall
from orchestrator.records.folders import TrialRecord, WorkFolder
from search_spaces.study import make_study
from tests.conftest import tiny_fields
from tests.orchestrator.execution.test_trial import actor, reports
from tests.studies import snrlab
from tests.trainables.plugins.written import folder, installed, weighting
from trainables.errors import UserError
from trainables.stage_key import stage_key

TINY = tiny_fields()
LAB = {
    "data": "lab_discs", "network": "lab_network", "target": "lab_target", "schedule": "lab_uniform", "weighting": "lab_power",
    "timesteps": "lab_pairs", "optimiser": "lab_sign", "augment": "lab_flips", "duration": TINY["duration"], "ema": TINY["ema"],
    "evaluation": {**TINY["evaluation"], "features": "lab_means", "sample_metrics": ["lab_gap"],
                   "sampler": {"kind": "lab_euler", "num_steps": 3}},
}
EXPERTS = {
    "network": {"kind": "dit", "width": 32, "depth": 2, "heads": 4}, "timesteps": "uniform",
    "experts": {"groups": 2, "split": "lab_split", "budgets": {"kind": "lab_budgets", "share": 0.8}, "fine_tune": {"share": 0.25},
                "pruning": {"criterion": "lab_criterion", "multiple": 1, "images": 64}},
}


def fields(**changes: Any) -> dict[str, Any]:
    return {"name": "outside", "base": tiny_fields(weighting="mine"), "space": {"weighting.power": "auto"}, "search": {"trials": 2},
            "sweep": {"sigma_rels": [0.05, 0.12]}, "compute": {"workers": 0}, **changes}


def test_a_trial_is_trained_by_a_process_that_has_the_text_alone(tmp_path: Path) -> None:
    """What goes to the actor is plain text; the recipe in the trial's folder brings its plug-in along."""
    path = weighting(tmp_path / "my.py")
    study = make_study(fields(plugins=[str(path)], space={"seed": [0, 1]}))
    path.unlink()
    assert reports(actor(study, tmp_path / "work"))[-1]["done"]
    trial = WorkFolder(tmp_path / "work").study("outside").trial(0)
    assert "self.power * x" in (trial.root / "recipe.json").read_text()
    entry, = provenance.read(trial.root)
    assert set(entry["plugins"]) == {"my"} and len(entry["plugins"]["my"]) == 64
    code = f"""if True:
        from orchestrator.execution.sweep_tasks import run_sweep
        record = run_sweep({str(trial.root)!r}, 0, {study.sweep.model_dump_json()!r}, False, {str(tmp_path / "work/cache")!r}, 1, 0.0)
        print(record.error, len(record.points))
        """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["2"], done.stdout + done.stderr
    assert list((tmp_path / "work/store").glob(f"{stage_key(study.recipe({'seed': 0}), tmp_path)}/*/entry.json"))


def test_a_study_is_recalled_without_the_file_and_not_continued_with_changed_code(tmp_path: Path) -> None:
    path, found = weighting(tmp_path / "a/my.py"), WorkFolder(tmp_path / "work").study("outside")
    define(make_study(fields(plugins=[str(path)])), found)
    found.trial(0).write_record(TrialRecord(0, {}, "", "", "completed"))
    moved = weighting(tmp_path / "b/my.py", formula="self.power * x  # as before")
    define(make_study(fields(plugins=[str(moved)])), found)
    with pytest.raises(UserError, match=r"would mix with others:\n  plugins.my: '.{12}' -> '.{12}'\n"):
        define(make_study(fields(plugins=[str(weighting(tmp_path / "c/my.py", formula="2 * x"))])), found)
    shutil.rmtree(tmp_path / "a")
    shutil.rmtree(tmp_path / "b")
    code = f"""if True:
        from pathlib import Path
        from orchestrator.records.definition import recall
        from orchestrator.records.folders import WorkFolder
        print(recall(WorkFolder(Path({str(tmp_path / "work")!r})).study("outside")).study.base_recipe.weighting.power)
        """
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "0.5\n"
    assert recall(found).study.space["weighting.power"].high == 1.0  # type: ignore[attr-defined]


@pytest.mark.parametrize(("source", "message", "arguments"), [
    ("import nothing_of_this_name", "cannot be imported: ModuleNotFoundError: No module named 'nothing_of_this_name'", ["plan", "s.yaml"]),
    ("x = 1", "brings no method", ["check-plugin", "./bad.py"]),
])
def test_a_broken_plug_in_is_one_message_and_exit_code_2(source: str, message: str, arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text(source)
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(fields(plugins=["./bad.py"])))
    done = snrlab(*arguments, cwd=tmp_path)
    assert done.returncode == 2 and message in done.stderr and len(done.stderr.splitlines()) == 1 and not done.stdout


def test_new_and_check_plugin_on_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(app, ["new", "weighting", "cli_power"]).exit_code == 0
    shown = CliRunner().invoke(app, ["check-plugin", "./cli_power.py"])
    assert shown.exit_code == 0 and "weighting cli_power: all 10 checks pass" in shown.output
    text = (tmp_path / "cli_power.py").read_text()
    (tmp_path / "cli_worse.py").write_text(text.replace("self.power * x", "x.sum()").replace("cli_power", "cli_worse"))
    done = snrlab("check-plugin", "./cli_worse.py", cwd=tmp_path)
    assert done.returncode == 2 and "weighting cli_worse breaks its contract:" in done.stdout
    assert done.stderr == "snrlab: ./cli_worse.py: 1 of 1 methods break the contract of their family\n"


def test_a_job_takes_the_files_of_plug_ins_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray.job_submission

    class Client:
        def __init__(self, address: str) -> None: ...

        def submit_job(self, entrypoint: str, runtime_env: dict[str, Any]) -> str:
            shutil.copytree(runtime_env["working_dir"], tmp_path / "job")
            return "job-1"

    monkeypatch.setattr(ray.job_submission, "JobSubmissionClient", Client)
    monkeypatch.chdir(tmp_path)
    weighting(tmp_path / "my.py")
    folder(tmp_path / "other/several", kind="several")
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(fields(plugins=["./my.py", "./other/several"])))
    shown = CliRunner().invoke(app, ["submit", "s.yaml", "--address", "http://head:8265", "--workdir", "/shared/runs"])
    assert shown.exit_code == 0, shown.output
    shutil.rmtree(tmp_path / "other")
    (tmp_path / "my.py").unlink()
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "job")}
    code = "from search_spaces.study import load_study; print(load_study('study.yaml').base_recipe.weighting.power, load_study.__module__)"
    told = subprocess.run([sys.executable, "-c", code], cwd=tmp_path / "job", env=environment, capture_output=True, text=True)
    assert told.stdout.split()[:1] == ["0.5"], told.stderr


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("workers", [0, 1])
def test_one_method_of_each_family_is_run_by_workers_that_never_see_the_package(workers: int, tmp_path: Path) -> None:
    """The package is installed as a user would, planned with, and gone before Ray starts its processes."""
    installed(tmp_path / "site", tmp_path / "scratch")
    weighting(tmp_path / "my.py")
    variants = {"lab": {}, "mine": {"weighting": "mine"}, "experts": EXPERTS}
    study = {"name": "outside", "plugins": ["./my.py"], "base": LAB, "design": {"seeds": 1, "variants": variants},
             "sweep": {"sigma_rels": [0.05, 0.12]}, "compute": {"workers": workers}}
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(study, sort_keys=False))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")])}
    plan = [sys.executable, "-c", "from orchestrator.cli.app import main; main()", "plan", "s.yaml"]
    planned = subprocess.run(plan, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert planned.returncode == 0 and "objective   fd_lab_means" in planned.stdout and "network     lab_network" in planned.stdout
    code = f"""if True:
        import shutil, sys
        from pathlib import Path
        sys.path.insert(0, "site")
        import snrlab
        from search_spaces import study
        make = study.make_study
        def made(*arguments):
            found = make(*arguments)
            assert found.plugins == ({str(tmp_path / "my.py")!r}, "lab_methods.methods"), found.plugins
            shutil.rmtree("site")
            Path("my.py").unlink()
            return found
        study.make_study = made
        outcome = snrlab.run("s.yaml", "runs")
        print(list(outcome.trials.status), outcome.metric)
        """
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1:] == ["['completed', 'completed', 'completed'] fd_lab_means"], done.stdout + done.stderr
    rows = json.loads(snrlab("results", "outside", "--format", "json", cwd=tmp_path).stdout)
    assert rows[0]["fd_lab_means"] == rows[1]["fd_lab_means"] != rows[2]["fd_lab_means"]  # lab_power is the same formula
    sweep = WorkFolder(tmp_path / "runs").study("outside").trial(0).sweep
    assert sweep and sweep.numbers["lab_gap_lab_means"] > 0
    again = snrlab("sweep", "outside", "--trial", "0", "--sigma-rel", "0.08", cwd=tmp_path)
    assert again.returncode == 0 and "fd_lab_means" in again.stdout, again.stderr
    assert snrlab("store", "verify", cwd=tmp_path).stdout.endswith(" 0 damaged\n")
