"""What `snrlab new` writes keeps its contract, so does the outside package; methods that do not are told what is wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.trainables.plugins.written import installed, weighting
from trainables.errors import ConfigError
from trainables.plugins.contracts.check import CONTRACTS, check_plugin, try_out
from trainables.plugins.loading import load
from trainables.plugins.new import new_method
from trainables.plugins.registry import FAMILIES
from trainables.recipe import FAMILIES as RECIPES

NEW = [family for family in RECIPES if family != "importance_base"]


def test_every_family_has_a_contract() -> None:
    assert CONTRACTS.keys() == FAMILIES.keys() == {kinds.interface for kinds in RECIPES.values()}


@pytest.mark.parametrize("family", NEW)
def test_a_new_method_keeps_its_contract_and_has_a_test(family: str, tmp_path: Path) -> None:
    source, test = new_method(family, f"own_{family}", tmp_path)
    assert (source.name, test.name) == (f"own_{family}.py", f"test_own_{family}.py")
    report, = check_plugin(str(source))
    assert report.kind == f"own_{family}" and not report.problems, str(report)
    assert "my_method" not in source.read_text() + test.read_text() and "MyMethod" not in source.read_text()
    compile(test.read_text(), str(test), "exec")
    with pytest.raises(ConfigError, match="is there already"):
        new_method(family, f"own_{family}", tmp_path)


@pytest.mark.parametrize(("family", "name", "message"), [
    ("weigthing", "x", "Did you mean 'weighting'?"), ("weighting", "min_snr", "is one of snrlab's own"),
    ("weighting", "class", "'class' was given"),
    ("weighting", "torch", "torch.py would stand before the installed module of that name: choose another, such as my_torch"),
    ("data", "json", "json.py would stand before the installed module"), ("split", "trainables", "trainables.py would stand before"),
    ("weighting", "../x", "use small letters"), ("weighting", "", "use small letters"), ("importance_base", "x", "is no family"),
])
def test_a_wrong_family_or_name_is_told(family: str, name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        new_method(family, name, tmp_path)
    assert message in str(caught.value) and not list(tmp_path.iterdir())


@pytest.mark.parametrize(("formula", "message"), [
    ("__import__('numpy').asarray(x) * self.power", "a torch tensor became a ndarray"),
    ("_.astype(x, _.float32) * self.power", "float64 became float32"),
    ("x / 0 * self.power", "not finite"),
    ("x * __import__('random').random()", "differ"),
    ("x.sum() * self.power", "shape (61,) became ()"),
    ("undefined", "NameError"),
    ("exit(3)", "SystemExit: 3"),
    ("_.exp(_.exp(x))", "weights are finite"),
])
def test_a_weighting_that_breaks_its_contract_is_told_how(formula: str, message: str, tmp_path: Path) -> None:
    report, = check_plugin(str(weighting(tmp_path / "bad.py", "bad", formula)))
    assert message in str(report)


@pytest.mark.parametrize(("family", "old", "new", "message"), [
    ("schedule", "self.centre + self.width *", "self.width *", "cdf(icdf(u)) is not u"),
    ("schedule", "-z - 2.0", "-z - 3.0", "has the mass"),
    ("target", "return alpha, sigma", "return sigma, alpha", "is not the clean image"),
    ("timesteps", "int(pair[0]), int", "0, int", "drawn otherwise than the whole"),
    ("augment", '"augmentation", first', '"augmentation", 0', "changed otherwise in another batch"),
    ("network", "x + self.inside(x)", "x", "no gradient for inside"),
    ("network", "self.enter(z)", "self.enter(z - z.mean())", "depends on the others"),
    ("data", "default_rng(0)", "default_rng()", "a second reading gives other images"),
    ("data", "astype(np.int64)", "astype(np.int32)", "labels are int32"),
    ("data", "    stated: ClassVar", "    told: ClassVar", "give `files`"),
    ("optimiser", "lr=self.lr", "lr=2 * self.lr", "begins with lr"),
    ("sampler", "(following - now)", "0.5 * (following - now)", "standard deviation"),
    ("features", "default_rng(0)", "default_rng()", "prepared a second time"),
    ("features", ".astype(np.float32)", "", "features are float64"),
    ("features", '"fd_my_method"', '"score"', "use fd_"),
    ("split", "np.arange(1, groups)", "np.arange(groups, 1, -1)", "do not rise"),
    ("budgets", "(self.share,) * groups", "(2 * self.share,) * groups", "have the ratios"),
    ("criterion", ".double()", ".float()", "torch.float32"),
    ("weighting", "low=0.1, high=1.0", "low=1.0, high=0.1", "is not below"),
    ("weighting", "low=0.1, high=1.0", "low=0.1, high=9.0", "is in its range and refused"),
    ("weighting", ', description="power of the SNR"', "", "no description of power"),
    ("weighting", "import Literal", "import Literal\nimport pickle", "imports pickle"),
    ("weighting", "searchable(0.5, low=0.1, high=1.0, ge=0, le=2, ", "__import__('pydantic').Field(", "`example: ClassVar"),
])
def test_what_each_contract_notices(family: str, old: str, new: str, message: str, tmp_path: Path) -> None:
    source, _ = new_method(family, "changed", tmp_path)
    text, old = source.read_text(), old.replace("my_method", "changed")
    assert old in text
    source.write_text(text.replace(old, new))
    report, = check_plugin(str(source))
    assert report.problems and message in str(report), str(report)


@pytest.mark.parametrize("family", sorted({*NEW} - {"data", "features", "network", "optimiser"}))
def test_a_method_that_raises_an_error_is_noticed_at_little_cost(family: str, tmp_path: Path) -> None:
    source, _ = new_method(family, "fails", tmp_path)
    method, = load(str(source)).methods
    try_out([method])
    calm = source.read_text()
    (tmp_path / "other").mkdir()
    source = tmp_path / "other/fails.py"
    source.write_text(re.sub(r"(\n    def [^\n]*:\n)", r"\1        raise RuntimeError('no')\n", calm))
    method, = load(str(source)).methods
    with pytest.raises(ConfigError, match=r"'fails' fails when it is called: RuntimeError: no \(line \d+ of .*fails\.py\)"):
        try_out([method])


def test_all_that_is_wrong_is_told_together(tmp_path: Path) -> None:
    path = weighting(tmp_path / "bad.py", "bad", "x / 0 * self.power")
    text = path.read_text().replace('"""w = SNR^power."""', "").replace(', description="power of the SNR"', "")
    path.write_text(text.replace("high=1.0", "high=9.0"))
    report, = check_plugin(str(path))
    for message in ("there is no docstring", "no description of power", "is in its range and refused", "not finite"):
        assert message in str(report), message
    checks = [problem.partition(": ")[0] for problem in report.problems]
    assert len(checks) == len(set(checks)), "each check says once what it has found"


def test_the_outside_package_keeps_every_contract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(installed(tmp_path / "site", tmp_path / "scratch")))
    reports = check_plugin("lab_methods.methods")
    assert len(reports) == len(NEW)
    assert not [str(report) for report in reports if report.problems]
