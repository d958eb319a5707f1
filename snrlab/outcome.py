"""What a study has found, as objects for notebooks and scripts."""

from __future__ import annotations

import html
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.records.folders import WorkFolder
from trainables.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import plotly.graph_objects as go

    from orchestrator.execution.tally import Tally
    from reports.results import StudyResults
    from reports.variants import Ablation
    from trainables.exported import Exported


def run(study: str | Path | Mapping[str, Any], workdir: str | Path = "runs", *, scale: str | None = None,
        overrides: Mapping[str, Any] | None = None, address: str | None = None, tracking_uri: str | None = None,
        quiet: bool = False) -> Outcome:
    """Run a study, or go on with it, and return what it has found.

    `study` is the name of a bundled study, the path of a study file, or a mapping of its fields; `scale` is one that it lists;
    `overrides` sets fields by dotted path (`{"search.trials": 4}`).  `address` names a Ray cluster (default: Ray is started here and ends
    with the study), `tracking_uri` an MLflow server (default: SQLite in `workdir`).  Unless `quiet`, what happens is printed.
    UserError where the study is not valid or cannot be run; KeyboardInterrupt after a clean stop: the same call goes on.
    """
    from orchestrator.execution.run import run_study
    from orchestrator.records.findings import conclude
    from search_spaces.study import compose_study, load_study

    definition = load_study(str(study), overrides, scale) if isinstance(study, str | Path) else compose_study(study, overrides or {}, scale)
    work = WorkFolder(Path(workdir).absolute())
    work.root.mkdir(parents=True, exist_ok=True)
    run_study(definition, work, _Printed(quiet), address, tracking_uri)
    results, lines = conclude(definition.name, work, tracking_uri)
    if not quiet:
        print("\n".join(lines))
    return Outcome(results, work)


def load(workdir: str | Path, study: str, *, tracking_uri: str | None = None) -> Outcome:
    """What a study has found so far, from its work folder and MLflow; UserError where there is no such study."""
    from orchestrator.records.findings import load_results

    work = WorkFolder(Path(workdir).absolute())
    return Outcome(load_results(study, work, tracking_uri), work)


class Outcome:
    """A study with its results; tables are pandas DataFrames."""

    def __init__(self, results: StudyResults, work: WorkFolder) -> None:
        self._results, self._work = results, work

    @property
    def name(self) -> str:
        return self._results.name

    @property
    def metric(self) -> str:
        """The Fréchet distance that variants are compared by; less is better."""
        return self._results.metric

    @property
    def definition(self) -> dict[str, Any]:
        """The study's fields."""
        return self._results.definition

    @cached_property
    def trials(self) -> pd.DataFrame:
        """A row per trial: variant (by name in a design), what was varied, best score over EMA lengths, that length, images, seconds."""
        from reports.tables import rows

        frame = _frame(rows(self._results), "trial")
        if self._ablation:
            frame["variant"] = frame.index.map({trial.number: v.name for v in self._ablation.variants for trial in v.trials})
        return frame

    @cached_property
    def ema(self) -> pd.DataFrame:
        """A row per score of every sweep: trial, images, EMA length, guidance, score, standard error."""
        from reports.tables import score_rows

        return _frame(score_rows(self._results))

    @cached_property
    def curves(self) -> pd.DataFrame:
        """A row per report in training: trial, images, interim score, loss."""
        from reports.tables import curve_rows

        return _frame(curve_rows(self._results))

    @cached_property
    def levels(self) -> pd.DataFrame:
        """A row per trial and noise level: the unweighted held-out loss at the best EMA length; empty without held-out images."""
        return _frame(list(self._levels()))

    @cached_property
    def variants(self) -> pd.DataFrame:
        """A row per variant of a design, with its verdict, or per proposal of a search with several seeds."""
        from reports.variant_tables import candidate_rows, variant_rows

        found = variant_rows(self._ablation) if self._ablation else candidate_rows(self._results)
        return _frame(found, "variant")

    @property
    def verdict(self) -> str:
        """What was found, in a sentence."""
        from reports.headline import headline

        return headline(self._results, self._ablation)

    @property
    def verdicts(self) -> list[str]:
        """Each comparison of a design in a sentence; empty for a search."""
        return [verdict.sentence for verdict in self._ablation.verdicts] if self._ablation else []

    @property
    def figures(self) -> Figures:
        return Figures(self._results, self._ablation)

    def compare(self, *others: Outcome, baseline: str = "", smallest_effect: float = 0.05) -> pd.DataFrame:
        """The variants of this study and others in one model, a row each; see `snrlab compare`.

        ConfigError, which is a UserError, where scores were made in different ways.
        """
        from reports.compare import compare_studies
        from reports.variant_tables import variant_rows

        found = compare_studies([self._results, *(other._results for other in others)], baseline, smallest_effect)
        return _frame(variant_rows(found), "variant")

    def load_denoiser(self, trial: int, sigma_rel: float | Sequence[float] | str = "best", device: str = "cpu") -> Exported:
        """A trial's network at an EMA length (or a length per group of experts), ready to sample: `.denoiser` is the module.

        UserError where the trial has not been trained to its end, or where its averages are gone.
        """
        from orchestrator.cli.export import export_trial
        from trainables.exported import load_exported

        wanted = sigma_rel if isinstance(sigma_rel, str) else ",".join(f"{length:g}" for length in _listed(sigma_rel))
        with tempfile.TemporaryDirectory() as folder:
            target, _ = export_trial(self._work.study(self.name), trial, wanted, Path(folder) / "model", self._work.cache)
            return load_exported(target, device)

    def sample(self, trial: int, count: int, sigma_rel: float | Sequence[float] | str = "best", seed: int = 0) -> np.ndarray:
        """Images of a trial as raw values of its data [count,C,H,W]; image i depends on `seed` and i alone."""
        return self.load_denoiser(trial, sigma_rel).sample(count, seed=seed)

    def __repr__(self) -> str:
        return f"<study {self.name}: {len(self._results.trials)} trials; {self.verdict}>"

    def _repr_html_(self) -> str:
        table = self.variants if len(self.variants) else self.trials
        return f"<h4>{html.escape(self.name)}</h4><p><b>{html.escape(self.verdict)}</b></p>{table.to_html(max_rows=20, escape=True)}"

    @cached_property
    def _ablation(self) -> Ablation | None:
        from reports.variants import ablation_of

        return ablation_of(self._results)

    def _levels(self) -> Iterator[dict[str, Any]]:
        from reports.figures.noise_levels import held_out_by_level

        for trial in self._results.trials:
            for log_snr, loss in held_out_by_level(trial).items():
                yield {"trial": trial.number, "log_snr": log_snr, "held_out_loss": loss}


class Figures:
    """The report's charts as Plotly figures."""

    def __init__(self, results: StudyResults, ablation: Ablation | None) -> None:
        self._results, self._ablation = results, ablation

    def __repr__(self) -> str:
        names = [name for name, member in vars(Figures).items() if isinstance(member, property)]
        return f"<figures of study {self._results.name}: {', '.join(name for name in names if name != 'forest' or self._ablation)}>"

    @property
    def forest(self) -> go.Figure:
        """Changes against the baseline with their intervals; UserError for a search."""
        from reports.figures.variants import forest

        if self._ablation is None:
            raise UserError(f"study {self._results.name}: is a search; a forest plot is of a design")
        return forest(self._ablation).to_plotly()

    @property
    def ema(self) -> go.Figure:
        """Score against EMA length, a line per trial."""
        from reports.figures.ema import ema_curves

        return ema_curves(self._results, self._ablation).to_plotly()

    @property
    def convergence(self) -> go.Figure:
        """Interim score against training images."""
        from reports.figures.convergence import convergence

        return convergence(self._results, self._ablation).to_plotly()

    @property
    def densities(self) -> go.Figure | None:
        """Density of noise levels in training of every variant, or of the best trials and the worst; None where none is known."""
        from reports.figures.noise_levels import densities

        found = densities(self._results, self._ablation)
        return found.to_plotly() if found else None


class _Printed:
    """What happens in a study, as lines."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet

    def note(self, text: str) -> None:
        if not self._quiet:
            print(text, flush=True)

    def update(self, tally: Tally) -> None:
        """Numbers in between are not printed."""


def _frame(rows: list[dict[str, Any]], index: str = "") -> pd.DataFrame:
    import pandas as pd

    frame = pd.DataFrame(rows)
    return frame.set_index(index) if index and len(frame) else frame


def _listed(lengths: float | Sequence[float]) -> Sequence[float]:
    return lengths if isinstance(lengths, Sequence) else [lengths]
