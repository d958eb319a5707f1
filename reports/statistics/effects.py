"""Effects of a factorial design: what each factor does on average over the others, and which pairs of factors do not add up.

log score = seed + main effects + interactions of two factors + error, by least squares with factors coded as sums (statsmodels); each
effect is tested by an F test of its own part (type III) against the one error variance, and the p values are adjusted by Holm.  In a
fraction (`search_spaces/fractions.py`) effects that cannot be told apart are one effect, which names the others.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from search_spaces.fractions import aliases

Run = tuple[Mapping[str, Any], int, float]  # levels by factor, seed, score


@dataclass(frozen=True)
class Effect:
    """Of one factor, or of two together."""

    factors: tuple[str, ...]
    degrees: int
    f: float
    p: float  # adjusted by Holm over all effects
    ratio: float | None  # geometric mean at the second level over the first; of an interaction, of the ratios; None for more levels
    low: float | None  # 95 % interval of the ratio, this effect alone
    high: float | None
    aliases: tuple[tuple[str, ...], ...] = ()  # effects that cannot be told from it

    @property
    def name(self) -> str:
        return " x ".join(self.factors)


def effects(factors: Mapping[str, Sequence[Any]], runs: Sequence[Run], resolution: int = 0) -> list[Effect]:
    """Main effects, then interactions of two factors, in the order of the factors.

    `factors` are the levels by name; `resolution` is that of a fraction, or 0.  ValueError where too little has been trained: every effect
    needs its own part of the runs, and the error a degree of freedom.
    """
    import pandas as pd
    from statsmodels.formula.api import ols
    from statsmodels.stats.anova import anova_lm
    from statsmodels.stats.multitest import multipletests

    names, aliased = list(factors), _aliases(list(factors), resolution)
    given = [names[i : i + 1] for i in range(len(names))] + [list(pair) for pair in itertools.combinations(names, 2)]
    chosen = [tuple(effect) for effect in given if tuple(effect) not in {other for others in aliased.values() for other in others}]
    column = {name: f"f{i}" for i, name in enumerate(names)}
    table = pd.DataFrame([
        {"y": math.log(score), "seed": seed, **{column[name]: list(factors[name]).index(levels[name]) for name in names}}
        for levels, seed, score in runs if 0 < score < math.inf
    ])
    term = {effect: ":".join(f"C({column[name]}, Sum)" for name in effect) for effect in chosen}
    blocks = ["C(seed, Sum)"] if len(table) and table["seed"].nunique() > 1 else []
    needed = 1 + sum(math.prod(len(factors[name]) - 1 for name in effect) for effect in chosen)
    if len(table) < needed + 1 or any(table[c].nunique() < len(factors[n]) for n, c in column.items()):
        raise ValueError(f"{len(table)} runs have a score, and {len(chosen)} effects need more than {needed}, with every level among them")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a singular design matrix, which is an error of ours below
        model = ols("y ~ " + " + ".join([*blocks, *term.values()]), table).fit()
    if model.df_resid < 1 or model.model.rank < model.df_model + 1 or model.model.exog.shape[1] > model.model.rank:
        raise ValueError("the runs that have a score cannot tell the effects apart yet")
    anova, intervals = anova_lm(model, typ=3), model.conf_int()
    adjusted = multipletests([anova.loc[term[e], "PR(>F)"] for e in chosen], method="holm")[1]
    found = []
    for effect, p in zip(chosen, adjusted, strict=True):
        row, ratio, low, high = anova.loc[term[effect]], None, None, None
        if all(len(factors[name]) == 2 for name in effect):
            (coefficient,) = [c for c in model.params.index if _term_of(c) == term[effect]]
            # Coded 1 at the first level and -1 at the second: the second over the first is -2 coefficients, a ratio of ratios is 4.
            scale = -2.0 if len(effect) == 1 else 4.0
            ends = sorted(scale * float(value) for value in intervals.loc[coefficient])
            ratio, low, high = math.exp(scale * float(model.params[coefficient])), math.exp(ends[0]), math.exp(ends[1])
        found.append(Effect(effect, int(row["df"]), float(row["F"]), float(p), ratio, low, high, aliased.get(effect, ())))
    return found


def _term_of(coefficient: str) -> str:
    """`C(f0, Sum)[S.0]:C(f1, Sum)[S.0]` belongs to `C(f0, Sum):C(f1, Sum)`."""
    return ":".join(part.partition("[")[0] for part in coefficient.split(":"))


def _aliases(names: Sequence[str], resolution: int) -> dict[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """The effects that each class's simplest one stands for."""
    if not resolution:
        return {}
    found = {}
    for words in aliases(len(names), resolution):
        mixed = [tuple(name for i, name in enumerate(names) if word >> i & 1) for word in words]
        simplest, *others = sorted(mixed, key=lambda effect: (len(effect), [names.index(name) for name in effect]))
        found[simplest] = tuple(others)
    return found
