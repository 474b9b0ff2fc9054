"""Which position an order against what is held names, to the lot."""

from __future__ import annotations

import pytest

from tests.support import make
from trueup.core.model import Account, Side
from trueup.runtime.bot.risk import target_of

# One unit is 1e-8 lots, the least that a book tells apart.
LEAST = 1e-8


@pytest.mark.parametrize("account", [make.ACCOUNT, make.NETTING])
def test_an_order_of_exactly_what_is_held_closes_that_position_by_name(account: Account) -> None:
    """Without a name it would open the opposite position on a hedging account."""
    book = make.bound_book(make.position(7, volume=0.2), account=account)
    assert target_of(book, Side.SELL, 0.2, "EURUSD") == (7, 0.2)
    assert target_of(book, Side.SELL, 0.1, "EURUSD") == (7, 0.1)


def test_an_order_of_more_than_is_held_closes_it_or_turns_a_netting_position() -> None:
    held = make.position(7, volume=0.2)
    hedging = make.bound_book(held)
    assert target_of(hedging, Side.SELL, 0.2 + LEAST, "EURUSD") == (7, 0.2)
    netting = make.bound_book(held, account=make.NETTING)
    assert target_of(netting, Side.SELL, 0.2 + LEAST, "EURUSD") == (0, 0.2 + LEAST)


def test_the_position_that_has_exactly_the_lots_is_closed_and_not_the_older_one() -> None:
    book = make.bound_book(
        make.position(7, volume=0.1, time=1), make.position(8, volume=0.2, time=2)
    )
    assert target_of(book, Side.SELL, 0.2, "EURUSD") == (8, 0.2)
