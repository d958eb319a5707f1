"""A search with several seeds in reports: proposals are ranked by their mean, seeds never."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from reports.pages.study_page import render_page
from reports.results import EmaPoint, StudyResults, TrialResult
from reports.tables import render, summary_lines
from search_spaces.study import make_study
from tests.conftest import tiny_fields
from trainables.errors import ConfigError

SCORES = {0.01: [1.0, 9.0, 9.0], 0.02: [4.0, 4.0, 4.0], 0.03: [20.0], 0.04: [3.0, 2.0]}


def seeded_results() -> StudyResults:
    """Four learning rates; the luckiest seed is of one that is not the best, one was dropped, and of one a seed is running."""
    space = {"optimiser.lr": {"low": 0.001, "high": 0.1, "log": True}}
    study = make_study({"name": "demo", "base": tiny_fields(), "space": space, "search": {"trials": 4, "seeds": 3}})
    found: list[TrialResult] = []
    for rate, scores in SCORES.items():
        for seed, score in enumerate(scores):
            ema = [EmaPoint(0.1, score, 1e-3, images=256)]
            fields: dict[str, Any] = {"status": "completed", "best": score, "sigma_rel": 0.1, "ema": ema}
            found.append(TrialResult(number=len(found), variant="v", seed=seed, values={"optimiser.lr": rate, "seed": seed}, recipe_key="k",
                                     commit="c", reason="", recipe={}, images=256, train_seconds=2.0, **fields))
    found[-1].status, found[-1].best = "running", None
    return StudyResults(name="demo", study_id="i", description="", metric="fd_probe", axes=study.axes, commit="c", status="FINISHED",
                        definition=study.model_dump(mode="json"), importances={"optimiser.lr": (1.0, 1.0, 1.0)}, trials=found)


def test_the_best_is_the_proposal_with_the_best_mean_of_all_its_seeds() -> None:
    results = seeded_results()
    assert [(c.label, c.status, c.complete) for c in results.candidates] == [
        ("lr=0.02", "completed", True), ("lr=0.01", "completed", True), ("lr=0.04", "running", False), ("lr=0.03", "dropped", False)]
    assert [t.values["optimiser.lr"] for t in results.ranked] == [0.02, 0.01]
    assert results.score(results.ranked[1], "fd_probe") == pytest.approx(81 ** (1 / 3))
    lines = "\n".join(summary_lines(results))
    assert "best variant:  lr=0.02 (trials 3, 4, 5)" in lines and "fd_probe 4.000, mean of 3 seeds (4.000 to 4.000); the best of 2" in lines


def test_rows_by_variant_are_rows_by_proposal() -> None:
    rows = json.loads(render(seeded_results(), "json", "variant"))
    assert [(r["variant"], r["seeds"]) for r in rows] == [("lr=0.02", 3), ("lr=0.01", 3), ("lr=0.04", 1), ("lr=0.03", 1)]
    assert rows[1]["log_sd"] == pytest.approx(math.log(9) / math.sqrt(3)) and (rows[1]["low"], rows[1]["high"]) == (1.0, 9.0)
    with pytest.raises(ConfigError, match="no design, and so no comparisons"):
        render(seeded_results(), "json", "comparison")


def test_the_page_begins_with_the_best_mean_and_the_table_of_proposals() -> None:
    body = render_page(seeded_results()).split("<body>")[1]
    assert body.index("lr=0.02: fd_probe 4, mean of 3 seeds") < body.index('id="variants"') < body.index("<h2>Trials")
    assert "share one training seed" not in body and "best variant</span>" not in body


def test_proposals_are_in_order_of_their_first_objective() -> None:
    results = seeded_results()
    goals = [{"metric": "fd_probe", "direction": "minimise"}, {"metric": "macs", "direction": "minimise"}]
    results.definition = {**results.definition, "search": {**results.definition["search"], "objectives": goals}}
    for trial in results.trials:
        trial.metrics = {"macs": 1.0 / trial.values["optimiser.lr"]}
    assert [c.label for c in results.candidates][:2] == ["lr=0.02", "lr=0.01"]
    results.definition["search"]["objectives"] = goals[::-1]
    del results.__dict__["candidates"]
    assert [c.label for c in results.candidates][:2] == ["lr=0.02", "lr=0.01"]  # the larger rate has fewer here
    for trial in results.trials:
        trial.metrics = {"macs": trial.values["optimiser.lr"]}
    del results.__dict__["candidates"]
    assert [c.label for c in results.candidates][:2] == ["lr=0.01", "lr=0.02"]
