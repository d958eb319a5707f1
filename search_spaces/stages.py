"""The designs of a chain's stages, laid out around what the search has found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from search_spaces.designs import Changes, Variants, label_of
from search_spaces.distributions import Categorical, Distribution
from search_spaces.study import Study
from trainables.errors import ConfigError
from trainables.explanations import explain

_STEP = 0.25  # of an axis, on its own scale, to either side of the winner


def stage_design(study: Study, stage: str, best: Sequence[Mapping[str, Any]]) -> Variants:
    """The design of a stage around the search's proposals, `best` first; ConfigError where there is nothing to compare."""
    if not best:
        raise ConfigError(f"chain.{stage}: the search has no proposal with a score on all its seeds")
    chain = study.chain
    assert chain
    if stage == "ablate":
        assert chain.ablate
        around = _left_out if chain.ablate.kind == "leave_one_out" else _one_at_a_time
        seeds = tuple(study.base_recipe.seed + i for i in range(chain.ablate.seeds))
        return _design(study, stage, {"winner": dict(best[0]), **around(study.space, best[0])}, seeds, chain.ablate.smallest_effect)
    assert chain.confirm
    fresh, latents = _fresh_seed(study), {"evaluation.seed": study.base_recipe.evaluation.seed + 1}
    seeds = tuple(fresh + i for i in range(chain.confirm.seeds))
    variants = {"base": latents} | {
        f"{rank}: {label_of(values)}": {**values, **latents} for rank, values in enumerate(best[: chain.confirm.top], 1)
    }
    return _design(study, stage, variants, seeds, chain.confirm.smallest_effect)


def _design(study: Study, stage: str, variants: dict[str, Changes], seeds: tuple[int, ...], smallest_effect: float) -> Variants:
    """Of the variants that are recipes and differ from those before them."""
    known: dict[str, Changes] = {}
    keys = set()
    for name, values in variants.items():
        try:
            key = study.recipe({**values, "seed": seeds[0]}).variant_key
        except ConfigError:
            continue
        if key not in keys:
            keys.add(key)
            known[name] = values
    try:
        return Variants(variants=known, seeds=seeds, smallest_effect=smallest_effect)
    except ValidationError as error:
        raise ConfigError(explain(error, f"chain.{stage}", Variants)) from None


def _left_out(space: Mapping[str, Distribution], winner: Mapping[str, Any]) -> dict[str, Changes]:
    """Each searched path without a condition back at the base's value, and with it what is searched only under it."""
    return {
        f"without {label_of({path: winner[path]})}": {p: v for p, v in winner.items() if p != path and path not in _needs(space, p)}
        for path in space if not space[path].when and path in winner
    }


def _one_at_a_time(space: Mapping[str, Distribution], winner: Mapping[str, Any]) -> dict[str, Changes]:
    """Each searched path of the winner at other values; what is searched only under another choice has its default."""
    found = {}
    for path, value in winner.items():
        axis = space[path]
        if isinstance(axis, Categorical):
            others = [choice for choice in axis.choices if choice != value]
        else:
            shares = {min(max(axis.share_of(value) + step, 0.0), 1.0) for step in (-_STEP, _STEP)}
            others = [other for share in sorted(shares) if (other := axis.at(share)) != value]
        for other in others:
            kept = {p: v for p, v in winner.items() if p != path and (path not in _needs(space, p) or _allows(space, p, path, other))}
            found[label_of({path: other})] = {**kept, path: other}
    return found


def _allows(space: Mapping[str, Distribution], path: str, needed: str, value: Any) -> bool:
    """Whether a condition of a path on another one holds at a value of that."""
    allowed = space[path].when.get(needed)
    return allowed is None or value in (allowed if isinstance(allowed, list) else [allowed])


def _needs(space: Mapping[str, Distribution], path: str) -> set[str]:
    """Paths that a path's conditions name, theirs included."""
    direct = set(space[path].when)
    return direct.union(*(_needs(space, needed) for needed in direct))


def _fresh_seed(study: Study) -> int:
    """The first seed above all that the study's other stages train on."""
    chain, base = study.chain, study.base_recipe.seed
    ablated = base + chain.ablate.seeds - 1 if chain and chain.ablate else base
    searched = study.range_of("seed")[1]  # where the seed itself was searched
    return max(base, ablated, searched, *study.search_seeds) + 1
