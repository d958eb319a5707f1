"""The real loop on 16 images of 2x2 with a network of a few weights: what a field of training changes shows in a tenth of a second."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

from tests.conftest import tiny_fields
from tests.trainables.training.linear_toy import toy_in_place
from trainables.errors import TrainingFailed
from trainables.networks.modules.denoiser import Denoiser
from trainables.recipe import Recipe, make_recipe
from trainables.training import loop
from trainables.training import model as model_module
from trainables.training.reporter import Reporter

BATCH, STEPS = 16, 8
TIMED = ("images_per_second", "train_seconds")
# The settings of a network whose norms are not forced; the toy takes its dropout alone.
NETWORK = {"kind": "adm", "channels": 8, "mult": [1, 2], "blocks": 1, "attention": [4], "channels_per_head": 8, "dropout": 0}


def toy_fields(**changes: Any) -> dict[str, Any]:
    """A recipe of a few steps with a report half-way."""
    fields = tiny_fields(
        network=NETWORK, schedule={"kind": "edm_lognormal", "P_mean": 0.0}, duration={"images": BATCH * STEPS, "batch_size": BATCH},
        ema={"sigma_rels": [0.1], "snapshot_every": BATCH * STEPS // 2}, optimiser={"lr": 0.01},
    )
    fields["evaluation"] = {**fields["evaluation"], "features": "pixels", "every": BATCH * STEPS // 2}
    return {**fields, **changes}


class Small(nn.Module):
    """Two convolutions with weights that decay, levels, labels and augment labels added between them, and dropout."""

    def __init__(self, dropout: float, augment_labels: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.first, self.last = nn.Conv2d(1, 6, 3, padding=1), nn.Conv2d(6, 1, 1)
            self.level, self.label, self.augment = nn.Linear(1, 6), nn.Linear(2, 6), nn.Linear(max(augment_labels, 1), 6, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, z: Tensor, c_noise: Tensor, labels: Tensor | None = None, augment: Tensor | None = None) -> Tensor:
        added = self.level(c_noise[:, None])
        added = added if labels is None else added + self.label(labels)
        added = added if augment is None else added + self.augment(augment)
        return self.last(self.dropout(torch.tanh(self.first(z) + added[:, :, None, None])))


class Recorder(Reporter):
    """Stores averages as ever; reports are kept, and nothing is scored."""

    def __init__(self, recipe: Any, folder: Any, cache: Any, data: Any, model: Any, ranks: Any, pulse: Any) -> None:
        self._recipe, self._folder, self._model, self._ranks = recipe, folder, model, ranks
        self.reports: list[tuple[int, dict[str, float]]] = []

    def begin(self, images: int) -> None:
        pass

    def report(self, images: int, metrics: dict[str, float]) -> dict[str, float]:
        self.reports.append((images, {name: value for name, value in metrics.items() if name not in TIMED}))
        return metrics


def train_toy(recipe: Recipe | None = None, **changes: Any) -> dict[str, Any]:
    """What the training of a recipe comes to: `weights` and `averages` (values alone), `reports`, `stored` files, `saved` times, `end`."""
    recipe = recipe or make_recipe(toy_fields(**changes))
    made: list[Recorder] = []

    def recorder(*given: Any) -> Recorder:
        made.append(Recorder(*given))
        return made[-1]

    def starting(recipe: Recipe, *_: Any) -> Denoiser:
        network = Small(getattr(recipe.network, "dropout", 0.0), recipe.augment.labels)
        return Denoiser(network, recipe.target, classes=2 if recipe.conditional else 0)

    saved: list[int] = []
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(toy_in_place(recipe))
        stack.enter_context(mock.patch.object(loop, "Reporter", recorder))
        stack.enter_context(mock.patch.object(model_module, "starting_denoiser", starting))
        stack.enter_context(mock.patch.object(loop.checkpoint, "save", lambda _, __, counters, ___: saved.append(counters.images)))
        end = "done"
        try:
            list(loop.train(recipe, folder, folder))
        except TrainingFailed as error:
            end = str(error)
        stored = {path.name: path.read_bytes() for path in sorted((folder / "snapshots").glob("*"))}
    model = made[-1]._model
    return {
        "weights": [p.detach().clone() for p in model.denoiser.parameters()],
        "averages": [list(model.ema.averages.values()), list(model.classical.averages.values())],
        "reports": made[-1].reports, "stored": stored, "saved": saved, "end": end,
    }


def weights_with(name: str, **beside: Any) -> Any:
    """A look at the weights that training comes to with some settings as the recipe's `name`."""
    return lambda settings: train_toy(**{**beside, name: settings})["weights"]
