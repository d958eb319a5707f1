"""Trials of a grid that were trained once; each stands for an equal share of the space around it.

`snrlab run tests/benchmarks/recorded/grid.yaml --workdir DIR`, then `python -m tests.benchmarks.recorded_trials DIR`, records them anew.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import snrlab
from search_spaces.study import Study, load_study
from trainables.files import atomic

HERE = Path(__file__).parent / "recorded"


class RecordedTrials:
    """Intermediate scores, and scores of the end at several EMA lengths, everywhere in a space: those of the cell's recorded trial.

    Cells divide each parameter's range evenly on its own scale.
    """

    def __init__(self) -> None:
        self.study: Study = load_study(str(HERE / "grid.yaml"))
        found = json.loads((HERE / "grid.json").read_text())
        self.images: list[int] = found["images"]
        self.sigma_rels: list[float] = found["sigma_rels"]
        self._curves, self._scores = np.array(found["curves"]), np.array(found["scores"])  # [g, ..., g, reports], [g, ..., g, lengths]

    @property
    def best(self) -> float:
        """The lowest score of the end, each trial at its own best EMA length."""
        return float(self._scores.min())

    def lowest(self, length: int) -> float:
        """The lowest score at one EMA length."""
        return float(self._scores[..., length].min())

    def curve(self, values: Mapping[str, Any]) -> list[tuple[int, float]]:
        """(images, intermediate score) of a trial."""
        return list(zip(self.images, self._curves[self._place(values)].tolist(), strict=True))

    def scores(self, values: Mapping[str, Any]) -> np.ndarray:
        """Of a trial's end, at each EMA length."""
        return self._scores[self._place(values)]

    def _place(self, values: Mapping[str, Any]) -> tuple[int, ...]:
        points = zip(self._scores.shape[:-1], self.study.space.items(), strict=True)
        return tuple(min(int(axis.share_of(values[path]) * n), n - 1) for n, (path, axis) in points)


def record(workdir: Path) -> None:
    """Write down what a finished run of the grid has found."""
    study = load_study(str(HERE / "grid.yaml"))
    outcome = snrlab.load(workdir, study.name)
    grids = [axis.grid(study.search.sampler.points) for axis in study.space.values()]  # type: ignore[union-attr]
    numbers = {tuple(row[path] for path in study.space): number for number, row in outcome.trials.iterrows()}
    in_order = [numbers[point] for point in itertools.product(*grids)]
    curves = outcome.curves.pivot(index="trial", columns="images", values=f"interim_{outcome.metric}").loc[in_order]
    scores = outcome.ema.pivot(index="trial", columns="sigma_rel", values=outcome.metric).loc[in_order]
    shape = [len(grid) for grid in grids]
    text = json.dumps({
        "images": curves.columns.tolist(), "sigma_rels": scores.columns.tolist(),
        "curves": curves.to_numpy().round(3).reshape(*shape, -1).tolist(),
        "scores": scores.to_numpy().round(3).reshape(*shape, -1).tolist(),
    })
    atomic.write_text(HERE / "grid.json", text + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workdir", type=Path)
    record(parser.parse_args().workdir)
