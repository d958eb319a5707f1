"""How many units each block keeps within a budget of multiply-accumulates. No torch here.

Widths are multiples of a number that a recipe names (GPUs want 8), or all units of a block; attention heads are counted singly.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence

from trainables.errors import ConfigError
from trainables.experts.macs import MacsByWidth

TOLERANCE = 0.02  # of the budget
_BISECTIONS = 60


def uniform(budget: float, cost: MacsByWidth, multiple: int = 8) -> dict[str, int]:
    """Every block gives up the same share of its units."""
    return to_budget(dict.fromkeys(cost.units, 1.0), budget, cost, multiple)


def to_budget(directions: Mapping[str, float], budget: float, cost: MacsByWidth, multiple: int = 8) -> dict[str, int]:
    """Widths of the blocks that give something up: shares in proportion to `directions`, of a size at which the budget [MACs] is met.

    A direction is at least 0; blocks that are not named give up nothing, and those that have nothing left to give leave it to the
    others.  ConfigError where the budget cannot be met within 2 %.
    """
    unknown = directions.keys() - cost.units.keys()
    if unknown or any(not 0 <= share < float("inf") for share in directions.values()):
        raise ConfigError(f"directions: {dict(directions)} was given: numbers of at least 0 for any of {', '.join(cost.units)}")
    widths: dict[str, float] = {}
    waiting = sorted((n for n, share in directions.items() if share > 0), key=lambda n: -cost.per_unit[n] * _step(n, multiple))
    while waiting:  # the coarsest step is rounded first, and the finer ones make up for it
        name = waiting[0]
        widths |= _scaled({n: directions[n] for n in waiting}, widths, budget, cost, multiple)
        below = _below(name, widths[name], cost, multiple)
        above = _below(name, below + _step(name, multiple), cost, multiple) if below < widths[name] else below
        widths[name] = above if widths[name] - below > above - widths[name] else below
        waiting.pop(0)
    return _checked({name: int(width) for name, width in widths.items()}, budget, cost, multiple)


def greedy(scores: Mapping[str, Sequence[float]], budget: float, cost: MacsByWidth, multiple: int = 8) -> dict[str, int]:
    """Widths after removing, over all blocks, what has the lowest score per MAC, until the budget [MACs] is met.

    `scores` [units] are those of a criterion, comparable between blocks.  ConfigError where the budget cannot be met within 2 %.
    """
    ranked = {name: sorted(float(score) for score in scores[name]) for name in cost.units}
    widths = dict(cost.units)
    waiting: list[tuple[float, str, int]] = []

    def offer(name: str) -> None:
        """The block's next removal: down to the next multiple."""
        count, now = cost.units[name], widths[name]
        below = _below(name, now - 1, cost, multiple)
        if below < now:
            lost = sum(ranked[name][count - now : count - below])
            heapq.heappush(waiting, (lost / (cost.per_unit[name] * (now - below)), name, below))

    for name in widths:
        offer(name)
    while waiting and cost(widths) > budget:
        _, name, below = heapq.heappop(waiting)
        removed = cost.per_unit[name] * (widths[name] - below)
        if cost(widths) - removed / 2 >= budget:  # otherwise it stays: without it the budget is farther away
            widths[name] = below
            offer(name)
    return _checked(widths, budget, cost, multiple)


def _step(name: str, multiple: int) -> int:
    return 1 if name.endswith("/heads") else multiple


def _least(name: str, cost: MacsByWidth, multiple: int) -> int:
    return min(_step(name, multiple), cost.units[name])


def _scaled(
    shares: Mapping[str, float], given: Mapping[str, float], budget: float, cost: MacsByWidth, multiple: int
) -> dict[str, float]:
    """Widths, not rounded, in proportion to the shares that blocks give up, where others have the given widths."""
    others = cost({**given, **dict.fromkeys(shares, 0.0)})
    least = {name: _least(name, cost, multiple) for name in shares}

    def at(scale: float) -> dict[str, float]:
        return {n: max(cost.units[n] * (1.0 - scale * share), least[n]) for n, share in shares.items()}

    low, high = 0.0, 1.0 / min(shares.values())
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        above = others + sum(cost.per_unit[n] * width for n, width in at(middle).items()) > budget
        low, high = (middle, high) if above else (low, middle)
    return at(high)


def _below(name: str, width: float, cost: MacsByWidth, multiple: int) -> int:
    """The largest allowed width up to this one; the smallest of all where there is none."""
    if width >= cost.units[name]:
        return cost.units[name]
    step = _step(name, multiple)
    return max(int(width + 1e-9) // step * step, _least(name, cost, multiple))


def _checked(widths: Mapping[str, int], budget: float, cost: MacsByWidth, multiple: int) -> dict[str, int]:
    found = cost(widths)
    if abs(found - budget) > TOLERANCE * budget:
        smallest = cost({name: _least(name, cost, multiple) for name in cost.units})
        raise ConfigError(
            f"a budget of {budget:,.0f} MACs ({budget / cost.full:.0%} of {cost.full:,}) cannot be met within {TOLERANCE:.0%}: "
            f"{found:,.0f} is the nearest. Widths are multiples of {multiple}, and the smallest network has {smallest:,.0f} MACs: "
            "use a smaller multiple, or another budget"
        )
    return {name: width for name, width in widths.items() if width < cost.units[name]}
