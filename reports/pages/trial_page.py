"""A trial's page: its recipe as a difference to the base, its curves, what was measured, and where it comes from."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

from reports.documents import flatten
from reports.figures.figure import HIGHLIGHT, OTHER, Figure, log_axis
from reports.figures.noise_levels import held_out_by_level
from reports.pages.charts import Chart
from reports.pages.site import Site, environment, sheet_file
from reports.results import StudyResults, TrialResult
from trainables.errors import ConfigError

_TRAINING_LOSS = "loss_by_level/log_snr_"


class TrialPages:
    """Of a study: what its trials' pages have in common is worked out once."""

    def __init__(self, results: StudyResults, site: Site) -> None:
        self._results, self._site = results, site
        self._base, self._floor = base_recipe(results), results.floor
        self._template = environment().get_template("trial.html")
        self._place = {trial.number: i for i, trial in enumerate(results.ranked, 1)}
        numbers = [trial.number for trial in results.trials]
        self._before = {after: before for before, after in itertools.pairwise(numbers)}
        self._after = dict(itertools.pairwise(numbers))

    def render(self, trial: TrialResult, sample: str = "") -> str:
        """`sample` is the path of its picture in the report's folder."""
        charts, results = _charts(trial, self._results.metric, self._floor), self._results
        measured = [(name, value) for name, value in sorted(trial.metrics.items()) if math.isfinite(value)]
        return self._template.render(
            site=self._site, root="../", running=False, charts_here=bool(charts), name=results.name, metric=results.metric, trial=trial,
            before=self._before.get(trial.number), after=self._after.get(trial.number), rank=self._place.get(trial.number),
            ranked=len(results.ranked), charts=charts, changes=recipe_changes(self._base, trial), sample=sample, measured=measured,
            sheets=[sheet for sheet in trial.sheets if sheet.png], sheet_file=sheet_file,
            mlflow=self._address(trial),
        )

    def _address(self, trial: TrialResult) -> str:
        """Of its run on MLflow's pages; below a server's address."""
        known = self._results.experiment_id and trial.run_id
        return f"{self._site.server}/#/experiments/{self._results.experiment_id}/runs/{trial.run_id}" if known else ""


def base_recipe(results: StudyResults) -> dict[str, str] | None:
    """The study's base recipe by path; None where this version does not know it."""
    try:
        return flatten(results.study.base_recipe.model_dump(mode="json")) if results.study else None
    except ConfigError:
        return None


def recipe_changes(base: Mapping[str, str] | None, trial: TrialResult) -> list[tuple[str, str, str]] | None:
    """(path, base's value, trial's value) of what differs; a setting that one of them lacks is a dash."""
    if base is None:
        return None
    paths = dict.fromkeys([*base, *trial.recipe]) if trial.recipe else {}
    return [(path, base.get(path, "–"), trial.recipe.get(path, "–")) for path in paths if base.get(path) != trial.recipe.get(path)]


def _charts(trial: TrialResult, metric: str, floor: float | None) -> list[Chart]:
    curve = [(images, score) for images, score in trial.curve if math.isfinite(score) and score > 0]
    loss = [(images, value) for images, value in trial.loss if math.isfinite(value)]
    found = [
        _ema(trial, metric, floor),
        _line("interim", "Interim score", "training images", f"interim {metric}", curve, log=True),
        _line("loss", "Training loss", "training images", "loss", loss),
        _line("levels", "Loss by noise level", "noise ← log SNR → data", *_by_level(trial)),
    ]
    return [chart for chart in found if chart]


def _ema(trial: TrialResult, metric: str, floor: float | None) -> Chart | None:
    """Of its best slice, and of earlier times."""
    if not trial.ema_curve:
        return None
    figure = Figure("EMA length sigma_rel", metric, 300)
    best = trial.ema_curve[0]
    for images in sorted({p.images for p in trial.ema}):
        points = [p for p in trial.ema if p.images == images and math.isfinite(p.distance)
                  and (p.guidance_weight, p.guide_sigma_rel, p.solver) == (best.guidance_weight, best.guide_sigma_rel, best.solver)]
        last = images == best.images
        figure.add(
            name=f"{images:,} images", mode="lines+markers", x=[p.sigma_rel for p in points], y=[p.distance for p in points],
            line={"color": HIGHLIGHT if last else OTHER, "width": 2.5 if last else 1}, marker={"size": 6 if last else 4},
            error_y={"type": "data", "array": [1.96 * (p.standard_error or 0.0) for p in points], "thickness": 1, "width": 2},
        )
    points = [p for p in trial.ema if math.isfinite(p.distance)]
    figure.axis("xaxis", **log_axis(p.sigma_rel for p in points))
    figure.axis("yaxis", **log_axis(p.distance for p in points))
    if floor:
        figure.line_at(floor, "real images")
    return Chart("ema", "Score against EMA length", "Whiskers are 95 % intervals of sampling error.", figure, files=False)


def _by_level(trial: TrialResult) -> tuple[str, list[tuple[float, float]]]:
    """(title, points): unweighted held-out loss, or the loss of training where no images are held out."""
    if losses := held_out_by_level(trial):
        return "unweighted held-out loss", sorted(losses.items())
    found = {float(name.removeprefix(_TRAINING_LOSS)): value for name, value in trial.metrics.items() if name.startswith(_TRAINING_LOSS)}
    return "training loss by level", sorted((level, value) for level, value in found.items() if math.isfinite(value))


def _line(key: str, title: str, x: str, y: str, points: Sequence[tuple[float, float]], log: bool = False) -> Chart | None:
    if not points:
        return None
    figure = Figure(x, y, 300)
    figure.add(name=y, mode="lines+markers", x=[a for a, _ in points], y=[b for _, b in points], line={"color": HIGHLIGHT, "width": 2},
               marker={"size": 5}, showlegend=False)
    if log:
        figure.axis("yaxis", **log_axis(b for _, b in points))
    return Chart(key, title, "", figure, files=False)
