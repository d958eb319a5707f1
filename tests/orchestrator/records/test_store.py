"""What was trained once is not trained again: same recipe, longer recipe, other recipe, damaged store."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.records.store import Store
from tests.conftest import tiny_fields
from trainables.ema.snapshots import list_snapshots
from trainables.recipe import Recipe, make_recipe
from trainables.stage_key import stage_key
from trainables.training import metrics_log
from trainables.training.loop import train


def recipe_of(images: int, **changes) -> Recipe:
    often = {"ema": {"snapshot_every": 128}, "evaluation": {**tiny_fields()["evaluation"], "every": 128}}
    return make_recipe(tiny_fields(duration={"images": images, "batch_size": 64}, **often, **changes))


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
    store.keep(key_of(recipe), recipe, trained)
    assert store.take(key_of(recipe), recipe, tmp_path / "other") == 320
    (progress,) = train(recipe, tmp_path / "other", cache)
    assert progress.done and progress.metrics["loss"] == metrics_log.read(trained)[-1]["loss"]
    assert vectors(tmp_path / "other") == vectors(trained)
    (entry,) = store.entries()
    assert entry.in_use and entry.size > 0 and store.verify() == {}


def test_a_longer_run_goes_on_from_a_shorter_one_with_the_numbers_of_an_unbroken_one(trained: Path, tmp_path: Path, cache: Path) -> None:
    store = Store(tmp_path / "store")
    store.keep(key_of(recipe_of(320)), recipe_of(320), trained)
    longer = recipe_of(512)
    assert store.take(key_of(longer), longer, tmp_path / "longer") == 320
    list(train(longer, tmp_path / "longer", cache))
    list(train(longer, tmp_path / "unbroken", cache))
    assert vectors(tmp_path / "longer") == vectors(tmp_path / "unbroken")  # without the odd last one of the shorter run
    store.keep(key_of(longer), longer, tmp_path / "longer")
    assert [e.images for e in store.entries()] == [512]
    store.keep(key_of(recipe_of(320)), recipe_of(320), trained)  # shorter: nothing to keep
    assert [e.images for e in store.entries()] == [512]
    assert store.take(key_of(recipe_of(320)), recipe_of(320), tmp_path / "shorter") == 0  # its end lies before the kept checkpoint


def test_other_recipes_share_nothing(trained: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    store.keep(key_of(recipe_of(320)), recipe_of(320), trained)
    assert store.take(key_of(recipe_of(320, seed=1)), recipe_of(320, seed=1), tmp_path / "seed") == 0
    assert store.take(key_of(recipe_of(320, optimiser={"lr": 0.5})), recipe_of(320, optimiser={"lr": 0.5}), tmp_path / "lr") == 0


def test_garbage_is_what_no_trial_shares(trained: Path, tmp_path: Path) -> None:
    store, recipe = Store(tmp_path / "store"), recipe_of(320)
    store.keep(key_of(recipe), recipe, trained)
    (tmp_path / "store" / ".left.1").mkdir()
    assert store.collect_garbage() == [] and not (tmp_path / "store" / ".left.1").exists()
    for path in (store.entries()[0].folder / "snapshots").iterdir():  # as if the trial's folder had been deleted
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)
    assert len(store.collect_garbage()) == 1 and store.entries() == []


def test_damage_is_found_and_a_torn_entry_is_no_entry(trained: Path, tmp_path: Path) -> None:
    store, recipe = Store(tmp_path / "store"), recipe_of(320)
    store.keep(key_of(recipe), recipe, trained)
    entry = store.entries()[0]
    victim = sorted((entry.folder / "snapshots").iterdir())[0]
    content = bytearray(victim.read_bytes())
    victim.unlink()
    content[-9] ^= 1
    victim.write_bytes(content)
    assert store.verify() == {entry: [str(victim)]}
    (entry.folder / "entry.json").write_text("{")
    assert store.entries() == [] and store.take(key_of(recipe), recipe, tmp_path / "other") == 0


def test_one_trial_waits_for_the_other(tmp_path: Path) -> None:
    first, second = Store(tmp_path).lock(key_of(recipe_of(320))), Store(tmp_path).lock(key_of(recipe_of(512)))
    with first, pytest.raises(TimeoutError):
        second.acquire(timeout=0.1)
    with second:
        pass
