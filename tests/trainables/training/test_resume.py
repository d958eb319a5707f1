"""A run whose files were damaged begins at the start and has the same numbers; it never goes on from something else."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import tiny_fields
from trainables.ema.snapshots import list_snapshots
from trainables.errors import Damaged
from trainables.recipe import load_recipe, make_recipe
from trainables.training import checkpoint, metrics_log
from trainables.training.loop import train
from trainables.training.resume import check_trained

RECIPE = make_recipe(tiny_fields())


@pytest.fixture(scope="module")
def broken_off(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    folder = tmp_path_factory.mktemp("broken-off")
    for _ in itertools.islice(train(RECIPE, folder, cache), 1):
        pass
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    list(train(RECIPE, folder, cache))
    return folder


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path, at: float = 0.7) -> None:
    content = bytearray(path.read_bytes())
    content[int(len(content) * at)] ^= 16
    path.write_bytes(content)


DAMAGES = [halve, flip, Path.unlink, lambda path: path.write_bytes(b"")]
FILES = ["checkpoint.safetensors", "metrics.jsonl", "snapshots/images-000000000064-sigma_rel-0.0500.safetensors", "recipe.json"]


@pytest.mark.parametrize("damage", DAMAGES, ids=["halved", "flipped", "deleted", "emptied"])
@pytest.mark.parametrize("file", FILES)
def test_what_was_damaged_changes_no_number(file: str, damage: Callable[[Path], object], broken_off: Path, whole: Path, tmp_path: Path,
                                            cache: Path) -> None:
    folder = shutil.copytree(broken_off, tmp_path / "run")
    assert (folder / file).exists()
    damage(folder / file)
    reports = list(train(RECIPE, folder, cache))
    assert reports[-1].done and [r["loss"] for r in metrics_log.read(folder)] == [r["loss"] for r in metrics_log.read(whole)]
    kept = {s.file.location.rpartition("/")[2]: s.file for s in list_snapshots(folder / "snapshots")}
    assert all(file.verify() for file in kept.values())
    assert {n: f.checksums for n, f in kept.items()} == {
        s.file.location.rpartition("/")[2]: s.file.checksums for s in list_snapshots(whole / "snapshots")}
    assert load_recipe(folder / "recipe.json") == RECIPE


def test_a_flipped_bit_anywhere_in_a_checkpoint_is_noticed(broken_off: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(broken_off, tmp_path / "run")
    path = checkpoint.path(folder)
    content = path.read_bytes()
    assert checkpoint.verify(folder) and checkpoint.images(folder) == 128
    header = int.from_bytes(content[:8], "little")
    for at in [*range(0, header + 8, 149), *range(header + 8, len(content), len(content) // 12)]:
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1:])
        with pytest.raises(Damaged, match=r"checkpoint\.safetensors: cannot be read .*; delete it to train from the start"):
            checkpoint.load(folder, "key")
        assert not checkpoint.verify(folder) and checkpoint.images(folder) in (0, 128)


@pytest.mark.parametrize("damage", DAMAGES[::2], ids=["halved", "deleted"])
@pytest.mark.parametrize("file", ["metrics.jsonl", "snapshots/images-000000000256-sigma_rel-0.0500.safetensors"])
def test_a_run_that_lacks_something_is_not_swept(file: str, damage: Callable[[Path], object], whole: Path, tmp_path: Path) -> None:
    check_trained(whole, RECIPE)
    folder = shutil.copytree(whole, tmp_path / "run")
    damage(folder / file)
    with pytest.raises(Damaged, match=rf"{file}.*; restore it, or delete the run's folder to train again"):
        check_trained(folder, RECIPE)


def test_reports_of_earlier_calls_are_told_again_where_that_is_wanted(broken_off: Path, whole: Path, tmp_path: Path, cache: Path) -> None:
    folder = shutil.copytree(broken_off, tmp_path / "run")
    found = list(train(RECIPE, folder, cache, recall=True))
    assert [(p.images, p.recalled, p.done) for p in found] == [(128, True, False), (256, False, True)]
    assert [p.metrics["loss"] for p in found] == [row["loss"] for row in metrics_log.read(whole)]
    assert "feature_hash" not in found[0].metrics and "interim_fd_probe" in found[0].metrics
    assert [(p.images, p.recalled, p.done) for p in train(RECIPE, folder, cache, recall=True)] == [(128, True, False), (256, False, True)]


def test_a_run_that_begins_at_the_start_has_no_earlier_reports(broken_off: Path, tmp_path: Path, cache: Path) -> None:
    folder = shutil.copytree(broken_off, tmp_path / "run")
    (folder / "checkpoint.safetensors").unlink()
    assert [(p.images, p.recalled) for p in train(RECIPE, folder, cache, recall=True)] == [(128, False), (256, False)]
