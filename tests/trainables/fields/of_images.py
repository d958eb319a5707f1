"""Fields of data, feature spaces, samplers, guidance and evaluation: images, features, scores."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

from tests.conftest import tiny_fields
from tests.trainables.fields.field_table import Fields, When
from tests.trainables.fields.sources import content_of, folder_of_sources
from tests.trainables.fields.toy_run import train_toy
from trainables import data as data_sets
from trainables import metrics, sampling
from trainables.data import ImageData
from trainables.ema.sweep_settings import Sweep
from trainables.errors import ConfigError, UserError
from trainables.evaluation.settings import Evaluation
from trainables.evaluation.sweep import sweep
from trainables.randomness import normal
from trainables.recipe import make_recipe
from trainables.sampling.guidance import Guidance
from trainables.training.loop import train

_KEPT = tempfile.TemporaryDirectory()  # until the tests end
SOURCES = folder_of_sources(Path(_KEPT.name))
BATCH = 32


def outcome(made: Callable[[], Any]) -> Any:
    """What was made, or that it was refused."""
    try:
        return made()
    except (UserError, ConfigError) as error:
        return type(error).__name__


def data_look(source: Any) -> Any:
    def read() -> Any:
        data = source.load()
        generated = data.raw(torch.full((1, *data.shape), 0.5))  # back from whitened values
        return [np.asarray(data.images[:]), np.asarray(data.labels[:]), data.classes, generated]

    return outcome(read)


def features_look(features: Any) -> Any:
    with tempfile.TemporaryDirectory() as cache:
        return outcome(lambda: [features.check_files(), features.prepare(_pictures(), Path(cache))(_pictures().images[:4]).features])


def latent_look(features: Any) -> Any:
    latents = ImageData(np.random.default_rng(0).standard_normal((8, 2, 4, 4)).astype(np.float32), np.zeros(8, np.int64), 0)
    return features.prepare(latents, Path())(latents.images).features


class Transformer(torch.nn.Module):
    """In place of timm's: means over patches of 14 pixels, at a length that tells the size."""

    def __init__(self, name: str, **_: Any) -> None:
        super().__init__()
        self.scale = float(len(name))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.scale * torch.nn.functional.avg_pool2d(x, 14).square().flatten(1)


def dinov2_look(features: Any) -> Any:
    read = lambda net, path, **_: setattr(net, "scale", net.scale + len(Path(path).read_bytes()))  # noqa: E731
    with mock.patch("timm.create_model", Transformer), mock.patch("timm.models.load_checkpoint", read):
        return features_look(features)


def inception_look(features: Any) -> Any:
    """Whether it takes the file, and which."""
    return outcome(lambda: [features.check_files(), str(features.files)])


def sampler_look(sampler: Any) -> Any:
    noise = normal(0, "noise", 0, 4, (1, 2, 2))
    return sampler.sample(lambda x, sigma: torch.tanh(x) / (1 + sigma), noise, lambda step: normal(0, f"fresh {step}", 0, 4, (1, 2, 2)))


def _pictures() -> ImageData:
    return data_sets.KINDS["digits"]().load()


def _fields(evaluation: Any) -> dict[str, Any]:
    return tiny_fields(
        data={"kind": "digits", "held_out": 64}, label_dropout=0.2, duration={"images": 4 * BATCH, "batch_size": BATCH},
        ema={"sigma_rels": [0.05, 0.1], "snapshot_every": BATCH}, evaluation=evaluation, optimiser={"lr": 0.05},
    )


@functools.cache
def _trained() -> Path:
    """The folder of a run whose averages are scored in many ways."""
    folder = Path(_KEPT.name) / "run"
    list(train(make_recipe(_fields(EVALUATION)), folder, folder))
    return folder


def sweep_look(evaluation: Any) -> Any:
    recipe, folder = make_recipe(_fields(evaluation)), _trained()
    points = sweep(recipe, folder, folder, Sweep(sigma_rels=(0.1,))).points
    return [[point.metrics, point.examples] for point in points]


def guidance_look(guidance: Guidance) -> Any:
    return sweep_look({**EVALUATION, "guidance": guidance})


def interim_look(evaluation: Evaluation) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        fields = {**_fields(evaluation), "duration": {"images": BATCH, "batch_size": BATCH}}
        reports = list(train(make_recipe(fields), Path(folder), Path(folder)))
    return [report.metrics["interim_fd_pixels"] for report in reports]


def reports_look(evaluation: Evaluation) -> Any:
    return train_toy(evaluation=evaluation)["reports"]


EVALUATION = {"features": "pixels", "sampler": {"kind": "heun", "num_steps": 2}, "samples": 32, "interim_samples": 32, "every": 4 * BATCH}
WEAKER = {"by": "weaker"}
STEPS = {"num_steps": 7, "sigma_min": 0.01, "sigma_max": 40.0, "rho": 3.0}
CHURN = {"churn": 8.0}
FIELDS = [
    *(Fields(data_sets.KINDS[kind], data_look, values, base) for kind, (base, values) in content_of(SOURCES).items()),
    Fields(metrics.KINDS["pixels"], features_look, {}),
    Fields(metrics.KINDS["latent"], latent_look, {"pool": 2}),
    Fields(metrics.KINDS["probe"], features_look, {"dim": 16, "steps": 3}, base={"dim": 8, "steps": 2}),
    Fields(
        metrics.KINDS["inception"], inception_look, {"weights": SOURCES / "other.pth", "sha256": "00"},
        base={"weights": SOURCES / "some.pth", "sha256": ""},
    ),
    Fields(
        metrics.KINDS["dinov2"], dinov2_look,
        {"model": "vit-s", "weights": SOURCES / "other.pth", "sha256": "00", "resolution": 28},
        base={"model": "vit-b", "weights": SOURCES / "some.pth", "resolution": 14},
    ),
    *(Fields(sampling.KINDS[kind], sampler_look, {**STEPS, **own}) for kind, own in {
        "ddim": {}, "ddpm": {"eta": 0.5}, "dpm_solver": {},
        "heun": {"churn": 8.0, "churn_min": When(1.0, CHURN), "churn_max": When(1.0, CHURN), "churn_noise": When(1.1, CHURN)},
    }.items()),
    Fields(sampling.KINDS["flow_euler"], sampler_look, {"num_steps": 7, "shift": 3.0, "t_max": 0.99}),
    Fields(
        Guidance, guidance_look,
        {"weight": 3.0, "by": "weaker", "sigma_low": 1.0, "sigma_high": 1.0, "weaker_share": When(0.5, WEAKER),
         "weaker_sigma_rel": When(0.05, {**WEAKER, "weaker_share": 1.0})},
        base={"weight": 2.0},
    ),
    Fields(Evaluation, sweep_look, {
        "samples": 48, "precision": "bf16", "seed": 1,
    }, base=EVALUATION),
    Fields(Evaluation, interim_look, {"interim_samples": 24}, base={**EVALUATION, "every": BATCH}),
    Fields(Evaluation, reports_look, {"every": BATCH}, base=EVALUATION),
]
