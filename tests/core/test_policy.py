"""Whose a position is, and which policies are refused because they could not tell."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.support import make
from trueup.core.policy import Adopt, Policy

MINE = frozenset({"EURUSD"})


@pytest.mark.parametrize("adopt", [Adopt.OURS, Adopt.ASK])
def test_ours_and_others_cannot_be_told_apart_without_a_magic_number_or_a_comment(
    adopt: Adopt,
) -> None:
    with pytest.raises(ValueError, match=f"^adopt=Adopt.{adopt.name} is not valid") as refused:
        Policy(symbols=MINE, adopt=adopt)
    assert str(refused.value) == (
        f"adopt=Adopt.{adopt.name} is not valid without a way to tell whose a position is: "
        "give magics={7} or comment_prefix='ORD_', or adopt=Adopt.ALL."
    )
    assert Policy(symbols=MINE, adopt=adopt, magics=frozenset({7})).adopt is adopt
    assert Policy(symbols=MINE, adopt=adopt, comment_prefix="x").adopt is adopt


def test_a_policy_changed_into_such_a_one_is_refused_too() -> None:
    ours = Policy(symbols=MINE, adopt=Adopt.OURS, magics=frozenset({7}))
    with pytest.raises(ValueError, match=r"adopt=Adopt\.OURS"):
        msgspec.structs.replace(ours, magics=frozenset())


@pytest.mark.parametrize("symbols", [frozenset(), "EURUSD", ""])
def test_symbols_are_a_set_of_names(symbols: Any) -> None:
    with pytest.raises(ValueError, match="is not valid: give a set of names"):
        Policy(symbols=symbols)


@pytest.mark.parametrize(
    ("row", "by_magic", "by_comment", "by_either", "by_symbol"),
    [
        (make.position(magic=7), True, False, True, True),
        (make.position(magic=7 * 2**32 + 99), True, False, True, True),  # its low half is a token
        (make.position(comment="mine-4"), False, True, True, True),
        (make.position(comment="not mine-"), False, False, False, True),
        (make.position(magic=8), False, False, False, True),
        (make.position(magic=7, comment="mine-4", symbol="GBPUSD"), False, False, False, False),
        (make.pending(magic=7), True, False, True, True),
    ],
)
def test_a_position_is_ours_by_symbol_and_by_its_magic_number_or_the_beginning_of_its_comment(
    row: Any, by_magic: bool, by_comment: bool, by_either: bool, by_symbol: bool
) -> None:
    magics, prefix = frozenset({7}), "mine-"
    assert Policy(symbols=MINE, magics=magics).owns(row) is by_magic
    assert Policy(symbols=MINE, comment_prefix=prefix).owns(row) is by_comment
    assert Policy(symbols=MINE, magics=magics, comment_prefix=prefix).owns(row) is by_either
    assert Policy(symbols=MINE).owns(row) is by_symbol


@pytest.mark.parametrize("adopt", Adopt)
def test_what_is_in_our_symbols_is_foreign_only_where_ours_alone_are_adopted(adopt: Adopt) -> None:
    policy = Policy(symbols=MINE, magics=frozenset({7}), adopt=adopt)
    assert policy.is_foreign(make.position(magic=8)) is (adopt is Adopt.OURS)
    assert policy.is_foreign(make.position(magic=7)) is False
    assert policy.is_foreign(make.position(magic=7, symbol="GBPUSD")) is True


# What our own desk would send, and this policy would not take for ours.


@pytest.mark.parametrize(
    ("changes", "symbol", "magic", "why"),
    [
        ({}, "EURUSD", 0, ""),
        (
            {"symbols": frozenset({"USDJPY", "EURUSD"})},
            "GBPUSD",
            7,
            "its symbols are EURUSD, USDJPY, and an order of this book would be in GBPUSD",
        ),
        ({"magics": {7}, "adopt": Adopt.OURS}, "EURUSD", 7, ""),
        (
            {"magics": {9, 7}, "adopt": Adopt.OURS},
            "EURUSD",
            8,
            "ours is magic 7 or magic 9, so an order of this book with magic 8 would be foreign",
        ),
        (
            {"magics": {7}, "comment_prefix": "ORD_", "adopt": Adopt.ASK},
            "EURUSD",
            8,
            "ours is magic 7 or comments that begin with 'ORD_', so an order of this book with "
            "magic 8 would wait for approval",
        ),
        ({"magics": {7}, "adopt": Adopt.ALL}, "EURUSD", 8, ""),
        # Every token begins so, and the comment of each order of ours is one.
        ({"comment_prefix": "t", "adopt": Adopt.OURS}, "EURUSD", 0, ""),
    ],
)
@pytest.mark.parametrize("magic_token", [False, True])
def test_an_order_that_its_own_policy_would_not_take_for_ours_says_why(
    changes: dict[str, Any], symbol: str, magic: int, why: str, *, magic_token: bool
) -> None:
    policy = Policy(**({"symbols": MINE} | changes))
    assert policy.why_not_ours(symbol, magic, magic_token=magic_token) == why


@pytest.mark.parametrize(
    ("magics", "magic_token", "is_ours"),
    [({0}, False, True), ({0}, True, False), ({2}, False, False), ({2}, True, False)],
)
def test_an_order_without_a_strategys_number_is_what_its_token_makes_of_it(
    magics: Any, *, magic_token: bool, is_ours: bool
) -> None:
    """The broker shows the token alone then, as if that were the strategy's number."""
    policy = Policy(symbols=MINE, magics=magics, adopt=Adopt.OURS)
    why = policy.why_not_ours("EURUSD", 0, magic_token=magic_token)
    assert (not why) is is_ours
    assert is_ours or why.endswith("with magic 0 would be foreign")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (7, "7"),
        ("7", "'7'"),
        ({-1}, "{-1}"),
        ({2**64}, "{18446744073709551616}"),
        ([7, "8"], "[7, '8']"),
        ([7.0], "[7.0]"),
        ([None], "[None]"),
    ],
)
def test_magic_numbers_are_whole_numbers_of_64_bits(given: Any, said: str) -> None:
    with pytest.raises(ValueError, match="is not valid") as refused:
        Policy(symbols=MINE, magics=given)
    assert str(refused.value) == (
        f"magics={said} is not valid: give a set of whole numbers from 0 to 2**64 - 1, as {{7}}."
    )


def test_names_and_numbers_are_taken_from_any_list_of_them() -> None:
    policy = Policy(symbols=["EURUSD", "EURUSD"], magics=[0, 7, 2**64 - 1])  # type: ignore[arg-type]
    assert policy.symbols == MINE
    assert policy.magics == {0, 7, 2**64 - 1}


@pytest.mark.parametrize("symbols", ["EURUSD", [], ["EURUSD", ""], ["EURUSD", 5], 5, None])
def test_what_is_no_set_of_names_is_refused_with_what_would_be(symbols: Any) -> None:
    with pytest.raises(ValueError, match="is not valid") as refused:
        Policy(symbols=symbols)
    assert str(refused.value) == (
        f"symbols={symbols!r} is not valid: give a set of names, as {{'EURUSD'}}."
    )
