"""A trained network, or a row of experts, as a folder from which anyone samples with this package's `trainables` and PyTorch alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from trainables.data import ImageData
from trainables.ema.snapshots import list_snapshots
from trainables.errors import UserError
from trainables.files import atomic, document
from trainables.networks.modules.denoiser import Denoiser
from trainables.recipe import Recipe
from trainables.stages.composition import guide_recipe
from trainables.stages.guided import guide_of, network_folder
from trainables.stages.joint import plan_in
from trainables.stages.weights import SNAPSHOTS, averaged_denoiser

MODEL = "model.json"
FORMAT = 1

_README = """# {title}

{networks} of {parameters:.3g} parameters in all, exported from a training of {images:,} images. `{model}` describes everything; weights are
safetensors. Sampling needs PyTorch and the package `trainables` of snrlab:

```python
import numpy as np
from trainables.exported import load_exported

model = load_exported(".")            # on a GPU: load_exported(".", device="cuda")
images = model.sample(16, seed=0)     # raw values of the data, [16, {channels}, {height}, {width}]
np.save("images.npy", images)
rows = images.reshape(4, 4, {channels}, {height}, {width}).transpose(0, 3, 1, 4, 2)
np.save("grid.npy", rows.reshape(4 * {height}, 4 * {width}, {channels}))
print(images.shape, images.dtype, images.min(), images.max())
clean = model.denoiser.denoise        # D(x, sigma, labels) in EDM's coordinates, data of standard deviation 0.5
```

Sampler: {sampler}; guidance weight: {guidance:g}; EMA length: {lengths}.
"""


def export(
    recipe: Recipe, folder: Path, target: Path, sigma_rel: float | Sequence[float], images: int | None = None, cache: Path | None = None
) -> Path:
    """Write the average of a length from the run in `folder` into `target`; of all its experts where the recipe has some.

    `sigma_rel` may give a length per group.  `images` is the time of the average, the end of training by default; experts are exported as
    they are at the end.  UserError where nothing was trained or `target` holds something else.
    """
    if target.exists() and any(target.iterdir()) and not (target / MODEL).exists():
        raise UserError(f"{target}: is not empty and no earlier export; give another folder")
    data = recipe.data.load(cache)
    networks = _experts(recipe, folder, data, sigma_rel) if recipe.experts else _single(recipe, folder, data, sigma_rel, images)
    rows = [_write(target, name, denoiser, own) for name, denoiser, own, _ in networks]
    edges = plan_in(folder).edges if recipe.experts else ()
    guide = guide_of(recipe, data, folder)
    mean, std = data.statistics
    evaluation = recipe.evaluation.model_dump(mode="json")
    description: dict[str, Any] = {
        "format": FORMAT, "edges": list(edges), "networks": rows, "sigma_rels": [length for *_, length in networks],
        "guide": _write(target, "guide", guide, guide_recipe(recipe) if recipe.guide else recipe) if guide else None,
        "data": {"shape": list(data.shape), "dtype": data.images.dtype.str, "classes": data.classes, "peak": data.peak,
                 "mean": mean.tolist(), "std": std.tolist()},
        "sampler": evaluation["sampler"], "guidance": evaluation["guidance"],
    }
    atomic.write_text(target / "README.md", _readme(recipe, data, networks, description))
    document.write(target / MODEL, description, indent=1)
    return target


_Networks = list[tuple[str, Denoiser, Recipe, float]]  # file, network, its recipe, EMA length


def _single(recipe: Recipe, folder: Path, data: ImageData, sigma_rel: float | Sequence[float], images: int | None) -> _Networks:
    length = sigma_rel if isinstance(sigma_rel, float | int) else sigma_rel[0]
    run = network_folder(recipe, folder)
    snapshots = list_snapshots(run / SNAPSHOTS)
    if not snapshots:
        raise UserError(f"{folder}: has no stored averages: nothing was trained there, or they were deleted after the sweep")
    time = images or max(s.images for s in snapshots)
    return [("network", averaged_denoiser(recipe, data, run, time, float(length)), recipe, float(length))]


def _experts(recipe: Recipe, folder: Path, data: ImageData, sigma_rel: float | Sequence[float]) -> _Networks:
    experts = plan_in(folder).experts
    lengths = [float(sigma_rel)] * len(experts) if isinstance(sigma_rel, float | int) else [float(length) for length in sigma_rel]
    if len(lengths) != len(experts):
        raise UserError(f"sigma_rel: {len(lengths)} EMA lengths were given for {len(experts)} groups; give one, or one for each")
    return [
        (e.name, averaged_denoiser(e.recipe, data, folder / e.name, e.recipe.duration.images, length), e.recipe, length)
        for e, length in zip(experts, lengths, strict=True)
    ]


def _write(target: Path, name: str, denoiser: Denoiser, recipe: Recipe) -> dict[str, Any]:
    """The weights' file, and what builds their network."""
    state = {key: tensor.cpu().contiguous() for key, tensor in denoiser.state_dict().items()}
    atomic.write_with(target / f"{name}.safetensors", lambda temporary: save_file(state, temporary, {"format": "pt"}))
    fields = recipe.model_dump(mode="json")
    kept = ("network", "target", "augment", "conditional", "seed")
    return {"file": f"{name}.safetensors", **{field: fields[field] for field in kept}}


def _readme(recipe: Recipe, data: ImageData, networks: _Networks, description: dict[str, Any]) -> str:
    lengths = ", ".join(f"{length:g}" for length in dict.fromkeys(description["sigma_rels"]))
    count = sum(p.numel() for _, denoiser, *_ in networks for p in denoiser.parameters())
    kinds = f"{len(networks)} experts by noise level" if recipe.experts else "One denoiser"
    channels, height, width = data.shape
    return _README.format(
        title="A diffusion model", networks=kinds, parameters=float(count), images=recipe.duration.images, model=MODEL, channels=channels,
        height=height, width=width, sampler=json.dumps(description["sampler"]), guidance=description["guidance"]["weight"], lengths=lengths,
    )
