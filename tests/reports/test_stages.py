"""A study with a chain in reports: the confirmed verdict first, the search's score beside it, and no stage in the search's ranking."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from reports.pages.study_page import render_page
from reports.results import EmaPoint, StudyResults, TrialResult
from reports.stages import stage_results
from reports.tables import render, summary_lines
from search_spaces.stages import stage_design
from search_spaces.study import make_study
from tests.conftest import tiny_fields

LEVELS = {0.02: 10.0, 0.05: 12.0, 0.001: 30.0, 0.01: 20.0}  # by learning rate; 0.01 is the base's


def chain_results(staged: int | None = None) -> StudyResults:
    """A search of three trials whose scores are all a tenth too good, and its chain."""
    space = {"optimiser.lr": {"low": 0.001, "high": 0.1, "log": True}}
    chain = {"ablate": {"kind": "one_at_a_time", "seeds": 4}, "confirm": {"top": 2, "seeds": 5}}
    base = tiny_fields(optimiser={"lr": 0.01})
    study = make_study({"name": "demo", "base": base, "space": space, "search": {"trials": 3}, "chain": chain})
    best, rng, found, stages = [{"optimiser.lr": rate} for rate in (0.02, 0.05, 0.001)], np.random.default_rng(0), [], []

    def add(values: dict, factor: float) -> None:
        level = LEVELS.get(values.get("optimiser.lr", 0.01), 15.0)
        score = level * factor * math.exp(rng.normal(0, 0.02))
        found.append(TrialResult(
            number=len(found), variant="v", seed=values.get("seed", 0), status="completed", values=values, recipe_key="k", commit="c",
            reason="", recipe={}, images=256, train_seconds=2.0, best=score, sigma_rel=0.1, ema=[EmaPoint(0.1, score, 1e-3, images=256)],
        ))

    for values in best:
        add(values, 0.9)
    for name in ("ablate", "confirm"):
        design = stage_design(study, name, best)
        stages.append({"stage": name, "first": len(found), "design": design.model_dump(mode="json"), "reason": ""})
        for trial in design.trials():
            add(trial.values, 1.0)
    return StudyResults(name="demo", study_id="i", description="", metric="fd_probe", axes=study.axes, commit="c", status="FINISHED",
                        definition=study.model_dump(mode="json"), importances={}, trials=found[:staged], stages=stages)


def test_confirmed_scores_carry_the_verdict_and_show_the_shrinkage() -> None:
    ablate, confirm = stage_results(chain_results())
    assert [row["verdict"] for row in confirm.rows] == ["baseline", "better", "better"]
    assert confirm.rows[0]["search"] is None and confirm.rows[1]["shrinkage"] == pytest.approx(1 / 0.9 - 1, abs=0.05)
    assert confirm.headline.startswith("1: lr=0.02 lowers fd_probe by")
    assert ablate.ablation and ablate.ablation.design.baseline_name == "winner"
    lines = "\n".join(summary_lines(chain_results()))
    assert "confirm:       1: lr=0.02 lowers" in lines and "1: lr=0.02: search 9." in lines and "ablate:" in lines
    assert "best variant:  trial 0 (lr=0.02)" in lines  # of the search alone, whatever the stages have scored


def test_rows_are_by_stage() -> None:
    rows = json.loads(render(chain_results(), "json", "variant"))
    assert [row["stage"] for row in rows] == ["search"] * 3 + ["ablate"] * 3 + ["confirm"] * 3
    assert {row["stage"] for row in json.loads(render(chain_results(), "json"))} == {"search", "ablate", "confirm"}
    assert render(chain_results(), "table", "variant") and render(chain_results(), "csv", "variant")


def test_the_page_begins_with_what_is_confirmed() -> None:
    body = render_page(chain_results()).split("<body>")[1]
    order = ("Confirmed on seeds", "1: lr=0.02 lowers", 'id="stage-confirm"', "shrinkage", "Ablation around", "The search</h2>",
             "<h2>Trials")
    places = [body.index(text) for text in order]
    assert places == sorted(places)
    table = body.split('<table id="trials">')[1].split("</table>")[0]
    assert '<th class="text">stage</th><th>seed</th>' in table and '<td class="text">confirm</td>' in table


def test_a_stage_that_is_just_beginning_has_a_page() -> None:
    assert "Nothing can be said yet" in render_page(chain_results(staged=4))
