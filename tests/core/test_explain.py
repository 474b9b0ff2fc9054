"""What the deals of a position say: whether it is closed, why, at what price, with what result."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.support import make
from trueup.core.explain import (
    entry_sentence,
    exit_of,
    exit_sentence,
    history_of,
    money_units,
    reopened_as,
)
from trueup.core.model import Deal, DealReason, Entry, Position, Side

LOCAL = make.position(7, volume=0.3)
AT_MSC = 1_767_571_261_500


def sold(ticket: int, volume: float, price: float, **changes: Any) -> Deal:
    return make.deal(ticket, 7, Side.SELL, volume, entry=Entry.OUT, price=price, **changes)


def test_a_history_has_each_deal_of_the_position_once_and_in_time() -> None:
    first = make.deal(5, 7, Side.BUY, 0.3, time_msc=1)
    second, third = sold(4, 0.1, 1.06, time_msc=2), sold(6, 0.2, 1.06, time_msc=2)
    stranger = make.deal(9, 8, Side.BUY, 1.0)
    history = history_of(7, [third, second, stranger, first, third])
    assert history.deals == (first, second, third)
    assert history.net_units == 0
    assert history.is_closed
    assert history_of(7, [first, second]).net_units == 20_000_000


def test_no_deals_at_all_prove_nothing() -> None:
    empty = history_of(7, [])
    assert not empty.is_closed
    assert not empty.closes_to(0.0)


@pytest.mark.parametrize(
    ("left", "proves"),
    [(0.1, True), (0.3 - 0.2, True), (0.104, False), (0.10000001, False), (-0.1, False)],
)
def test_deals_close_to_what_is_open_to_the_last_hundred_millionth(
    left: float, proves: bool
) -> None:
    history = history_of(7, [make.deal(1, 7, Side.BUY, 0.3), sold(2, 0.2, 1.06)])
    assert history.closes_to(left) is proves


def test_the_result_of_a_deal_is_all_its_money() -> None:
    deal = sold(2, 0.1, 1.06, profit=10.01, swap=-1.5, commission=-0.35, fee=-0.05)
    assert money_units(deal) == 811_000_000
    assert history_of(7, [deal, make.deal(1, 7, Side.BUY, 0.1, fee=-0.01)]).realised_units == (
        810_000_000
    )


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


# Opened again by the broker.


def service(**changes: Any) -> Deal:
    return sold(2, 0.3, 1.06, **({"reason": DealReason.ROLLOVER, "time_msc": AT_MSC} | changes))


def again(**changes: Any) -> Position:
    facts = {"volume": 0.3, "time_msc": AT_MSC}
    return make.position(9, **(facts | changes))


@pytest.mark.parametrize(
    "reason", [DealReason.ROLLOVER, DealReason.SPLIT, DealReason.VARIATION_MARGIN]
)
def test_a_position_that_the_broker_opened_again_is_recognised(reason: DealReason) -> None:
    assert reopened_as(LOCAL, [service(reason=reason)], [again()]) == 9


@pytest.mark.parametrize("apart_msc", [-1000, 1000])
def test_it_may_be_a_second_apart(apart_msc: int) -> None:
    assert reopened_as(LOCAL, [service()], [again(time_msc=AT_MSC + apart_msc)]) == 9
    further_msc = apart_msc // 1000 + apart_msc
    assert reopened_as(LOCAL, [service()], [again(time_msc=AT_MSC + further_msc)]) == 0


@pytest.mark.parametrize(
    ("deals", "zombies"),
    [
        ([], [again()]),
        ([service(reason=DealReason.CLIENT)], [again()]),
        ([service(), sold(3, 0.1, 1.0, reason=DealReason.CLIENT)], [again()]),
        ([service()], [again(symbol="GBPUSD")]),
        ([service()], [again(side=Side.SELL)]),
        ([service()], [again(volume=0.2)]),
        ([service()], [again(), make.position(10, volume=0.3, time_msc=AT_MSC)]),
        ([service()], []),
    ],
)
def test_whatever_else_appears_is_not_it(deals: list[Deal], zombies: list[Position]) -> None:
    assert reopened_as(LOCAL, deals, zombies) == 0
