"""One contract for every network, published parameter counts, and the switches of the EDM2 ladder."""

from __future__ import annotations

import random

import pytest
import torch

from trainables.errors import ConfigError
from trainables.networks import KINDS, dit, edm2
from trainables.networks.adm import Adm
from trainables.networks.dit import Dit
from trainables.networks.edm2 import Edm2
from trainables.networks.modules.forced_norm import ForcedNorm
from trainables.networks.modules.magnitude import MPConv
from trainables.recipe import make_recipe

SMALL = {
    "edm2": Edm2(channels=8, mult=(1, 2), blocks=1, attention=(4,), channels_per_head=8),
    "adm": Adm(channels=8, mult=(1, 2), blocks=1, attention=(4,), channels_per_head=8),
    "dit": Dit(width=32, depth=2, heads=2),
}
NETWORKS = {name: SMALL.get(name) or cls() for name, cls in KINDS.items()}  # a new one by its defaults
LADDER = {  # from config G back towards C, one change after the other
    "G": {}, "F": {"magnitude_preserving": False, "learned_gains": False}, "E": {"normalisation": "group"},
    "D": {"weight_norm": "standard"}, "C": {"weight_norm": "none"},
}


def parameters(settings, channels: int, resolution: int) -> float:
    with torch.device("meta"):
        return sum(p.numel() for p in settings.build(channels, resolution, 1000).parameters()) / 1e6


@pytest.mark.parametrize(("size", "million"), [
    ("XXS", 31.3), ("XS", 124.7), ("S", 280.2), ("M", 497.8), ("L", 777.5), ("XL", 1119.3), ("XXL", 1523.2)])
def test_edm2_sizes_have_the_published_parameter_counts(size: str, million: float) -> None:
    assert parameters(edm2.preset(size), 4, 64) == pytest.approx(million, abs=0.051)


def test_adm_has_the_parameter_counts_of_configs_a_and_b() -> None:
    assert parameters(Adm(channels=192), 4, 64) == pytest.approx(295.9, abs=0.051)
    assert parameters(Adm(channels=192, attention=(16, 8)), 4, 64) == pytest.approx(291.8, abs=0.051)


@pytest.mark.parametrize(("size", "million"), [("S", 33), ("B", 130), ("L", 458), ("XL", 675)])
def test_dit_sizes_have_the_published_parameter_counts(size: str, million: float) -> None:
    assert parameters(dit.preset(size), 4, 32) == pytest.approx(million, abs=0.6)


def test_unknown_sizes_are_explained() -> None:
    with pytest.raises(ConfigError, match=r"Allowed: .*XXL"):
        edm2.preset("XXXL")
    with pytest.raises(ConfigError, match="Allowed: S, B, L, XL"):
        dit.preset("M")


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("classes", [0, 4])
@pytest.mark.parametrize("channels", [1, 3])
def test_contract(name: str, classes: int, channels: int) -> None:
    torch.manual_seed(0)
    net = NETWORKS[name].build(channels, 8, classes)
    z, c = torch.randn(5, channels, 8, 8), torch.linspace(-1.5, 1, 5)
    labels = torch.eye(4)[torch.arange(5) % 4] if classes else None
    out = net(z, c, labels)
    assert out.shape == z.shape and (out == 0).all()  # every network starts as F = 0
    _perturb(net)
    net.eval()
    out = net(z, c, labels)
    assert torch.isfinite(out).all() and out.std() > 0
    out.square().sum().backward()
    missing = [n for n, p in net.named_parameters() if p.grad is None]
    assert not missing
    with torch.no_grad():  # images do not see each other; the noise level and the label matter
        torch.testing.assert_close(net(z[:2], c[:2], labels[:2] if classes else None), out[:2], rtol=1e-4, atol=1e-5)
        assert (net(z, c + 0.5, labels) - out).abs().max() > 1e-5
        if classes:
            assert (net(z, c, labels.roll(1, 0)) - out).abs().max() > 1e-6
            assert torch.isfinite(net(z, c, None)).all()


def test_switches_of_the_ladder_change_one_thing_each() -> None:
    settings, outputs = dict(SMALL["edm2"].model_dump()), []
    for name, change in LADDER.items():
        settings |= change
        torch.manual_seed(0)
        net = Edm2(**settings).build(1, 8, 4)
        assert (net(torch.randn(2, 1, 8, 8), torch.zeros(2)) == 0).all() or name in ("F", "E", "D")
        _perturb(net)
        torch.manual_seed(1)
        outputs.append(net(torch.randn(2, 1, 8, 8), torch.zeros(2)).detach())
        assert torch.isfinite(outputs[-1]).all()
        before = {n: m.weight.clone() for n, m in net.named_modules() if isinstance(m, MPConv)}
        for m in net.modules():
            if isinstance(m, MPConv):
                m.weight.data *= 3
        ForcedNorm(net)()
        kept = all(torch.allclose(m.weight, before[n] * 3) for n, m in net.named_modules() if isinstance(m, MPConv))
        assert kept == (settings["weight_norm"] != "forced")
    # Forced and standard weight norm (E, D) differ in the projection between steps, not in the forward pass.
    assert len({round(float(o.abs().sum()), 4) for o in outputs}) == len(LADDER) - 1


def test_shapes_that_do_not_fit_are_explained() -> None:
    with pytest.raises(ValueError, match="patches of 3 pixels"):
        Dit(patch=3).build(1, 8, 0)
    with pytest.raises(ValueError, match="multiple of 4 and of heads"):
        Dit(width=50, heads=3)
    with pytest.raises(ValueError, match="at most 4 entries"):
        Adm(mult=(1, 1, 1, 1, 1)).build(1, 8, 0)


def _perturb(net: torch.nn.Module) -> None:
    torch.manual_seed(2)
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.2 * torch.randn_like(p))


@pytest.mark.parametrize(("kind", "field", "value"), [
    *((kind, "mult", value) for kind in ("edm2", "adm") for value in ([-1], [0], [], [1, -2], [1.5], [10**9], ["a"], [None], [1] * 17)),
    *((kind, "attention", value) for kind in ("edm2", "adm") for value in ([-1], [0], [8, -8], ["a"])),
    ("adm", "channels", 5), ("dit", "mlp_ratio", 1e-9), ("dit", "mlp_ratio", 1e9), ("dit", "patch", 0),
])
def test_every_number_of_every_field_has_bounds(kind: str, field: str, value: object) -> None:
    with pytest.raises(ConfigError, match=rf"network\.{field}"):
        make_recipe({"network": {"kind": kind, field: value}})


@pytest.mark.parametrize("name", NETWORKS)
def test_whatever_settings_allow_builds_and_runs_or_says_why_not(name: str) -> None:
    choose, built = random.Random(0), 0
    ranges = {
        "channels": range(4, 41, 2), "blocks": (1, 2), "channels_per_head": (4, 6, 8, 64, 999), "dropout": (0.0, 0.5),
        "width": range(16, 80), "depth": (1, 2), "heads": range(1, 9), "patch": range(1, 17), "mlp_ratio": (0.1, 0.5, 3.3),
    }
    for _ in range(60):
        fields: dict = {field: choose.choice(values) for field, values in ranges.items() if field in KINDS[name].model_fields}
        if "mult" in KINDS[name].model_fields:
            fields["mult"] = choose.choices(range(1, 6), k=choose.randint(1, 5))
            fields["attention"] = choose.sample([1, 2, 4, 8, 16], k=choose.randint(0, 3))
        try:
            network = make_recipe({"network": {"kind": name, **fields}}).network  # on digits, of 8x8 pixels
        except ConfigError:
            continue
        with torch.device("meta"):
            net = network.build(3, 8, 4)
        out = net(torch.empty(2, 3, 8, 8, device="meta"), torch.empty(2, device="meta"), torch.empty(2, 4, device="meta"))
        assert out.shape == (2, 3, 8, 8)
        built += 1
    assert built >= 5


@pytest.mark.parametrize("kind", ["edm2", "adm"])
def test_attention_at_resolutions_that_do_not_exist_is_refused(kind: str) -> None:
    """It was accepted, and there was no attention."""
    shape = {"kind": kind, "channels": 8, "mult": [1, 2], "blocks": 1, "channels_per_head": 8}
    with pytest.raises(ConfigError, match=r"network: attention at 16, 2 would have no effect: with 2 levels, .* 8 pixels have .* 8, 4"):
        make_recipe({"network": {**shape, "attention": [16, 4, 2]}})
    for attention in ([8, 4], [4], []):
        make_recipe({"network": {**shape, "attention": attention}})
    make_recipe({"network": shape})  # the default is what there is of it
    unknown = make_recipe({"network": {**shape, "attention": [16]}, "data": {"kind": "parquet", "path": "images"}})
    with pytest.raises(ValueError, match="would have no effect"):
        unknown.network.build(1, 8, 0)
    unknown.network.build(1, 16, 0)


@pytest.mark.parametrize("network", [
    {"kind": "dit", "width": 36, "heads": 8}, {"kind": "edm2", "channels": 10, "mult": [1, 7], "channels_per_head": 16},
    {"kind": "adm", "channels": 10, "mult": [1, 7], "channels_per_head": 16},
])
def test_channels_that_heads_do_not_divide_are_refused_with_the_recipe(network: dict) -> None:
    with pytest.raises(ConfigError, match=r"network.*heads"):
        make_recipe({"network": network, "data": {"kind": "parquet", "path": "images"}})
