"""Sampling from an exported folder: `load_exported(folder).sample(16)`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from trainables.data import ImageData
from trainables.errors import Damaged, UserError
from trainables.evaluation.settings import Evaluation
from trainables.experts.router import Load, Router
from trainables.files import document
from trainables.networks.modules.build import build_denoiser
from trainables.networks.modules.denoiser import SIGMA_DATA, Denoiser, one_hot
from trainables.randomness import normal
from trainables.recipe import make_recipe
from trainables.sampling.guidance import guided


class Exported:
    """`denoiser` is the network, or the router of all experts; `guide` the weaker network where guidance asks for one."""

    def __init__(self, denoiser: Denoiser, guide: Denoiser | None, data: ImageData, settings: dict[str, Any]) -> None:
        self.denoiser, self.guide, self.data = denoiser, guide, data
        self.evaluation = Evaluation.model_validate(settings)

    @torch.inference_mode()
    def sample(self, count: int, labels: np.ndarray | None = None, seed: int = 0) -> np.ndarray:
        """Images as raw values of the data [count,C,H,W]; image i depends on `seed` and i alone.

        `labels` [count] are class numbers; without them they go round the classes.
        """
        device, classes = self.denoiser.device, self.denoiser.classes
        chosen = np.arange(count) % max(classes, 1) if labels is None else np.asarray(labels)
        if chosen.shape != (count,) or (classes and not ((chosen >= 0) & (chosen < classes)).all()):
            raise UserError(f"labels: one class number from 0 to {classes - 1} is needed for each of {count} images")
        told = one_hot(torch.from_numpy(chosen).long().to(device), classes)
        noise = normal(seed, "exported samples", 0, count, self.data.shape).to(device)

        def fresh_noise(step: int) -> torch.Tensor:
            return normal(seed, f"exported samples/step {step}", 0, count, self.data.shape).to(device)

        images = self.evaluation.sampler.sample(guided(self.evaluation.guidance, self.denoiser, told, self.guide), noise, fresh_noise)
        return self.data.raw(images / SIGMA_DATA)


def load_exported(folder: Path | str, device: torch.device | str = "cpu", resident: int = 0) -> Exported:
    """What `trainables.export.export` wrote; networks of experts are read when first needed, at most `resident` at once (0 is all).

    UserError where the folder holds no export, Damaged where a file in it cannot be read.
    """
    folder, device = Path(folder), torch.device(device)
    path = folder / "model.json"
    if not path.exists():
        raise UserError(f"{folder}: holds no exported model (no model.json)")
    described = document.read(path, "export the model again")
    if described.get("format") != 1:
        raise UserError(f"{path}: has format {described.get('format')}, and this version reads format 1; use the version that wrote it")
    about = described["data"]
    known = {"mean": about["mean"], "std": about["std"]}
    nothing = np.empty((0, *about["shape"]), dtype=about["dtype"])
    data = ImageData(nothing, np.empty(0, dtype=np.int64), about["classes"], about["peak"], known)
    load = [_loader(folder, row, data, device) for row in described["networks"]]
    first = make_recipe(_fields(described["networks"][0]), str(path))
    many = len(load) > 1
    denoiser = Router(first.target, first.classes_of(data), described["edges"], load, device, resident) if many else load[0]()
    guide = _loader(folder, described["guide"], data, device)() if described["guide"] else None
    return Exported(denoiser, guide, data, {"sampler": described["sampler"], "guidance": described["guidance"]})


def _loader(folder: Path, row: dict[str, Any], data: ImageData, device: torch.device) -> Load:
    def load() -> Denoiser:
        path = folder / row["file"]
        denoiser = build_denoiser(make_recipe(_fields(row), str(path)), data)
        try:
            denoiser.load_state_dict(load_file(path))
        except (OSError, SafetensorError, RuntimeError) as error:
            raise Damaged(f"{path}: cannot be read ({str(error).splitlines()[0]}); export the model again") from None
        return denoiser.to(device).eval()

    return load


def _fields(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "file"}
