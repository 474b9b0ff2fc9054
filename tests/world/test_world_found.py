"""What the simulated world found in the product, one test each; docs/internals/simulator.md tells.

Each test makes the shortest version of the story by hand, and fails without its mend.
"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.support.desk_world import BUY, HEDGING, NETTING, OTHER, DeskWorld
from tests.support.order_world import OrderWorld
from trueup.core.account.trust import Reason, Unknown
from trueup.core.book.order import Order
from trueup.core.holds import HoldKind
from trueup.core.policy import GRACE_SEC
from trueup.errors import RemoteProtocolError
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.journal import MemoryJournal
from trueup.protocol.guide import decode_positions
from trueup.protocol.requests import decode_request
from trueup.protocol.snapshot import decode_snapshot
from trueup.runtime.sync.reconciler import SyncStatus
from trueup.runtime.time.clock import ManualClock
from trueup.sim.market.switches import ListAnswer
from trueup.sim.terminal.terminal_faults import AnswerLost, DoneWithoutDeal, Partial, TimedOut

DAMAGED = b'{"action":"BUY","order_id":"o","symbol":"EURUSD","volume":0.1,"ma\xe7ic":7}'


def test_an_order_with_a_damaged_name_of_a_field_is_refused() -> None:
    """Seed 190: a bit of the name `magic` was lost, and the order was executed without it."""
    with pytest.raises(RemoteProtocolError, match="cannot be read"):
        decode_request(DAMAGED)


def test_a_reading_with_a_damaged_name_of_a_field_is_not_believed() -> None:
    row = b'{"ticket":1,"symbol":"EURUSD","type":"buy","volume":0.1,"price_open":1.1,"s\xec":1.0}'
    answer = decode_positions(b'{"status":"SUCCESS","positions":[' + row + b"]}")
    assert isinstance(answer, Unknown)
    assert answer.reason is Reason.UNREADABLE


def test_a_snapshot_with_a_damaged_name_of_a_field_is_not_believed() -> None:
    world = DeskWorld()
    seen: list[bytes] = []

    def note(reply: bytes) -> bytes:
        seen.append(reply)
        return reply

    world.mangle(note)
    world.sync()
    (reply,) = seen
    wanted = msgspec.json.decode(reply)["id"]
    assert not isinstance(decode_snapshot(reply, wanted), Unknown)
    damaged = reply.replace(b'"time_offset_sec"', b'"time_\xefffset_sec"')
    assert damaged != reply
    assert isinstance(decode_snapshot(damaged, wanted), Unknown)


def test_a_clock_that_was_set_back_keeps_no_position_in_its_settle_window() -> None:
    """Seed 260: a bot started anew on a clock two hours back, and held a change for two hours."""
    journal = MemoryJournal()
    world = DeskWorld(journal=journal)
    world.sync()
    order = world.trade(1, 0.3)
    assert world.sync().status.value == "SUCCESS"
    world.person.close(order.ticket, 0.1)
    world.clock = ManualClock(world.clock.now_ns() - 7_200 * 1_000_000_000)
    world.start_bot(journal=journal)
    world.sync()
    assert world.kinds() == []
    assert world.book() == world.rows()


@pytest.mark.parametrize("kind", ["entry", "cancellation", "modification"])
def test_a_terminal_that_is_loading_settles_no_order_in_doubt(kind: str) -> None:
    """Seed 939: executed late, and given up because a terminal that was loading did not show it."""
    world = OrderWorld(unsynchronised_list=ListAnswer.EMPTY, synchronise_ms=600_000)
    held, pending = world.pm.submit("buy", 0.1), world.pm.submit("buy", 0.1, limit=1.0)
    world.sync()
    world.terminal.faults.next_send(TimedOut(1_000 if kind == "entry" else None))
    if kind == "entry":
        doubt = world.pm.submit("sell", 0.3)
    elif kind == "cancellation":
        doubt = world.pm.cancel(pending.ticket)
    else:
        doubt = world.pm.modify(held.ticket, 1.0, 1.2)
    assert world.status(doubt) == "IN_DOUBT"
    world.wait(2)
    world.terminal.restart()
    world.terminal.initialize()
    # Without a record of its own, as a gateway of another make has none.
    world.restart_gateway()
    for _ in range(10):
        world.sync(5)
        assert world.status(doubt) == "IN_DOUBT"
    world.wait(600)
    world.sync()
    world.wait_out()
    assert world.status(doubt) == ("FILLED" if kind == "entry" else "CANCELED")
    assert world.agrees()


def test_an_order_never_reaches_an_account_that_the_book_is_not_bound_to() -> None:
    """Seed 354: a hand logged the terminal in to another account, and the bot traded there."""
    world = DeskWorld(others=(OTHER,))
    world.sync()
    world.terminal.switch_account(OTHER.login)
    world.wait(10)
    order = world.pm.submit("buy", 0.1)
    assert order.status.value == "REJECTED"
    assert "logged in to 5000002" in str(order.error)
    assert not world.terminal.broker.ledger(OTHER.login).positions


def test_an_order_that_bears_a_token_is_no_other_orders() -> None:
    """Seed 16: two orders alike were in doubt, and the one that was found held up the other."""
    world = OrderWorld()
    short = world.pm.submit("sell", 0.1)
    world.sync()
    world.terminal.faults.next_send(AnswerLost(executed=False, pipe_breaks=False))
    lost = world.pm.submit("buy", 0.1)
    world.terminal.faults.next_send(AnswerLost(executed=True, pipe_breaks=False))
    done = world.pm.close(short.ticket)
    assert [world.status(lost), world.status(done)] == ["IN_DOUBT", "IN_DOUBT"]
    world.wait(20)
    # Without a record of its own, as a gateway of another make has none.
    world.restart_gateway()
    assert world.sync().status.value == "DEGRADED"
    assert world.sync().status.value == "SUCCESS"
    assert [world.status(lost), world.status(done)] == ["IN_DOUBT", "FILLED"]
    world.wait_out()
    assert world.status(lost) == "CANCELED"


def test_stops_that_were_set_in_doubt_do_not_undo_newer_ones() -> None:
    """Seed 143: an old modification was settled after a newer one, and its stops came back."""
    world = OrderWorld()
    held = world.pm.submit("buy", 0.1)
    world.sync()
    world.lose_replies(1)
    world.pm.modify(held.ticket, 1.0, 1.2)
    world.pm.modify(held.ticket, 1.05, 1.15)
    world.sync()
    assert world.pm.book.in_doubt == {}
    assert world.book() == world.rows()


def test_an_order_that_was_refused_is_not_executed_when_its_copy_comes_later() -> None:
    """Seed 60020: the pipe was broken and an order refused; its copy waited, and was executed."""
    world = DeskWorld()
    world.sync()
    world.terminal.break_pipe()
    message = b'{"action":"BUY","order_id":"o","symbol":"EURUSD","volume":0.1,"price":1.1}'
    first = msgspec.json.decode(world.desk.handle(message))
    assert first["status"] == "REJECTED"
    world.terminal.initialize()
    again = msgspec.json.decode(world.desk.handle(message))
    assert again == {**first, "repeated": True}
    assert not world.terminal.ledger.positions


def test_an_order_in_doubt_is_settled_when_the_server_s_clock_went_forward_by_an_hour() -> None:
    """Seed 179: the reply was lost, summer time began, and the deal was out of what was asked."""
    world = OrderWorld()
    held = world.pm.submit("buy", 0.1)
    world.sync()
    world.lose_replies(1)
    doubt = world.pm.close(held.ticket)
    assert world.status(doubt) == "IN_DOUBT"
    world.terminal.switches.server_offset_minutes += 60
    world.wait(20)
    world.quote(1.1)
    for _ in range(3):
        world.sync(5)
    assert world.status(doubt) == "FILLED"
    assert world.agrees()


def test_a_fill_in_part_that_closed_what_the_book_did_not_know_leaves_no_position() -> None:
    """Seed 96: an order was filled in part into another's position, and its rest was canceled."""
    world = OrderWorld(NETTING)
    world.terminal.market.change("EURUSD", filling_mode=mt5.SYMBOL_FILLING_IOC)
    by_hand = world.person.open("EURUSD", mt5.ORDER_TYPE_BUY, 0.1)
    world.terminal.faults.next_send(Partial(0.1))
    order = world.pm.submit("sell", 0.2)
    assert world.status(order) == "FILLED"
    assert world.tickets() != set()
    for _ in range(3):
        world.sync(15)
    assert world.tickets() == set()
    assert world.pm.book.missing == {}
    trail = world.reconciler.get_audit_trail()
    said = [entry["details"] for entry in trail if entry["action"] == "CLOSED"]
    assert f"its fill went into position {by_hand}" in said[0]
    # What our order brought to the other's position is counted.
    assert "opened and closed between two readings" in said[1]
    assert world.pm.realised == -1.0


def test_an_order_in_doubt_is_not_the_rollover_of_its_position() -> None:
    """Seed 1114: a rollover's order bears the token too, and was taken for it where told first."""
    world = OrderWorld(reopening_changes_ticket=True)
    world.sync()
    world.lose_replies(1)
    doubt = world.pm.submit("buy", 0.1)
    (ticket,) = world.ledger.positions
    rollover = mt5.DEAL_REASON_ROLLOVER
    world.terminal.broker.reopen(world.terminal.home_login, ticket, 1.2, rollover)
    # Without a record of its own, as a gateway of another make has none.
    world.restart_gateway()

    def reverse(reply: dict[str, Any]) -> None:
        reply["history"]["orders"].reverse()

    world.sync()
    world.tamper(lambda _: None, reverse)
    world.sync(20)
    assert world.status(doubt) == "FILLED"
    assert (doubt.ticket, doubt.fill_price) == (ticket, 1.1001)


def test_an_order_that_is_told_twice_fits_once() -> None:
    """Seed 2364: a close without its token was the only one that fits; told twice, nobody's."""
    world = OrderWorld(comment_replaced_by="")
    held = world.pm.submit("buy", 0.1)
    world.sync()
    world.lose_replies(1)
    doubt = world.pm.close(held.ticket)
    # Without a record of its own, as a gateway of another make has none.
    world.restart_gateway()

    def tell_twice(reply: dict[str, Any]) -> None:
        reply["history"]["orders"] *= 2

    world.sync()
    world.tamper(lambda _: None, tell_twice)
    world.sync(20)
    assert world.status(doubt) == "FILLED"


def test_a_close_that_a_person_tells_after_the_sync_opens_no_position() -> None:
    """Seed 2000825: the position was closed and proven so, and then somebody told the fill."""
    world = OrderWorld()
    held = world.pm.submit("buy", 0.1)
    world.sync()
    # Neither the broker nor the gateway, whose record is lost, can say whose order it was.
    world.terminal.switches.comment_replaced_by = "via broker"
    world.lose_replies(1)
    doubt = world.pm.close(held.ticket)
    world.restart_gateway()
    for _ in range(3):
        world.sync(15)
    assert world.status(doubt) == "IN_DOUBT"
    assert world.tickets() == set()
    (deal,) = (deal for deal in world.terminal.ledger.deals.values() if deal.price and deal.entry)
    fill = {"order_id": doubt.order_id, "status": "FILLED", "ticket": deal.order}
    assert world.pm.on_fill({**fill, "filled_price": deal.price, "filled_volume": 0.1})
    assert world.status(doubt) == "FILLED"
    assert world.tickets() == set()
    assert world.agrees()


HOURS = 3_600


WRONG_CLOCKS = pytest.mark.parametrize("ahead_sec", [95, 3 * HOURS, -3 * HOURS])


def sent_by_a_wrong_clock(ahead_sec: int, *, executed: bool) -> tuple[OrderWorld, Order]:
    """Lose the answer to an order, set the bot's clock right, and look for as long as it takes."""
    world = OrderWorld(comment_replaced_by="via broker")
    world.bot_clock_ahead_sec = ahead_sec
    world.restart()
    world.sync()
    world.terminal.faults.next_send(AnswerLost(executed=executed, pipe_breaks=False))
    lost = world.pm.submit("buy", 0.1, magic=7)
    world.bot_clock_ahead_sec = 0
    world.restart()
    # Its record would know.
    world.restart_gateway()
    for _ in range(3):
        world.sync(max(ahead_sec, 0) + GRACE_SEC)
    return world, lost


@WRONG_CLOCKS
def test_an_order_that_was_dated_by_a_wrong_clock_is_not_given_up(ahead_sec: int) -> None:
    """Seed 5009205: the bot's clock was 95 s fast, the broker rewrote the comment, and the order
    was looked for among what came after it had left, by that clock."""
    world, lost = sent_by_a_wrong_clock(ahead_sec, executed=True)
    assert world.status(lost) == "IN_DOUBT"
    assert f"fits order {max(world.tickets())}" in world.hold(HoldKind.DOUBT).reason


@WRONG_CLOCKS
def test_an_order_that_was_dated_by_a_wrong_clock_and_never_came_is_given_up(
    ahead_sec: int,
) -> None:
    world, lost = sent_by_a_wrong_clock(ahead_sec, executed=False)
    assert world.status(lost) == "CANCELED"


def test_a_history_that_lacks_what_was_done_proves_no_absence() -> None:
    """Seed 5015906: a terminal lost its link, did not say so, and showed half of its history."""
    world = OrderWorld(disconnected_list=ListAnswer.PARTIAL, connected_flag_lag_ms=60_000)
    held = [world.pm.submit("buy", 0.1) for _ in range(4)][-1]
    world.sync()
    world.terminal.faults.next_send(DoneWithoutDeal())
    doubt = world.pm.close(held)
    assert world.status(doubt) == "IN_DOUBT"
    world.wait(GRACE_SEC)
    world.requote()
    world.terminal.disconnect()
    world.sync()
    assert world.status(doubt) == "IN_DOUBT"
    assert "which was done: it is not whole" in world.hold(HoldKind.DOUBT).reason
    world.terminal.reconnect()
    world.sync()
    assert world.status(doubt) == "FILLED"


def test_a_terminal_that_heard_nothing_since_an_order_left_proves_no_absence() -> None:
    """Its link can be dead for longer than an order is waited for, before it says so."""
    world = OrderWorld(connected_flag_lag_ms=600_000)
    world.terminal.faults.next_send(TimedOut(fill_after_ms=500))
    lost = world.pm.submit("buy", 0.1)
    world.terminal.disconnect()
    world.restart_gateway()
    world.sync()
    for _ in range(5):
        assert world.sync(GRACE_SEC).status is SyncStatus.SUCCESS
        assert world.status(lost) == "IN_DOUBT"
    world.terminal.reconnect()
    for _ in range(2):
        world.sync(GRACE_SEC)
    assert world.status(lost) == "FILLED"
    assert world.agrees()


def test_a_position_is_not_closed_by_deals_that_lack_some_that_were_recorded() -> None:
    """Seed 6018689: a night's swap closed and opened it twice; the terminal had lost its link, did
    not say so, and showed neither it nor the later half of its deals, which come to nothing."""
    world = OrderWorld(disconnected_list=ListAnswer.PARTIAL, connected_flag_lag_ms=60_000)
    world.pm.submit("sell", 0.1)
    world.sync()
    (held,) = world.tickets()
    for _ in range(2):
        world.terminal.broker.reopen(HEDGING.login, held, 1.1, mt5.DEAL_REASON_ROLLOVER)
        world.sync()
    world.terminal.disconnect()
    world.sync()
    assert world.tickets() != set()
    assert "does not show all of its deals" in world.hold(HoldKind.MISSING).why
    world.terminal.reconnect()
    world.sync()
    assert world.agrees()


def test_a_position_is_not_closed_by_a_rollover_whose_other_half_does_not_show() -> None:
    """Seed 276563363: as before, and none of its deals had been recorded."""
    world = OrderWorld(disconnected_list=ListAnswer.PARTIAL, connected_flag_lag_ms=60_000)
    world.pm.submit("sell", 0.1)
    (held,) = world.tickets()
    for _ in range(2):
        world.terminal.broker.reopen(HEDGING.login, held, 1.1, mt5.DEAL_REASON_ROLLOVER)
    world.terminal.disconnect()
    world.sync()
    assert world.tickets() != set()
    assert "closed it to open it again" in world.hold(HoldKind.MISSING).why
    world.terminal.reconnect()
    world.sync()
    assert world.agrees()


def test_our_own_closing_counts_though_the_history_has_lost_the_entry() -> None:
    """Seed 363: the broker had archived the entry; the closing of ours, which it showed, was waited
    for by the book without an end, and its result was missing."""
    world = OrderWorld()
    held = world.pm.submit("buy", 0.3)
    world.pm.close(held.ticket, 0.1)
    world.sync()
    (identifier,) = world.tickets()
    world.wait(60)
    world.terminal.switches.history_begins_msc = world.terminal.broker.clock.server_msc()
    world.quote(1.2)
    world.pm.close(held.ticket)
    world.wait_out()
    assert world.pm.realised == world.realised([identifier]) > 0
    assert not world.pm.book.unexplained
    assert not world.pm.book.unbooked
    assert world.agrees()


def test_the_deals_of_a_settled_closing_that_was_cancelled_are_counted_by_the_same_reading() -> (
    None
):
    """Seed 29: they were counted with the next one, so that a second plan had something to do."""
    world = OrderWorld()
    held = world.pm.submit("buy", 0.3)
    world.sync()
    (before,) = world.ledger.positions.values()
    world.terminal.faults.next_send(AnswerLost(executed=True, pipe_breaks=False))
    closing = world.pm.close(held.ticket)
    assert world.status(closing) == "IN_DOUBT"
    deal = max(world.ledger.deals)
    world.terminal.broker.cancel_deal(HEDGING.login, deal)
    world.ledger.put_position(before)
    world.sync(5)
    assert world.status(closing) == "FILLED"
    (holding,) = world.pm.book.holdings.values()
    made = world.ledger.deals_of(before.identifier)
    assert holding.deals == tuple(sorted(one.ticket for one in made))
    assert not world.pm.book.unbooked
    assert world.agrees()


def test_an_exit_that_shows_before_its_entry_closes_nothing_yet() -> None:
    """Seed 78: the entry's deal was late, was taken for archived, and its commission was missing
    from the result with which the position was closed."""
    world = OrderWorld()
    world.terminal.faults.next_deal_lags(6_000)
    held = world.pm.submit("buy", 0.3)
    world.sync()
    (identifier,) = world.tickets()
    world.person.close(identifier)
    world.sync()
    assert "opened it is not visible yet" in world.hold(HoldKind.MISSING).why
    world.sync(10)
    assert world.tickets() == set()
    assert world.pm.realised == world.realised([identifier])
    assert held.ticket == identifier


@pytest.mark.parametrize(("side", "volume"), [("sell", 0.7), ("buy", 0.3), ("sell", 0.1)])
def test_a_fill_meets_the_position_that_a_netting_book_lacks(side: Any, volume: float) -> None:
    """Seed 578: the book had lost a position for a moment. A reversal then stood in the book a
    second time, under its own order's ticket, and stops were set for that."""
    world = OrderWorld(NETTING)
    by_hand = world.person.open("EURUSD", BUY, 0.5)
    order = world.pm.submit(side, volume)
    assert set(world.book()) == {order.ticket}
    world.sync(0.5)
    assert world.book() == world.rows()
    (held,) = world.pm.book.holdings.values()
    assert held.position.identifier == by_hand
    moved = world.pm.modify(held.position.ticket, 1.1 - 0.1 * held.position.side.sign, 0.0)
    assert (world.status(moved), moved.position) == ("FILLED", by_hand)
    world.sync(5)
    assert world.agrees()
    assert world.pm.realised == world.realised([by_hand])


def test_a_position_that_our_fill_opened_is_not_doubled_by_one_that_a_late_list_shows() -> None:
    world = OrderWorld(NETTING, deal_lag_ms=3_000)
    by_hand = world.person.open("EURUSD", BUY, 0.5)
    order = world.pm.submit("buy", 0.3)
    world.sync(0.5)
    assert set(world.book()) == {order.ticket}
    assert world.kinds() == [HoldKind.SETTLING, HoldKind.SETTLING]
    world.sync(5)
    assert world.book() == world.rows()
    assert set(world.book()) == {by_hand}


def test_a_charge_on_the_exit_counts_where_the_entry_is_archived() -> None:
    """Seed 125 of its time: the commission came after the position had left the book, and after
    the broker had archived its entry; it was never counted."""
    world = OrderWorld()
    held = world.pm.submit("buy", 0.3)
    world.sync()
    (identifier,) = world.tickets()
    world.wait(60)
    world.terminal.switches.history_begins_msc = world.terminal.broker.clock.server_msc()
    world.pm.close(held.ticket)
    world.wait_out()
    assert world.tickets() == set()
    closing = max(world.ledger.deals)
    world.terminal.broker.charge_commission(HEDGING.login, closing, -2.04)
    for _ in range(20):
        world.sync(10)
    assert world.pm.realised == world.realised([identifier])
    assert world.agrees()
