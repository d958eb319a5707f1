"""What step-adaptive training costs: sampling with pruned experts against the base, and a search that shares its base.

Sampling is timed in turn on one thread, 3x32x32, with four experts at 0.6 of the base's multiply-accumulates; the profile says where the
time of both goes, and so why the ratio of images/s is below that of the multiply-accumulates.  What a search saves by training its
base once is counted in images, for the bundled study `step_groups`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import optuna
import torch
from torch import Tensor

from search_spaces.space import suggest
from search_spaces.study import load_study
from tests.benchmarks.record import Result, interleaved, machine
from trainables.experts.allocation import uniform
from trainables.experts.criteria import scores
from trainables.experts.criteria.random import Random
from trainables.experts.macs import macs_by_width
from trainables.experts.pruning import prune
from trainables.experts.router import Router
from trainables.networks.edm2 import Edm2
from trainables.networks.modules.denoiser import Denoiser
from trainables.sampling.guidance import Guidance, guided
from trainables.sampling.heun import Heun
from trainables.stages.composition import total_images
from trainables.targets import make_target

NETWORK = Edm2(channels=32, mult=(1, 2, 2), blocks=2, attention=(8,), channels_per_head=32)
SHAPE, CLASSES, IMAGES, SHARE = (3, 32, 32), 10, 16, 0.6
SAMPLER, EDGES = Heun(num_steps=4), (-6.0, -2.0, 3.0)
TRIALS = 20
KINDS = {"convolutions": ("conv",), "matrix products": ("mm", "attention", "linear")}  # parts of operators' names


def run() -> list[Result]:
    torch.set_num_threads(1)
    return [*sampling(), search()]


def sampling() -> list[Result]:
    """Images/s, and the time in operators of each kind for one batch."""
    base, router, share = networks()
    noise, labels = torch.randn(IMAGES, *SHAPE), torch.eye(CLASSES)[torch.arange(IMAGES) % CLASSES]

    def sample(denoiser: Denoiser) -> Callable[[], Tensor]:
        return torch.inference_mode()(lambda: SAMPLER.sample(guided(Guidance(), denoiser, labels), noise))

    experts, whole = sample(router), sample(base)
    seconds = interleaved(experts, whole)
    found = [Result(f"sampling 3x32x32, 4 experts at {share:.2f} of the MACs", IMAGES / seconds[0], IMAGES / seconds[1], "the base",
                    "images/s", seconds[1] / seconds[0], machine())]
    ours, peer = profiled(experts), profiled(whole)
    return found + [Result(f"  {kind} of a batch", ours[kind], peer[kind], "the base", "ms", peer[kind] / ours[kind], machine())
                    for kind in (*KINDS, "all other operators")]


def networks() -> tuple[Denoiser, Router, float]:
    """The base, its four pruned copies, and their share of its multiply-accumulates."""
    torch.manual_seed(0)
    target, cost = make_target("edm"), macs_by_width(NETWORK, SHAPE, CLASSES)
    base = _denoiser(NETWORK)
    widths = uniform(SHARE * cost.full, cost)
    state, _ = prune(base, widths, scores(Random(), base, []))
    pruned = []
    for _ in range(len(EDGES) + 1):
        pruned.append(_denoiser(NETWORK.model_copy(update={"widths": widths})))
        pruned[-1].load_state_dict(state)
    return base, Router(target, CLASSES, EDGES, [lambda network=network: network for network in pruned]), cost(widths) / cost.full


def profiled(call: Callable[[], object]) -> dict[str, float]:
    """Milliseconds in operators themselves, by kind."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        call()
    spent: Counter[str] = Counter()
    for operator in profile.key_averages():
        kind = next((kind for kind, parts in KINDS.items() if any(part in operator.key for part in parts)), "all other operators")
        spent[kind] += operator.self_cpu_time_total / 1e3
    return dict(spent)


def search() -> Result:
    """Images of random trials of the bundled search: the base once and every group anew, against each trial's base anew, too.

    Groups that trials have in common make it less still; `tests/orchestrator/execution/test_two_drivers.py` reads the ledger of real ones.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study, asked = load_study("step_groups"), optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    recipes = [study.recipe(suggest(study.space, asked.ask())) for _ in range(TRIALS)]
    base, anew = recipes[0].duration.images, sum(total_images(recipe) for recipe in recipes)
    once = anew - (TRIALS - 1) * base
    return Result(f"images of a search of {TRIALS} trials", once, anew, "each base anew", "images", anew / once, machine())


def _denoiser(settings: Edm2) -> Denoiser:
    network = settings.build(SHAPE[0], SHAPE[1], CLASSES)
    return Denoiser(network, make_target("edm"), CLASSES).to(memory_format=torch.channels_last).eval()
