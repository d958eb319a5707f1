"""What was trained once is not trained again: same recipe, longer recipe, other recipe, damaged store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.records.store import Store, Taken
from tests.conftest import tiny_fields
from trainables.ema.snapshots import list_snapshots
from trainables.recipe import Recipe, make_recipe
from trainables.stage_key import stage_key
from trainables.training import metrics_log
from trainables.training.loop import train


def recipe_of(images: int, **changes) -> Recipe:
    often = {"ema": {"snapshot_every": 128}, "evaluation": {**tiny_fields()["evaluation"], "every": 128}}
    return make_recipe(tiny_fields(duration={"images": images, "batch_size": 64}, **{**often, **changes}))


def key_of(recipe: Recipe) -> str:
    return stage_key(recipe, Path("no files to remember"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    list(train(recipe_of(320), folder, cache))
    return folder


def vectors(folder: Path) -> dict[tuple[int, float], tuple[str, ...]]:
    return {(s.images, s.sigma_rel): s.file.checksums for s in list_snapshots(folder / "snapshots")}


def test_the_same_recipe_is_taken_over_whole(trained: Path, tmp_path: Path, cache: Path) -> None:
    store, recipe = Store(tmp_path / "store"), recipe_of(320)
    store.keep(key_of(recipe), recipe, trained, "first", 3)
    assert store.take(key_of(recipe), recipe, tmp_path / "other") == Taken(320, "first", 3)
    (progress,) = train(recipe, tmp_path / "other", cache)
    assert progress.done and progress.metrics["loss"] == metrics_log.read(trained)[-1]["loss"]
    assert vectors(tmp_path / "other") == vectors(trained)
    (entry,) = store.entries()
    assert entry.in_use and entry.size > 0 and store.verify() == {}


def test_a_longer_run_goes_on_from_a_shorter_one_with_the_numbers_of_an_unbroken_one(trained: Path, tmp_path: Path, cache: Path) -> None:
    store = Store(tmp_path / "store")
    store.keep(key_of(recipe_of(320)), recipe_of(320), trained, "first", 3)
    longer = recipe_of(512)
    assert store.take(key_of(longer), longer, tmp_path / "longer") == Taken(320, "first", 3)
    list(train(longer, tmp_path / "longer", cache))
    list(train(longer, tmp_path / "unbroken", cache))
    assert vectors(tmp_path / "longer") == vectors(tmp_path / "unbroken")  # without the odd last one of the shorter run
    store.keep(key_of(longer), longer, tmp_path / "longer", "second", 4)
    store.keep(key_of(recipe_of(320)), recipe_of(320), trained, "third", 5)  # is kept already
    assert [(e.images, e.study) for e in store.entries()] == [(320, "first"), (512, "second")]
    assert store.take(key_of(recipe_of(320)), recipe_of(320), tmp_path / "again") == Taken(320, "first", 3)
    assert vectors(tmp_path / "again") == vectors(trained)


def test_a_run_that_was_broken_off_gives_way_to_a_further_one_and_is_no_whole_run(trained: Path, tmp_path: Path, cache: Path) -> None:
    store, longer = Store(tmp_path / "store"), recipe_of(512)
    key = key_of(longer)
    for images in (256, 384):
        training = train(longer, tmp_path / "run", cache)
        while next(training).images < images:
            pass
        training.close()
        store.keep(key, longer, tmp_path / "run", "first", 0)
        assert [e.images for e in store.entries()] == [images]
    assert store.images(key, recipe_of(320)) == 0 and store.images(key, recipe_of(384)) == store.images(key, longer) == 384
    store.keep(key, recipe_of(320), trained, "second", 0)  # shorter, and whole
    assert sorted(e.images for e in store.entries()) == [320, 384] and store.verify() == {}
    for _ in train(longer, tmp_path / "run", cache):
        pass
    store.keep(key, longer, tmp_path / "run", "first", 0)
    assert sorted(e.images for e in store.entries()) == [320, 512]


def test_what_was_broken_off_is_no_run_of_its_length_where_the_averages_of_its_end_are_missing(tmp_path: Path, cache: Path) -> None:
    store, often = Store(tmp_path / "store"), {"evaluation": {**tiny_fields()["evaluation"], "every": 64}}
    longer, shorter = recipe_of(512, **often), recipe_of(192, **often)
    training = train(longer, tmp_path / "run", cache)
    while next(training).images < 192:  # averages are stored every 128 images
        pass
    training.close()
    store.keep(key_of(longer), longer, tmp_path / "run", "first", 0)
    assert store.images(key_of(longer), longer) == 192 and store.take(key_of(shorter), shorter, tmp_path / "shorter") is None
    list(train(shorter, tmp_path / "shorter", cache))
    store.keep(key_of(shorter), shorter, tmp_path / "shorter", "second", 0)
    assert store.take(key_of(shorter), shorter, tmp_path / "other") == Taken(192, "second", 0)
    assert vectors(tmp_path / "other") == vectors(tmp_path / "shorter")


def test_other_recipes_share_nothing(trained: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    store.keep(key_of(recipe_of(320)), recipe_of(320), trained, "first", 3)
    assert store.take(key_of(recipe_of(320, seed=1)), recipe_of(320, seed=1), tmp_path / "seed") is None
    assert store.take(key_of(recipe_of(320, optimiser={"lr": 0.5})), recipe_of(320, optimiser={"lr": 0.5}), tmp_path / "lr") is None


def test_garbage_is_what_no_trial_shares(trained: Path, tmp_path: Path) -> None:
    store, recipe = Store(tmp_path / "store"), recipe_of(320)
    store.keep(key_of(recipe), recipe, trained, "first", 3)
    left = [tmp_path / "store" / name for name in (".left.1", "0123", f"{key_of(recipe)}/640")]
    for folder in left:
        (folder / "snapshots").mkdir(parents=True)
    assert store.collect_garbage() == [] and not any(folder.exists() for folder in left)
    for path in (store.entries()[0].folder / "snapshots").iterdir():  # as if the trial's folder had been deleted
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)
    assert len(store.collect_garbage()) == 1 and store.entries() == []


def test_garbage_is_not_collected_under_a_study_that_is_at_it(trained: Path, tmp_path: Path) -> None:
    store, recipe = Store(tmp_path / "store"), recipe_of(320)
    store.keep(key_of(recipe), recipe, trained, "first", 3)
    with store.lock(key_of(recipe)).acquire():
        assert Store(store.root).collect_garbage(lambda entry: True) == [] and len(store.entries()) == 1
    assert len(store.collect_garbage(lambda entry: True)) == 1 and not (store.root / key_of(recipe)).exists()


def halve(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flip(content: bytes) -> bytes:
    return content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]


@pytest.mark.parametrize("damage", [halve, flip, None], ids=["halved", "flipped", "deleted"])
@pytest.mark.parametrize("pattern", ["snapshots/*-0.1000.safetensors", "checkpoint.safetensors", "metrics.jsonl"])
def test_damage_is_found_and_a_damaged_entry_is_dropped_when_it_is_wanted(
    pattern: str, damage: Callable[[bytes], bytes] | None, trained: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture,
) -> None:
    store, recipe = Store(tmp_path / "store"), recipe_of(320)
    store.keep(key_of(recipe), recipe, trained, "first", 3)
    (entry,) = store.entries()
    victim = sorted(entry.folder.glob(pattern))[0]
    content = victim.read_bytes()
    victim.unlink()
    if damage:
        victim.write_bytes(damage(content))
    assert any(str(victim) in text for text in store.verify()[entry])
    assert store.take(key_of(recipe), recipe, tmp_path / "other") is None and not (tmp_path / "other").exists()
    assert str(victim) in caplog.text and "training begins at the start" in caplog.text
    assert store.entries() == [] and not entry.folder.exists()


@pytest.mark.parametrize("content", ["", "{", '{"checksum": "0123456789abcdef", "images": 320, "kept": 1.0}'])
def test_a_torn_entry_is_no_entry(content: str, trained: Path, tmp_path: Path) -> None:
    store, recipe = Store(tmp_path / "store"), recipe_of(320)
    store.keep(key_of(recipe), recipe, trained, "first", 3)
    (store.entries()[0].folder / "entry.json").write_text(content)
    assert store.entries() == [] and store.take(key_of(recipe), recipe, tmp_path / "other") is None
    store.keep(key_of(recipe), recipe, trained, "second", 0)
    assert store.take(key_of(recipe), recipe, tmp_path / "other") == Taken(320, "second", 0)


def test_one_trial_waits_for_the_other(tmp_path: Path) -> None:
    first, second = Store(tmp_path).lock(key_of(recipe_of(320))), Store(tmp_path).lock(key_of(recipe_of(512)))
    with first, pytest.raises(TimeoutError):
        second.acquire(timeout=0.1)
    with second:
        pass
