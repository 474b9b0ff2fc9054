from __future__ import annotations

import math
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueup.core.quantity import (
    add_lots,
    format_lots,
    format_money,
    format_price,
    is_number,
    is_price,
    is_volume,
    same,
)

STEPS = (1.0, 0.1, 0.01, 0.001, 0.00001, 0.00000001)
amounts = st.integers(-10_000_000, 10_000_000)


@given(amounts, amounts, st.sampled_from((10, 100, 1000, 100_000)))
def test_adding_lots_leaves_no_float_dust(first: int, second: int, per_lot: int) -> None:
    assert add_lots(first / per_lot, second / per_lot) == (first + second) / per_lot


@given(st.lists(st.integers(1, 1000), max_size=50))
def test_adding_lots_does_not_depend_on_the_order(hundredths: list[int]) -> None:
    there = back = 0.0
    for units in hundredths:
        there = add_lots(there, units / 100)
    for units in reversed(hundredths):
        back = add_lots(back, units / 100)
    assert there == back == sum(hundredths) / 100


def test_a_tenth_and_two_tenths_are_three_tenths() -> None:
    assert 0.1 + 0.2 != 0.3
    assert same(0.1 + 0.2, 0.3)
    assert add_lots(0.1, 0.2) == 0.3


@given(st.integers(0, 1_000_000), st.sampled_from(STEPS))
def test_same_is_true_for_dust_and_false_for_a_whole_step(steps: int, step: float) -> None:
    value = steps * step
    assert same(value, math.nextafter(value, math.inf))
    assert same(value, math.nextafter(value, -math.inf))
    assert not same(value, (steps + 1) * step)
    assert not same((steps + 1) * step, value)


def test_same_tells_the_finest_step_apart() -> None:
    assert not same(0.01, 0.01000001)
    assert not same(1.05430, 1.05431)
    assert same(0.01, 0.010000000001)


@given(st.integers(0, 10**12))
def test_format_of_lots_reads_back_as_the_same_lots(units: int) -> None:
    volume = units / 100_000_000
    text = format_lots(volume)
    assert float(text) == volume
    assert len(text.partition(".")[2]) >= 2
    assert "e" not in text


@given(st.integers(1, 10**13))
def test_format_of_a_price_reads_back_as_the_same_price(units: int) -> None:
    price = units / 100_000_000
    assert float(format_price(price)) == price


@pytest.mark.parametrize(
    ("volume", "text"),
    [
        (0.01, "0.01"),
        (0.1, "0.10"),
        (0.1 + 0.2, "0.30"),
        (1.0, "1.00"),
        (0.005, "0.005"),
        (0.00000001, "0.00000001"),
        (12.5, "12.50"),
        (0.0, "0.00"),
        (-0.02, "-0.02"),
    ],
)
def test_lots_are_written_as_the_guide_writes_them(volume: float, text: str) -> None:
    assert format_lots(volume) == text


@pytest.mark.parametrize(
    ("price", "text"),
    [(1.0543, "1.0543"), (1.1 + 2.2, "3.3"), (157.123, "157.123"), (65000.5, "65000.5")],
)
def test_prices_are_written_without_dust_and_padding(price: float, text: str) -> None:
    assert format_price(price) == text


@pytest.mark.parametrize("value", [0.0, -0.01, math.inf, -math.inf, math.nan])
def test_what_cannot_be_held_is_no_volume(value: float) -> None:
    assert not is_volume(value)


@pytest.mark.parametrize(
    "value", [None, True, False, "0.01", b"1", math.nan, math.inf, -math.inf, [], {}]
)
def test_what_cannot_be_counted_with_is_no_number(value: object) -> None:
    assert not is_number(value)


@pytest.mark.parametrize("value", [0, 1, -3, 0.01, 2**53])
def test_finite_ints_and_floats_are_numbers(value: float) -> None:
    assert is_number(value)


def test_a_whole_number_beyond_every_float_is_no_number_and_no_error() -> None:
    """JSON may carry it, so the question is asked of it."""
    assert not is_number(10**400)


@pytest.mark.parametrize(
    ("amount", "digits", "text"),
    [
        (2079.0, 0, "2079"),
        (-0.4, 0, "0"),
        (4.255, 3, "4.255"),
        (0.0001155, 8, "0.00011550"),
        (-12.7, 2, "-12.70"),
        (-0.001, 2, "0.00"),
        (0.0001155, None, "0.0001155"),
        (1234.0, None, "1234.00"),
    ],
)
def test_money_has_the_decimals_of_its_account(
    amount: float, digits: int | None, text: str
) -> None:
    assert format_money(amount, digits) == text


@pytest.mark.parametrize(
    ("amount", "digits", "text"),
    [(1.5, 2, "+1.50"), (-1.5, 2, "-1.50"), (-0.001, 2, "+0.00"), (0.5, None, "+0.50")],
)
def test_a_gain_has_its_sign_where_one_is_wanted(
    amount: float, digits: int | None, text: str
) -> None:
    assert format_money(amount, digits, with_sign=True) == text


def test_money_is_followed_by_its_currency_if_that_is_known() -> None:
    assert format_money(-1.5, 2, "EUR") == "-1.50 EUR"
    assert format_money(0.25, None, "XAU") == "0.25 XAU"
    assert format_money(3, 0, "") == "3"


@given(st.integers(-(10**12), 10**12), st.integers(0, 8))
def test_money_of_an_account_is_told_without_loss(units: int, digits: int) -> None:
    amount = units / 10**digits
    assert round(float(format_money(amount, digits)) * 10**digits) == units
    assert round(float(format_money(amount)) * 10**8) == round(amount * 10**8)


@pytest.mark.parametrize(
    ("value", "is_one"),
    [
        (1e-8, True),
        (1e-9, False),
        (0.01, True),
        (999_999_999.0, True),
        (1e9, False),
        (0.0, False),
        (-0.01, False),
    ],
)
def test_a_volume_is_between_the_finest_step_and_what_no_market_has(
    value: float, *, is_one: bool
) -> None:
    assert is_volume(value) is is_one


@pytest.mark.parametrize(
    ("value", "is_one"),
    [(0.00001, True), (0.0, False), (-1.0, False), (1.0, True), (9e11, True), (1e12, False)],
)
def test_a_price_is_above_nothing_and_below_what_no_market_has(
    value: float, *, is_one: bool
) -> None:
    assert is_price(value) is is_one


@pytest.mark.parametrize("value", [sys.float_info.max, -sys.float_info.max])
def test_the_largest_float_is_a_number(value: float) -> None:
    assert is_number(value)
    assert not is_number(value * 2)


@pytest.mark.parametrize(("price", "text"), [(1.0, "1.0"), (0.0, "0.0"), (150.0, "150.0")])
def test_a_whole_price_has_one_decimal(price: float, text: str) -> None:
    assert format_price(price) == text


def test_no_gain_has_its_sign_too() -> None:
    assert format_money(0.0, with_sign=True) == "+0.00"
