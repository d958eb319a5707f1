"""Variants of several studies side by side, with the same model and the same verdicts as within one.

Scores of different studies mean the same where they were made in the same way: feature network, real images, number of generated images and
their latents, sampler and guidance.  Anything else is refused with its differences.  Variants are paired by seed where they share seeds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from reports.results import StudyResults, TrialResult
from reports.variants import Ablation, Variant, ablation_of, variant_of
from search_spaces.designs import Family
from trainables.errors import ConfigError, did_you_mean

_EVALUATION = tuple(f"evaluation.{name}" for name in ("features", "sampler", "guidance", "samples", "seed", "precision"))


@dataclass(frozen=True)
class Against:
    """Every variant against one of them."""

    baseline_name: str
    smallest_effect: float = 0.05  # relative difference that matters
    family: Family = "baseline"
    looks: tuple[int, ...] = ()
    seed_list: tuple[int, ...] = ()


def compare_studies(studies: Sequence[StudyResults], baseline: str = "", smallest_effect: float = 0.05) -> Ablation:
    """The variants of all designs, and the best trial or proposal of each search, compared with one of them.

    Names are `study: variant`.  `baseline` is such a name (default: the baseline of the first study, if it is a design, or its best).
    ConfigError where scores cannot be compared, where there is nothing to compare, or for an unknown baseline.
    """
    if len({results.name for results in studies}) < len(studies) or len(studies) < 2:
        raise ConfigError("comparing needs at least two studies, each once")
    if not 0 < smallest_effect < 1:
        raise ConfigError(f"smallest effect: {smallest_effect:g} was given: must be above 0 and below 1")
    parts = {results.name: _variants(results) for results in studies}
    _check_comparable(studies, parts)
    variants = {
        (whole := f"{study}: {name}"): replace(variant, name=whole) for study, found in parts.items() for name, variant in found.items()
    }
    wanted = baseline or f"{studies[0].name}: {_baseline(studies[0], parts[studies[0].name])}"
    if wanted not in variants:
        raise ConfigError(f"--baseline {wanted}: is no variant. Variants: {', '.join(variants)}.{did_you_mean(wanted, variants)}")
    return Ablation(studies[0].metric, Against(wanted, smallest_effect), tuple(variants.values()))


def _variants(results: StudyResults) -> dict[str, Variant]:
    """A study's part in the comparison, by name; ConfigError where it has no finished trials."""
    if results.warnings:
        raise ConfigError(f"study {results.name}: {results.warnings[0]}")
    if ablation := ablation_of(results):
        if ablation.design.looks:
            raise ConfigError(f"study {results.name}: is a race: which variants have more seeds depended on their scores, "
                              "so that its own report alone compares them at a known error rate")
        found = {variant.name: variant for variant in ablation.variants if variant.scores}
    elif results.ranked:
        best = results.candidates[0] if results.candidates else None
        trials, label = (list(best.trials), best.label) if best else ([results.ranked[0]], results.ranked[0].label)
        name = f"best ({label})" if label else "best"
        found = {name: variant_of(name, trials)}
    else:
        found = {}
    if not found:
        raise ConfigError(f"study {results.name}: has no finished trial to compare")
    return found


def _baseline(results: StudyResults, found: dict[str, Variant]) -> str:
    ablation = ablation_of(results)
    name = ablation.design.baseline_name if ablation else ""
    return name if name in found else next(iter(found))


def _check_comparable(studies: Sequence[StudyResults], parts: dict[str, dict[str, Variant]]) -> None:
    """ConfigError with all differences between how the studies' trials were scored; what a study varies itself is its question."""
    varied = {axis for results in studies for axis in results.axes}
    seen: dict[str, dict[str, str]] = {}  # by study, of each fact
    for results in studies:
        for variant in parts[results.name].values():
            for trial in variant.trials:
                if trial.status == "completed":
                    for fact, value in _facts(trial, results.metric, varied):
                        known = seen.setdefault(fact, {}).setdefault(results.name, value)
                        if known != value:
                            raise ConfigError(f"study {results.name}: its own trials were not scored alike: {fact}: {known} and {value}")
    lines = [
        f"{fact}: " + ", ".join(f"{value or 'not recorded'} in {study}" for study, value in values.items())
        for fact, values in sorted(seen.items()) if len(set(values.values())) > 1 or len(values) < len(studies)
    ]
    if lines:
        raise ConfigError("scores of these studies cannot be compared, because they were made in different ways:\n  " + "\n  ".join(lines))


def _facts(trial: TrialResult, metric: str, varied: set[str]) -> Iterator[tuple[str, str]]:
    """What a score depends on besides the network."""
    yield "metric", metric
    yield "feature network", trial.feature_hash
    yield "real images", ", ".join(sorted({str(entry["data"]["hash"]) for entry in trial.provenance}))
    for path, value in trial.recipe.items():
        if path.startswith(_EVALUATION) and not any(path == axis or path.startswith(f"{axis.removesuffix('.kind')}.") for axis in varied):
            yield path, value
