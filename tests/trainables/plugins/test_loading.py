"""Methods of plug-ins stand beside ours; what is wrong with one is one message."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search_spaces import reference
from search_spaces.study import make_study, unpacked
from tests.trainables.plugins.written import folder, weighting
from trainables.errors import ConfigError
from trainables.plugins.new import new_method
from trainables.recipe import Recipe, keep_recipe, load_recipe, make_recipe
from trainables.weightings import KINDS


def test_a_file_s_method_is_validated_explained_searched_and_described_as_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weighting(tmp_path / "my.py")
    monkeypatch.chdir(tmp_path)
    study = make_study({"name": "s", "plugins": ["./my.py"], "base": {"weighting": "mine"}, "space": {"weighting.power": "auto"}})
    assert study.plugins == study.base_recipe.plugins == (str(tmp_path / "my.py"),)
    assert (study.space["weighting.power"].low, study.space["weighting.power"].high) == (0.1, 1.0)
    assert study.recipe({"weighting.power": 0.25}).weighting.log_weight(np.array([2.0]), study.base_recipe.target) == [0.5]
    for given, message in (
        ({"kind": "mine", "pwer": 1}, "weighting.pwer: there is no such field. Allowed: kind, power. Did you mean 'power'?"),
        ({"kind": "mine", "power": 3}, "weighting.power: 3 was given: input should be less than or equal to 2."),
        ("mien", "weighting: 'mien' is not a known kind."),
    ):
        with pytest.raises(ConfigError) as caught:
            make_recipe({"plugins": ["my.py"], "weighting": given})
        assert str(caught.value).startswith(f"recipe: {message}")
    assert "Allowed: " in str(caught.value) and "mine" in str(caught.value) and "Did you mean 'mine'?" in str(caught.value)
    assert "**`mine`** – w = SNR^power." in reference.reference(["./my.py"])
    assert "mine" in json.dumps(Recipe.model_json_schema())
    assert "mine" not in reference.reference() and "mine" not in KINDS
    make_recipe({"weighting": {"kind": "uncertainty", "base": "mine"}, "plugins": ["./my.py"]})


def test_only_a_recipe_that_names_a_plug_in_has_its_methods(tmp_path: Path) -> None:
    path = weighting(tmp_path / "only.py", "only")
    assert make_recipe({"plugins": [str(path)], "weighting": "only"}).weighting.kind == "only"
    with pytest.raises(ConfigError, match="'only' is not a known kind"):
        make_recipe({"weighting": "only"})
    other = weighting(tmp_path / "elsewhere/only.py", "only", "2 * x")
    recipes = [make_recipe({"plugins": [str(p)], "weighting": "only"}) for p in (path, other, path)]
    assert [float(recipe.weighting.log_weight(1.0, recipe.target)) for recipe in recipes] == [0.5, 2.0, 0.5]


def test_keys_and_texts_of_recipes_without_plug_ins_name_none() -> None:
    assert "plugins" not in make_recipe({}).canonical_json and make_recipe({"plugins": []}) == make_recipe({})
    assert "plugins" not in make_study({"name": "s", "space": {"seed": [0, 1]}}).model_dump()


def test_a_plug_in_goes_to_another_process_as_text(tmp_path: Path) -> None:
    path, several = weighting(tmp_path / "gone.py", "gone"), folder(tmp_path / "gone_too", kind="gone_too")
    recipe = make_recipe({"plugins": [str(path), str(several)], "weighting": {"kind": "gone_too", "power": 0.75}})
    study = make_study({"name": "s", "plugins": [str(path)], "base": {"weighting": "gone"}, "space": {"weighting.power": "auto"}})
    keep_recipe(recipe, tmp_path / "run")
    (tmp_path / "packed.json").write_text(json.dumps(study.packed))
    path.unlink()
    (several / "__init__.py").unlink()
    code = f"""if True:
        import json, numpy
        from pathlib import Path
        from search_spaces.study import unpacked
        from trainables.recipe import load_recipe
        from trainables.stage_key import stage_key
        folder = Path({str(tmp_path)!r})
        recipe, study = load_recipe(folder / "run/recipe.json"), unpacked(json.loads((folder / "packed.json").read_text()))
        print(recipe.weighting.log_weight(numpy.array([2.0]), None)[0], recipe.key, stage_key(recipe, folder))
        print(study.recipe({{"weighting.power": 0.25}}).weighting.log_weight(numpy.array([2.0]), None)[0])
        """
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    from trainables.stage_key import stage_key

    assert told == ["1.5", recipe.key, stage_key(recipe, tmp_path), "0.5"]
    assert load_recipe(tmp_path / "run/recipe.json") == recipe and unpacked(study.packed) == study


def test_what_was_edited_meanwhile_is_not_loaded(tmp_path: Path) -> None:
    path = weighting(tmp_path / "edited.py", "edited")
    before = make_recipe({"plugins": [str(path)], "weighting": "edited"})
    weighting(path, "edited", "3 * x")
    assert make_recipe({"plugins": [str(path)], "weighting": "edited"}) == before
    assert "self.power * x" in before.packed["plugin_sources"][str(path)]["edited.py"]


BROKEN: dict[str, tuple[str, str]] = {
    "raises": ("import nothing_of_this_name\n", "imported: ModuleNotFoundError: No module named 'nothing_of_this_name' (line 1 of"),
    "syntax": ("class (:\n", "cannot be imported: SyntaxError"),
    "leaves": ("raise SystemExit(0)\n", "cannot be imported: SystemExit"),
    "empty": ("x = 1\n", "brings no method"),
    "relative": ("from .helper import x\n", "imports helper, and a plug-in of one file is that file alone"),
    "neighbour": ("def f():\n    import beside\n", "imports beside, and a plug-in of one file is that file alone"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_one_message(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "beside.py").write_text("")
    source, message = BROKEN[name]
    path = tmp_path / f"{name}.py"
    path.write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))  # as `python -m` has it
    _refused([str(path)], message)


@pytest.mark.parametrize(("change", "message"), [
    ({"kind": "min_snr"}, "Mine: the weighting 'min_snr' is one of snrlab's own: give yours another kind"),
    ({"kind": "Bad Name"}, "its kind must be a fixed name of small letters"),
    ({"formula": "x\n    log_weigth = log_weight\n    del log_weight"}, "is a weighting, and does not define log_weight"),
    ({"formula": "x\n\nclass Other(Mine):\n    '''x'''"}, "Mine and Other are both the weighting 'mine': rename one"),
    ({"formula": "x\n\n    gamma: Undefined = 1"}, "broken.py: Mine: an annotation names Undefined, which is not defined: define or"),
    ({"imports": "del Literal"}, "Mine: an annotation names Literal, which is not defined"),
    ({"formula": "x\n\n    other: what = 1"}, "Mine: an annotation names what, which is not defined"),
])
def test_a_method_that_breaks_its_interface_is_one_message(change: dict[str, str], message: str, tmp_path: Path) -> None:
    _refused([str(weighting(tmp_path / "broken.py", **change))], message)


def test_what_a_plug_in_prints_as_it_is_imported_is_no_output_of_a_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_recipe({"plugins": [str(weighting(tmp_path / "loud.py", "loud", imports="print('I am here')"))], "weighting": "loud"})
    assert capsys.readouterr() == ("", "I am here\n")


def test_an_annotation_may_name_what_is_defined_below(tmp_path: Path) -> None:
    path = weighting(tmp_path / "below.py", "below", "x\n\n    gamma: Later = 1\n\nLater = int")
    assert make_recipe({"plugins": [str(path)], "weighting": {"kind": "below", "gamma": 2}}).weighting.gamma == 2


def test_a_data_source_whose_images_would_be_kept_whatever_its_source_is_refused(tmp_path: Path) -> None:
    source, _ = new_method("data", "kept", tmp_path)
    source.write_text(source.read_text().replace("    stated: ClassVar", "    decodes: ClassVar[bool] = True\n    stated: ClassVar"))
    _refused([str(source)], "set decodes: ClassVar[bool] = False")


def test_two_plug_ins_of_one_study_with_one_name_are_refused(tmp_path: Path) -> None:
    _refused([str(weighting(tmp_path / "a.py")), str(weighting(tmp_path / "b.py"))], "both bring the weighting 'mine': rename one")


@pytest.mark.parametrize(("name", "message"), [
    ("./none.py", "cannot be read (No such file or directory)"), ("no_such_module", "is no installed module"),
    ("torch-x", "is no module"),
    ("", "must be a module"), ("a\0/b.py", "must be a module"), ("trainables.recipe", "is not a plug-in"), ("./my-file.py", "my_file.py"),
    ("./nowhere", "cannot be read"), ("x.y.z", "is no installed module"), ("yaml", "brings no method"),
    ("_cffi_backend", "is no installed module with Python source"),
    *((name, f"{name}: belongs to Python and brings no method; name a module of your own") for name in ("os", "os.path", "json", "sys")),
])
def test_a_wrong_name_is_one_message(name: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weighting(tmp_path / "my-file.py")
    monkeypatch.chdir(tmp_path)
    _refused([name], message)


def test_a_folder_needs_an_init_file(tmp_path: Path) -> None:
    _refused([str(tmp_path)], "is a folder without an __init__.py")


@pytest.mark.parametrize("given", [3, "my.py", [3], {"a": 1}, [["x"]]])
def test_what_is_no_list_of_names_is_told(given: Any) -> None:
    with pytest.raises(ConfigError, match=r"plugins.*must be"):
        make_recipe({"plugins": given})
    with pytest.raises(ConfigError, match=r"plugins.*must be"):
        make_study({"name": "s", "plugins": given, "space": {"seed": [0, 1]}})


def _refused(names: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make_recipe({"plugins": names})
    said = str(caught.value)
    assert said.startswith("plugins: ") and message in said and len(said.splitlines()) == 1
    with pytest.raises(ConfigError, match="plugins: "):
        make_study({"name": "s", "plugins": names, "space": {"seed": [0, 1]}})
