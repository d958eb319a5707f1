"""Methods of installed packages need no name in a study; a broken package stops nobody who does not use it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.trainables.plugins.written import weighting


def package(folder: Path, name: str, kind: str = "", formula: str = "self.power * x", source: str = "") -> None:
    """As pip leaves it: a module with an entry point."""
    weighting(folder / f"{name}.py", kind or name, formula)
    if source:
        (folder / f"{name}.py").write_text(source)
    about = folder / f"{name}-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[snrlab.methods]\n{name} = {name}\n")


def told(folder: Path, *lines: str) -> str:
    """What Python prints where the packages in a folder are installed."""
    code = "\n".join([f"import sys; sys.path.insert(0, {str(folder)!r})", "from trainables.recipe import make_recipe",
                      "from search_spaces.study import make_study", *lines])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    return done.stdout + done.stderr


def test_a_study_finds_a_method_and_names_its_module_for_others(tmp_path: Path) -> None:
    package(tmp_path, "lab_one")
    shown = told(tmp_path, "r = make_recipe({'weighting': 'lab_one'}); print(r.plugins, list(r.packed['plugin_sources']['lab_one']))",
                 "s = make_study({'name': 's', 'space': {'weighting.kind': ['edm', 'lab_one'], 'weighting.power': {'kind': 'auto',"
                 " 'when': {'weighting.kind': 'lab_one'}}}}); print(s.plugins, s.space['weighting.power'].high, s.base_recipe.plugins)",
                 "variants = {'a': {}, 'b': {'weighting': 'lab_one'}}",
                 "print(make_study({'name': 'd', 'design': {'seeds': 2, 'variants': variants}}).plugins)")
    assert shown.splitlines() == ["('lab_one',) ['lab_one.py']", "('lab_one',) 1.0 ('lab_one',)", "('lab_one',)"]


def test_a_broken_package_stops_only_those_who_name_what_is_not_known(tmp_path: Path) -> None:
    package(tmp_path, "lab_good")
    package(tmp_path, "lab_bad", source="import nothing_of_this_name")
    package(tmp_path, "lab_clash", kind="min_snr")
    shown = told(tmp_path, "print(make_recipe({'weighting': 'snr'}).warnings, 'lab_bad' in sys.modules)",
                 "print(*make_recipe({'weighting': 'lab_good'}).warnings, sep='|')",
                 "make_recipe({'weighting': 'lab_bad'})").splitlines()
    assert shown[0] == "[] False"
    assert "entry point lab_bad of package lab_bad: lab_bad: cannot be imported: ModuleNotFoundError" in shown[1]
    assert "the weighting 'min_snr' is one of snrlab's own" in shown[1]
    for words in ("'lab_bad' is not a known kind", "Could not be looked into: ", "nothing_of_this_name"):
        assert words in shown[-1]


def test_two_packages_with_one_name_stop_only_those_who_name_it(tmp_path: Path) -> None:
    package(tmp_path, "lab_a", "same")
    package(tmp_path, "lab_b", "same", "2 * x")
    shown = told(tmp_path, "print(make_recipe({'weighting': 'same', 'plugins': ['lab_b']}).weighting.log_weight(1.0, None))",
                 "make_recipe({'weighting': 'same'})").splitlines()
    assert shown[0] == "2.0"
    assert shown[-1].endswith("'same' is a method of both installed packages lab_a and lab_b: name one of them in plugins")


def test_nothing_is_looked_for_before_it_is_needed(tmp_path: Path) -> None:
    package(tmp_path, "lab_noise", source="print('imported')")
    told_of = told(tmp_path, "make_recipe({})", "import orchestrator.cli.app", "from trainables.plugins import entry_points",
                   "print(entry_points.installed.cache_info().currsize)")
    assert told_of == "0\n"


@pytest.mark.parametrize("text", ["x = = 1", "raise SystemExit", "import os; os.missing"])
def test_whatever_is_wrong_with_a_package(text: str, tmp_path: Path) -> None:
    package(tmp_path, "lab_bad", source=text)
    package(tmp_path, "lab_good")
    assert told(tmp_path, "print(make_recipe({'weighting': 'lab_good'}).weighting.kind)") == "lab_good\n"
