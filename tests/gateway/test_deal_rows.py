"""A terminal's deals and orders as ours, whatever their type; and on the wire, old and new."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from tests.support.desk_world import BUY, DeskWorld
from trueup.core.model import Deal, DealKind, DealReason, Entry, Side, Snapshot
from trueup.gateway.client.reader import Question
from trueup.gateway.reading.rows import deal_of, past_order_of, pending_of, position_of
from trueup.gateway.terminal import mt5_constants as mt5


def deal_row(**changes: Any) -> Any:
    facts: dict[str, Any] = {
        "ticket": 5,
        "order": 7,
        "time": 1,
        "time_msc": 1_000,
        "type": mt5.DEAL_TYPE_BUY,
        "entry": mt5.DEAL_ENTRY_IN,
        "magic": 0,
        "position_id": 7,
        "reason": mt5.DEAL_REASON_CLIENT,
        "volume": 0.1,
        "price": 1.1,
        "commission": -0.5,
        "swap": 0.0,
        "profit": 0.0,
        "fee": 0.0,
        "symbol": "EURUSD",
        "comment": "",
        "external_id": "",
    }
    return SimpleNamespace(**(facts | changes))


@pytest.mark.parametrize(
    ("number", "kind", "side"),
    [
        (mt5.DEAL_TYPE_BUY, DealKind.TRADE, Side.BUY),
        (mt5.DEAL_TYPE_SELL, DealKind.TRADE, Side.SELL),
        (mt5.DEAL_TYPE_BUY_CANCELED, DealKind.CANCELED, Side.BUY),
        (mt5.DEAL_TYPE_SELL_CANCELED, DealKind.CANCELED, Side.SELL),
        (mt5.DEAL_TYPE_CHARGE, DealKind.CASH, Side.SELL),
        (99, DealKind.CASH, Side.SELL),
    ],
)
def test_a_deal_of_any_type_is_read(number: int, kind: DealKind, side: Side) -> None:
    deal = deal_of(deal_row(type=number))
    assert (deal.kind, deal.side, deal.commission) == (kind, side, -0.5)
    assert deal.units == (side.sign * 10_000_000 if kind is DealKind.TRADE else 0)


@pytest.mark.parametrize(
    ("number", "reason"),
    [(10, DealReason.CORPORATE_ACTION), (11, DealReason.OTHER), (255, DealReason.OTHER)],
)
def test_a_reason_of_any_number_is_read(number: int, reason: DealReason) -> None:
    assert deal_of(deal_row(reason=number)).reason is reason


def test_an_entry_of_any_number_is_read() -> None:
    assert deal_of(deal_row(entry=9)).entry is Entry.OUT


@pytest.mark.parametrize("field", ["reason", "entry", "kind"])
def test_a_word_that_a_newer_gateway_writes_costs_the_word_and_not_the_deal(field: str) -> None:
    row = msgspec.to_builtins(deal_of(deal_row())) | {field: "by a word of tomorrow"}
    deal = msgspec.json.decode(msgspec.json.encode(row), type=Deal)
    assert getattr(deal, field) in (DealReason.OTHER, Entry.OUT, DealKind.CASH)


def test_an_order_that_ended_says_how_much_of_it_was_executed() -> None:
    row = SimpleNamespace(
        ticket=5,
        state=mt5.ORDER_STATE_CANCELED,
        position_id=7,
        volume_initial=0.5,
        volume_current=0.3,
    )
    past: Any = past_order_of(row)
    assert (past.state, past.position, round(past.filled, 8)) == ("canceled", 7, 0.2)


def test_the_time_of_the_last_change_and_the_first_volume_come_along() -> None:
    world = DeskWorld()
    ticket = world.person.open("EURUSD", BUY, 0.3)
    order = world.person.place("EURUSD", mt5.ORDER_TYPE_BUY_LIMIT, 0.5, 1.05)
    world.wait(5)
    world.person.close(ticket, 0.1)
    (row,) = world.terminal.positions_get() or ()
    assert row.time_update_msc == row.time_msc + 5_000
    assert position_of(row).time_update_msc == row.time_update_msc
    (working,) = world.terminal.orders_get() or ()
    assert (working.ticket, pending_of(working).volume_initial) == (order, 0.5)


def test_what_is_no_trade_comes_apart_and_is_read_together() -> None:
    world = DeskWorld(variation_margin_reopens=False)
    world.gateway.connect()
    ticket = world.person.open("EURUSD", BUY, 0.3)
    world.person.close(ticket, 0.1)
    first, second = (deal.ticket for deal in world.ledger.deals_of(ticket))
    world.terminal.broker.cancel_deal(world.person.login, second)
    seen: list[dict[str, Any]] = []
    world.tamper(seen.append)
    read = world.gateway.read(Question(explain=(ticket,), history_age_sec=600))
    (reply,) = seen
    assert [deal["ticket"] for deal in reply["deals"]] == [first]
    assert [deal["ticket"] for deal in reply["other_deals"]] == [second]
    assert [deal["ticket"] for deal in reply["history"]["deals"]] == [first]
    assert [deal["ticket"] for deal in reply["history"]["other_deals"]] == [second]
    assert isinstance(read, Snapshot)
    assert read.evidence is not None
    assert read.evidence.history is not None
    for deals in (read.evidence.deals, read.evidence.history.deals):
        assert {deal.ticket: deal.kind for deal in deals} == {
            first: DealKind.TRADE,
            second: DealKind.CANCELED,
        }
    assert read.evidence.history.other_deals == ()


def test_the_digest_is_what_it_was() -> None:
    """Gateways of before make it of fields that they know."""
    world = DeskWorld()
    world.gateway.connect()
    ticket = world.person.open("EURUSD", BUY, 0.3)
    first = world.gateway.read()
    world.wait(5)
    held = world.ledger.positions[ticket]
    now_msc = world.terminal.broker.clock.server_msc()
    world.ledger.put_position(msgspec.structs.replace(held, time_update_msc=now_msc))
    second = world.gateway.read()
    assert isinstance(first, Snapshot)
    assert isinstance(second, Snapshot)
    assert first.evidence is not None
    assert second.evidence is not None
    assert first.evidence.digest == second.evidence.digest
    assert first.positions[0].time_update_msc < second.positions[0].time_update_msc
