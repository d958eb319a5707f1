"""A paragraph on methods, ready to paste: what all trials had in common, what was varied, and how they were compared."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from reports.ledger import ledger_rows, totals
from reports.results import StudyResults, TrialResult, recipe_of
from reports.variants import Ablation

_VARIED = "varied"


def methods_text(results: StudyResults, ablation: Ablation | None) -> str:
    """Empty where no completed trial has a recipe of this version."""
    done = [t for t in results.trials if t.status == "completed" and t.best is not None]
    return " ".join(_sentences(results, ablation, done)) if any(recipe_of(t) for t in done) else ""


def _sentences(results: StudyResults, ablation: Ablation | None, done: list[TrialResult]) -> Iterator[str]:
    paths = dict.fromkeys(path for t in done for path in t.recipe)

    def the(path: str) -> str:
        """A setting of all trials; a word where they differ in it."""
        found = {t.recipe.get(path, "") for t in done}
        return found.pop() if len(found) == 1 else _VARIED

    data = next((entry["data"] for t in done for entry in t.provenance if entry.get("data")), None)
    if data:
        yield (f"We train on {data['kind']} ({data['images']:,} images of {'x'.join(map(str, data['shape']))}, "
               f"{data.get('classes') or 'no'} classes; hash {data['hash'][:12]}).")
    yield (f"The network is {the('network.kind')}{_size(done)}; it predicts the target {the('target.kind')}. Noise levels follow the "
           f"schedule {_settings(the, paths, 'schedule')}, drawn by the policy {_settings(the, paths, 'timesteps')}; the loss weighting "
           f"is {_settings(the, paths, 'weighting')}.")
    yield (f"Training takes {_count(the('duration.images'))} images in batches of {the('duration.batch_size')} with "
           f"{the('optimiser.kind')} (learning rate {the('optimiser.lr')}, {the('optimiser.decay')} decay) in "
           f"{the('arithmetic.precision')}.")
    lengths = sorted({p.sigma_rel for t in done for p in t.ema_curve})
    if lengths:
        yield (f"Weights are averaged post hoc (Karras et al. 2024): each {'variant' if ablation else 'trial'} is scored at its own best "
               f"of {len(lengths)} EMA lengths, sigma_rel from {lengths[0]:g} to {lengths[-1]:g}.")
    yield (f"A score is {results.metric} of {_count(the('evaluation.samples'))} images, generated from the same latents for every variant "
           f"by {the('evaluation.sampler.kind')} with "
           f"{the('evaluation.sampler.num_steps')} steps{_network_evaluations(done)}, guidance weight {the('evaluation.guidance.weight')}."
           + (f" Real images, as many, score {results.floor:.4g}." if results.floor else ""))
    yield from _comparison(results, ablation)
    yield from _compute(results, done)


def _settings(the: Callable[[str], str], paths: Iterable[str], family: str) -> str:
    """`laplace (mu = 0.0, b = 0.5)`, with methods within a method alike; without the range that levels are clamped to."""
    kind = the(f"{family}.kind")
    if kind == _VARIED:
        return _VARIED
    below = f"{family}."
    names = dict.fromkeys(path.removeprefix(below).partition(".")[0] for path in paths if path.startswith(below))
    values = []
    for name in names:
        value = _settings(the, paths, below + name) if f"{below}{name}.kind" in paths else the(below + name)
        if name != "kind" and not name.startswith("log_snr_") and value not in ("", "null"):
            values.append(f"{name} = {value}")
    return f"{kind} ({', '.join(values)})" if values else kind


def _network_evaluations(done: list[TrialResult]) -> str:
    """Of one image; empty where trials differ in them."""
    samplers = {tuple(item for item in t.recipe.items() if item[0].startswith("evaluation.sampler.")): t for t in done}
    found = {recipe.evaluation.sampler.evaluations for t in samplers.values() if (recipe := recipe_of(t))}
    return f" ({found.pop()} network evaluations)" if len(found) == 1 else ""


def _size(done: list[TrialResult]) -> str:
    found = {(t.metrics["parameters"], t.metrics["macs"]) for t in done if {"parameters", "macs"} <= t.metrics.keys()}
    if len(found) != 1:
        return ""
    parameters, macs = found.pop()
    return f" ({parameters:,.0f} parameters, {macs:,.0f} multiply-accumulates per evaluation)"


def _comparison(results: StudyResults, ablation: Ablation | None) -> Iterator[str]:
    if ablation is None:
        yield (f"{len(results.searched)} trials vary {', '.join(results.axes) or 'nothing'}, proposed by Optuna "
               f"({results.definition.get('search', {}).get('sampler', {}).get('kind', 'its default sampler')}).")
        return
    seeds = sorted({len(v.scores) for v in ablation.variants if v.scores})
    yield f"{len(ablation.variants)} variants are trained on {' to '.join(map(str, seeds)) or 'no'} common seeds each."
    if ablation.comparisons:
        yield ("Differences are ratios of geometric means, paired by seed, with simultaneous 95 % intervals "
               f"({ablation.comparisons.method}); {100 * ablation.design.smallest_effect:g} % is the smallest difference that matters.")


def _compute(results: StudyResults, done: list[TrialResult]) -> Iterator[str]:
    sums = totals(ledger_rows(results))
    machines = {f"{', '.join(m['gpus']) or m['cpu']} ({m['cpus']} CPUs)" for t in done for e in t.provenance if (m := e.get("machine"))}
    seconds = f"{sums['gpu_seconds']:,.0f} GPU-seconds" if sums["gpu_seconds"] else f"{sums['train_seconds']:,.0f} s of worker time"
    unknown = f" (without {sums['unknown']} trials, whose cost is not known)" if sums["unknown"] else ""
    yield (f"Training of {sums['own']} trials took {seconds} and {sums['train_macs']:.3g} multiply-accumulates"
           f"{unknown}"
           f"{' on ' + '; '.join(sorted(machines)) if machines else ''}.")
    named = {item for t in done for e in t.provenance for item in e.get("versions", {}).items()}
    if versions := [f"{name} {version}" for name, version in named if name in ("snrlab", "torch")]:
        yield f"Software: {', '.join(sorted(versions))}."


def _count(text: str) -> str:
    return f"{int(text):,}" if text.isdigit() else text
