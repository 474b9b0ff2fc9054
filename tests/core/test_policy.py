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
