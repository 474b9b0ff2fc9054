"""By which comments and magic numbers an order is known to be ours."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueup.core.tokens import (
    MAGIC_HALF,
    bears,
    begins,
    is_in_magic,
    is_token,
    magic_with_token,
    strategy_half,
    token_of,
    tokens_in,
)

OURS = token_of("A")
ANOTHER_S = token_of("B")
WITH_OURS = magic_with_token(7, OURS)


def test_a_token_and_its_magic_number_are_the_same_in_every_version() -> None:
    """Orders that left before an update still work at the broker after it."""
    assert OURS == "tw2c3f6dc"
    assert WITH_OURS == 31221712688


@given(st.text(), st.text())
def test_a_token_is_nine_letters_that_stay_as_they_are_in_a_comment(one: str, two: str) -> None:
    token = token_of(one)
    assert re.fullmatch("t[a-z2-7]{8}", token)
    assert is_token(token)
    assert tokens_in(f"XX-{token}.") == [token]
    assert (token == token_of(two)) is (one == two)


@pytest.mark.parametrize(
    ("comment", "is_ours"),
    [
        (OURS, True),
        (f"{OURS}[sl]", True),
        (f"EA {OURS}", True),
        (OURS[:6], True),
        (OURS[:5], False),
        (f"{OURS[:6]} ", False),
        (OURS[1:], False),
        (ANOTHER_S, False),
        ("", False),
    ],
)
def test_a_comment_bears_a_token_whole_or_cut_to_no_fewer_than_six(
    comment: str, *, is_ours: bool
) -> None:
    assert bears(comment, 0, OURS, in_magic=False) is is_ours
    assert bears(comment, 0, OURS, in_magic=True) is is_ours


def test_only_a_short_token_may_be_cut() -> None:
    """An id that a caller sent himself may begin like a thousand others."""
    assert not bears("order-2026", 0, "order-2026-11-29", in_magic=False)
    assert not begins("order-2026", "order-2026-11-29")
    assert bears("order-2026-11-29", 0, "order-2026-11-29", in_magic=False)


@pytest.mark.parametrize(
    ("magic", "in_magic", "is_ours"),
    [
        (WITH_OURS, True, True),
        # Where no token was put into the number, its low half is somebody's figure by chance.
        (WITH_OURS, False, False),
        (magic_with_token(8, OURS), True, True),
        (magic_with_token(7, ANOTHER_S), True, False),
        (7, True, False),
    ],
)
def test_a_magic_number_bears_a_token_only_where_one_was_put_into_it(
    magic: int, *, in_magic: bool, is_ours: bool
) -> None:
    assert bears("rewritten", magic, OURS, in_magic=in_magic) is is_ours


@given(st.integers(0, MAGIC_HALF - 1), st.text())
def test_a_strategy_s_number_comes_back_from_a_magic_number_with_a_token(
    magic: int, order_id: str
) -> None:
    token = token_of(order_id)
    carried = magic_with_token(magic, token)
    assert is_in_magic(carried, token)
    assert 0 <= carried < 2**64
    if magic:
        assert strategy_half(carried) == magic


@pytest.mark.parametrize("magic", [-1, MAGIC_HALF, MAGIC_HALF + 1])
def test_a_strategy_s_number_of_more_than_32_bits_is_refused(magic: int) -> None:
    with pytest.raises(ValueError, match=r"magic=") as refused:
        magic_with_token(magic, OURS)
    said = f"magic={magic} is not valid with magic_token: give a number below 2**32."
    assert str(refused.value) == said


@pytest.mark.parametrize(
    ("comment", "is_beginning"),
    [(OURS[:4], True), (OURS[:8], True), (OURS[:3], False), ("", False), (ANOTHER_S[:4], False)],
)
def test_four_letters_are_the_beginning_of_a_token_and_three_are_chance(
    comment: str, *, is_beginning: bool
) -> None:
    assert begins(comment, OURS) is is_beginning


@pytest.mark.parametrize(
    ("comment", "is_one"),
    [
        (ANOTHER_S, True),
        (f"{ANOTHER_S} ", False),
        (f"x{ANOTHER_S}", False),
        (ANOTHER_S[:8], False),
        ("server 77", False),
        ("tABCDEFGH", False),
        ("", False),
    ],
)
def test_a_comment_is_a_token_only_where_it_is_nothing_else(comment: str, *, is_one: bool) -> None:
    assert is_token(comment) is is_one
