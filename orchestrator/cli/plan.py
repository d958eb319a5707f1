"""What a study would run and cost, without running it."""

from __future__ import annotations

import json
import time

from orchestrator.cli.progress import duration
from orchestrator.cli.step_groups import guide_lines, images_of_trials, most_stages, step_group_lines
from orchestrator.cli.utilisation import order_lines
from orchestrator.records.folders import WorkFolder
from search_spaces.designs import Design, flat
from search_spaces.distributions import Categorical, Distribution
from search_spaces.study import Study
from trainables.errors import ConfigError
from trainables.recipe import Recipe
from trainables.training.passes import FORWARD_AND_BACKWARD


def describe(study: Study, work: WorkFolder) -> str:
    """A page of text; a ConfigError where the network does not fit the data, or a plug-in's method cannot be called."""
    recipe = study.base_recipe
    if study.plugins:
        from trainables.plugins.contracts.check import try_out  # loads torch

        try_out(study.methods)
    parameters, seconds_per_image = _measure(recipe)
    evaluation, trials = recipe.evaluation, study.trials_wanted
    lengths, batches = study.range_of("duration.images"), study.range_of("duration.batch_size")
    longest, images, stages = lengths[1], images_of_trials(study), most_stages(study)
    snapshots = -(-longest // study.range_of("ema.snapshot_every")[0]) * len(recipe.ema.sigma_rels)
    disk = trials * stages * parameters * 4 * (snapshots + 1 + 3 + len(recipe.ema.sigma_rels))
    sweep = evaluation.samples * (study.sweep.evaluations + len(recipe.ema.classical) * study.sweep.slices)
    generated = -(-longest // study.range_of("evaluation.every")[0]) * evaluation.interim_samples + sweep
    training = trials * images[1] * seconds_per_image
    sweep_images = sweep * evaluation.sampler.evaluations / FORWARD_AND_BACKWARD
    lines = [
        *(_design_lines(study.name, study.design) if study.design else _search_lines(study, sweep_images)),
        f"objective   {study.metric}, best over sigma_rel {study.sweep.range_text}",
        f"data        {json.dumps(recipe.data.model_dump(mode='json'))}",
        f"network     {recipe.network.kind}, {parameters:,} parameters",  # type: ignore[attr-defined]
        f"training    at most {trials} x {_span(*images)} images{' in all stages' if stages > 1 else ''}, batch {_span(*batches)}",
        *step_group_lines(study),
        *guide_lines(study),
        f"evaluation  {generated:,} generated images and {generated * evaluation.sampler.evaluations:,} network evaluations per trial",
        f"disk        at most {disk / 2**20:.0f} MiB in {work.study(study.name).root}",
        f"time        at most about {duration(training / study.compute.concurrent_trials)} of training, "
        f"from {1 / seconds_per_image:.0f} images/s measured here on one thread (sweeps run beside it)",
    ]
    return "\n".join(lines + [f"warning     {warning}" for warning in study.warnings])


def _search_lines(study: Study, sweep_images: float) -> list[str]:
    """Trials, order and space; `sweep_images` is a sweep's cost in training images."""
    sampler, stopping = study.search.sampler.kind, study.search.early_stopping.kind
    feasible = study.space and not study.feasibility.reasons
    seeds, trials = len(study.search_seeds), f"{study.search_trials} trials"
    if seeds > 1:
        spared = ", hopeless ones on fewer" if study.search.drop_hopeless and len(study.objectives) == 1 else ""
        trials = f"{study.search_trials // seeds} proposals x {seeds} seeds{spared}"
    return [
        f"study       {study.name}: {trials}, {sampler} sampler, early stopping: {stopping}{' on the first seed' if seeds > 1 else ''}",
        *[f"{'order' if i == 0 else '':<12}{line}" for i, line in enumerate(order_lines(study, sweep_images))],
        "space",
        *[f"  {path:<24}{_range(axis)}" for path, axis in study.space.items()],
        *([f"  of the combinations {study.feasibility}"] if feasible else []),
        *_chain_lines(study),
    ]


def _chain_lines(study: Study) -> list[str]:
    """What follows the search."""
    chain, most = study.chain, study.stage_trials
    lines = []
    if chain and chain.ablate:
        lines.append(f"ablate      around the winner, {chain.ablate.kind}, {chain.ablate.seeds} seeds: at most {most['ablate']} trials")
    if chain and chain.confirm:
        lines.append(f"confirm     the best {chain.confirm.top} and the base on {chain.confirm.seeds} fresh seeds and on fresh latents: "
                     f"at most {most['confirm']} trials")
    return lines


def _design_lines(name: str, design: Design) -> list[str]:
    """Variants with their changes, and what is compared with what."""
    variants, against = design.changes(), {"baseline": f"each with {design.baseline_name}", "pairs": "all with each other",
                                           "ladder": "each with the row before"}[design.family]
    return [
        f"study       {name}: {len(variants)} variants x {len(design.seed_list)} seeds, compared {against}; "
        f"a difference of {design.smallest_effect:.0%} matters",
        *([f"looks       after {', '.join(map(str, design.looks))} seeds: variants that are decided get no more"] if design.looks else []),
        "variants",
        *[f"  {variant:<24}{', '.join(f'{path} = {value}' for path, value in flat(changes).items()) or 'the base'}"
          for variant, changes in variants.items()],
    ]


def _span(low: int, high: int) -> str:
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _range(axis: Distribution) -> str:
    when = "".join(f"  when {path} = {value}" for path, value in axis.when.items())
    if isinstance(axis, Categorical):
        return ", ".join(str(c) for c in axis.choices) + when
    return f"{axis.low:g} .. {axis.high:g}{' (log)' if axis.log else ''}{when}"  # type: ignore[attr-defined]


def _measure(recipe: Recipe) -> tuple[int, float]:
    """(parameters, seconds per training image), from a few forward and backward passes on this machine."""
    import torch

    from trainables.networks.modules.build import build_denoiser
    from trainables.networks.modules.denoiser import one_hot

    torch.set_num_threads(1)
    data = recipe.data.load()
    denoiser = build_denoiser(recipe, data)
    count = min(recipe.duration.batch_size, 64)
    clean, labels = data.whitened(torch.arange(count).numpy()), one_hot(torch.from_numpy(data.labels[:count]), denoiser.classes)
    if len(clean) < count:
        raise ConfigError(f"data: only {len(clean)} images; a batch needs {count}")
    times = []
    for _ in range(4):
        started = time.perf_counter()
        denoiser(clean, torch.zeros(count), labels).square().mean().backward()
        times.append(time.perf_counter() - started)
    return sum(p.numel() for p in denoiser.parameters()), min(times) / count
