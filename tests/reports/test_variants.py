"""A design's results: EMA lengths over all seeds, verdicts, unstable variants, and the page."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from reports.compare import compare_studies
from reports.pages.study_page import render_page
from reports.results import EmaPoint, StudyResults, TrialResult
from reports.tables import render, summary_lines
from reports.variants import Ablation, ablation_of
from search_spaces.study import make_study
from tests.conftest import tiny_fields
from trainables.errors import ConfigError

WIDTHS = (0.05, 0.08, 0.12)


def study_results(design: dict[str, Any], level: dict[str, float], spread: float = 0.03, trials: int | None = None) -> StudyResults:
    """Trials whose best EMA length is 0.08 in the mean, and 0.12 for odd seeds."""
    study = make_study({"name": "demo", "base": tiny_fields(), "design": design})
    rng = np.random.default_rng(0)
    found = []
    for number, planned in enumerate(study.design_trials[:trials]):
        noise = math.exp(rng.normal(0, spread) + 0.1 * math.sin(planned.seed))
        factors = {0.05: 1.2, 0.08: 1.0, 0.12: 0.99 if planned.seed % 2 else 1.1}
        ema = [EmaPoint(w, level[planned.variant] * noise * factors[w], 1e-3, images=256) for w in WIDTHS]
        best = min(ema, key=lambda p: p.distance)
        found.append(TrialResult(
            number=number, variant=str(number), seed=planned.seed, status="completed", values=planned.values, recipe_key="k", commit="c",
            reason="", recipe={}, images=256, train_seconds=2.0, best=best.distance, sigma_rel=best.sigma_rel, ema=ema,
        ))
    return StudyResults(
        name="demo", study_id="i", description="", metric="fd_probe", axes=study.axes, definition=study.model_dump(mode="json"),
        commit="c", status="FINISHED", importances={}, trials=found,
    )


DESIGN = {"variants": {"edm": {}, "<b>snr</b>": {"weighting": "snr"}, "p2": {"weighting": "p2"}}, "seeds": 6}
LEVELS = {"edm": 20.0, "<b>snr</b>": 30.0, "p2": 15.0}


def outcome(results: StudyResults) -> Ablation:
    found = ablation_of(results)
    assert found is not None
    return found


def test_each_variant_is_compared_at_its_best_length_over_all_seeds() -> None:
    found = outcome(study_results(DESIGN, LEVELS))
    assert [v.sigma_rel for v in found.variants] == [0.08] * 3 and set(found.variants[0].own_lengths) == {0.08, 0.12}
    assert found.variants[0].mean == pytest.approx(20, rel=0.1)
    assert [v.word for v in found.verdicts] == ["worse", "better"]
    assert found.headline.startswith("p2 lowers fd_probe by 2") and "6 seeds, Dunnett-corrected over 2 comparisons" in found.headline


def test_the_published_result_stands_beside_the_verdict() -> None:
    results = study_results(DESIGN, LEVELS)
    assert results.published == "" and 'id="published"' not in render_page(results)
    values = {"edm": 10.85, "p2": 7.96}
    results.definition["published"] = {"paper": "Some & others 2024", "claim": "P2 is <best>.", "metric": "FID", "values": values}
    assert results.published == "P2 is <best>. (Some & others 2024; FID: edm 10.85, p2 7.96)"
    assert "Published: P2 is &lt;best&gt;. (Some &amp; others 2024; FID" in render_page(results)
    assert any(line.startswith("published:") for line in summary_lines(results))


def test_the_score_of_real_images_is_shown_where_it_is_one() -> None:
    results = study_results(DESIGN, LEVELS)
    assert results.floor is None and 'id="floor"' not in render_page(results)
    for trial in results.trials:
        trial.metrics["floor_fd_probe"] = 1.234
    page = render_page(results)
    assert results.floor == 1.234 and "score 1.23: less is not to be had" in page
    results.trials[0].metrics["floor_fd_probe"] = 2.0
    assert results.floor is None


def test_a_failed_seed_is_an_outcome() -> None:
    results = study_results(DESIGN, LEVELS)
    results.trials[1].status, results.trials[1].best, results.trials[1].ema = "failed", None, []
    found = outcome(results)
    assert found.variants[1].failed == [0] and any("<b>snr</b> is unstable: seed 0" in note for note in found.notes)
    assert found.verdicts[0].comparison.seeds == 5 and found.verdicts[0].word == "worse"


@pytest.mark.parametrize(("trials", "words"), [(0, "no scores"), (1, "two variants"), (3, "at least two")])
def test_what_is_too_little_is_said(trials: int, words: str) -> None:
    found = outcome(study_results(DESIGN, LEVELS, trials=trials))
    assert not found.verdicts and "Nothing can be said yet" in found.headline and words in found.headline


def test_an_interrupted_design_is_balanced() -> None:
    found = outcome(study_results(DESIGN, LEVELS, trials=7))
    assert [len(v.scores) for v in found.variants] == [3, 2, 2] and len(found.verdicts) == 2


def test_a_factorial_has_effects_on_the_page_and_in_the_tables() -> None:
    design = {"factors": {"weighting.kind": ["edm", "snr"], "timesteps.kind": ["uniform", "stratified"]}, "seeds": 4}
    study = make_study({"name": "demo", "base": tiny_fields(), "design": design})
    names = [trial.variant for trial in study.design_trials if trial.seed == 0]
    results = study_results(design, {name: 20.0 * (1.5 if "snr" in name else 1.0) for name in names})
    rows = json.loads(render(results, "json", "effect"))
    assert [row["effect"] for row in rows] == ["weighting.kind", "timesteps.kind", "weighting.kind x timesteps.kind"]
    assert rows[0]["change"] == pytest.approx(0.5, abs=0.1) and rows[0]["p"] < 0.001 < rows[1]["p"]
    page = render_page(results)
    assert 'id="effects"' in page and "weighting.kind x timesteps.kind" in page
    with pytest.raises(ConfigError, match="needs a factorial design"):
        render(study_results(DESIGN, LEVELS), "table", "effect")
    with pytest.raises(ConfigError, match="need more than"):
        render(study_results(design, dict.fromkeys(names, 20.0), trials=3), "table", "effect")
    assert 'id="effects"' not in render_page(study_results(design, dict.fromkeys(names, 20.0), trials=3))


def test_a_ladder_is_compared_row_by_row() -> None:
    rows = {"rows": {"A": {}, "B": {"weighting": "snr"}, "C": {"schedule": "laplace"}}, "seeds": 6}
    found = outcome(study_results(rows, {"A": 20.0, "B": 10.0, "C": 10.1}))
    first = found.verdicts[0]
    assert (first.comparison.variant, first.comparison.against, first.word) == ("B", "A", "better")
    assert found.verdicts[1].comparison.against == "B" and "Holm" in found.verdicts[1].sentence


def test_seeds_without_common_lengths_keep_their_own() -> None:
    results = study_results(DESIGN, LEVELS)
    for trial in results.trials:
        trial.ema = [EmaPoint(0.08 + trial.number / 1000, 10.0, 1e-3)]
        trial.best = 10.0
    found = outcome(results)
    assert not any("edge" in note for note in outcome(study_results(DESIGN, LEVELS)).notes)
    assert found.variants[0].sigma_rel is None and any("tuned per seed" in note for note in found.notes)


def test_the_page_begins_with_the_verdict_and_escapes_names() -> None:
    html = render_page(study_results(DESIGN, LEVELS))
    body = html[html.index("<body>"):]
    assert body.index("p2 lowers fd_probe") < body.index('id="variants"') < body.index("chart-forest") < body.index("<h2>Trials")
    assert "<b>snr</b>" not in body.replace("&lt;b&gt;snr&lt;/b&gt;", "") and "share one training seed" not in html
    assert 'class="card"' not in body


def test_rows_by_variant_and_by_comparison() -> None:
    results = study_results(DESIGN, LEVELS)
    by_variant = json.loads(render(results, "json", "variant"))
    assert [row["verdict"] for row in by_variant] == ["baseline", "worse", "better"] and by_variant[2]["low"] < by_variant[2]["change"] < 0
    by_comparison = json.loads(render(results, "json", "comparison"))
    assert by_comparison[1]["sentence"].startswith("p2 lowers") and render(results, "table", "variant")
    assert any(line.startswith("verdict:       p2 lowers") for line in summary_lines(results))
    with pytest.raises(ConfigError, match="has no design"):
        render(StudyResults(**{**vars(results), "definition": {}}), "json", "variant")


def test_no_difference_is_no_finding() -> None:
    found = outcome(study_results({**DESIGN, "seeds": 3}, dict.fromkeys(LEVELS, 20.0), spread=0.2))
    assert found.headline.startswith("No variant has been shown to be better than edm")


@pytest.mark.parametrize(("common", "words"), [(0.3, ""), (0.0, "; pairing by seed has gained little")])
def test_what_pairing_has_gained_is_noted(common: float, words: str) -> None:
    results = study_results(DESIGN, LEVELS, spread=0.0)
    rng = np.random.default_rng(3)
    shared = rng.normal(0, common or 0.001, 6)
    own = 0.1 * np.array([[1, -1, 1, -1, 1, -1], [1, 1, -1, -1, 1, -1], [-1, 1, 1, 1, -1, -1]]) + rng.normal(0, 0.01, (3, 6))
    for trial in results.trials:
        factor = math.exp(shared[trial.seed] + own[trial.number % 3, trial.seed] - 0.1 * math.sin(trial.seed))
        trial.ema = [replace(point, distance=point.distance * factor) for point in trial.ema]
    (note,) = [n for n in outcome(results).notes if n.startswith("scores of the same seed")]
    assert note.endswith(f"between variants{words}")


def test_a_best_length_at_the_edge_of_the_sweep_is_noted() -> None:
    results = study_results(DESIGN, LEVELS)
    for trial in results.trials:
        trial.ema = [p for p in trial.ema if p.sigma_rel >= 0.08]
    assert any("edm's best EMA length, 0.08, lies at the edge of the swept range (0.08 to 0.12)" in note for note in outcome(results).notes)


def test_a_race_is_judged_at_its_looks_and_its_trials_are_found_by_their_values() -> None:
    whole = study_results({**DESIGN, "looks": [3]}, LEVELS)
    kept = [t for t in whole.trials if t.seed < 3 or t.values.get("weighting.kind") != "snr"]
    raced = replace(whole, trials=[replace(t, number=n) for n, t in enumerate(kept)])
    found = outcome(raced)
    assert [len(v.scores) for v in found.variants] == [6, 3, 6]
    assert [(v.word, v.comparison.seeds) for v in found.verdicts] == [("worse", 3), ("better", 3)]
    assert "and 2 planned looks" in found.headline
    assert "the first look is after 3 seeds" in outcome(replace(raced, trials=raced.trials[:5])).headline
    with pytest.raises(ConfigError, match="is a race"):
        compare_studies([raced, replace(study_results(DESIGN, LEVELS), name="other")])


def test_a_seed_that_is_still_training_has_not_failed() -> None:
    results = study_results(DESIGN, LEVELS)
    first, second, third = [t for t in results.trials if t.values.get("weighting.kind") == "p2"][:3]
    first.status, first.best, first.ema = "running", None, []
    second.status, second.best, second.ema = "failed", None, []
    third.best, third.ema = None, []  # it was completed, and has no score
    assert outcome(results).variants[2].failed == [second.seed, third.seed]
