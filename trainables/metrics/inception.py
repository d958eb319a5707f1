"""Inception-v3 as FID defines it (Heusel et al. 2017): torch-fidelity's port of the original TensorFlow network."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal
from unittest.mock import patch

import numpy as np
from pydantic import Field

from trainables.data import ImageData
from trainables.files.content import LocalPath, content_hash
from trainables.metrics.features import Extracted, Extractor, Features, check_weights, rgb

_FILE = "weights-inception-2015-12-05-6726825d.pth"
_URL = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{_FILE}"
_BATCH = 64


class Inception(Features):
    """Features of the last pooling layer, 2048 of them; FID in the proper sense when the weights are the published ones."""

    kind: Literal["inception"] = "inception"
    weights: LocalPath | None = Field(None, description="weights file; default: torch's own cache of downloads")
    sha256: str = Field("6726825d", pattern="^[0-9a-fA-F]{0,64}$", description="SHA-256 of the file, or its beginning; empty is any file")

    @property
    def metric(self) -> str:
        return "fid"

    @property
    def space(self) -> str:
        return "inception"

    @property
    def dimensions(self) -> int:
        return 2048

    def check_files(self) -> None:
        check_weights(self._path(), self.sha256, "features inception", f"Get it from {_URL}, or name a file with features.weights.")

    @property
    def files(self) -> dict[str, tuple[Path, ...]]:
        return {"weights": (self._path(),)}

    def prepare(self, data: ImageData, cache: Path, pulse: Callable[[], None] = lambda: None) -> Extractor:
        import torch

        self.check_files()
        net = _network(self._path())
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        net.to(device)

        @torch.inference_mode()
        def extract(images: np.ndarray) -> Extracted:
            pictures = torch.from_numpy(rgb(images, data, "features inception"))
            parts = [net(part.to(device)) for part in pictures.split(_BATCH)]
            features, logits = (torch.cat(column).float().cpu().numpy() for column in zip(*parts, strict=True))
            return Extracted(features, logits)

        return Extractor(extract, self.hash_of(content_hash(self.files["weights"], cache)))

    def _path(self) -> Path:
        if self.weights is not None:
            return self.weights
        # torch.hub's own rule, without torch: https://docs.pytorch.org/docs/stable/hub.html#where-are-my-downloaded-models-saved
        caches = os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")
        return Path(os.environ.get("TORCH_HOME", Path(caches) / "torch")) / "hub" / "checkpoints" / _FILE


def _network(path: Path) -> Any:
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    # The library reads its file with a full unpickler; torch's own switch turns that into a read of tensors alone.
    with patch.dict(os.environ, TORCH_FORCE_WEIGHTS_ONLY_LOAD="1"):
        return FeatureExtractorInceptionV3("inception-v3-compat", ["2048", "logits_unbiased"], feature_extractor_weights_path=str(path))
