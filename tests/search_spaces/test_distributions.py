"""Every range maps the unit interval onto its values, and back."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from search_spaces.distributions import Categorical, FloatRange, IntRange

SHARES = st.floats(0, 1, exclude_max=True)
SCALARS = st.one_of(st.booleans(), st.integers(-9, 9), st.floats(-9, 9, allow_nan=False), st.text("ab1", max_size=3), st.none())


@st.composite
def float_ranges(draw: st.DrawFn) -> FloatRange:
    log = draw(st.booleans())
    low, high = sorted(draw(st.tuples(*[st.floats(1e-6 if log else -1e9, 1e9)] * 2)))
    return FloatRange(low=low, high=high, log=log)


@st.composite
def int_ranges(draw: st.DrawFn) -> IntRange:
    log = draw(st.booleans())
    low, high = sorted(draw(st.tuples(*[st.integers(1 if log else -(2**40), 2**40)] * 2)))
    return IntRange(low=low, high=high, log=log, step=1 if log else draw(st.integers(1, 2**20)))


@st.composite
def categoricals(draw: st.DrawFn) -> Categorical:
    return Categorical(choices=tuple(draw(st.lists(SCALARS, min_size=1, max_size=6, unique_by=lambda v: hash(v)))))


@settings(deadline=None)
@given(st.one_of(float_ranges(), int_ranges(), categoricals()), SHARES)
def test_every_share_is_a_value_of_the_range(axis, share: float) -> None:
    assert axis.contains(axis.at(share))


@settings(deadline=None)
@given(float_ranges(), SHARES)
def test_a_float_has_its_share(axis: FloatRange, share: float) -> None:
    value = axis.at(share)
    assert 0 <= axis.share_of(value) <= 1
    assert math.isclose(axis.at(axis.share_of(value)), value, rel_tol=1e-9, abs_tol=1e-12 * (abs(axis.low) + abs(axis.high)))


@settings(deadline=None)
@given(st.one_of(int_ranges(), categoricals()), SHARES)
def test_a_whole_number_and_a_choice_have_the_middle_of_their_cell(axis, share: float) -> None:
    value = axis.at(share)
    assert 0 < axis.share_of(value) < 1
    back = axis.at(axis.share_of(value))
    assert back == value and type(back) is type(value)


@settings(deadline=None)
@given(st.one_of(int_ranges(), categoricals()))
def test_the_ends_of_a_range_are_reached_and_its_grid_lies_within(axis) -> None:
    assert axis.at(0.0) == axis.extremes()[0] and axis.at(math.nextafter(1, 0)) == axis.extremes()[-1]
    assert all(axis.contains(value) for value in axis.grid(4))


@settings(deadline=None)
@given(st.integers(1, 40))
def test_cells_of_a_linear_range_have_equal_widths(number: int) -> None:
    axis = IntRange(low=0, high=3 * number - 1, step=3)
    found = [axis.at((i + 0.5) / (10 * number)) for i in range(10 * number)]
    assert all(found.count(value) == 10 for value in axis.grid(number) if number > 1)
    assert len(set(found)) == number


@settings(deadline=None)
@given(int_ranges(), st.integers(-(2**41), 2**41))
def test_only_what_the_steps_meet_is_in_a_range(axis: IntRange, value: int) -> None:
    assume(axis.high - axis.low < 2**40)
    assert axis.contains(value) == (value in range(axis.low, axis.high + 1, axis.step))


def test_a_truth_value_is_no_number() -> None:
    assert not Categorical(choices=(1, 2)).contains(True) and not IntRange(low=0, high=2).contains(True)
    assert not FloatRange(low=0, high=2).contains("1") and IntRange(low=0, high=4).contains(2.0)


@pytest.mark.parametrize(("cls", "fields", "words"), [
    (FloatRange, {"low": -1e308, "high": 1e308}, "too far"),
    (FloatRange, {"low": 1e-300, "high": 1e300, "log": True}, "too far"),
    (IntRange, {"low": 1, "high": 64, "step": 2, "log": True}, "no steps"),
    (Categorical, {"choices": (1, True)}, "once"),
])
def test_ranges_that_mean_nothing_are_refused(cls, fields: dict, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        cls(**fields)


@pytest.mark.parametrize(("axis", "points", "values"), [
    (FloatRange(low=1.0, high=5.0), 5, [1.0, 2.0, 3.0, 4.0, 5.0]),
    (FloatRange(low=1.0, high=16.0, log=True), 5, [1.0, 2.0, 4.0, 8.0, 16.0]),
    (IntRange(low=0, high=12, step=4), 4, [0, 4, 8, 12]), (FloatRange(low=2.0, high=2.0), 3, [2.0]),
])
def test_a_grid_is_evenly_spaced_on_the_ranges_own_scale(axis, points: int, values: list[float]) -> None:
    assert axis.grid(points) == pytest.approx(values, rel=1e-12)


def test_cells_of_a_logarithmic_range_of_whole_numbers_reach_half_a_number_further() -> None:
    axis = IntRange(low=1, high=3, log=True)
    width = math.log(3.5) - math.log(0.5)
    for number in (1, 2, 3):
        low, high = ((math.log(number + half) - math.log(0.5)) / width for half in (-0.5, 0.5))
        assert axis.share_of(number) == pytest.approx((low + high) / 2)
        assert axis.at(low + 1e-9) == axis.at(high - 1e-9) == number
