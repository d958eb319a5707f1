"""The source of plug-ins is part of what decides a result."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.trainables.plugins.written import folder, weighting
from trainables.data.digits import Digits
from trainables.metrics.pixels import Pixels
from trainables.metrics.reference import Reference
from trainables.plugins.code import code_of_plugins
from trainables.plugins.new import new_method
from trainables.recipe import make_recipe
from trainables.stage_key import stage_key


def key(plugin: Path, method: str = "mine", **fields) -> str:
    return stage_key(make_recipe({"plugins": [str(plugin)], "weighting": method, **fields}), Path("no files to remember"))


def test_a_file_counts_by_what_it_does_and_not_by_where_it_lies(tmp_path: Path) -> None:
    first = key(weighting(tmp_path / "a/my.py"))
    assert key(weighting(tmp_path / "b/my.py")) == first
    commented = weighting(tmp_path / "c/my.py", formula="self.power * x  # a comment")
    assert key(commented) == first
    assert key(weighting(tmp_path / "d/my.py", formula="self.power * x + 1")) != first


def test_what_it_imports_from_its_folder_counts_and_nothing_else_there(tmp_path: Path) -> None:
    first = key(folder(tmp_path / "a/my"))
    assert key(folder(tmp_path / "b/my")) == first
    assert key(folder(tmp_path / "c/my", "power * x + 1")) != first
    (folder(tmp_path / "d/my") / "unused.py").write_text("x = 1\n")
    assert key(tmp_path / "d/my") == first
    (folder(tmp_path / "e/my") / "__init__.py").write_text("from .weighting import Mine\nx = 1\n")
    assert key(tmp_path / "e/my") != first, "it runs before the rest"


def test_our_own_code_that_a_plug_in_stands_on_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from trainables import method_code

    before, path = key(weighting(tmp_path / "my.py")), tmp_path / "my.py"
    monkeypatch.setitem(method_code._SOURCES, "trainables.log_snr", method_code._SOURCES["trainables.log_snr"] + "\nCHANGED = 1\n")
    for cached in (method_code._module_hash, method_code._imports):
        cached.cache_clear()
    try:
        assert key(path) != before
    finally:
        monkeypatch.undo()
        for cached in (method_code._module_hash, method_code._imports):
            cached.cache_clear()


def test_a_plug_in_that_a_recipe_names_and_does_not_use_changes_no_stage(tmp_path: Path) -> None:
    path = weighting(tmp_path / "my.py")
    plain = make_recipe({"weighting": "snr"})
    assert key(path, "snr") == stage_key(plain, Path("no files to remember"))
    assert make_recipe({"plugins": [str(path)], "weighting": "snr"}).key != plain.key


def test_features_are_kept_between_runs_by_their_code(tmp_path: Path) -> None:
    """Statistics of real images lie in the cache, under a name in which a changed extractor must show."""
    hashes = []
    for place, seed in (("a", 0), ("b", 0), ("c", 1)):
        (tmp_path / place).mkdir()
        source, _ = new_method("features", "kept", tmp_path / place)
        source.write_text(source.read_text().replace("default_rng(0)", f"default_rng({seed})"))
        space = make_recipe({"plugins": [str(source)], "evaluation": {"features": "kept"}}).evaluation.features
        hashes.append(Reference(space, Digits().load(), tmp_path / "cache").feature_hash)
    assert hashes[0] == hashes[1] != hashes[2]
    assert Reference(Pixels(), Digits().load(), tmp_path).feature_hash == Pixels().hash_of(""), "ours count by their settings"


def test_hashes_for_records_are_by_name_without_folders(tmp_path: Path) -> None:
    names = [str(weighting(tmp_path / "one.py")), str(folder(tmp_path / "two"))]
    found = code_of_plugins(names)
    assert set(found) == {"one", "two"} and all(len(code) == 64 for code in found.values())
    again = code_of_plugins([str(weighting(tmp_path / "elsewhere/one.py"))])
    assert again["one"] == found["one"]
