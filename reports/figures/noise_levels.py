"""What training draws, how it weights it, and what is lost at each noise level."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from reports.curves import geometric_means
from reports.figures.figure import HIGHLIGHT, Figure, colour, plain
from reports.figures.groups import MOST_ALONE, name_of
from reports.results import StudyResults, TrialResult, recipe_of
from reports.variants import Ablation
from trainables.recipe import Recipe
from trainables.timesteps.importance import log_drawn
from trainables.timesteps.policy import EVEN

AXIS = "noise ← log SNR → data"
_LOG_SNR = np.linspace(-15.0, 15.0, 301)
_HELD_OUT = "held_out_loss/log_snr_"
_DRAWN = 0.02  # of the highest density
_LEARNED, _MOST_LEARNED = 0.01, 4
_CELLS = 16  # of a learned density, equally likely under the schedule


def representatives(results: StudyResults, ablation: Ablation | None) -> list[tuple[str, TrialResult]]:
    """(name, a trial) of every variant of a design, or of the best few and the worst trial of a search."""
    if ablation:
        found = [(v.name, next((t for t in v.trials if t.recipe), None)) for v in ablation.variants]
        return [(name, trial) for name, trial in found if trial]
    ranked = results.ranked
    chosen = ranked[:MOST_ALONE - 1] + ranked[MOST_ALONE - 1 :][-1:]
    return [(f"{name_of(t)}{_rank(t, results)}", t) for t in chosen]


def _rank(trial: TrialResult, results: StudyResults) -> str:
    return " (best)" if trial is results.ranked[0] else " (worst)" if trial is results.ranked[-1] else ""


def densities(results: StudyResults, ablation: Ablation | None = None) -> Figure | None:
    """p(lambda): the density that training draws noise levels from, by the very functions that training used.

    Of a policy that learns its density it is the schedule's.
    """
    return _by_level(results, ablation, "p(λ)", lambda recipe: np.exp(_log_drawn(recipe)))


def weights(results: StudyResults, ablation: Ablation | None = None) -> Figure | None:
    """w(lambda) on the loss of unit scale, (SNR + 1) |D - y|^2, with the draws' corrections, without what is learned in training.

    It is scaled so that p w integrates to 1 over the levels shown, and NaN where nothing is drawn.
    """
    return _by_level(results, ablation, "w(λ)", _weight)


def products(results: StudyResults, ablation: Ablation | None = None) -> Figure | None:
    """p w, scaled to an integral of 1 over the levels shown: the share that each has of the training's loss, were it 1 everywhere."""
    return _by_level(results, ablation, "p(λ) w(λ)", _product)


def held_out_losses(results: StudyResults, ablation: Ablation | None) -> Figure | None:
    """Unweighted held-out loss at the best EMA length, over that of the baseline (in a search: of the best trial), by noise level."""
    groups = ([(v.name, list(v.trials)) for v in ablation.variants] if ablation
              else [(name, [trial]) for name, trial in representatives(results, None)])
    curves = {name: found for name, trials in groups if (found := _mean_losses(trials))}
    against = ablation.design.baseline_name if ablation else next(iter(curves), "")
    if against not in curves or len(curves) < 2:
        return None
    figure = Figure(AXIS, f"held-out loss against {against}")
    base = curves[against]
    for place, (name, _) in enumerate(groups):
        levels = sorted(curves.get(name, {}).keys() & base.keys())
        if levels and name != against:
            figure.add(
                name=plain(name), mode="lines+markers", x=levels, y=[curves[name][x] / base[x] - 1 for x in levels],
                line={**colour(place), "width": 2}, hovertemplate=f"{plain(name)}<br>log SNR %{{x}}: %{{y:+.1%}}<extra></extra>",
            )
    figure.line_at(0, against, dash="solid")
    figure.axis("yaxis", tickformat="+.0%")
    return figure


def learned_densities(results: StudyResults, ablation: Ablation | None) -> list[tuple[str, Figure]]:
    """(name, figure): density that an adaptive policy has learned, over the schedule's, by noise level and over training."""
    shown = [(name, trial) for name, trial in representatives(results, ablation) if _has_learned(trial)]
    return [(name, _learned(trial)) for name, trial in shown[:_MOST_LEARNED]]


def _has_learned(trial: TrialResult) -> bool:
    """Whether its density ever differed from the schedule's."""
    return any(abs(share - 1.0) > _LEARNED for shares in trial.densities.values() for share in shares)


def _learned(trial: TrialResult) -> Figure:
    figure = Figure("training images", "log SNR")
    if recipe := recipe_of(trial):
        y = [round(float(level), 3) for level in recipe.drawn.from_uniform((np.arange(_CELLS) + 0.5) / _CELLS)]
    else:
        figure.axis("yaxis", title={"text": "cell of the schedule, from data to noise"})
        y = [float(i) for i in range(_CELLS)]
    times = sorted(trial.densities)
    columns = [trial.densities[images] for images in times]
    rows = sorted(zip(y, zip(*columns, strict=True), strict=True))
    figure.add(
        "heatmap", name=name_of(trial), x=times, y=[level for level, _ in rows], z=[list(row) for _, row in rows], zmin=0,
        zmax=max(2.0, float(np.max(columns))), colorscale=[[0.0, "#eef3fa"], [1.0, HIGHLIGHT]],
        colorbar={"title": {"text": "times the schedule"}, "thickness": 12},
        hovertemplate="%{x} images, log SNR %{y}: %{z:.2f} times the schedule's density<extra></extra>",
    )
    return figure


def _by_level(results: StudyResults, ablation: Ablation | None, title: str, of: Callable[[Recipe], np.ndarray]) -> Figure | None:
    """A line per distinct curve; variants that have the same one share a line."""
    figure = Figure(AXIS, title, 300)
    same: dict[tuple[float | None, ...], list[tuple[int, str, TrialResult, Recipe]]] = {}
    for place, (name, trial) in enumerate(representatives(results, ablation)):
        if recipe := recipe_of(trial):  # none of another version, or of a method that is not here
            curve = tuple(float(f"{v:.4g}") if np.isfinite(v) else None for v in of(recipe))
            same.setdefault(curve, []).append((place, name, trial, recipe))
    for curve, found in same.items():
        place, name, *_ = found[0]
        names = "<br>".join(plain(f"{each}: {t.label}" if t.label and not ablation else each) for _, each, t, _ in found)
        figure.add(
            name=plain(name if len(found) == 1 else f"{name} and {len(found) - 1} more"), mode="lines", x=_LOG_SNR.round(2).tolist(),
            y=list(curve), line={**colour(place), "width": 2}, hovertemplate=f"{names}<br>log SNR %{{x}}: %{{y:.3g}}<extra></extra>",
        )
    if title.startswith("w") and same:
        figure.axis("yaxis", range=[0, 1.05 * max(_highest_where_drawn(curve, found[0][3]) for curve, found in same.items())])
    return figure if figure.data else None


def _highest_where_drawn(weight: Sequence[float | None], recipe: Recipe) -> float:
    """The largest weight where training draws at all: in the tails of the density weights may have no bound."""
    density = np.exp(_log_drawn(recipe))
    return float(np.max(np.array(weight, dtype=float)[density > _DRAWN * density.max()]))


def _log_drawn(recipe: Recipe) -> np.ndarray:
    return log_drawn(recipe.drawn, recipe.timesteps.density(recipe.drawn) or EVEN, _LOG_SNR)


def _product(recipe: Recipe) -> np.ndarray:
    """p w with integral 1; importance weights turn the drawn density into another one before the weighting counts."""
    drawn = _log_drawn(recipe)
    base = np.where(drawn > -np.inf, recipe.expected_under.log_prob(_LOG_SNR), -np.inf) if recipe.importance else drawn
    of_policy = recipe.timesteps.loss_weight(recipe.drawn, np.asarray(recipe.drawn.survival(_LOG_SNR)))
    log_weight = recipe.weighting.log_weight(_LOG_SNR, recipe.target) - np.logaddexp(_LOG_SNR, 0.0)  # on (SNR + 1) |D - y|^2
    with np.errstate(divide="ignore"):
        log_product = base + np.log(of_policy) + log_weight
    product = np.exp(log_product - log_product.max())
    return np.asarray(product / np.trapezoid(product, _LOG_SNR))


def _weight(recipe: Recipe) -> np.ndarray:
    drawn = np.exp(_log_drawn(recipe))
    return np.divide(_product(recipe), drawn, out=np.full_like(drawn, np.nan), where=drawn > 0)


def _mean_losses(trials: Sequence[TrialResult]) -> dict[float, float]:
    """Geometric means over the trials, at the levels that all of them have."""
    found = [losses for t in trials if t.status == "completed" and (losses := held_out_by_level(t))]
    return dict(geometric_means([list(losses.items()) for losses in found]))


def held_out_by_level(trial: TrialResult) -> dict[float, float]:
    """Unweighted held-out loss by log SNR, at the trial's best EMA length; empty without held-out images."""
    best = next((p for p in trial.ema_curve if trial.sigma_rel in (None, p.sigma_rel) or p.distance == trial.best), None)
    metrics = best.metrics if best else {}
    return {float(name.removeprefix(_HELD_OUT)): value for name, value in metrics.items() if name.startswith(_HELD_OUT) and value > 0}
