"""Variants of several studies: one model, one baseline, and no comparison of scores that were made in different ways."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from reports.compare import compare_studies
from reports.results import StudyResults
from reports.tables import render_comparison
from tests.reports.test_variants import study_results
from trainables.errors import ConfigError

RECIPE = {"evaluation.features.kind": "probe", "evaluation.samples": "768", "evaluation.sampler.num_steps": "8", "evaluation.every": "256"}
DATA = [{"data": {"hash": "d1"}}]


def study(name: str, levels: dict[str, float], seeds: int = 5, **changes: str) -> StudyResults:
    """Variants of a level each, scored alike but for the changes."""
    design = {"variants": {v: {"optimiser.lr": 0.01 * (i + 1)} for i, v in enumerate(levels)}, "seeds": seeds}
    results = study_results(design, levels)
    results.name = name
    for trial in results.trials:
        trial.recipe, trial.provenance = {**RECIPE, **changes}, DATA
        trial.ema = [replace(point, feature_hash="f1") for point in trial.ema]
    return results


A, B = {"edm": 20.0, "snr": 30.0}, {"p2": 15.0, "again": 20.0}


def test_verdicts_are_those_of_one_design_with_all_variants() -> None:
    found = compare_studies([study("a", A), study("b", B, seeds=4)])
    assert [v.name for v in found.variants] == ["a: edm", "a: snr", "b: p2", "b: again"]
    assert found.design.baseline_name == "a: edm" and found.comparisons and found.comparisons.method.count("Dunnett") == 1
    assert [(v.comparison.variant, v.word) for v in found.verdicts][:2] == [("a: snr", "worse"), ("b: p2", "better")]
    assert [len(v.scores) for v in found.variants] == [5, 5, 4, 4]
    one = compare_studies([study("b", B, seeds=4), study("a", A)], baseline="a: edm")
    assert {v.comparison.variant: v.comparison.difference for v in one.verdicts} == pytest.approx(
        {v.comparison.variant: v.comparison.difference for v in found.verdicts})


def test_it_is_shown_as_a_table_and_as_data() -> None:
    found = compare_studies([study("a", A), study("b", B)], baseline="b: again", smallest_effect=0.1)
    table = render_comparison(found, "table").decode()
    assert table.startswith("b: p2 lowers fd_probe") and "a: snr" in table and "baseline" in table
    rows = json.loads(render_comparison(found, "json", "comparison"))
    assert {row["against"] for row in rows} == {"b: again"} and len(rows) == 3 and all(row["sentence"] for row in rows)


def test_a_search_takes_part_with_its_best() -> None:
    search = study("s", {"x": 12.0, "y": 40.0}, seeds=1)
    search.definition = {**search.definition, "design": None}
    found = compare_studies([study("a", A), search])
    assert found.variants[-1].name == "s: best (lr=0.01, seed=0)" and list(found.variants[-1].scores) == [0]


@pytest.mark.parametrize(("change", "words"), [
    ({"evaluation.samples": "1536"}, "evaluation.samples: 768 in a, 1536 in b"),
    ({"evaluation.sampler.num_steps": "9"}, "evaluation.sampler.num_steps: 8 in a, 9 in b"),
    ({"evaluation.guidance.weight": "2"}, "evaluation.guidance.weight: 2 in b"),
])
def test_other_evaluations_are_refused_with_their_differences(change: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError, match="cannot be compared") as caught:
        compare_studies([study("a", A), study("b", B, **change)])
    assert words in str(caught.value)


def test_other_images_and_feature_networks_are_refused() -> None:
    other = study("b", B)
    for trial in other.trials:
        trial.provenance, trial.ema = [{"data": {"hash": "d2"}}], [replace(p, feature_hash="f2") for p in trial.ema]
    with pytest.raises(ConfigError, match=r"feature network: f1 in a, f2 in b\n  real images: d1 in a, d2 in b"):
        compare_studies([study("a", A), other])
    other.trials[0].provenance = DATA
    with pytest.raises(ConfigError, match="study b: its own trials were not scored alike"):
        compare_studies([study("a", A), other])


def test_what_does_not_change_a_score_and_what_a_study_varies_itself_are_no_differences() -> None:
    compare_studies([study("a", A), study("b", B, **{"evaluation.every": "512", "evaluation.interim_samples": "9"})])
    steps = study("b", B, **{"evaluation.sampler.num_steps": "9"})
    steps.axes.append("evaluation.sampler.num_steps")
    assert len(compare_studies([study("a", A), steps]).variants) == 4


def test_what_cannot_be_compared_is_one_message() -> None:
    with pytest.raises(ConfigError, match="at least two studies"):
        compare_studies([study("a", A)])
    with pytest.raises(ConfigError, match="at least two studies, each once"):
        compare_studies([study("a", A), study("a", A)])
    with pytest.raises(ConfigError, match=r"is no variant\. Variants: a: edm, a: snr, b: p2, b: again"):
        compare_studies([study("a", A), study("b", B)], baseline="edm")
    with pytest.raises(ConfigError, match="above 0 and below 1"):
        compare_studies([study("a", A), study("b", B)], smallest_effect=math.nan)
    empty = study("b", B)
    for trial in empty.trials:
        trial.status = "failed"
    with pytest.raises(ConfigError, match="study b: has no finished trial"):
        compare_studies([study("a", A), empty])


def test_the_baseline_is_that_of_the_first_study_wherever_it_stands() -> None:
    first = study("a", {"snr": 30.0, "edm": 20.0})
    first.definition["design"]["baseline"] = "edm"
    assert compare_studies([first, study("b", B)]).design.baseline_name == "a: edm"
