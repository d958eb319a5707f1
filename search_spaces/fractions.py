"""Regular fractions of two-level factorials: fewer runs, for effects that are mixed with others in a known way (Box & Hunter 1961).

Basic factors are laid out in full; each further factor is a product of some of them, its generator.  Products of generators that are one
everywhere make the defining relation; the length of its shortest word is the resolution.  At resolution 3 main effects are mixed with
interactions of two factors, at 4 with none of them, at 5 interactions of two are not mixed with each other either.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

Word = int  # a set of factors as bits: 0b101 is the product of the first and the third

_MOST_FACTORS = 12


def fraction(factors: int, resolution: int) -> list[tuple[int, ...]]:
    """Levels 0 or 1 of each factor, by run, of the smallest regular fraction of at least this resolution.

    These are all combinations where no fraction is enough.  The first run has every factor at its first level.
    ValueError for more than 12 factors or a resolution below 3.
    """
    basic, generators = generators_of(factors, resolution)
    runs = []
    for levels in itertools.product((0, 1), repeat=basic):
        signs = [1 if level else -1 for level in levels]
        for generator in generators:  # of an even number of factors all at their first level, the product is 1: the sign is turned
            product = (-1) ** (generator.bit_count() + 1)
            for bit in _bits(generator):
                product *= signs[bit]
            signs.append(product)
        runs.append(tuple(int(sign > 0) for sign in signs))
    return runs


def generators_of(factors: int, resolution: int) -> tuple[int, tuple[Word, ...]]:
    """How many factors are basic, and the generators of the others, each a set of basic factors."""
    if resolution < 3:
        raise ValueError(f"resolution: {resolution} was given: at 2, main effects would be mixed with each other; use 3, 4, 5 or more")
    if factors > _MOST_FACTORS:
        raise ValueError(f"factors: {factors} were given: fractions are worked out for at most {_MOST_FACTORS}")
    for basic in range(1, factors):
        candidates = [word for word in range(1, 1 << basic) if word.bit_count() >= resolution - 1]
        candidates.sort(key=lambda word: (-word.bit_count(), word))
        if found := _chosen(candidates, factors - basic, basic, resolution, ()):
            return basic, found
    return factors, ()


def defining_words(basic: int, generators: Sequence[Word]) -> list[Word]:
    """All products of factors that are constant over the runs, but for the empty one; factor `basic + i` is made by generator i."""
    words = [generator | 1 << (basic + i) for i, generator in enumerate(generators)]
    return [_product(chosen) for n in range(1, len(words) + 1) for chosen in itertools.combinations(words, n)]


def aliases(factors: int, resolution: int, longest: int = 2) -> list[tuple[Word, ...]]:
    """Main effects and interactions of up to `longest` factors that cannot be told apart, several in each entry."""
    basic, generators = generators_of(factors, resolution)
    words = defining_words(basic, generators)
    effects = [sum(1 << f for f in chosen) for n in range(1, longest + 1) for chosen in itertools.combinations(range(factors), n)]
    classes: dict[Word, list[Word]] = {}
    for effect in effects:
        classes.setdefault(min(effect, *(effect ^ word for word in words)) if words else effect, []).append(effect)
    return [tuple(found) for found in classes.values() if len(found) > 1]


def _chosen(candidates: Sequence[Word], wanted: int, basic: int, resolution: int, chosen: tuple[Word, ...]) -> tuple[Word, ...] | None:
    """The first choice of generators whose defining relation has no word that is too short."""
    if len(chosen) == wanted:
        return chosen
    for i, candidate in enumerate(candidates):
        more = (*chosen, candidate)
        if min(word.bit_count() for word in defining_words(basic, more)) >= resolution:
            found = _chosen(candidates[i + 1 :], wanted, basic, resolution, more)
            if found:
                return found
    return None


def _product(words: Sequence[Word]) -> Word:
    result = 0
    for word in words:
        result ^= word
    return result


def _bits(word: Word) -> Iterator[int]:
    return (bit for bit in range(word.bit_length()) if word >> bit & 1)
