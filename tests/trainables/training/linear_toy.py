"""A linear network on small data, trained by the real loop, and its expected gradient by quadrature over noise levels."""

from __future__ import annotations

import contextlib
import copy
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import scipy.stats
import torch
from torch import Tensor, nn

from tests.conftest import tiny_fields
from tests.trainables.training.combinations import SETTINGS
from tests.trainables.training.thread_ranks import on_ranks
from trainables.data.images import ImageData
from trainables.log_snr import alpha_sigma, noise_conditioning
from trainables.networks.modules.denoiser import SIGMA_DATA, Denoiser
from trainables.recipe import Recipe, make_recipe
from trainables.training import loop
from trainables.training import model as model_module
from trainables.training.ranks import Ranks

BATCH, STEPS, PIXELS = 96, 64, 4
_ALONE = threading.Lock()  # initial weights are drawn from the process's one stream, which ranks as threads share
# Exact in bf16 and fp16, so that number formats round data at random and not the weights one way.
THETA = (0.5, -0.25, 0.375, 0.125)


class Linear(nn.Module):
    """F = (a + b g(lambda) D) z + c L + d per pixel, with g = tanh(c_noise), D dropout and L = +-1 by label, 0 without one."""

    def __init__(self, dropout: float, seed: int) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.tensor(THETA))
        self.dropout, self._draw = dropout, torch.Generator().manual_seed(seed)

    def forward(self, z: Tensor, c_noise: Tensor, labels: Tensor) -> Tensor:
        flat = z.flatten(1)
        kept = flat
        if self.training and self.dropout:
            kept = flat * (torch.rand(flat.shape, generator=self._draw) >= self.dropout) / (1 - self.dropout)
        label = (labels @ torch.tensor([1.0, -1.0]))[:, None].expand_as(flat)
        features = torch.stack([flat, torch.tanh(c_noise)[:, None] * kept, label, torch.ones_like(flat)], dim=2)
        return (features @ self.theta[:, None]).reshape(z.shape)


def data() -> ImageData:
    """16 images of 2x2 whose labels tell something of their values."""
    draw = np.random.default_rng(0)
    labels = np.arange(16) % 2
    images = draw.standard_normal((16, 1, 2, 2)) + 0.8 * (1 - 2 * labels[:, None, None, None])
    return ImageData(images.astype(np.float32), labels.astype(np.int64), classes=2)


def recipe_of(case: dict[str, str], **changes: Any) -> tuple[Recipe, int, bool]:
    """(recipe, ranks, whether the run is broken off and resumed) of a combination of settings."""
    chosen = {name: SETTINGS[name][value] for name, value in case.items()}
    weighting = {"kind": "uncertainty", "base": chosen["weighting"]} if chosen["uncertainty"] else chosen["weighting"]
    fields = tiny_fields(
        target=chosen["target"], weighting=weighting, schedule=chosen["schedule"], importance_base=chosen["importance_base"],
        levels=chosen["levels"], timesteps=chosen["timesteps"], label_dropout=chosen["label_dropout"],
        arithmetic={"precision": chosen["precision"], "micro_batch": chosen["micro_batch"]}, optimiser={"lr": 1e-30},
        network={**tiny_fields()["network"], "dropout": chosen["dropout"]}, ema={"snapshot_every": BATCH},
        duration={"images": BATCH * STEPS, "batch_size": BATCH}, **changes,
    )
    fields["evaluation"] = {**fields["evaluation"], "every": BATCH * STEPS}
    return make_recipe(fields), chosen["ranks"], chosen["resume"]


@dataclass
class Trained:
    """Gradients of all steps [STEPS, parameters] of network and head, and the run of the first rank as it ended."""

    gradients: np.ndarray
    run: loop.Run


def train_on_toy(recipe: Recipe, world: int = 1, resume: bool = False, steps: int = STEPS) -> Trained:
    """Steps of the real loop whose optimiser moves nothing (lr is below the weights' resolution)."""

    def some(state: Any, count: int) -> tuple[loop.Run, list[Tensor], Any]:
        with toy_in_place(recipe, state):
            return on_ranks(world, lambda ranks: _steps(recipe, ranks, count))[0]

    if not resume:
        run, gradients, _ = some(None, steps)
        return Trained(torch.stack(gradients).double().numpy(), run)
    _, before, state = some(None, steps // 2)
    run, after, _ = some(state, steps - steps // 2)
    return Trained(torch.stack(before + after).double().numpy(), run)


def _steps(recipe: Recipe, ranks: Ranks, count: int) -> tuple[loop.Run, list[Tensor], Any]:
    """(run, gradients of its steps, the state in which it ended)."""
    with _ALONE:
        run = loop.Run(recipe, Path(), Path(), ranks)
        run.model.launch()
    ranks.sum(torch.zeros(1))  # none steps, and seeds that stream for its dropout, before all are made
    found: list[Tensor] = []
    step = run.model.step

    def recorded(mean_loss: Tensor) -> None:
        ranks.average_gradients(run.model.denoiser)  # as the data-parallel wrapper does
        parameters = [*run.model.denoiser.parameters(), *(run.model.head.parameters() if run.model.head else ())]
        gradient = torch.cat([p.grad.flatten() for p in parameters]) / run.model.steps.scale
        if gradient.isfinite().all():
            found.append(gradient)
        step(mean_loss)

    run.model.step = recorded  # type: ignore[method-assign]
    while len(found) < count:
        run._step()
        run.counters.images += recipe.duration.batch_size
        assert run.counters.images <= 2 * BATCH * STEPS, "too many steps overflow"
    run.close()
    return run, found, (run.counters, {name: tensor.clone() for name, tensor in run._state().items()})


class _Unwrapped(nn.Module):
    """In place of DistributedDataParallel: `recorded` averages the gradients."""

    def __init__(self, module: nn.Module, **_: object) -> None:
        super().__init__()
        self.module = module
        self.no_sync: Callable[[], Any] = contextlib.nullcontext

    def forward(self, *args: Any) -> Any:
        return self.module(*args)


@contextlib.contextmanager
def toy_in_place(recipe: Recipe, state: Any = None) -> Iterator[None]:
    """The toy instead of the recipe's data and network; nothing is scored or written, and runs go on from `state`."""
    toy = lambda recipe, *_: Denoiser(Linear(recipe.network.dropout, seed=1 if state else 0), recipe.target, classes=2)  # noqa: E731
    with contextlib.ExitStack() as stack:
        for place, name, new in (
            (type(recipe.data), "load", lambda *_: data()), (model_module, "starting_denoiser", toy),
            (model_module, "DistributedDataParallel", _Unwrapped), (loop, "state_of", lambda *_: copy.deepcopy(state)),
            (loop, "stage_key", lambda *_: ""), (loop, "Reporter", mock.MagicMock()),
        ):
            stack.enter_context(mock.patch.object(place, name, new))
        yield


def expected_gradient(recipe: Recipe, run: loop.Run) -> np.ndarray:
    """Of E_p[w l / e^u + u pixels] in network and head, by quadrature over the intended density of noise levels [parameters]."""
    levels, shares = intended_levels(recipe)
    weight = np.asarray(recipe.weighting.weight(levels, recipe.target)) * shares
    if "ugd" in run.beside:
        edges = np.linspace(-12, 12, 17)[1:-1]
        weight = weight * run.beside["ugd"].factors[np.searchsorted(edges, levels, side="right")]  # type: ignore[attr-defined]
    theta = torch.tensor(THETA, dtype=torch.float64, requires_grad=True)
    loss = PIXELS * squared_error(recipe, theta, torch.from_numpy(levels))
    if run.model.head is None:
        (torch.from_numpy(weight) * loss).sum().backward()
        return theta.grad.numpy()
    run.model.head.zero_grad()
    u = run.model.head(torch.from_numpy(levels).float()).double()
    # What multiplies u is what the levels count by, without the weighting.
    counts = weight / np.asarray(recipe.weighting.weight(levels, recipe.target))
    (torch.from_numpy(weight) * loss / u.exp() + torch.from_numpy(counts) * u * PIXELS).sum().backward()
    return np.concatenate([theta.grad.numpy(), *(p.grad.double().flatten().numpy() for p in run.model.head.parameters())])


def squared_error(recipe: Recipe, theta: Tensor, level: Tensor) -> Tensor:
    """E |F - wanted|^2 per pixel at log SNR [K], over data, noise, labels and dropout, from their second moments."""
    toy = data()
    y = toy.whitened(np.arange(16)).double().flatten(1)
    sign = torch.from_numpy(1.0 - 2.0 * toy.labels)[:, None]
    told = 1 - recipe.label_dropout
    y1, yy, Ly, L1, LL = y.mean(), y.square().mean(), told * (sign * y).mean(), told * sign.mean(), told
    a, b, c, d = theta
    g = torch.tanh(noise_conditioning(level, SIGMA_DATA))
    alpha, sigma = alpha_sigma(level)
    ty, te = recipe.target.of_clean_and_noise(alpha, sigma)  # wanted = ty y + te eps
    gain, p = a + b * g, recipe.network.dropout
    zz = alpha**2 * yy + sigma**2
    of_z = gain**2 * zz + (b * g) ** 2 * p / (1 - p) * zz
    of_s = c**2 * LL + 2 * c * d * L1 + d**2
    of_t = ty**2 * yy + te**2
    sz, st, zt = alpha * (c * Ly + d * y1), ty * (c * Ly + d * y1), alpha * ty * yy + sigma * te
    return of_z + of_s + of_t + 2 * gain * sz - 2 * gain * zt - 2 * st


def intended_levels(recipe: Recipe, points: int = 8000) -> tuple[np.ndarray, np.ndarray]:
    """Noise levels [K] and how much each counts [K]: the density that the recipe means, times SpeeD's weights."""
    t = (np.arange(points) + 0.5) / points
    drawn, kind = recipe.drawn, recipe.timesteps.kind
    if recipe.importance_base is not None:
        levels, shares = np.asarray(recipe.expected_under.from_uniform(t)), np.full(points, 1.0 / points)
    elif kind == "adaptive":  # untrained: Beta(a, a) over the quantiles of T levels
        a, count = np.log1p(np.exp(0.5)) + 1e-5, recipe.timesteps.levels
        edges = np.clip((np.arange(count + 1) - 0.5) / (count - 1), 0, 1)
        return np.asarray(drawn.from_uniform((np.arange(count) + 0.5) / count)), np.diff(scipy.stats.beta(a, a).cdf(edges))
    else:
        levels, shares = np.asarray(drawn.from_uniform(t)), np.full(points, 1.0 / points)
    if kind == "speed":
        steps = (np.arange(1000) + 0.5) / 1000  # SpeeD is defined by differences between as many; sigma may rise without bound at t = 0
        slope = np.gradient(np.asarray(alpha_sigma(drawn.log_snr(steps))[1]), steps)
        flat = np.flatnonzero((slope < recipe.timesteps.flat_slope) & (steps > steps[slope.argmax()]))
        tau = steps[flat[0]] if len(flat) else 1.0
        if recipe.importance_base is None:
            shares = shares * np.where(t < tau, recipe.timesteps.ratio, 1.0)
            shares = shares / shares.sum()
        bound = recipe.timesteps.weight_bound
        time_of_level = np.asarray(drawn.survival(levels)) if recipe.importance_base is not None else t
        shares = shares * (1 - bound + (2 * bound - 1) * np.interp(time_of_level, steps, np.clip(slope / slope.max(), 0, 1)))
    return levels, shares
