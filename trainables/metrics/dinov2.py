"""DINOv2 features (Oquab et al. 2023), in which the Fréchet distance follows human judgement better (Stein et al. 2023)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from trainables.data import ImageData
from trainables.errors import ConfigError
from trainables.files.content import LocalPath, content_hash
from trainables.metrics.features import Extracted, Extractor, Features, check_weights, rgb

_BATCH = 32
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, with which the network was trained


class DinoV2(Features):
    """Class token of a vision transformer (timm's implementation); FD-DINOv2 is defined with vit-l."""

    kind: Literal["dinov2"] = "dinov2"
    model: Literal["vit-s", "vit-b", "vit-l", "vit-g"] = Field("vit-l", description="size of the transformer")
    weights: LocalPath = Field(description="weights file, as published by its authors (.pth) or by timm (.safetensors)")
    sha256: str = Field("", pattern="^[0-9a-fA-F]{0,64}$", description="SHA-256 of the file, or its beginning; empty is any file")
    resolution: int = Field(224, ge=14, multiple_of=14, description="images are resized to this")

    @property
    def metric(self) -> str:
        return "fd_dinov2"

    @property
    def dimensions(self) -> int:
        return {"vit-s": 384, "vit-b": 768, "vit-l": 1024, "vit-g": 1536}[self.model]

    def check_files(self) -> None:
        try:
            import timm  # noqa: F401
        except ImportError:
            raise ConfigError("features dinov2: needs timm: pip install 'snrlab[dinov2]'") from None
        how = "Get it from https://github.com/facebookresearch/dinov2, and name it with features.weights."
        check_weights(self.weights, self.sha256, "features dinov2", how)

    @property
    def files(self) -> dict[str, tuple[Path, ...]]:
        return {"weights": (self.weights,)}

    def prepare(self, data: ImageData, cache: Path, pulse: Callable[[], None] = lambda: None) -> Extractor:
        import timm
        import torch
        from torch.nn import functional as F

        self.check_files()
        size = {"vit-s": "small", "vit-b": "base", "vit-l": "large", "vit-g": "giant"}[self.model]
        net = timm.create_model(f"vit_{size}_patch14_dinov2", pretrained=False, num_classes=0, img_size=self.resolution)
        try:
            timm.models.load_checkpoint(net, str(self.weights), strict=True, weights_only=True)
        except (RuntimeError, KeyError) as error:
            raise ConfigError(f"features dinov2: {self.weights} does not fit {self.model}: {str(error).splitlines()[0]}") from None
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        net.eval().requires_grad_(False).to(device)
        mean, std = (torch.tensor(v, device=device).view(3, 1, 1) for v in (_MEAN, _STD))

        @torch.inference_mode()
        def extract(images: np.ndarray) -> Extracted:
            parts = []
            for pictures in torch.from_numpy(rgb(images, data, "features dinov2")).split(_BATCH):
                x = pictures.to(device).float() / 255
                x = F.interpolate(x, (self.resolution, self.resolution), mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)
                parts.append(net((x - mean) / std).float().cpu().numpy())
            return Extracted(np.concatenate(parts))

        return Extractor(extract, self.hash_of(content_hash(self.files["weights"], cache)))
