"""Networks with averaged weights from a run's folder."""

from __future__ import annotations

from pathlib import Path

import torch

from trainables.data import ImageData
from trainables.ema.averages import Averages
from trainables.ema.flat_file import open_flat
from trainables.ema.reconstruct import Target, plan
from trainables.ema.snapshots import list_snapshots, load_vector, snapshot_name
from trainables.errors import Damaged
from trainables.networks.modules.build import starting_denoiser
from trainables.networks.modules.denoiser import Denoiser
from trainables.recipe import Recipe

SNAPSHOTS = "snapshots"


def averaged_denoiser(
    recipe: Recipe, data: ImageData, folder: Path, images: int, sigma_rel: float, device: torch.device | None = None
) -> Denoiser:
    """The run's average of a width at a time, in evaluation mode; UserError where it cannot be made of what is stored."""
    denoiser = starting_denoiser(recipe, data, folder)
    if sigma_rel in recipe.ema.sigma_rels and (images % recipe.ema.snapshot_every == 0 or images == recipe.duration.images):
        file = open_flat(snapshot_name(folder / SNAPSHOTS, images, sigma_rel))
        if not file.verify():
            raise Damaged(f"{file.location}: does not match its checksums; delete the run's folder to train again, with the same numbers")
        load_vector(file.read().float(), denoiser)
    else:
        made = plan(list_snapshots(folder / SNAPSHOTS), [Target(sigma_rel, images)])
        load_vector(Averages(made, made.vectors()).at(sigma_rel, images)[0], denoiser)
    return denoiser.to(device or torch.device("cpu")).eval()
