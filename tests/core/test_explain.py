"""What the deals of a position say in words: why it ended, at what price, with what result."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.support import make
from trueup.core.deals import Change, as_booked
from trueup.core.explain import (
    canceled_sentence,
    cash_sentence,
    change_sentence,
    closing_units,
    entry_sentence,
    exit_of,
    exit_sentence,
)
from trueup.core.model import Deal, DealKind, DealReason, Entry, Side
from trueup.core.quantity import to_units

AT_MSC = 1_767_571_261_500


def sold(ticket: int, volume: float, price: float, **changes: Any) -> Deal:
    return make.deal(ticket, 7, Side.SELL, volume, entry=Entry.OUT, price=price, **changes)


def test_an_exit_adds_up_its_closing_deals_and_counts_all_their_money() -> None:
    opened = make.deal(1, 7, Side.BUY, 0.3, commission=-1.0, swap=-0.1, fee=-0.2, profit=0.0)
    first = sold(2, 0.1, 1.06, profit=5.0, commission=-0.5, swap=-0.3, fee=-0.1, time_msc=5)
    last = sold(3, 0.2, 1.09, profit=7.0, reason=DealReason.MOBILE, time_msc=AT_MSC)
    ended = exit_of([opened, first, last])
    assert ended is not None
    assert (ended.price, ended.volume, ended.deals) == (1.08, 0.3, (1, 2, 3))
    assert (ended.profit, ended.swap, ended.commission, ended.fee) == (12.0, -0.4, -1.5, -0.3)
    assert ended.result == 9.8
    assert (ended.reason, ended.time_msc) == ("by hand on the phone", AT_MSC)
    assert exit_sentence(ended) == (
        "closed by hand on the phone: 0.30 lots at 1.08, profit 12.00, swap -0.40, "
        "commission -1.80, 2026-01-05 00:01:01 server time"
    )
    assert exit_sentence(ended, "closed in part").startswith("closed in part by hand on the phone:")


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="no time zones to change here")
def test_the_time_is_the_servers_wherever_the_bot_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = exit_of([sold(2, 0.3, 1.06, time_msc=AT_MSC)])
    assert ended is not None
    said = exit_sentence(ended)
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert exit_sentence(ended) == said
    finally:
        monkeypatch.undo()
        time.tzset()


def test_entries_alone_are_no_exit() -> None:
    assert exit_of([make.deal(1, 7, Side.BUY, 0.3)]) is None
    assert exit_of([]) is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"reason": DealReason.STOP_LOSS}, "by its stop loss"),
        ({"reason": DealReason.STOP_LOSS, "comment": "[sl 1.05]"}, "by its stop loss"),
        (
            {"reason": DealReason.CLIENT, "comment": "[sl 1.05]"},
            "by hand in the terminal (the comment says by its stop loss)",
        ),
        (
            {"reason": DealReason.CLIENT, "comment": "[tp 1.05]"},
            "by hand in the terminal (the comment says by its take profit)",
        ),
        (
            {"reason": DealReason.CLIENT, "comment": "[so 49%]"},
            "by hand in the terminal (the comment says by a stop out)",
        ),
        ({"reason": DealReason.CLIENT, "comment": "my [sl]"}, "by hand in the terminal"),
        ({"entry": Entry.OUT_BY, "reason": DealReason.CLIENT}, "by an opposite position"),
        (
            {"entry": Entry.IN_OUT, "reason": DealReason.WEB},
            "by a reversal by hand in the browser",
        ),
    ],
)
def test_the_reason_is_the_last_deals_and_a_comment_that_contradicts_it_is_told(
    changes: dict[str, Any], said: str
) -> None:
    last = make.deal(3, 7, Side.SELL, 0.1, **({"entry": Entry.OUT} | changes))
    ended = exit_of([sold(2, 0.2, 1.06, reason=DealReason.ROLLOVER), last])
    assert ended is not None
    assert ended.reason == said


def test_an_entry_says_volume_mean_price_and_costs() -> None:
    deals = [
        make.deal(1, 7, Side.BUY, 0.1, price=1.0, commission=-0.35),
        make.deal(2, 7, Side.BUY, 0.3, price=1.2, commission=-1.05, fee=-0.1),
    ]
    assert entry_sentence(deals, "opened") == "opened: 0.40 lots at 1.15, commission -1.50"


# The closing part of a deal alone.


def turned(volume: float = 0.5, **changes: Any) -> Deal:
    """A sale that turns a long position round."""
    facts = {"entry": Entry.IN_OUT, "order": 70, "price": 1.06, "profit": 20.0}
    return make.deal(2, 7, Side.SELL, volume, **(facts | changes))


def test_a_reversal_closes_what_was_there_and_opens_the_rest() -> None:
    opened = make.deal(1, 7, Side.BUY, 0.2)
    ended = exit_of([turned()], [opened, turned()])
    assert ended is not None
    assert (ended.volume, ended.price, ended.profit) == (0.2, 1.06, 20.0)
    back = make.deal(3, 7, Side.BUY, 0.3, entry=Entry.OUT, order=71, price=1.05)
    whole = exit_of([opened, turned(), back])
    assert whole is not None
    # 0.2 at 1.06 and 0.3 at 1.05, and not 0.5 at 1.06.
    assert (whole.volume, whole.price) == (0.5, 1.054)


def test_where_the_beginning_is_archived_a_reversal_still_closes_what_was_there() -> None:
    ended = exit_of([turned()], [turned()], begun_with=to_units(0.2))
    assert ended is not None
    assert ended.volume == 0.2


@pytest.mark.parametrize("begun_with", [0, to_units(-0.2)])
def test_a_reversal_of_nobody_knows_what_is_told_as_a_whole(begun_with: int) -> None:
    assert closing_units([turned()], begun_with) == {2: to_units(0.5)}


# Deals that move no lots.


def cash(**changes: Any) -> Deal:
    facts = {"entry": Entry.OUT, "profit": 100.0, "reason": DealReason.VARIATION_MARGIN}
    return make.deal(5, 7, Side.SELL, 0.0, **(facts | {"time_msc": AT_MSC} | changes))


def test_a_deal_without_lots_is_no_exit_and_counts_in_one() -> None:
    assert exit_of([cash()]) is None
    ended = exit_of([sold(2, 0.3, 1.06, profit=5.0), cash()])
    assert ended is not None
    assert (ended.volume, ended.price, ended.profit) == (0.3, 1.06, 105.0)


def test_money_without_a_trade_says_why_it_came() -> None:
    assert cash_sentence([cash(swap=-1.25)], digits=2) == (
        "money without a trade by variation margin: profit 100.00, swap -1.25, commission 0.00, "
        "2026-01-05 00:01:01 server time"
    )
    assert cash_sentence([cash(reason=DealReason.OTHER)]).startswith(
        "money without a trade: profit 100.00"
    )


def test_an_entry_with_a_charge_beside_it_says_both() -> None:
    deals = [make.deal(1, 7, Side.BUY, 0.1, commission=-0.35), cash(profit=-1.25)]
    said = entry_sentence(deals, "opened")
    assert said == "opened: 0.10 lots at 1.0543, commission -0.35, other money -1.25"


def test_an_entry_without_lots_divides_by_nothing() -> None:
    assert entry_sentence([cash(entry=Entry.IN)], "added").startswith("added: 0.00 lots")


# What a broker changed.


def test_a_cancelled_deal_is_said_to_be() -> None:
    gone = make.deal(4, 7, Side.BUY, 0.2, kind=DealKind.CANCELED)
    assert canceled_sentence(gone) == ("the broker cancelled deal 4 (BUY 0.20 lots at 1.0543)")
    before = make.deal(4, 7, Side.BUY, 0.2, profit=12.5)
    assert change_sentence(Change(as_booked(before), gone), digits=2) == (
        "the broker cancelled deal 4 (BUY 0.20 lots at 1.0543): result 12.50 → 0.00"
    )


def test_a_changed_deal_says_what_it_was_and_what_it_is_made_of_now() -> None:
    before = make.deal(4, 7, Side.BUY, 0.2)
    late = make.deal(4, 7, Side.BUY, 0.2, commission=-1.5, fee=-0.25)
    assert change_sentence(Change(as_booked(before), late), digits=2) == (
        "the broker changed deal 4: result 0.00 → -1.75 (now commission -1.75)"
    )
    less = make.deal(4, 7, Side.BUY, 0.1)
    assert change_sentence(Change(as_booked(before), less), digits=2) == (
        "the broker changed deal 4: result 0.00 → 0.00, 0.20 → 0.10 lots (now no money)"
    )


def test_a_reversal_closes_what_the_deals_before_it_left_open() -> None:
    """Each of them moves it: what was added, and what was closed in part."""
    deals = [
        make.deal(1, 7, Side.BUY, 0.2),
        make.deal(2, 7, Side.BUY, 0.3),
        sold(3, 0.1, 1.06),
        turned(1.0),
    ]
    deals[3] = make.deal(4, 7, Side.SELL, 1.0, entry=Entry.IN_OUT)
    assert closing_units(deals) == {3: to_units(0.1), 4: to_units(0.4)}


MADE_OF = make.deal(
    4, 7, Side.SELL, 0.2, entry=Entry.OUT, profit=1.5, swap=-2.25, commission=-3.5, fee=-0.125
)


@pytest.mark.parametrize(
    ("digits", "profit", "swap", "costs", "result"),
    [
        (0, "2", "-2", "-4", "-4"),
        (2, "1.50", "-2.25", "-3.62", "-4.38"),
        (3, "1.500", "-2.250", "-3.625", "-4.375"),
        (8, "1.50000000", "-2.25000000", "-3.62500000", "-4.37500000"),
        (None, "1.50", "-2.25", "-3.625", "-4.375"),
    ],
)
def test_money_is_told_with_the_decimals_of_its_account(
    digits: int | None, profit: str, swap: str, costs: str, result: str
) -> None:
    ended = exit_of([MADE_OF])
    assert ended is not None
    money = f"profit {profit}, swap {swap}, commission {costs}, 1970-01-01 00:00:00 server time"
    said = exit_sentence(ended, digits=digits)
    assert said == f"closed for a reason not known: 0.20 lots at 1.0543, {money}"
    moneys = make.deal(4, 7, Side.SELL, 0.0, profit=1.5, swap=-2.25, commission=-3.5, fee=-0.125)
    assert cash_sentence([moneys], digits=digits) == f"money without a trade: {money}"
    before = as_booked(make.deal(4, 7, Side.SELL, 0.2))
    none = {0: "0", 2: "0.00", 3: "0.000", 8: "0.00000000", None: "0.00"}[digits]
    assert change_sentence(Change(before, MADE_OF), digits=digits) == (
        f"the broker changed deal 4: result {none} → {result} "
        f"(now profit {profit}, swap {swap}, commission {costs})"
    )


@pytest.mark.parametrize(
    ("digits", "costs", "other"),
    [(0, "-4", "-1"), (2, "-3.62", "-0.75"), (None, "-3.625", "-0.75")],
)
def test_an_entry_is_told_with_the_decimals_of_its_account(
    digits: int | None, costs: str, other: str
) -> None:
    """Profit and swap together are its other money."""
    assert entry_sentence([MADE_OF], "added", digits=digits) == (
        f"added: 0.20 lots at 1.0543, commission {costs}, other money {other}"
    )


def test_an_entry_of_no_lots_has_no_price() -> None:
    assert entry_sentence([cash(entry=Entry.IN)], "added").startswith("added: 0.00 lots at 0.0, ")
