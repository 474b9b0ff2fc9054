"""`submit`, `close`, `modify`, `cancel`: journalled first, sent once, refused in words."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

import pytest

from tests.support.desk_world import BUY, HEDGING, NETTING
from tests.support.make import RefusingJournal
from tests.support.order_world import ChoosyJournal, Died, OrderWorld
from trueup.core.book import events
from trueup.core.book.events import OrderKind
from trueup.core.book.lifecycle import OrderStatus
from trueup.core.model import OrderType, Side
from trueup.errors import JournalError, NotSent, Refused
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.journal import MemoryJournal
from trueup.runtime.bot.crash_points import CrashPoint
from trueup.runtime.bot.order_checks import SideWord
from trueup.runtime.bot.portfolio import PortfolioManager
from trueup.sim.market.symbols import EURUSD, AccountSetup
from trueup.sim.terminal.terminal_faults import Partial

IMMEDIATE_OR_CANCEL = dataclasses.replace(EURUSD, filling_mode=mt5.SYMBOL_FILLING_IOC)
BOTH = pytest.mark.parametrize("account", [HEDGING, NETTING], ids=["hedging", "netting"])


def names(journal: MemoryJournal) -> list[str]:
    return [type(event).__name__ for event in journal.read()]


# What happens when all goes well.


@BOTH
def test_a_market_order_is_filled_and_the_books_agree(account: AccountSetup) -> None:
    world = OrderWorld(account)
    intent = world.pm.submit("buy", 0.1, sl=1.09, tp=1.12, magic=7, why="breakout")
    assert intent.status is OrderStatus.FILLED
    assert (intent.sl, intent.tp, intent.magic, intent.why) == (1.09, 1.12, 7, "breakout")
    assert world.agrees()
    world.sync()
    assert world.agrees()
    assert world.actions() == ["EXPLAINED"]
    (order,) = world.past()
    assert (order.magic, order.comment) == (7, intent.token)


def explained(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [said for said in caplog.messages if said.startswith("[EXPLAINED]")]


@BOTH
def test_what_our_own_orders_did_and_said_they_did_is_not_explained_in_the_log(
    account: AccountSetup, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    world = OrderWorld(account)
    ticket = world.pm.submit("buy", 0.2).ticket
    world.sync()
    world.pm.close(ticket, 0.1)
    world.sync()
    world.pm.close(ticket)
    world.sync()
    deals = [said for said in caplog.messages if said.startswith(f"[DEALS] Ticket {ticket}: ")]
    assert [said.split(": ")[1] for said in deals] == [
        "opened",
        "closed in part by a program",
        "closed by a program",
    ]
    assert explained(caplog) == []


def test_our_close_of_what_a_hand_opened_needs_no_explaining(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    world = OrderWorld()
    ticket = world.person.open("EURUSD", BUY, 0.2)
    world.sync()
    world.pm.close(ticket)
    world.sync()
    assert explained(caplog) == []
    assert any(said.startswith(f"[DEALS] Ticket {ticket}: closed by") for said in caplog.messages)


def test_what_others_did_beside_our_order_is_explained_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    world = OrderWorld()
    ticket = world.pm.submit("buy", 0.2).ticket
    world.sync()
    world.pm.close(ticket, 0.1)
    world.person.close(ticket or 0, 0.05)
    world.sync()
    (said,) = explained(caplog)
    assert said.startswith(f"[EXPLAINED] Ticket {ticket}: closed in part by hand")


@pytest.mark.parametrize("is_lost", [True, False], ids=["answer lost", "limit order"])
def test_a_fill_that_no_answer_told_of_is_explained_in_the_log(
    is_lost: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    world = OrderWorld()
    world.lose_replies(1 if is_lost else 0)
    order = world.pm.submit("buy", 0.2, limit=0.0 if is_lost else 1.09)
    world.sync()
    world.quote(1.0899)
    world.sync()
    (said,) = explained(caplog)
    assert said.startswith(f"[EXPLAINED] Ticket {world.order(order).ticket}: opened: 0.20 lots")


def test_each_answer_to_an_order_is_told_in_words_of_its_own(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    world = OrderWorld()
    held = world.pm.submit("buy", 0.2)
    waiting = world.pm.submit("buy", 0.1, limit=1.05)
    world.sync()
    changed = world.pm.modify(held.ticket, 1.04, 1.2)
    ended = world.pm.cancel(waiting.ticket)
    said = [line for line in caplog.messages if line.startswith("[FILL]")]
    assert said[1:] == [
        f"[FILL] PLACED {waiting.order_id}, ticket {waiting.ticket}: BUY 0.10L @ 1.05",
        f"[FILL] DONE {changed.order_id}: SL 1.04, TP 1.2 for position {held.ticket}",
        f"[FILL] DONE {ended.order_id}: cancel pending order {waiting.ticket}",
    ]
    assert not [line for line in caplog.messages if "None" in line]


def test_the_intent_and_the_send_are_in_the_journal_before_the_broker_hears_of_it() -> None:
    journal = MemoryJournal()
    world = OrderWorld(journal=journal)
    known: list[list[str]] = []
    carry = world.gateway.send_order

    def look(order: Any) -> dict[str, Any]:
        known.append(names(journal))
        return carry(order)

    world.pm.desk.gateway = type("Looking", (), {"send_order": staticmethod(look)})()
    world.sync()
    world.pm.submit("buy", 0.1)
    assert known == [["AccountBound", "OrderCreated", "SendStarted"]]
    assert names(journal)[3:] == ["OrderFilled"]


@pytest.mark.parametrize("step", [events.OrderCreated, events.SendStarted])
def test_what_the_journal_refuses_is_never_sent(step: type[events.Event]) -> None:
    journal = ChoosyJournal()
    world = OrderWorld(journal=journal)
    journal.refuses = (step,)
    before = world.terminal.request_id
    with pytest.raises(JournalError, match="the disk is full"):
        world.pm.submit("buy", 0.1, key="a")
    assert world.sent() == []
    assert world.terminal.request_id == before
    assert world.deals() == []
    assert world.pm.journal_trouble == "the disk is full"


@pytest.mark.parametrize("with_restart", [False, True])
def test_an_order_that_could_not_be_recorded_as_sent_never_left(with_restart: bool) -> None:
    journal = ChoosyJournal()
    world = OrderWorld(journal=journal)
    journal.refuses = (events.SendStarted,)
    with pytest.raises(JournalError):
        world.pm.submit("buy", 0.1, key="a")
    journal.refuses = ()
    if with_restart:
        world.restart()
    again = world.pm.submit("buy", 0.1, key="a")
    assert (again.status, again.error) == (OrderStatus.CANCELED, "case B: it never left")
    assert world.sent() == []


def test_reading_goes_on_and_orders_come_back_when_the_journal_takes_events_again() -> None:
    journal = RefusingJournal()
    world = OrderWorld(journal=journal)
    journal.refuse = JournalError("the disk is full")
    with pytest.raises(JournalError):
        world.pm.submit("buy", 0.1)
    ticket = world.person.open("EURUSD", BUY, 0.2)
    result = world.sync()
    assert (result.status.value, result.errors) == ("FAILED", ["the disk is full"])
    assert world.tickets() == set()
    journal.refuse = None
    world.sync()
    assert world.tickets() == {ticket}
    assert world.pm.submit("buy", 0.1).status is OrderStatus.FILLED
    assert world.agrees()


def lines(caplog: pytest.LogCaptureFixture, part: str) -> list[str]:
    return [row.getMessage() for row in caplog.records if row.getMessage().startswith(part)]


def test_the_log_says_once_what_is_at_risk_and_what_to_do_and_never_that_both_agree(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    journal = RefusingJournal()
    world = OrderWorld(journal=journal)
    world.sync()
    caplog.clear()
    remedy = "make room on the disk of bot.db"
    journal.refuse = JournalError("bot.db: the disk is full.", remedy=remedy)
    for _ in range(3):
        with pytest.raises(JournalError):
            world.pm.submit("buy", 0.1)
        world.sync()
    assert lines(caplog, "[JOURNAL]") == [
        "[JOURNAL] bot.db: the disk is full. To do: make room on the disk of bot.db. Until the "
        "journal takes events again, the strategy can neither open nor close: close what cannot "
        "wait by `trueup close TICKET`, or by hand in the terminal."
    ]
    assert lines(caplog, "[SYNC] State Reconciled") == []
    assert len(lines(caplog, "[SYNC] The broker was read; the journal still takes nothing")) == 3
    assert world.pm.journal_remedy == remedy
    caplog.clear()
    journal.refuse = None
    world.sync()
    assert lines(caplog, "[JOURNAL]") == [
        "[JOURNAL] The journal takes events again, so orders can be sent again"
    ]
    assert len(lines(caplog, "[SYNC] State Reconciled")) == 1
    assert (world.pm.journal_trouble, world.pm.journal_remedy) == ("", "")


@pytest.mark.parametrize("is_executed", [True, False])
def test_an_answer_that_cannot_be_recorded_is_no_answer_lost(is_executed: bool) -> None:
    """Between the sending and the outcome the disk fills up: the broker has it all the same."""

    journal = ChoosyJournal()
    world = OrderWorld(journal=journal)
    if not is_executed:
        world.terminal.algo_trading = False
    journal.refuses = (events.OrderFilled, events.OrderRejected, events.PositionAdopted)
    with pytest.raises(JournalError):
        world.pm.submit("buy", 0.1, key="a", magic=7)
    assert len(world.sent()) == 1
    # As long as that is so, no second one leaves.
    with pytest.raises(JournalError):
        world.pm.submit("buy", 0.1, key="b")
    assert not world.pm.check_risk(1)
    assert "not in the journal yet" in world.pm.entries_refused()
    assert world.sync().status.value == "FAILED"
    journal.refuses = ()
    world.sync()
    known = world.pm.book.by_key["a"]
    assert known.status is (OrderStatus.FILLED if is_executed else OrderStatus.REJECTED)
    assert len(world.sent()) == 1
    assert world.agrees()
    if is_executed:
        (held,) = world.pm.book.holdings.values()
        assert held.order_ids == [known.order_id]
    live = world.state()
    world.restart()
    assert world.state() == live


def test_an_interruption_in_the_middle_of_a_send_leaves_the_order_in_doubt() -> None:
    """Ctrl-C while the answer is awaited: the order may have left, and the process lives on."""
    world = OrderWorld()
    world.die_at(CrashPoint.BEFORE_OUTCOME)
    with pytest.raises(Died):
        world.pm.submit("buy", 0.1, key="a")
    with pytest.raises(Refused, match="in doubt"):
        world.pm.submit("buy", 0.1, key="b")
    world.sync()
    assert world.pm.book.by_key["a"].status is OrderStatus.FILLED
    assert world.agrees()
    assert len(world.entries()) == 1


# A caller's key.


@pytest.mark.parametrize("with_restart", [False, True])
@BOTH
def test_a_key_sends_once(account: AccountSetup, with_restart: bool, tmp_path: Path) -> None:
    world = OrderWorld(account, journal=tmp_path / "bot.db")
    first = world.pm.submit("buy", 0.1, sl=1.09, magic=7, key="a", price=1.1)
    if with_restart:
        world.restart()
    # What the market was is no part of the wish, nor is why.
    again = world.pm.submit("buy", 0.1, sl=1.09, magic=7, key="a", price=1.2, why="again")
    assert (again.order_id, again.status) == (first.order_id, OrderStatus.FILLED)
    assert len(world.sent()) == len(world.deals()) == 1


@pytest.mark.parametrize("with_restart", [False, True])
@pytest.mark.parametrize("volume", [None, 0.1])
@BOTH
def test_a_close_under_a_key_is_sent_once_also_when_the_position_has_gone(
    account: AccountSetup, volume: float | None, with_restart: bool, tmp_path: Path
) -> None:
    world = OrderWorld(account, journal=tmp_path / "bot.db")
    opened = world.pm.submit("buy", 0.1)
    first = world.pm.close(opened, volume, key="out")
    if with_restart:
        world.restart()
        world.sync()
    again = world.pm.close(opened, volume, key="out")
    assert (again.order_id, again.status) == (first.order_id, OrderStatus.FILLED)
    assert len(world.sent()) == 2
    assert world.rows() == {} == world.book()


@pytest.mark.parametrize("with_restart", [False, True])
def test_changes_under_a_key_are_sent_once(with_restart: bool, tmp_path: Path) -> None:
    world = OrderWorld(journal=tmp_path / "bot.db")
    opened = world.pm.submit("buy", 0.1)
    placed = world.pm.submit("buy", 0.1, limit=1.05)
    firsts = [
        world.pm.modify(opened, 1.09, 1.2, key="protect"),
        world.pm.cancel(placed, key="drop"),
    ]
    if with_restart:
        world.restart()
        world.sync()
    again = [
        world.pm.modify(opened, 1.09, 1.2, key="protect"),
        world.pm.cancel(placed, key="drop"),
    ]
    assert [o.order_id for o in again] == [o.order_id for o in firsts]
    assert len(world.sent()) == 4


def test_a_close_in_doubt_under_a_key_is_the_first_intent_and_not_a_refusal() -> None:
    world = OrderWorld()
    opened = world.pm.submit("buy", 0.1)
    world.lose_replies(1)
    first = world.pm.close(opened, key="out")
    assert first.status is OrderStatus.IN_DOUBT
    assert world.pm.close(opened, key="out") is first


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"side": "sell"}, "side="),
        ({"volume": 0.2}, "volume=0.1, and comes again with volume=0.2"),
        ({"sl": 1.08}, "sl=1.09, and comes again with sl=1.08"),
        ({"tp": 1.3}, "tp="),
        ({"magic": 8}, "magic="),
        ({"limit": 1.05}, "kind="),
    ],
)
@pytest.mark.parametrize("with_restart", [False, True])
def test_a_key_with_another_wish_is_refused(
    changed: dict[str, Any], said: str, with_restart: bool, tmp_path: Path
) -> None:
    world = OrderWorld(journal=tmp_path / "bot.db")
    wish: dict[str, Any] = {"side": "buy", "volume": 0.1, "sl": 1.09, "magic": 7}
    world.pm.submit(**wish, key="a")
    if with_restart:
        world.restart()
    before = world.state()
    with pytest.raises(Refused) as refused:
        world.pm.submit(**(wish | changed), key="a")
    assert "key='a' was used for ORD_" in str(refused.value)
    assert said in str(refused.value)
    assert world.state() == before
    assert len(world.sent()) == 1


def test_a_key_of_one_kind_of_wish_is_refused_for_another() -> None:
    world = OrderWorld()
    opened = world.pm.submit("buy", 0.1, key="a")
    second = world.pm.submit("buy", 0.1, key="b")
    placed = world.pm.submit("buy", 0.1, limit=1.05, key="c")
    world.pm.close(second, 0.05, key="d")
    calls: list[Any] = [
        lambda: world.pm.close(opened, key="a"),
        lambda: world.pm.modify(opened, 1.09, 0, key="b"),
        lambda: world.pm.cancel(placed, key="c"),
        lambda: world.pm.close(opened, 0.05, key="d"),
        lambda: world.pm.close(second, 0.02, key="d"),
        lambda: world.pm.submit("sell", 0.05, key="d"),
    ]
    sent = len(world.sent())
    for call in calls:
        with pytest.raises(Refused, match="was used for ORD_"):
            call()
    assert len(world.sent()) == sent


def test_orders_without_a_key_are_each_their_own() -> None:
    world = OrderWorld()
    world.pm.submit("buy", 0.1)
    world.pm.submit("buy", 0.1)
    assert len(world.entries()) == 2


# What cannot be asked for.


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ({"side": "up"}, "side='up' is not valid: give 'buy' or 'sell'"),
        ({"side": 0}, "side=0"),
        ({"side": None}, "side=None"),
        ({"volume": 0}, "volume=0"),
        ({"volume": -0.1}, "volume=-0.1"),
        ({"volume": float("nan")}, "volume=nan"),
        ({"volume": "0.1"}, "volume='0.1'"),
        ({"volume": True}, "volume=True"),
        ({"volume": 1e12}, "volume=1000000000000.0"),
        ({"volume": None}, "volume=None"),
        ({"sl": -1.0}, "sl=-1.0"),
        ({"tp": float("inf")}, "tp=inf"),
        ({"sl": None}, "sl=None"),
        ({"tp": "1.2"}, "tp='1.2'"),
        ({"sl": ""}, "sl=''"),
        ({"limit": -1.05}, "limit=-1.05"),
        ({"stop": [1.2]}, "stop=[1.2]"),
        ({"price": "x"}, "price='x'"),
        ({"limit": 1.05, "stop": 1.2}, "limit and stop"),
        ({"magic": -1}, "magic=-1"),
        ({"magic": 2**64}, "magic=18446744073709551616"),
        ({"magic": "7"}, "magic='7'"),
        ({"magic": True}, "magic=True"),
        ({"magic": 7.0}, "magic=7.0"),
        ({"key": 5}, "key=5"),
        ({"key": None}, "key=None"),
        ({"why": None}, "why=None"),
        ({"why": b"x"}, "why=b'x'"),
        ({"key": "\ud800"}, "key="),
        ({"stop_loss": 1.09}, "An order has no stop_loss: give limit, stop, stoplimit, sl"),
    ],
)
def test_what_cannot_be_is_named_and_changes_nothing(wish: dict[str, Any], said: str) -> None:
    world = OrderWorld()
    before = world.state()
    submit: Any = world.pm.submit
    with pytest.raises((ValueError, TypeError)) as wrong:
        submit(**({"side": "buy", "volume": 0.1} | wish))
    assert said in str(wrong.value)
    assert world.state() == before
    assert world.sent() == []


def test_a_magic_number_that_leaves_no_room_for_the_token_is_named() -> None:
    world = OrderWorld(magic_token=True)
    before = world.state()
    with pytest.raises(ValueError, match=r"magic=4294967296 is not valid with magic_token"):
        world.pm.submit("buy", 0.1, magic=2**32)
    assert world.state() == before


def test_closes_and_changes_that_cannot_be_are_named_and_change_nothing() -> None:
    world = OrderWorld()
    opened = world.pm.submit("buy", 0.1)
    before, sent = world.state(), len(world.sent())
    pm: Any = world.pm
    calls: list[tuple[Any, str]] = [
        (
            lambda: pm.close(5),
            f"No position with ticket 5 in the book; it has {opened.ticket}",
        ),
        (lambda: pm.close(None), "No position with ticket None"),
        (lambda: pm.close([1]), "No position with ticket"),
        (lambda: pm.close(opened, 0.2), "has 0.10 lots"),
        (lambda: pm.close(opened, 0), "volume=0 is not valid"),
        (lambda: pm.close(opened, "x"), "volume='x' is not valid"),
        (lambda: pm.close(opened, key=3), "key=3"),
        (lambda: pm.modify(opened, -1, 0), "sl=-1"),
        (lambda: pm.modify(opened, 0, None), "tp=None"),
        (lambda: pm.modify(9, 0, 0), "No position with ticket 9"),
        (lambda: pm.cancel(9), "No pending order 9 in the book; it has none"),
        (lambda: pm.cancel({}), "No pending order"),
    ]
    for call, said in calls:
        with pytest.raises(ValueError, match=r"No |valid|lots") as wrong:
            call()
        assert said in str(wrong.value)
    assert world.state() == before
    assert len(world.sent()) == sent


def test_without_a_gateway_nothing_is_recorded() -> None:
    pm = PortfolioManager("EURUSD")
    with pytest.raises(NotSent, match="No gateway"):
        pm.submit("buy", 0.1)
    assert not pm.orders


@pytest.mark.parametrize("side", [Side.BUY, "buy", "BUY", 1, "1"])
def test_a_side_may_be_spelled_in_several_ways(side: Any) -> None:
    world = OrderWorld()
    world.pm.submit(side, 0.1)
    assert [row[2] for row in world.rows().values()] == ["buy"]


# Who it was, and why, after a crash.


@pytest.mark.parametrize("magic_token", [False, True])
@pytest.mark.parametrize("point", [CrashPoint.BEFORE_OUTCOME, CrashPoint.AFTER_OUTCOME])
@BOTH
def test_attribution_survives_a_crash(
    account: AccountSetup, point: CrashPoint, magic_token: bool, tmp_path: Path
) -> None:
    world = OrderWorld(account, journal=tmp_path / "bot.db", magic_token=magic_token)
    world.die_at(point)
    with pytest.raises(Died):
        world.pm.submit("buy", 0.1, sl=1.09, tp=1.12, magic=7, key="a", why="breakout")
    world.restart()
    world.sync()
    known = world.pm.book.by_key["a"]
    assert known.status is OrderStatus.FILLED
    assert (known.magic, known.why, known.sl, known.tp) == (7, "breakout", 1.09, 1.12)
    (holding,) = world.pm.book.holdings.values()
    assert holding.order_ids == [known.order_id]
    assert world.pm.find_order_by_ticket(holding.position.ticket) is known
    assert world.agrees()


# Pending orders.


@pytest.mark.parametrize(
    ("side", "wish", "kind", "fills_at"),
    [
        ("buy", {"limit": 1.05}, OrderType.BUY_LIMIT, 1.04),
        ("sell", {"limit": 1.15}, OrderType.SELL_LIMIT, 1.16),
        ("buy", {"stop": 1.15}, OrderType.BUY_STOP, 1.16),
        ("sell", {"stop": 1.05}, OrderType.SELL_STOP, 1.04),
    ],
)
@BOTH
def test_a_pending_order_is_placed_changed_by_nobody_and_filled(
    account: AccountSetup, side: SideWord, wish: dict[str, Any], kind: OrderType, fills_at: float
) -> None:
    world = OrderWorld(account)
    intent = world.pm.submit(side, 0.1, **wish, magic=7, why="level")
    assert intent.status is OrderStatus.FILLED
    assert world.pm.book.pending[intent.ticket or 0].order.type is kind
    world.sync()
    assert world.agrees()
    assert world.actions() == []
    world.quote(fills_at)
    world.sync()
    assert world.agrees()
    assert world.pm.book.pending == {}
    (row,) = world.rows().values()
    assert (row[2], row[7]) == (side, 7)
    assert world.pm.find_order_by_ticket(row[0]) is intent


@BOTH
def test_a_pending_order_is_cancelled(account: AccountSetup) -> None:
    world = OrderWorld(account)
    placed = world.pm.submit("buy", 0.1, limit=1.05)
    cancelled = world.pm.cancel(placed)
    assert (cancelled.kind, cancelled.status) == (OrderKind.CANCEL, OrderStatus.FILLED)
    assert world.agrees()
    world.sync()
    assert world.actions() == []
    assert world.ledger.orders == {}


# Closing and changing.


@BOTH
def test_a_position_is_closed_in_part_and_then_whole(account: AccountSetup) -> None:
    world = OrderWorld(account)
    opened = world.pm.submit("buy", 0.3, magic=7)
    part = world.pm.close(opened, 0.1, why="half out")
    assert (part.action, part.filled_volume, part.magic) == ("SELL", 0.1, 7)
    assert world.agrees()
    world.sync()
    assert world.pm.close(opened.ticket).status is OrderStatus.FILLED
    assert world.rows() == {} == world.book()
    world.sync()
    assert world.agrees()
    assert world.pm.realised == world.realised([opened.ticket or 0])


@BOTH
def test_both_stops_of_a_position_are_set_and_removed(account: AccountSetup) -> None:
    world = OrderWorld(account)
    opened = world.pm.submit("buy", 0.3)
    assert world.pm.modify(opened, 1.09, 1.12).status is OrderStatus.FILLED
    assert world.agrees()
    again = world.pm.modify(opened, 1.09, 1.12)  # 10025: nothing to change
    assert again.status is OrderStatus.FILLED
    world.pm.modify(opened, 0, 0)
    assert world.agrees()
    assert [row[5:7] for row in world.rows().values()] == [(0.0, 0.0)]
    world.sync()
    assert world.actions() == ["EXPLAINED"]


def test_on_netting_the_opposite_side_reduces_and_reverses() -> None:
    world = OrderWorld(NETTING)
    first = world.pm.submit("buy", 0.3)
    world.pm.submit("sell", 0.1)
    assert [row[2:4] for row in world.book().values()] == [("buy", 0.2)]
    turned = world.pm.submit("sell", 0.5)
    assert [row[2:4] for row in world.book().values()] == [("sell", 0.3)]
    assert world.agrees()
    world.sync()
    assert world.agrees()
    # The ticket is the reversing order's now, and the close goes to it.
    assert set(world.rows()) == {first.ticket}
    assert world.pm.close(turned).status is OrderStatus.FILLED
    world.sync()
    assert world.rows() == {} == world.book()


def test_on_hedging_both_sides_stand_side_by_side() -> None:
    world = OrderWorld(HEDGING)
    world.pm.submit("buy", 0.3)
    world.pm.submit("sell", 0.1)
    assert len(world.book()) == 2
    assert world.agrees()


@BOTH
def test_part_of_a_market_order_that_found_no_more_is_what_was_filled(
    account: AccountSetup,
) -> None:
    world = OrderWorld(account, specs=(IMMEDIATE_OR_CANCEL,))
    world.terminal.faults.next_send(Partial(0.04))
    intent = world.pm.submit("buy", 0.1)
    assert (intent.status, intent.filled_volume) == (OrderStatus.FILLED, 0.04)
    assert world.agrees()
    world.sync()
    assert world.agrees()


# When entries are refused.


def refused_entries(world: OrderWorld) -> str:
    sent = len(world.sent())
    with pytest.raises(Refused) as refused:
        world.pm.submit("buy", 0.1)
    with pytest.raises(Refused):
        world.pm.submit("sell", 0.1, limit=1.2)
    assert len(world.sent()) == sent
    return str(refused.value)


def test_an_order_in_doubt_stops_entries_and_closing_goes_on() -> None:
    world = OrderWorld()
    opened = world.pm.submit("buy", 0.1)
    world.lose_replies(1)
    doubtful = world.pm.submit("buy", 0.2)
    assert doubtful.status is OrderStatus.IN_DOUBT
    assert f"while {doubtful.order_id} is in doubt" in refused_entries(world)
    assert world.pm.modify(opened, 1.09, 0).status is OrderStatus.FILLED
    assert world.pm.close(opened, 0.05).status is OrderStatus.FILLED
    world.sync()
    assert world.agrees()
    assert world.pm.submit("buy", 0.1).status is OrderStatus.FILLED


def test_a_missing_position_stops_entries_and_closing_goes_on() -> None:
    world = OrderWorld(deal_lag_ms=60_000)
    opened = world.pm.submit("buy", 0.1)
    other = world.pm.submit("buy", 0.1)
    world.wait(90)
    world.sync()
    world.person.close(opened.ticket or 0)
    world.sync()
    assert "left the broker's list" in refused_entries(world)
    assert world.pm.close(other).status is OrderStatus.FILLED
    world.sync(90)
    assert world.pm.submit("buy", 0.1).status is OrderStatus.FILLED


def test_a_degraded_view_stops_entries_and_closing_goes_on() -> None:
    world = OrderWorld()
    opened = world.pm.submit("buy", 0.1)
    world.lose_replies(1)
    assert world.sync().status.value == "DEGRADED"
    assert "No entry: refused" in refused_entries(world)
    assert world.pm.close(opened).status is OrderStatus.FILLED
    world.sync()
    assert world.pm.submit("buy", 0.1).status is OrderStatus.FILLED


def test_a_second_close_while_the_first_is_in_doubt_is_refused() -> None:
    world = OrderWorld()
    opened = world.pm.submit("buy", 0.1)
    world.lose_replies(1)
    first = world.pm.close(opened)
    assert first.status is OrderStatus.IN_DOUBT
    with pytest.raises(Refused, match=f"{first.order_id} may have closed it already"):
        world.pm.close(opened)
    assert world.sync().closed == 1
    assert world.status(first) == "FILLED"
    assert len(world.sent()) == 2
    assert world.pm.realised == world.realised([opened.ticket or 0])


def test_on_a_gateway_of_the_guide_s_kind_an_order_goes_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It wants a price, and tells neither tokens nor deals."""
    monkeypatch.setattr(OrderWorld, "knows_only_the_guide", True)
    world = OrderWorld()
    intent = world.pm.submit("buy", 0.1, price=1.1)
    assert intent.status is OrderStatus.FILLED
    world.sync()
    assert world.tickets() == {intent.ticket}
    assert mt5.DEAL_ENTRY_IN == 0
