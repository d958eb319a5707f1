"""Contact sheets that compare a trial's images, made as it is swept: over EMA lengths, over training, and beside training images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from orchestrator.records.folders import SweepRecord
from trainables.data import ImageData
from trainables.evaluation.image_grid import png

_COLUMNS, _MOST_ROWS = 8, 12
_IN_TIME = ("guidance_weight", "guide_sigma_rel")  # what is held fixed over training, besides the best EMA length being taken


class Sheet(NamedTuple):
    """Rows of images of the same latents."""

    rows: list[str]  # what each is, from above
    png: bytes


def comparison_sheets(record: SweepRecord, pictures: Sequence[np.ndarray], data: ImageData) -> dict[str, Sheet]:
    """By name; those of which there is more than one row.  `pictures` are images [N,C,H,W] of each of the sweep's points."""
    best = record.best
    if best is None:
        return {}
    images_of = {id(point): images[:_COLUMNS] for point, images in zip(record.points, pictures, strict=True)}
    in_time = [p for p in record.points if all(p[key] == best[key] for key in _IN_TIME)]
    lengths = sorted((p for p in in_time if p["images"] == best["images"]), key=lambda p: p["sigma_rel"])
    at = {p["images"]: p for p in sorted(in_time, key=lambda p: -p["distance"])}  # the best of each time is the last that stays
    compared = {"ema_lengths": lengths, "training": [at[images] for images in sorted(at)]}
    rows = {
        name: [(_text(point, name, record.metric), images_of[id(point)]) for point in _some(points, best)]
        for name, points in compared.items() if len(points) > 1
    }
    if nearest := best.get("nearest", [])[:_COLUMNS]:
        rows["nearest"] = [("generated", images_of[id(best)][: len(nearest)]), ("their nearest training images", data.images[nearest])]
    return {name: Sheet([text for text, _ in found], png(np.concatenate([images for _, images in found]), data, len(found[0][1])))
            for name, found in rows.items()}


def _some(points: Sequence[dict[str, Any]], best: dict[str, Any]) -> list[dict[str, Any]]:
    """At most so many, evenly chosen, the first, the last and the best among them."""
    places = set(np.linspace(0, len(points) - 1, min(len(points), _MOST_ROWS)).round().astype(int).tolist())
    inner = places - {0, len(points) - 1}
    own = next(i for i, point in enumerate(points) if point is best)
    if own not in places:
        places = places - {min(inner, key=lambda i: abs(i - own))} | {own}
    return [points[i] for i in sorted(places)]


def _text(point: dict[str, Any], name: str, metric: str) -> str:
    length = "a length per group" if point.get("sigma_rels") else f"sigma_rel {point['sigma_rel']:.3g}"
    time = f"{point['images']:,} images, " if name == "training" else ""
    return f"{time}{length}: {metric} {point['distance']:.4g}"
