"""Features of a small classifier that is trained once on the data set itself.

Good for ranking runs on one data set where no pretrained network fits (8x8 digits).  It is never called FID.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from trainables.data import ImageData
from trainables.errors import ConfigError
from trainables.files.cache import cached_arrays
from trainables.metrics.features import Extracted, Extractor, Features
from trainables.randomness import Shuffle, torch_seed

if TYPE_CHECKING:
    from torch import nn

VERSION = 1  # of what the same settings and data give; a stored value in the tests says when to raise it

_BATCH = 128
_SEED = 0  # part of the metric's definition, not of a study


class Probe(Features):
    """Penultimate layer of a three-layer convolutional classifier; saved with the data set's hash and reused."""

    kind: Literal["probe"] = "probe"
    dim: int = Field(64, ge=8, le=512, description="number of features")
    steps: int = Field(400, ge=1, description="training steps of the classifier, batch 128")

    @property
    def metric(self) -> str:
        return "fd_probe"

    @property
    def dimensions(self) -> int:
        return self.dim

    def prepare(self, data: ImageData, cache: Path, pulse: Callable[[], None] = lambda: None) -> Extractor:
        import torch

        if not data.classes:
            raise ConfigError("features probe: is a classifier, and needs data with labels; use pixels or inception")
        net = _classifier(data.shape[0], self.dim, data.classes)

        def trained() -> dict[str, np.ndarray]:
            self._train(net, data, pulse)
            return {name: value.numpy() for name, value in net.state_dict().items()}

        name = f"probe-{VERSION}-{self.dim}-{self.steps}-{data.key[:16]}"
        weights, found = cached_arrays(cache, name, trained, pulse)
        net.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
        net.eval()
        body = net[:-1]

        @torch.inference_mode()
        def extract(images: np.ndarray) -> Extracted:
            return Extracted(body(torch.from_numpy(data.for_features(images))).numpy())

        return Extractor(extract, self.hash_of(f"{VERSION} {found}"))

    def _train(self, net: nn.Sequential, data: ImageData, pulse: Callable[[], None]) -> None:
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(torch_seed(_SEED, "probe"))
            for layer in net:
                if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
                    layer.reset_parameters()
        shuffle = Shuffle(_SEED, len(data.images), "probe")
        optimiser = torch.optim.AdamW(net.parameters(), lr=2e-3)
        rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=self.steps)
        for step in range(self.steps):
            positions = shuffle(step * _BATCH, _BATCH)
            logits = net(torch.from_numpy(data.for_features(data.images[positions])))
            loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(data.labels[positions]))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            rate.step()
            pulse()


def _classifier(channels: int, dim: int, classes: int) -> nn.Sequential:
    from torch import nn

    return nn.Sequential(
        nn.Conv2d(channels, dim // 2, 3, padding=1), nn.ReLU(),
        nn.Conv2d(dim // 2, dim, 3, padding=1, stride=2), nn.ReLU(),
        nn.Conv2d(dim, dim, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * dim, dim), nn.ReLU(),
        nn.Linear(dim, classes),
    )

