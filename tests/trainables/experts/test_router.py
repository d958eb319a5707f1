"""One denoiser made of several."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from trainables.experts.groups import group_of
from trainables.experts.router import Router, around
from trainables.log_snr import from_edm_sigma
from trainables.networks.modules.denoiser import Denoiser
from trainables.sampling import KINDS as SAMPLERS
from trainables.sampling.guidance import Guidance, guided
from trainables.schedules.restricted import Levels
from trainables.targets.edm import EdmPreconditioned

EDGES = (-2.0, 0.5, 3.0)


class Constant(nn.Module):
    """Counts the levels that it is asked at."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value, self.asked = nn.Parameter(torch.tensor(value)), []

    def forward(self, z: Tensor, c_noise: Tensor, labels: Tensor | None) -> Tensor:
        self.asked += c_noise.tolist()
        return self.value * z + (0.01 * labels.sum() if labels is not None else 0)


def experts() -> list[Denoiser]:
    return [Denoiser(Constant(0.1 * (i + 1)), EdmPreconditioned(), 3) for i in range(4)]


def loads(networks: list[Denoiser]) -> list:
    return [lambda n=n: n for n in networks]


@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
@pytest.mark.parametrize("guidance", [Guidance(), Guidance(weight=2.0, sigma_low=0.1, sigma_high=2)], ids=["plain", "guided"])
def test_every_evaluation_of_every_sampler_goes_to_its_group(sampler: str, guidance: Guidance) -> None:
    networks, settings = experts(), SAMPLERS[sampler](num_steps=9)
    router = Router(EdmPreconditioned(), 3, EDGES, loads(networks))
    noise, labels = torch.randn(3, 1, 4, 4, generator=torch.Generator().manual_seed(0)), torch.eye(3)
    fresh = lambda step: torch.zeros_like(noise)  # noqa: E731
    out = settings.sample(guided(guidance, router, labels), noise, fresh)

    def by_hand(x: Tensor, sigma: Tensor) -> Tensor:
        mine = networks[group_of(EDGES, float(np.float32(from_edm_sigma(float(sigma)))))]
        return guided(guidance, mine, labels)(x, sigma)

    asked = [list(n.network.asked) for n in networks]
    torch.testing.assert_close(out, settings.sample(by_hand, noise, fresh), rtol=0, atol=0)
    expected = [0, 0, 0, 0]
    for sigma in settings.levels:
        twice = not guidance.off and guidance.sigma_low < sigma <= guidance.sigma_high
        expected[group_of(EDGES, float(np.float32(from_edm_sigma(sigma))))] += 3 * (2 if twice else 1)
    assert [len(levels) for levels in asked] == expected


def test_levels_may_be_mixed_and_edges_belong_to_the_group_above() -> None:
    networks = experts()
    router = Router(EdmPreconditioned(), 3, EDGES, loads(networks))
    levels = torch.tensor([-30, -2.0, -1.9999, 0.4999, 0.5, 2.9999, 3.0, 30, *np.nextafter(np.float32(EDGES), np.float32(-99))])
    out = router(torch.ones(len(levels), 1, 1, 1), levels)
    groups = [group_of(EDGES, float(x)) for x in levels]
    torch.testing.assert_close(out.flatten(), torch.tensor([0.1 * (g + 1) for g in groups]))
    assert groups == [0, 1, 1, 1, 2, 2, 3, 3, 0, 1, 2]


def test_networks_are_loaded_when_needed_and_let_go_again() -> None:
    made: list[int] = []

    def loader(i: int):
        def load() -> Denoiser:
            made.append(i)
            return Denoiser(Constant(0.1 * i), EdmPreconditioned()).train()

        return load

    router = Router(EdmPreconditioned(), 3, EDGES, [loader(i) for i in range(4)], resident=1)
    assert not made and not list(router.parameters()) and router.device == torch.device("cpu")
    for sigma in SAMPLERS["heun"](num_steps=8).levels:
        router.denoise(torch.zeros(2, 1, 2, 2), torch.tensor(sigma))
        assert len(router.loaded) == 1
    assert made == [0, 1, 2, 3]  # from noise to data, each once
    everything = Router(EdmPreconditioned(), 3, EDGES, [loader(i) for i in range(4)])
    everything(torch.zeros(4, 1, 2, 2), torch.tensor([-9.0, 0, 1, 9]))
    assert everything.loaded == [0, 1, 2, 3] and not everything._expert(0).training
    with pytest.raises(ValueError, match="3 edges part 4 groups"):
        Router(EdmPreconditioned(), 3, EDGES, [loader(0)])


@pytest.mark.parametrize("levels", [Levels(low=0.0), Levels(high=0.0), Levels(low=-1.0, high=1.0)], ids=str)
def test_one_expert_among_the_base(levels: Levels) -> None:
    expert, base = experts()[:2]
    router = around(expert, levels, lambda: base)
    x = torch.linspace(-2, 2, 9)
    out = router(torch.ones(9, 1, 1, 1), x).flatten()
    assert out.tolist() == [pytest.approx(0.1 if level in levels else 0.2) for level in x.tolist()]
