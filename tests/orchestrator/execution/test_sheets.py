"""Contact sheets of a sweep: rows of the same latents by EMA length and time, and nearest training images."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image

from orchestrator.execution.sheets import comparison_sheets
from orchestrator.records.folders import SweepRecord
from trainables.data.digits import Digits

DATA = Digits().load()
SIDE = 512 // (8 * 8) * 8 + 4  # of an image with its gap: enlarged by whole factors to 512 pixels at most


def point(sigma_rel: float, distance: float, images: int = 200, weight: float = 1.0, **more: Any) -> dict[str, Any]:
    return {"sigma_rel": sigma_rel, "distance": distance, "images": images, "guidance_weight": weight, "guide_sigma_rel": None,
            "metrics": {"fd_probe": distance}, **more}


def grey(level: int, count: int = 9) -> np.ndarray:
    return np.full((count, 1, 8, 8), level, dtype=DATA.images.dtype)


def levels(png: bytes) -> list[list[int]]:
    """Grey of the middle of each image, by row."""
    sheet = np.asarray(Image.open(io.BytesIO(png)).convert("L"))
    return [[int(sheet[y, x]) for x in range(SIDE // 2 + 2, sheet.shape[1], SIDE)] for y in range(SIDE // 2 + 2, sheet.shape[0], SIDE)]


def test_rows_are_lengths_of_the_best_slice_and_the_best_of_each_time() -> None:
    points = [point(0.1, 5.0), point(0.05, 2.0), point(0.05, 9.0, images=100), point(0.1, 7.0, images=100), point(0.05, 1.0, weight=2.0)]
    points[-1]["distance"] = 3.0  # the best of another guidance weight is no part of what is compared
    found = comparison_sheets(SweepRecord("fd_probe", points), [grey(i) for i in (2, 4, 6, 8, 10)], DATA)
    assert set(found) == {"ema_lengths", "training"}
    assert found["ema_lengths"].rows == ["sigma_rel 0.05: fd_probe 2", "sigma_rel 0.1: fd_probe 5"]
    assert found["training"].rows == ["100 images, sigma_rel 0.1: fd_probe 7", "200 images, sigma_rel 0.05: fd_probe 2"]
    length, time = levels(found["ema_lengths"].png), levels(found["training"].png)
    assert len(length) == len(time) == 2 and all(len(row) == 8 for row in length + time)
    shown = {grey: level for level, grey in ((4, length[0][0]), (2, length[1][0]))}
    assert len(shown) == 2 and time[1] == length[0] and time[0] != length[1]  # 8 is brighter than 2


def test_generated_images_stand_above_their_nearest_training_images() -> None:
    nearest = [5, 17, 200]
    found = comparison_sheets(SweepRecord("fd_probe", [point(0.05, 2.0, nearest=nearest)]), [DATA.images[[5, 17, 200, 3]]], DATA)
    assert set(found) == {"nearest"} and found["nearest"].rows == ["generated", "their nearest training images"]
    above, below = np.split(np.asarray(Image.open(io.BytesIO(found["nearest"].png)))[4:], 2)
    assert (above == below).all()  # these are copies


def test_many_lengths_are_thinned_out_and_a_failed_sweep_has_no_sheets() -> None:
    points = [point(0.01 * (i + 1), 1.0 + i) for i in range(30)]
    found = comparison_sheets(SweepRecord("fd_probe", points), [grey(i % 16) for i in range(30)], DATA)
    assert list(found) == ["ema_lengths"] and len(found["ema_lengths"].rows) == 12
    assert comparison_sheets(SweepRecord("fd_probe", error="out of memory"), [], DATA) == {}


def test_of_many_rows_the_first_the_last_and_the_best_are_kept() -> None:
    lengths = [point(0.01 * (i + 1), 1.0 + abs(i - 16)) for i in range(30)]
    rows = comparison_sheets(SweepRecord("fd_probe", lengths), [grey(1)] * 30, DATA)["ema_lengths"].rows
    assert len(rows) == 12 and rows[0].startswith("sigma_rel 0.01:") and rows[-1].startswith("sigma_rel 0.3:")
    assert "sigma_rel 0.17: fd_probe 1" in rows
    times = [point(0.1, 50.0 - i, images=1000 * (i + 1)) for i in range(24)]
    rows = comparison_sheets(SweepRecord("fd_probe", times), [grey(1)] * 24, DATA)["training"].rows
    assert len(rows) == 12 and rows[0].startswith("1,000 images") and rows[-1].startswith("24,000 images")
