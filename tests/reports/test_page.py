"""The report page in a real browser: it needs no network, escapes what users wrote, and fits a phone."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from reports.figures.ema import ema_curves
from reports.load import _trial
from reports.pages.study_page import render_page, write_page
from reports.rank_correlation import RankCorrelation, rank_correlations
from reports.results import ClassicalPoint, EmaPoint, StudyResults, TrialResult
from reports.tables import render, rows, summary_lines
from trainables.evaluation.classical_scores import ClassicalScore, classical_row
from trainables.evaluation.scoring import Score

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian: apt-get install chromium)")


def results(**changes) -> StudyResults:
    recipe = {"schedule.kind": "laplace", "schedule.b": "0.5", "schedule.mu": "0.0"}
    trials = [
        TrialResult(
            number=n, variant=f"v{n}", seed=0, status=status, values={"weighting.gamma": 2.0 + n, "schedule.kind": "laplace"},
            recipe_key=f"key{n}", commit="c0ffee", reason="boom <script>alert(1)</script>" if status == "failed" else "", recipe=recipe,
            images=512, train_seconds=1.5, best=None if status == "failed" else 10.0 - n, sigma_rel=0.08,
            curve=[(256, 20.0 - n), (512, 12.0 - n)], loss=[(256, 1.0), (512, 0.5)],
            ema=[EmaPoint(s, 10.0 - n + abs(s - 0.08) * 30, 1e-3) for s in (0.05, 0.08, 0.12)],
        )
        for n, status in enumerate(["completed", "completed", "stopped", "failed"])
    ]
    fields = {
        "name": "demo", "study_id": "i", "description": "<img src=x onerror=alert(2)> & more", "metric": "fd_probe",
        "axes": ["weighting.gamma", "schedule.kind"], "definition": {"name": "demo", "note": "</pre><script>alert(3)</script>"},
        "commit": "c0ffee", "status": "FINISHED", "importances": {"weighting.gamma": (0.7, 0.4, 0.9), "schedule.kind": (0.3, 0.1, 0.6)},
        "trials": trials,
    }
    return StudyResults(**{**fields, **changes})


def browse(page: Path, *options: str, tmp_path: Path) -> str:
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync",
               "--no-first-run", "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={tmp_path / 'profile'}",
               "--virtual-time-budget=8000", *options, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def test_users_texts_are_escaped() -> None:
    html = render_page(results())
    ours = re.sub(r"<script>.*?</script>", "", html, flags=re.DOTALL)  # Plotly and our own script
    assert "<img src=x" not in ours and "alert(1)</script>" not in ours and "alert(3)</script>" not in ours
    assert "&lt;img src=x onerror=alert(2)&gt; &amp; more" in ours


def test_no_address_is_fetched() -> None:
    html = render_page(results())
    assert not re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="(?!data:)', html)


def test_only_completed_trials_are_ranked() -> None:
    assert [t.number for t in results().ranked] == [1, 0]
    assert summary_lines(results())[0] == "study demo: 2 completed, 1 stopped, 1 failed"
    assert rows(results())[3]["fd_probe"] is None
    html = render_page(results())
    assert "lies at the edge" not in html and "1 trials were stopped early" in html


def test_impossible_trials_are_listed_with_their_reason_and_not_ranked() -> None:
    study = results()
    study.trials[3].status, study.trials[3].reason = "infeasible", "schedule.b: too small"
    html = render_page(study)
    assert "Trial 3 infeasible: schedule.b: too small" in html and "1 trials have an impossible combination" in html
    assert [t.number for t in study.ranked] == [1, 0] and summary_lines(study)[0].endswith("1 stopped, 1 infeasible")


def test_the_rank_correlation_of_interim_and_final_scores_is_shown_with_its_number_of_trials() -> None:
    study = results()
    assert rank_correlations(study) == [] and "needs three completed trials" in render_page(study)
    for trial, interim, final in zip(study.trials, (4.0, 3.0, 2.0, 1.0), (7.0, 8.0, 6.0, 5.0), strict=True):
        trial.status, trial.best, trial.curve = "completed", final, [(256, interim), (512, final)]
    assert rank_correlations(study) == [RankCorrelation(256, pytest.approx(0.8), 4), RankCorrelation(512, pytest.approx(1.0), 4)]
    assert "0.80 after 256 images (4 trials)" in render_page(study)


def test_what_cannot_be_reproduced_and_what_was_reused_is_said() -> None:
    study = results()
    code, others = {"commit": "c0ffee", "dirty": False}, {"versions": {"torch": "9.9"}, "seed": 0}
    machine = {"system": "Linux", "cpu": "a CPU", "cpus": 2, "gpus": ["H100"]}
    data = {"kind": "digits", "hash": "abc", "images": 9, "shape": [1, 8, 8]}
    for trial in study.trials:
        trial.provenance = [{"code": code, **others, "machine": machine, "data": data}]
    html = render_page(study)
    assert "cannot be reproduced" not in html and html.count("CPUs a CPU, H100") == 1 and "torch 9.9" in html and "0, 1, 2, 3" in html
    study.trials[1].provenance = [{"code": {**code, "dirty": True}, **others, "machine": machine, "data": data}]
    study.trials[0].reused = {"study": "first", "trial": 4, "images": 512}
    html = render_page(study)
    assert "cannot be reproduced from its commit alone: the code had uncommitted changes" in html
    assert "Trial 0 was trained in study first, trial 4, reused" in html
    found = json.loads(render(study, "json"))
    assert found[0]["reused"]["trial"] == 4 and found[1]["provenance"][0]["data"]["hash"] == "abc"
    assert found[0]["cannot_be_reproduced_from_commit"] == "" and "uncommitted" in found[1]["cannot_be_reproduced_from_commit"]


def test_scores_by_different_feature_networks_are_not_compared() -> None:
    study = results()
    for trial, network in zip(study.trials, ("aa", "aa", "bb", ""), strict=True):
        trial.ema = [replace(point, feature_hash=network) for point in trial.ema]
    assert "2 different feature networks (trials 0, 1; trials 2)" in render_page(study)
    assert not any("best variant" in line for line in summary_lines(study)) and any("sweep.json" in line for line in summary_lines(study))
    study.trials[2].ema = study.trials[0].ema
    assert not study.warnings


def test_an_optimum_at_the_edge_is_pointed_out() -> None:
    study = results()
    study.trials[1].sigma_rel = 0.12
    assert "lies at the edge of the swept range" in render_page(study)


def traded() -> StudyResults:
    """Trials 0 to 3: a front of two, one that is beaten, one beyond the bound."""
    definition = {"search": {"objectives": [{"metric": "fd_probe"}, {"metric": "macs", "direction": "minimise"}]}}
    study = results(definition=definition, bounds={"macs": 300.0})
    for trial, score, macs in zip(study.trials, (9.0, 8.0, 8.5, 1.0), (100.0, 200.0, 250.0, 400.0), strict=True):
        trial.status, trial.best, trial.metrics = "completed", score, {"fd_probe": score, "macs": macs}
    return study


def test_a_search_for_two_things_shows_its_front_and_what_is_beyond_a_bound() -> None:
    study = traded()
    assert [t.number for t in study.ranked] == [1, 2, 0] and sorted(t.number for t in study.front) == [0, 1]
    assert [r["within_bounds"] for r in rows(study)] == [True, True, True, False] and rows(study)[3]["macs"] == 400.0
    assert summary_lines(study)[-1] == "Pareto front:  trials 1, 0"
    html = render_page(study)
    assert "Score against macs" in html and "completed, beyond a bound" in html
    study = traded()
    study.bounds = {"macs": 1.0}
    assert "No completed trial is within the bounds" in render_page(study) and "none: no completed trial" in summary_lines(study)[1]


def test_more_may_be_better() -> None:
    study = traded()
    study.definition["search"]["objectives"][1]["direction"] = "maximise"
    assert [t.number for t in study.front] == [1, 2]


def test_a_study_without_a_completed_trial_has_a_page() -> None:
    assert "No trial has completed yet" in render_page(results(trials=[], importances={}))


@needs_browser
def test_charts_are_drawn_and_nothing_overflows(tmp_path: Path) -> None:
    page = write_page(results(), tmp_path / "report.html")
    measure = "document.title = 'width ' + document.documentElement.scrollWidth"
    probe = f"<script>addEventListener('load', () => setTimeout(() => {{ {measure} }}, 500))</script>"
    page.write_text(page.read_text().replace("</body>", probe + "</body>"))
    dom = browse(page, "--window-size=390,844", "--dump-dom", tmp_path=tmp_path)
    assert dom.count("main-svg") >= 4  # EMA curves, convergence, importance, densities
    # Chromium's headless window is at least 500 pixels wide.
    assert int(re.search(r"<title>width (\d+)</title>", dom)[1]) <= 500
    assert "trial 1" in dom


@needs_browser
def test_a_finished_study_has_samples_and_prints(finished, tmp_path: Path) -> None:
    folder, _ = finished
    page = folder / "runs/small/report/index.html"
    dom = browse(page, "--dump-dom", tmp_path=tmp_path)
    assert len(re.findall(r'<img src="samples/\d+\.png', dom)) == 3 == len(re.findall(r'<img src="samples/\d+-ema_lengths\.png', dom))
    assert "Over EMA length. Rows from above: sigma_rel " in dom and "main-svg" in dom and "a &lt;b&gt;small&lt;/b&gt; study" in dom
    browse(page, f"--print-to-pdf={tmp_path / 'page.pdf'}", tmp_path=tmp_path)
    assert (tmp_path / "page.pdf").stat().st_size > 20_000


def test_classical_averages_are_read_from_what_a_sweep_records() -> None:
    score = Score(9.5, {"fd_probe": 9.5}, 0.1, None, np.zeros((0, 1, 8, 8), np.uint8), "hash")
    row = classical_row(ClassicalScore("decay_0.5", 0.07, 512, 1.0, None, score))
    content = {
        "number": 0, "metrics": {"fd_probe": 9.0}, "sweep": {"points": [], "solver": "robust", "classical": [row]}, "further_sweeps": [],
        "curves": {}, "recipe": {}, "variant": "v", "status": "completed", "values": {}, "recipe_key": "k", "reason": "", "reused": {},
        "provenance": [],
    }
    run = SimpleNamespace(data=SimpleNamespace(metrics={"fd_probe": 9.0}, tags={}))
    assert _trial(run, content, "fd_probe", "demo").classical == [ClassicalPoint("decay_0.5", 0.07, 9.5, 0.1, 512)]
    del content["sweep"]["classical"]  # as earlier versions recorded it
    assert _trial(run, content, "fd_probe", "demo").classical == []


def test_classical_averages_are_marks_of_their_own_in_the_chart_of_lengths() -> None:
    study = results()
    assert "classical averages" not in render_page(study)
    here, elsewhere = ClassicalPoint("half<life", 0.07, 9.5, 0.1), ClassicalPoint("decay", 0.06, 9.0, images=256)
    study.trials[1].classical = [here, elsewhere]
    assert study.trials[1].classical_marks == [here]  # the other one belongs to another time than the curve
    (marks,) = [trace for trace in ema_curves(study).data if trace["mode"] == "markers"]
    assert marks["x"] == [0.07] and marks["y"] == [9.5] and marks["text"] == ["trial 1: half&lt;life"]
    assert "%{text}" in marks["hovertemplate"] and marks["error_y"]["array"] == [1.96 * 0.1]  # a 95 % interval
    study.trials[0].ema = [replace(point, standard_error=0.5) for point in study.trials[0].ema]
    lines = {trace["name"]: trace for trace in ema_curves(study).data if trace["mode"] == "lines+markers"}
    assert lines["trial 0"]["error_y"]["array"] == [0.98] * 3 and lines["trial 1 (best)"]["error_y"]["array"] == [0.0] * 3
    assert "Diamonds are the trial&#39;s classical averages (ema.classical)" in render_page(study)
    listed = json.loads(render(study, "json"))
    assert [point["name"] for point in listed[1]["classical"]] == ["half<life", "decay"] and listed[0]["classical"] == []
