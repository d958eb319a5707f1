"""The key of a training result: equal where the numbers are, and different wherever they might not be."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import tiny_fields
from trainables import method_code, stage_key
from trainables.data import KINDS as SOURCES
from trainables.data import ImageData
from trainables.data.arrow_file import write_arrow
from trainables.data.digits import Digits
from trainables.errors import UserError
from trainables.method_code import code_hash, source_hash
from trainables.recipe import make_recipe
from trainables.training.loop import train
from trainables.weightings.min_snr import MinSnr
from trainables.weightings.p2 import P2

FORMULA = '''
"""A module."""
from __future__ import annotations
if TYPE_CHECKING:
    from torch import Tensor
class A:
    """A class."""
    gamma: float = Field(5.0, gt=0, description="what it is")  # a comment
    def weight(self, x: float) -> float:
        """A method."""
        return  x * self.gamma + 1
'''


def key(cache: Path, *arguments, **fields) -> str:
    return stage_key.stage_key(make_recipe(tiny_fields(**fields)), cache, *arguments)


def small_data(path: Path, seed: int = 0) -> Path:
    data = Digits().read()
    shuffled = np.random.default_rng(seed).permutation(len(data.images))[:64]
    write_arrow(ImageData(data.images[shuffled], data.labels[shuffled], 10, 16), path)
    os.utime(path, (1_600_000_000, 1_600_000_000))
    return path


def test_the_length_and_what_sweeps_alone_look_at_do_not_count(tmp_path: Path) -> None:
    plain, evaluation = key(tmp_path), tiny_fields()["evaluation"]
    assert key(tmp_path, duration={"images": 512, "batch_size": 32}) == plain
    assert key(tmp_path, evaluation={**evaluation, "samples": 99, "also": ["pixels"], "sample_metrics": ["kid"]}) == plain


@pytest.mark.parametrize("change", [
    {"seed": 1}, {"weighting": "snr"}, {"optimiser": {"lr": 0.02}}, {"ema": {"snapshot_every": 128}}, {"target": "v"},
    {"evaluation": {**tiny_fields()["evaluation"], "every": 64}}, {"evaluation": {**tiny_fields()["evaluation"], "features": "pixels"}},
], ids=str)
def test_what_decides_training_or_its_reports_counts(change: dict, tmp_path: Path) -> None:
    assert key(tmp_path, **change) != key(tmp_path)


def test_ranks_device_and_the_version_of_the_numerics_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {key(tmp_path), key(tmp_path, 2), key(tmp_path, 1, "cuda")}
    monkeypatch.setattr(stage_key, "NUMERICS", stage_key.NUMERICS + 1)
    assert len(found | {key(tmp_path)}) == 4


def test_data_count_by_their_content_wherever_they_lie(tmp_path: Path) -> None:
    one, same, other = (small_data(tmp_path / f"{i}.arrow", seed) for i, seed in enumerate((0, 0, 1)))
    keys = [key(tmp_path, data={"kind": "arrow", "path": str(path)}) for path in (one, same, other)]
    assert keys[0] == keys[1] != keys[2]
    same.replace(one)  # another file with the same content at the same place, then one with other content
    assert key(tmp_path, data={"kind": "arrow", "path": str(one)}) == keys[0]
    other.replace(one)
    assert key(tmp_path, data={"kind": "arrow", "path": str(one)}) == keys[2]
    assert key(tmp_path, data={"kind": "arrow", "path": str(tmp_path / "none.arrow")}) not in keys  # training will say it


def test_weights_count_by_their_content(tmp_path: Path) -> None:
    for name, content in {"a": b"1", "b": b"1", "c": b"2"}.items():
        (tmp_path / name).write_bytes(content)
    spaces = ({"kind": "inception", "weights": str(tmp_path / name), "sha256": ""} for name in "abc")
    a, b, c = (key(tmp_path, evaluation={**tiny_fields()["evaluation"], "features": space}) for space in spaces)
    assert a == b != c


def test_equal_relative_paths_in_two_folders_are_two_recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipes = []
    for project in ("one", "two"):
        (tmp_path / project).mkdir()
        monkeypatch.chdir(tmp_path / project)
        recipes.append(make_recipe({"data": {"kind": "arrow", "path": "data.arrow"}}))
    assert recipes[0] != recipes[1] and recipes[0].key != recipes[1].key
    assert recipes[0].data.path == tmp_path / "one" / "data.arrow"


def test_every_source_has_files_or_states_what_it_reads() -> None:
    for kind, source in SOURCES.items():
        assert bool(source.stated) != ("files" in vars(source)), f"{kind}: give `files`, or `stated` where it reads none"


def test_comments_docstrings_and_descriptions_do_not_count() -> None:
    words = {"# a comment": "", "A method.": "B", "what it is": "it", "return  x": "return x", "import Tensor": "import cuda"}
    rewritten = FORMULA
    for old, new in words.items():
        rewritten = rewritten.replace(old, new)
    assert source_hash(rewritten) == source_hash(FORMULA)
    for old, new in {"+ 1": "+ 2", "5.0": "4.0", "x * self": "self.x * self", "gt=0": "ge=0"}.items():
        assert source_hash(FORMULA.replace(old, new)) != source_hash(FORMULA)


@pytest.mark.parametrize(("module", "changes"), [
    ("weightings/min_snr.py", True), ("weightings/weighting.py", True), ("log_snr.py", True), ("targets/target.py", True),
    ("weightings/p2.py", False), ("errors.py", False), ("method.py", False), ("networks/dit.py", False),
])
def test_code_counts_with_what_it_stands_on_and_no_further(module: str, changes: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    before, name = code_hash([MinSnr]), "trainables." + module.removesuffix(".py").replace("/", ".")
    monkeypatch.setitem(method_code._SOURCES, name, method_code._SOURCES[name] + "\nCHANGED = 1\n")  # as the next process finds it
    with hashed_anew():
        assert (code_hash([MinSnr]) != before) == changes


def test_a_process_counts_the_code_that_it_has_loaded_whatever_is_edited_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    before, read = code_hash([MinSnr]), Path.read_text
    monkeypatch.setattr(Path, "read_text", lambda path, *a, **o: read(path, *a, **o) + "\nCHANGED = 1\n" * (path.name == "min_snr.py"))
    with hashed_anew():
        assert code_hash([MinSnr]) == before
    monkeypatch.setattr(method_code, "_LOADED", method_code._LOADED - {"trainables.weightings.min_snr"})  # loaded after the change
    with hashed_anew():
        assert code_hash([MinSnr]) != before


def test_relative_imports_count(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "trainables.weightings.min_snr"
    for line, found in (("from .p2 import P2", "trainables.weightings.p2"), ("from . import p2", "trainables.weightings.p2"),
                        ("from ..networks import dit", "trainables.networks.dit")):
        monkeypatch.setitem(method_code._SOURCES, name, line)
        with hashed_anew():
            assert method_code._imports(name) == (found,)


@contextmanager
def hashed_anew() -> Iterator[None]:
    """Without what has been hashed before."""
    for cached in (method_code._module_hash, method_code._imports):
        cached.cache_clear()
    try:
        yield
    finally:
        for cached in (method_code._module_hash, method_code._imports):
            cached.cache_clear()


def test_methods_of_different_files_have_different_code() -> None:
    assert code_hash([MinSnr]) != code_hash([P2]) != code_hash([MinSnr, P2])


def test_data_changed_between_kill_and_resume_are_refused(tmp_path: Path) -> None:
    path = small_data(tmp_path / "data.arrow")
    recipe = make_recipe(tiny_fields(data={"kind": "arrow", "path": str(path)}, duration={"images": 256, "batch_size": 32}))
    cut = train(recipe, tmp_path / "run", tmp_path / "cache")
    next(cut)
    cut.close()
    small_data(tmp_path / "new.arrow", 1).replace(path)
    with pytest.raises(UserError, match="data or code that have changed since"):
        list(train(recipe, tmp_path / "run", tmp_path / "cache"))
    small_data(tmp_path / "old.arrow", 0).replace(path)
    assert list(train(recipe, tmp_path / "run", tmp_path / "cache"))[-1].done


def test_a_warm_process_reads_replaced_data_anew(tmp_path: Path) -> None:
    path = small_data(tmp_path / "data.arrow")
    source = make_recipe({"data": {"kind": "arrow", "path": str(path)}}).data
    before = source.load()
    assert source.load() is before
    small_data(tmp_path / "new.arrow", 1).replace(path)
    assert source.load().key != before.key
