"""Fields of networks, optimisers, arithmetic, averages, lengths, and of the recipe itself: weights, stored averages, reports."""

from __future__ import annotations

from typing import Any

import torch

from tests.trainables.fields.field_table import Fields, When
from tests.trainables.fields.toy_run import BATCH, STEPS, toy_fields, train_toy, weights_with
from trainables import networks, optimisers, targets
from trainables.duration import Duration
from trainables.ema.classical_average import ClassicalAverage
from trainables.ema.settings import Ema
from trainables.guide import Guide
from trainables.networks.modules.forced_norm import ForcedNorm
from trainables.optimisers.arithmetic import Arithmetic
from trainables.recipe import Recipe, make_recipe
from trainables.stages.composition import guide_recipe

SMALL = {"kind": "edm2", "channels": 4, "mult": [1, 2], "blocks": 1, "attention": [4], "channels_per_head": 8}
LEVELS = torch.linspace(-6.0, 6.0, 49, dtype=torch.float64)


def network_look(settings: Any) -> Any:
    """Outputs in training, and the weights before the next step, where no weight is zero as it begins."""
    torch.manual_seed(0)
    network = settings.build(1, 8, 3)
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draw) * 0.5)
        images, c_noise, labels = torch.randn(4, 1, 8, 8, generator=draw), torch.randn(4, generator=draw), torch.eye(3)[[0, 1, 2, 0]]
        found = network(images, c_noise, labels)
        ForcedNorm(network)()
    return [found, *network.parameters()]


def target_look(target: Any) -> Any:
    return [target.log_jacobian(LEVELS)]


def ema_look(ema: Ema) -> Any:
    found = train_toy(ema=ema)
    return [found["averages"], list(found["stored"].values())]


def classical_look(average: ClassicalAverage) -> Any:
    return train_toy(ema={**toy_fields()["ema"], "classical": [average]})["averages"]


def duration_look(duration: Duration) -> Any:
    found = train_toy(duration=duration)
    return [found["weights"], found["saved"]]


def recipe_look(recipe: Recipe) -> Any:
    found = train_toy(recipe)
    return [found["weights"], found["reports"], found["end"]]


def guide_look(guide: Guide) -> Any:
    """The guide of a toy, trained."""
    evaluation = {**toy_fields()["evaluation"], "guidance": {"by": "network", "weight": 2.0}}
    found = train_toy(guide_recipe(make_recipe(toy_fields(guide=guide, evaluation=evaluation))))
    return [found["weights"], found["averages"]]


RATES = {
    "lr": 0.02, "decay": "cosine", "decay_after": BATCH, "decay_to": When(0.5, {"decay": "linear"}), "ramp_up": 4 * BATCH, "clip_norm": 0.1,
}
MOMENTS = {**RATES, "beta1": 0.5, "beta2": 0.9, "eps": 0.1}
OVERFLOWS = {"precision": "fp16", "loss_scaling": 2.0**18}
UNET = {"channels": 12, "mult": (1, 3), "blocks": 2, "attention": (8, 4), "channels_per_head": 4, "dropout": 0.2,
        "widths": {"encoder/8_block0/hidden": 4}}
FIELDS = [
    *(Fields(kind, target_look, {}) for kind in targets.KINDS.values()),
    Fields(
        networks.KINDS["edm2"], network_look,
        {**UNET, "label_balance": 0.2, "concat_balance": 0.2, "res_balance": 0.6, "attn_balance": 0.6, "weight_norm": "standard",
         "magnitude_preserving": False, "learned_gains": False, "normalisation": "group", "cosine_attention": False,
         "constant_channel": False},
        base={"channels": 8, "mult": (1, 2), "blocks": 1, "attention": (4,), "channels_per_head": 8},
    ),
    Fields(
        networks.KINDS["adm"], network_look, UNET,
        base={"channels": 8, "mult": (1, 2), "blocks": 1, "attention": (4,), "channels_per_head": 8, "dropout": 0.0},
    ),
    Fields(
        networks.KINDS["dit"], network_look,
        {"width": 16, "depth": 1, "heads": 4, "patch": 4, "mlp_ratio": 2.0, "dropout": 0.2, "widths": {"blocks/0/mlp": 16}},
        base={"width": 32, "depth": 2, "heads": 2},
    ),
    *(Fields(optimisers.KINDS[kind], weights_with("optimiser"), {**MOMENTS, **own}) for kind, own in {
        "adam": {}, "adamw": {"weight_decay": 0.1}, "nadam": {}, "radam": {},
    }.items()),
    Fields(
        optimisers.KINDS["sgd"], weights_with("optimiser"),
        {**RATES, "lr": 2e-3, "momentum": 0.5, "nesterov": True, "weight_decay": 0.1},
    ),
    Fields(Arithmetic, weights_with("arithmetic"), {
        "precision": "bf16", "loss_scaling": When(1e-7, {"precision": "fp16", "nonfinite": "zero"}), "nonfinite": When("zero", OVERFLOWS),
    }),
    Fields(
        Ema, ema_look, {"sigma_rels": (0.2,), "snapshot_every": BATCH, "snapshot_format": "fp16"},
        base={"sigma_rels": (0.1,), "snapshot_every": BATCH * STEPS // 2},
    ),
    Fields(ClassicalAverage, classical_look, {"half_life": 50, "ramp_up": 0.05}, base={"half_life": 20}),
    Fields(ClassicalAverage, classical_look, {"decay": 0.9}, base={"decay": 0.5}),
    Fields(
        Duration, duration_look, {"images": 2 * BATCH * STEPS, "batch_size": BATCH // 2, "checkpoint_minutes": 1e-9},
        base={"images": BATCH * STEPS, "batch_size": BATCH},
    ),
    Fields(Guide, guide_look, {"share": 1.0, "sigma_rels": (0.2,)}, base={"network": SMALL, "share": 0.5, "sigma_rels": (0.1,)}),
    Fields(
        Recipe, recipe_look,
        {"conditional": False, "label_dropout": 0.3, "seed": 1, "diagnostics_every": BATCH,
         "max_nonfinite_steps": When(0, {"optimiser": {"kind": "sgd", "lr": 1e30}})},
        base=toy_fields(),
    ),
]
