"""The proxy search for a group's widths: candidates recover for a short while, and the held-out loss on the group's levels decides."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from trainables.errors import Damaged
from trainables.experts.macs import MacsByWidth
from trainables.experts.proxy import Found, Proxy, Row, Widths, search
from trainables.files import document
from trainables.networks.modules.start_file import StartWeights, write_start
from trainables.recipe import Recipe
from trainables.stage_key import stage_key
from trainables.stages.level_losses import level_losses, levels_within
from trainables.stages.stage import Candidate, Store
from trainables.training.loop import Run
from trainables.training.ranks import Ranks

_NAME = "proxy.json"


def searched_widths(
    proxy: Proxy, cost: MacsByWidth, budget: float, scores: Mapping[str, Tensor], multiple: int,
    begin: Callable[[Widths], tuple[Recipe, StartWeights]], folder: Path, cache: Path, ranks: Ranks, store: Store,
    memory: Sequence[Row] = (), pulse: Callable[[], None] = lambda: None,
) -> Found:
    """The widths that do best within a budget [MACs]; `begin` is the stage that would follow from some widths, and its first weights.

    Rows are kept in `folder`/proxy.json, from which an interrupted search goes on with the same numbers.  A round's candidates are
    scored through `store`, which may know their losses.  `memory` are rows of other groups' searches, best first.
    """
    plain = {name: values.tolist() for name, values in scores.items()}
    key = hashlib.sha256(repr((begin({})[0].canonical_json, budget, multiple, proxy, plain)).encode()).hexdigest()

    def score_round(round_of_widths: Sequence[Widths]) -> list[float]:
        candidates = [_candidate(*begin(widths), proxy.recovery_images, cache, ranks.device) for widths in round_of_widths]
        return store.losses(candidates, lambda candidate: recovered_loss(candidate, cache, ranks.device, pulse))

    def keep(rows: Sequence[Row]) -> None:
        document.write(folder / _NAME, {"key": key, "rows": [vars(row) for row in rows]})

    return search(proxy, cost, budget, plain, score_round, multiple, _history(folder, key), memory, keep)


def _candidate(recipe: Recipe, weights: StartWeights, images: int, cache: Path, device: torch.device) -> Candidate:
    """The stage cut short after its first images, rounded up to whole batches."""
    batch = recipe.duration.batch_size
    length = -(-images // batch) * batch
    short = recipe.model_copy(update={
        "duration": recipe.duration.model_copy(update={"images": max(length, batch)}),
        "ema": recipe.ema.model_copy(update={"snapshot_every": max(length, batch)}),
    })
    return Candidate(short, weights, length, f"{stage_key(short, cache, 1, device.type)}-{length}")


def recovered_loss(candidate: Candidate, cache: Path, device: torch.device, pulse: Callable[[], None] = lambda: None) -> float:
    """Mean held-out loss of a candidate's longest tracked average on its stage's levels."""
    recipe, weights = candidate.recipe, candidate.weights
    assert recipe.start
    with tempfile.TemporaryDirectory() as temporary:
        write_start(Path(temporary), recipe.start, weights.state, weights.kept)
        run = Run(recipe, Path(temporary), cache, Ranks(device=device), pulse)
        try:
            run.train_until(candidate.images)
        finally:
            run.close()
        run.model.ema.copy_to(max(recipe.ema.sigma_rels), run.model.denoiser)
        return float(level_losses(recipe, run.model.denoiser, levels_within(recipe, recipe.levels), pulse).mean())


def proxy_rows(folder: Path) -> list[Row]:
    """What the search of the group in `folder` has tried; empty without one."""
    path = folder / _NAME
    if not path.exists():
        return []
    return [Row(**row) for row in document.read(path, "delete it: the search begins anew, with the same numbers")["rows"]]


def _history(folder: Path, key: str) -> list[Row]:
    """Rows of this very search."""
    path = folder / _NAME
    try:
        known = path.exists() and document.read(path, "").get("key") == key
    except Damaged:
        known = False
    return proxy_rows(folder) if known else []
