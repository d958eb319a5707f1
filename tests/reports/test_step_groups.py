"""Step groups on the report page: groups over the axis, losses, EMA lengths, units kept and the compute ledger."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from reports.figures.step_groups import groups_on_the_axis
from reports.pages.study_page import render_page, write_page
from reports.results import StudyResults
from reports.step_groups import read_step_groups, shown_step_groups, variant_costs
from reports.variants import ablation_of
from tests.conftest import tiny_fields
from tests.reports.test_page import CHROMIUM, browse, needs_browser, results

EDGES = (None, -7.5, -3.25, 3.0, None)


def experts(best: str = "joint", **changes: Any) -> dict[str, Any]:
    groups = [
        {"name": f"group-{i + 1}", "low": EDGES[i], "high": EDGES[i + 1], "ratio": ratio,
         "macs": 1.2e6 * ratio, "parameters": 45_000 * ratio, "images": 3840, "base_loss": 0.4,
         "loss": 0.38 + 0.02 * i, "sigma_rel": 0.05 + 0.01 * i,
         "kept": {"encoder/8_block0/hidden": [round(8 * ratio), 8], "decoder/<4>/hidden": [16, 16]}}
        for i, ratio in enumerate((0.6, 0.74, 0.87, 1.0))
    ]
    reused = {"study": "first", "trial": 3, "images": 30720}
    return {
        "macs_ratio": 0.81, "base_macs": 1.2e6, "base_parameters": 45_443, "best": best, "groups": groups,
        "choices": [{"how": "joint", "sigma_rels": [0.05, 0.06, 0.07, 0.08], "distance": 3.5},
                    {"how": "common", "sigma_rels": [0.08] * 4, "distance": 3.75},
                    {"how": "common", "sigma_rels": [0.12] * 4, "distance": 3.6}],
        "ledger": [{"stage": "base", "images": 30720, "train_seconds": 40.0, "reused": reused},
                   *({"stage": f"group-{i}", "images": 3840, "train_seconds": 5.5, "reused": {}} for i in (1, 2, 3, 4))],
        "speed": {"experts": {"images_per_second": 130.0, "weight_bytes": 2**21, "peak_bytes": 3 * 2**20},
                  "base": {"images_per_second": 100.0, "weight_bytes": 2**20, "peak_bytes": 2**22}}, **changes,
    }


def with_experts(**changes: Any) -> StudyResults:
    study = results(**changes)
    study.trials[1].experts = experts()
    return study


def text_of(page: str) -> str:
    body = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body))


def test_losses_lengths_units_and_the_ledger_are_shown() -> None:
    page = text_of(render_page(with_experts()))
    assert "trial 1: fd_probe 9 at 81 % of the base's multiply-accumulates per image" in page
    assert "group-2 -7.5 to -3.25 74 % 888,000 33,300 3,840 0.4 0.4 +0.0% 0.06" in page and "group-1 below -7.5" in page
    assert "a length for each group by its own loss (0.05, 0.06, 0.07, 0.08): 3.5, against one length for all (0.12): 3.6." in page
    assert "base 30,720 40 trained in study first, trial 3, reused (up to 30720 images)" in page
    assert "spent 15,360 22 without what was reused" in page
    assert "130 images/s against 100 with the base alone (1.30 times); weights 2 against 1 MiB; peak memory on the GPU 3 against 4" in page
    assert "encoder/8_block0/hidden 5 of 8 6 of 8 7 of 8 8 of 8" in page and "decoder/<4>" not in page


def test_a_trial_without_experts_has_no_such_section() -> None:
    assert "Step groups" not in render_page(results())


@pytest.mark.parametrize("content", [{"groups": []}, {"best": "joint"}, {"groups": [{"name": "a"}]}, "text"])
def test_what_another_version_wrote_is_left_out(content: Any) -> None:
    assert read_step_groups(content) is None
    study = results()
    study.trials[1].experts = content
    assert "<h2>Step groups" not in render_page(study)


def test_missing_numbers_are_dashes() -> None:
    found = experts(best="common", choices=[], ledger=[], speed={})
    del found["groups"][0]["loss"]
    found["groups"][1]["base_loss"] = None
    study = results()
    study.trials[1].experts = found
    page = text_of(render_page(study))
    assert "0.4 – – 0.05" in page and "– 0.4 – 0.06" in page and "EMA lengths:" not in page
    assert "images/s" not in page


def test_bars_cover_the_axis_without_gaps() -> None:
    study = with_experts()
    study.trials[1].recipe["evaluation.sampler.sigma_max"] = "10"
    shown = shown_step_groups(study, None)
    (bar,) = groups_on_the_axis(shown).data
    ends = [base + width for base, width in zip(bar["base"], bar["x"], strict=True)]
    assert bar["text"] == ["60 %", "74 %", "87 %", "100 %"] and ends[:-1] == pytest.approx(bar["base"][1:])
    assert bar["base"][0] == -8.5 and ends[-1] == pytest.approx(11.04, abs=0.01)  # beyond the last edge, where the sampler ends before it


def design() -> StudyResults:
    """Three variants on the first seed, and the first of them on the second."""
    variants = {"base": {}, "groups": {"experts": {"groups": 4}}, "other": {"experts": {"groups": 3}}}
    definition = {"name": "demo", "base": tiny_fields(), "design": {"kind": "variants", "variants": variants, "seeds": 2}}
    study = results(definition=definition, axes=["experts.groups", "seed"])
    for trial, seed, groups in zip(study.trials, (0, 0, 0, 1), (0, 4, 3, 0), strict=True):
        trial.seed, trial.status, trial.best = seed, "completed", 9.0
        trial.values = {"seed": seed, "experts.groups": groups} if groups else {"seed": seed}
        trial.experts = experts() if groups else {}
        trial.metrics = {"macs": 1e6 if groups else 1.2e6, "parameters": 9e4 if groups else 3e4}
    return study


def test_what_was_taken_over_in_part_is_spent_in_part() -> None:
    reused = {"study": "first", "trial": 3, "images": 10_240}
    found = read_step_groups(experts(ledger=[{"stage": "base", "images": 30_720, "train_seconds": 30.0, "reused": reused}]))
    assert found and found.spent == pytest.approx((20_480, 20.0))


def test_every_variant_of_a_design_is_shown_by_its_first_seed() -> None:
    study = design()
    titles = [title for title, *_ in shown_step_groups(study, ablation_of(study))]
    assert titles == ["groups (seed 0)", "other (seed 0)"]


FIRST = {"study": "first", "trial": 3, "images": 1024}
STAGES = [{"stage": "guide", "images": 1024, "train_seconds": 2.5, "train_macs": 1e9, "reused": FIRST},
          {"stage": "base", "images": 2048, "train_seconds": 20.5, "train_macs": 2e10, "reused": {}}]


def test_a_guide_is_in_the_ledger_and_in_what_variants_cost() -> None:
    study = design()
    assert "<h2>Guides" not in render_page(study)
    study.trials[0].stages = STAGES
    page = text_of(render_page(study))
    assert "guide 1,024 2.5 trained in study first, trial 3, reused (up to 1024 images) base 2,048 20.5 trained for this trial" in page
    assert "spent 2,048 20.5 without what was reused" in page
    (base, *_) = variant_costs(ablation_of(study))
    assert base.images == (3072 + 512) / 2 and base.train_macs == (2.1e10 + 3 * 1.2e6 * 512) / 2
    study.trials[0].stages = [{"another": "version"}]
    assert "<h2>Guides" not in render_page(study)


def test_variants_are_listed_with_what_they_cost() -> None:
    study = design()
    for stage in study.trials[1].experts["ledger"]:
        stage["train_macs"] = 1e11
    costs = {cost.variant: cost for cost in variant_costs(ablation_of(study))}
    assert list(costs) == ["base", "groups", "other"] and [cost.seeds for cost in costs.values()] == [2, 1, 1]
    assert costs["base"].train_macs == 3 * 1.2e6 * 512 and costs["groups"].train_macs == 5e11 and costs["groups"].parameters == 9e4
    assert costs["other"].train_macs is None  # an earlier ledger
    assert "base 8.37 1,200,000 30,000 512 1.84e+09 2" in text_of(render_page(study))
    assert variant_costs(None) == []


@needs_browser
def test_on_a_phone_only_tables_scroll(tmp_path: Path) -> None:
    assert CHROMIUM
    page = write_page(with_experts(), tmp_path / "page.html")
    probe = "<script>addEventListener('load',()=>document.title=document.documentElement.scrollWidth)</script>"
    page.write_text(page.read_text().replace("</head>", probe + "</head>"))
    html = browse(page, "--window-size=500,900", "--dump-dom", tmp_path=tmp_path)
    assert int(re.findall(r"<title>(\d+)</title>", html)[0]) <= 500
