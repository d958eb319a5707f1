"""How a study stands, from its folder alone: nothing is asked of Ray, so that it works from any machine that sees the folder."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from orchestrator.records.folders import StudyFolder, TrialFolder
from search_spaces.study import Study
from trainables.stages.composition import total_images
from trainables.training import metrics_log

if TYPE_CHECKING:
    from orchestrator.search.history import History

_STAGES = {"running": "training", "completed": "completed", "stopped": "stopped early", "failed": "failed", "infeasible": "infeasible"}
_ENDED = set(_STAGES.values()) - {"training"}


@dataclass(frozen=True)
class TrialStatus:
    """One trial now."""

    number: int
    stage: str
    images: int
    images_per_second: float
    score: float | None  # interim while it trains, of the sweep afterwards
    sigma_rel: float | None
    seconds_left: float | None


def trial_statuses(folder: StudyFolder, study: Study) -> list[TrialStatus]:
    return [_status(trial, study) for trial in folder.trials()]


def status_table(folder: StudyFolder, study: Study) -> Table:
    """A row per trial, and a line on the whole."""
    found = trial_statuses(folder, study)
    table = Table(box=None, pad_edge=False, caption_justify="left", caption=_summary(folder, study, found))
    for column in ("trial", "stage", "images", "images/s", study.metric, "sigma_rel", "left"):
        table.add_column(column, justify="left" if column == "stage" else "right")
    for s in found:
        score = "–" if s.score is None else f"{s.score:.3f}" + ("" if s.sigma_rel else " (interim)")
        table.add_row(*map(Text, (
            str(s.number), s.stage, f"{s.images}", f"{s.images_per_second:.0f}" if s.images_per_second else "–", score,
            f"{s.sigma_rel:.3g}" if s.sigma_rel else "–", "–" if s.seconds_left is None else duration(s.seconds_left),
        )))
    return table


def duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def _status(trial: TrialFolder, study: Study) -> TrialStatus:
    record, sweep, rows = trial.record, trial.sweep, metrics_log.read(trial.root)
    last = rows[-1] if rows else {}
    images, speed = int(last.get("images", 0)), float(last.get("images_per_second", 0.0))
    stage = _STAGES[record.training]
    if record.training in ("completed", "stopped") and sweep is None:
        stage = "EMA sweep"
    elif sweep and sweep.error and record.training != "running":
        stage = "failed"
    best = sweep.best if sweep else None
    interim = last.get(f"interim_{study.metric}")
    length = total_images(study.recipe(record.values)) if record.training != "infeasible" else 0
    left = max(0, length - images) / speed if record.training == "running" and speed else None
    return TrialStatus(trial.number, stage, images, speed, best["distance"] if best else interim, best["sigma_rel"] if best else None, left)


def _summary(folder: StudyFolder, study: Study, found: list[TrialStatus]) -> str:
    ended = sum(s.stage in _ENDED for s in found)
    swept = [s for s in found if s.stage == "completed" and s.score is not None]
    best = min(swept, key=lambda s: s.score or 0.0, default=None)
    state = 'running' if folder.is_held else 'not running'
    wanted, of_seeds = study.trials_wanted, ""
    looks = study.design.looks if study.design else ()
    history = _history(folder) if study.search_seeds or study.chain or looks else None
    if history and study.search_seeds:
        wanted, of_seeds = _proposals(history, study, found)
    if history and looks:
        wanted -= len(history.spared)
    parts = [f"study {folder.root.name}: {state}", f"{ended} of {wanted} trials ended"]
    if history and history.spared:
        parts.append(f"{len(history.spared)} spared, because their variants are decided")
    infeasible = sum(s.stage == _STAGES["infeasible"] for s in found)
    if infeasible:
        parts.append(f"{infeasible} of them infeasible")
    if history and study.chain:
        parts.append(_stages(history, folder, study))
    if of_seeds:
        parts.append(of_seeds)
    elif best:
        parts.append(f"best {study.metric} {best.score:.3f} (trial {best.number})")
    records = [trial.record for trial in folder.trials()]
    done = [r.ended - r.started for r in records if r.ended and r.training != "infeasible"]
    if done and ended < wanted and folder.is_held:
        running = sum(time.time() - r.started for r in records if r.training == "running")
        left = max(0.0, sum(done) / len(done) * (wanted - ended) - running) / study.compute.concurrent_trials
        parts.append(f"about {duration(left)} left")
    return ", ".join(parts)


def _history(folder: StudyFolder) -> History:
    from orchestrator.search.search_log import read_history  # loads Optuna

    return read_history(folder)


def _proposals(history: History, study: Study, found: list[TrialStatus]) -> tuple[int, str]:
    """(trials that will be run at most, what the proposals have come to) of a search with several seeds."""
    from orchestrator.search.seeds import Seeds
    from orchestrator.search.verdicts import COMPLETE
    from trainables.metrics.means import mean_score

    seeds, scores = Seeds(study), {s.number: s.score for s in found}
    whole = [p for p, verdict in seeds.verdicts(history).items() if verdict.state == COMPLETE and verdict.feasible]
    means = {p: mean_score(study.metric, [scores.get(n) or 0.0 for n in history.trials_of[p]]) for p in whole}
    dropped = f", {len(history.dropped)} dropped" if history.dropped else ""
    text = f"{len(whole)} of {len(history.proposals)} proposals on all {len(seeds.all)} seeds{dropped}"
    if means:
        best = min(means, key=lambda p: means[p])
        trials = ", ".join(map(str, history.trials_of[best]))
        text += f", best {study.metric} {means[best]:.3f} (mean of trials {trials})"
    return study.trials_wanted - seeds.spared(history, history.verdicts), text


def _stages(history: History, folder: StudyFolder, study: Study) -> str:
    """How far each stage of the chain is."""
    begun, parts = {stage.name: stage for stage in history.stages}, []
    for name in study.chain.stages if study.chain else ():
        stage = begun.get(name)
        if stage is None:
            parts.append(f"{name}: not begun")
        elif stage.design is None:
            parts.append(f"{name}: nothing to compare")
        else:
            numbers = range(stage.first, stage.first + len(stage.trials))
            ended = sum(folder.trial(n).is_known and folder.trial(n).record.training != "running" for n in numbers)
            parts.append(f"{name}: {ended} of {len(numbers)} trials")
    return ", ".join(parts)
