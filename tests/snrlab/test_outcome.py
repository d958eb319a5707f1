"""The Python API on a study that has really been run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import snrlab
from tests.reports.test_compare import A, B, study
from tests.reports.test_speed_up import study_results
from tests.studies import small_study
from trainables.exported import load_exported


@pytest.fixture(scope="module")
def outcome(finished) -> snrlab.Outcome:
    folder, result = finished
    assert result.returncode == 0, result.stderr
    return snrlab.load(folder / "runs", "small")


def test_tables_hold_what_the_commands_show(outcome: snrlab.Outcome) -> None:
    assert list(outcome.trials.index) == [0, 1, 2] and outcome.metric == "fd_probe" and outcome.definition["name"] == "small"
    best = outcome.trials["fd_probe"].min()
    assert best in set(outcome.ema["fd_probe"]) and set(outcome.ema["sigma_rel"]) >= {0.05, 0.12}  # further sweeps are in it, too
    assert set(outcome.curves.columns) == {"trial", "images", "interim_fd_probe", "loss"} and set(outcome.curves["trial"]) == {0, 1, 2}
    assert outcome.levels.empty and outcome.variants.empty and outcome.verdicts == []  # no held-out images, and a search
    assert f"{best:.3f}" in outcome.verdict and "small" in repr(outcome) and "<table" in outcome._repr_html_()


def test_figures_are_those_of_the_report(outcome: snrlab.Outcome) -> None:
    assert "ema" in repr(outcome.figures) and "forest" not in repr(outcome.figures)
    assert outcome.figures.ema.data and outcome.figures.convergence.data and outcome.figures.densities.data
    with pytest.raises(snrlab.UserError, match="is a search"):
        outcome.figures.forest  # noqa: B018


def test_images_are_those_of_an_exported_trial(outcome: snrlab.Outcome, finished, tmp_path: Path) -> None:
    from tests.studies import snrlab as command

    exported = command("export", "small", "--trial", "0", "--output", str(tmp_path / "model"), cwd=finished[0])
    assert exported.returncode == 0, exported.stderr
    images = outcome.sample(0, 4, seed=3)
    assert images.shape == (4, 1, 8, 8) and np.array_equal(images, load_exported(tmp_path / "model").sample(4, seed=3))
    assert not np.array_equal(images, outcome.sample(0, 4, sigma_rel=0.05, seed=3)) or outcome.trials.loc[0, "sigma_rel"] == 0.05
    assert sum(p.numel() for p in outcome.load_denoiser(0).denoiser.parameters()) > 1000
    with pytest.raises(snrlab.UserError):
        outcome.load_denoiser(9)


def test_a_study_that_is_done_is_not_run_again(finished, capsys: pytest.CaptureFixture[str], outcome: snrlab.Outcome) -> None:
    folder = finished[0]
    again = snrlab.run({**small_study(compute={"workers": 1})}, folder / "runs", quiet=True)
    assert capsys.readouterr().out == "" and again.trials.equals(outcome.trials)
    assert snrlab.run(folder / "small.yaml", folder / "runs").trials.equals(outcome.trials)
    assert "report:" in capsys.readouterr().out


@pytest.mark.parametrize(("given", "words"), [
    ({"name": "x", "base": {"nonsense": 1}}, "nonsense"), ("no-such-study", "neither a file nor a bundled study"),
    ({"name": "x", "scales": {"digits": {}}}, "--scale cifar"),
])
def test_what_is_no_study_is_one_error_and_leaves_nothing(given: object, words: str, tmp_path: Path) -> None:
    with pytest.raises(snrlab.UserError, match=words):
        snrlab.run(given, tmp_path / "runs", scale="cifar" if "cifar" in words else None)
    assert not (tmp_path / "runs").exists()
    with pytest.raises(snrlab.UserError, match="no results yet"):
        snrlab.load(tmp_path / "runs", "x")


def test_designs_have_verdicts_and_can_be_compared() -> None:
    first, second = snrlab.Outcome(study("a", A), None), snrlab.Outcome(study("b", B), None)
    assert list(first.variants.index) == ["edm", "snr"] and first.variants.loc["snr", "verdict"] == "worse"
    assert set(first.trials["variant"]) == {"edm", "snr"}
    assert set(first.trials.loc[first.trials["variant"] == "snr", "optimiser.lr"]) == {0.02}
    assert "forest" in repr(first.figures) and "study a" in repr(first.figures)
    assert first.verdict.startswith("No variant") and len(first.verdicts) == 1 and first.figures.forest.data
    both = first.compare(second, baseline="b: p2")
    assert list(both.index) == ["a: edm", "a: snr", "b: p2", "b: again"] and both.loc["b: p2", "verdict"] == "baseline"
    hostile = snrlab.Outcome(study_results({"base": 1.0, "<i>fast</i>": 2.0, "slow": 0.5}), None)
    assert "<i>" not in hostile._repr_html_() and "&lt;i&gt;fast" in hostile._repr_html_()
