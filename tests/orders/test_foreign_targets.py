"""Orders about positions and pending orders that are not in the book: by their ticket, at will.

The order is one of ours, the position is not: nothing of it enters the book, whatever the way on
which the outcome comes.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.orders.test_order_doubts import OPEN_OUTCOMES, mend, settle, was_done
from tests.orders.test_restored_journals import BackupWorld
from tests.support.desk_world import BUY, HEDGING, NETTING, SELL
from tests.support.order_world import OrderWorld
from trueup.core.book import events
from trueup.core.book.lifecycle import OrderStatus
from trueup.core.model import Position, Side
from trueup.core.policy import Adopt, Policy
from trueup.errors import Refused
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.observe.event_words.of_orders import wish_of
from trueup.sim.market.symbols import AccountSetup
from trueup.sim.terminal.terminal_faults import AnswerLost

BOTH = pytest.mark.parametrize("account", [HEDGING, NETTING], ids=["hedging", "netting"])
OURS = Policy(symbols=frozenset({"EURUSD"}), magics=frozenset({7}), adopt=Adopt.OURS)
OUTCOME = pytest.mark.parametrize("outcome", OPEN_OUTCOMES)


def foreign_world(account: AccountSetup = HEDGING, **more: Any) -> tuple[OrderWorld, int]:
    """A bot whose policy is magic 7, and a position that somebody else has opened."""
    world = OrderWorld(account, policy=OURS, **more)
    ticket = world.person.open("EURUSD", BUY, 0.3)
    world.sync(10)
    assert world.reconciler.get_status()["foreign"] == 1
    return world, ticket


def is_untouched(world: OrderWorld) -> bool:
    """Whether the book has nothing of any position, order or deal."""
    book = world.pm.book
    kept = (book.holdings, book.closed, book.pending, book.claims, book.unexplained, book.unbooked)
    return not any(kept) and book.realised == 0.0


# What the desk does with them.


@BOTH
def test_a_foreign_position_is_closed_by_its_ticket_and_stays_foreign(
    account: AccountSetup,
) -> None:
    world, ticket = foreign_world(account)
    intent = world.pm.close(ticket, 0.1, foreign=True, why="the other bot is mad")
    assert (intent.status, intent.filled_volume) == (OrderStatus.FILLED, 0.1)
    assert is_untouched(world)
    world.sync()
    assert world.reconciler.get_status()["foreign"] == 1
    assert world.pm.close(ticket, foreign=True).filled_volume == pytest.approx(0.2)
    world.sync()
    assert is_untouched(world)
    assert not world.rows()
    assert world.reconciler.check_history().found.is_whole
    assert world.reconciler.holds == ()


def test_without_a_word_for_it_nothing_foreign_is_touched() -> None:
    world, ticket = foreign_world()
    placed = world.person.place("EURUSD", mt5.ORDER_TYPE_BUY_LIMIT, 0.1, 1.05)
    world.sync()
    before = world.state()
    hint = re.escape("it has none. The broker lists it, and it is not the book's: foreign=True")
    with pytest.raises(ValueError, match=hint):
        world.pm.close(ticket)
    with pytest.raises(ValueError, match=hint):
        world.pm.modify(ticket, 1.0, 1.2)
    with pytest.raises(ValueError, match=hint):
        world.pm.cancel(placed)
    assert (world.state(), world.sent()) == (before, [])


@BOTH
def test_the_stops_of_a_foreign_position_are_set(account: AccountSetup) -> None:
    world, ticket = foreign_world(account)
    assert world.pm.modify(ticket, 1.05, 1.15, foreign=True).status is OrderStatus.FILLED
    assert world.rows()[ticket][5:7] == (1.05, 1.15)
    world.sync()
    assert is_untouched(world)


def test_a_foreign_pending_order_is_cancelled() -> None:
    world, _ = foreign_world()
    placed = world.person.place("EURUSD", mt5.ORDER_TYPE_SELL_STOP, 0.1, 1.05)
    world.sync()
    intent = world.pm.cancel(placed, foreign=True)
    assert (intent.status, intent.action, intent.symbol) == (OrderStatus.FILLED, "SELL", "EURUSD")
    assert not world.ledger.orders
    world.sync()
    assert is_untouched(world)


def test_what_the_book_has_is_the_books_own_whatever_is_said() -> None:
    world, _ = foreign_world()
    held = world.pm.submit("buy", 0.2)
    assert not world.pm.close(held.ticket, 0.1, foreign=True).is_foreign
    world.sync()
    (holding,) = world.pm.book.holdings.values()
    assert holding.position.volume == pytest.approx(0.1)


def test_the_brokers_own_row_will_do_and_says_symbol_ticket_and_identifier() -> None:
    """A netting position has had another ticket since it was turned round."""
    world = OrderWorld(NETTING, policy=OURS)
    world.quote(1.25, "GBPUSD")
    first = world.person.open("GBPUSD", BUY, 0.3)
    world.person.open("GBPUSD", SELL, 0.5)
    (turned,) = world.ledger.positions.values()
    row = Position(turned.ticket, "GBPUSD", Side.SELL, 0.2, 1.25, identifier=first, magic=99)
    assert turned.ticket != first
    closing = world.pm.close(row, foreign=True, key="k")
    assert (closing.status, closing.symbol, closing.action) == (OrderStatus.FILLED, "GBPUSD", "BUY")
    (sent,) = world.sent()
    assert (sent["position"], sent["magic"], sent["foreign"]) == (turned.ticket, 99, True)
    # The key names the same wish, also when no list has the position any more.
    world.sync()
    assert world.pm.close(turned.ticket, key="k", foreign=True) is closing
    assert not world.ledger.positions


def test_a_ticket_that_no_reading_lists_is_refused_and_changes_nothing() -> None:
    world, ticket = foreign_world()
    before = world.state()
    words = re.escape("Nor does the last believed reading list it: sync, or give the broker's row.")
    with pytest.raises(ValueError, match=words):
        world.pm.close(ticket + 1, foreign=True)
    with pytest.raises(ValueError, match=words):
        world.pm.modify(ticket + 1, 1.0, 1.2, foreign=True)
    with pytest.raises(ValueError, match=words):
        world.pm.cancel(ticket + 1, foreign=True)
    with pytest.raises(ValueError, match=r"ticket \d+ has 0\.30 lots"):
        world.pm.close(ticket, 0.4, foreign=True)
    with pytest.raises(ValueError, match=r"steps of 0\.01 lots"):
        world.pm.close(ticket, 0.015, foreign=True)
    assert (world.state(), world.sent()) == (before, [])


def test_before_the_first_believed_reading_only_a_row_will_do() -> None:
    world, ticket = foreign_world()
    world.restart()
    with pytest.raises(ValueError, match="Nor does the last believed reading"):
        world.pm.close(ticket, foreign=True)
    row = Position(ticket, "EURUSD", Side.BUY, 0.3, 1.1)
    assert world.pm.close(row, foreign=True).status is OrderStatus.FILLED


@pytest.mark.parametrize("lag_ms", [0, 5_000])
def test_lots_that_were_closed_are_not_closed_again_by_a_list_from_before(lag_ms: int) -> None:
    """On a netting account the second close would open the opposite position."""
    world, ticket = foreign_world(NETTING, stale_ticket_refused=False, position_lag_ms=lag_ms)
    assert world.pm.close(ticket, 0.1, foreign=True).status is OrderStatus.FILLED
    if lag_ms:
        world.sync()
        assert world.reconciler.remote is not None
        assert world.reconciler.remote.positions[0].volume == pytest.approx(0.3)
    with pytest.raises(ValueError, match=r"has 0\.20 lots"):
        world.pm.close(ticket, 0.3, foreign=True)
    assert world.pm.close(ticket, foreign=True).status is OrderStatus.FILLED
    with pytest.raises(ValueError, match="Nor does the last believed reading"):
        world.pm.close(ticket, foreign=True)
    assert not world.rows()


def test_a_position_that_the_book_has_closed_is_not_foreign_in_a_late_list() -> None:
    world = OrderWorld(NETTING, stale_ticket_refused=False, position_lag_ms=5_000)
    held = world.pm.submit("buy", 0.2)
    world.sync(10)
    world.pm.close(held.ticket)
    world.sync(1)
    with pytest.raises(ValueError, match=f"Ticket {held.ticket} was closed in the book"):
        world.pm.close(held.ticket, foreign=True)
    assert not world.rows()


def test_the_brokers_row_is_acted_on_though_the_book_has_closed_that_position() -> None:
    """Whoever gives the row has just seen it; the book's own close may be the one that is wrong."""
    world = OrderWorld(NETTING, stale_ticket_refused=False)
    held = world.pm.submit("buy", 0.2)
    world.sync(10)
    remote = world.reconciler.remote
    assert remote is not None
    (row,) = remote.positions
    world.pm.commit([events.PositionClosed(at_ns=1, position=row, because="a mistake")])
    with pytest.raises(ValueError, match=f"Ticket {held.ticket} was closed in the book"):
        world.pm.close(held.ticket, foreign=True)
    assert world.pm.close(row, foreign=True).status is OrderStatus.FILLED
    assert not world.rows()


def test_lots_whose_close_the_reading_shows_are_subtracted_once() -> None:
    """The reading that settles a doubt was asked for after the order, and has its effect."""
    world, ticket = foreign_world()
    world.terminal.faults.next_send(AnswerLost(executed=True))
    closing = world.pm.close(ticket, 0.1, foreign=True)
    assert closing.status is OrderStatus.IN_DOUBT
    mend(world)
    for _ in range(5):
        if world.status(closing) == "IN_DOUBT":
            world.sync()
    assert world.status(closing) == "FILLED"
    assert world.pm.close(ticket, foreign=True).filled_volume == pytest.approx(0.2)
    assert not world.rows()


# In doubt.


@BOTH
@OUTCOME
@pytest.mark.parametrize("volume", [None, 0.1], ids=["whole", "part"])
@pytest.mark.parametrize("record", [True, False], ids=["record", "no record"])
def test_a_foreign_close_in_doubt_ends_as_the_broker_has_it(
    account: AccountSetup,
    outcome: str,
    volume: float | None,
    record: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(OrderWorld, "keeps_record", record)
    fault, is_done = OPEN_OUTCOMES[outcome]
    world, ticket = foreign_world(account)
    world.terminal.faults.next_send(fault)
    closing = world.pm.close(ticket, volume, foreign=True)
    assert world.status(closing) == "IN_DOUBT"
    with pytest.raises(Refused, match="may have closed it already"):
        world.pm.close(ticket, foreign=True)
    mend(world)
    world.restart()
    settle(world)
    assert was_done(world.status(closing)) == is_done
    assert is_untouched(world)
    assert world.reconciler.holds == ()
    left = 0.3 if not is_done else 0.0 if volume is None else 0.2
    assert sum(row[3] for row in world.rows().values()) == pytest.approx(left)
    assert world.reconciler.check_history().found.is_whole
    assert world.pm.submit("buy", 0.1).status is OrderStatus.FILLED


@pytest.mark.parametrize("done", [True, False])
@pytest.mark.parametrize("record", [True, False], ids=["record", "no record"])
def test_a_foreign_modification_in_doubt_is_settled_by_the_levels(
    done: bool, record: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OrderWorld, "keeps_record", record)
    world, ticket = foreign_world()
    world.terminal.faults.next_send(AnswerLost(executed=done))
    change = world.pm.modify(ticket, 1.05, 0.0, foreign=True)
    assert world.status(change) == "IN_DOUBT"
    mend(world)
    settle(world)
    assert was_done(world.status(change)) == done
    assert is_untouched(world)


@pytest.mark.parametrize("done", [True, False])
def test_a_foreign_cancellation_in_doubt_is_settled(done: bool) -> None:
    world, _ = foreign_world()
    placed = world.person.place("EURUSD", mt5.ORDER_TYPE_BUY_LIMIT, 0.1, 1.05)
    world.sync()
    world.terminal.faults.next_send(AnswerLost(executed=done))
    cancel = world.pm.cancel(placed, foreign=True)
    mend(world)
    settle(world)
    assert was_done(world.status(cancel)) == done
    assert bool(world.ledger.orders) is not done
    assert is_untouched(world)


class GuideWorld(OrderWorld):
    """The same at a gateway of the guide: no evidence, no record, no pending orders."""

    knows_only_the_guide = True


@pytest.mark.parametrize("volume", [None, 0.1], ids=["whole", "part"])
@pytest.mark.parametrize("became", ["done", "not done", "done and more"])
def test_on_the_guides_wire_the_lots_in_the_list_say_what_became_of_it(
    volume: float | None, became: str
) -> None:
    world = GuideWorld(policy=OURS)
    ticket = world.person.open("GBPUSD", BUY, 0.3)
    world.sync()
    world.terminal.faults.next_send(AnswerLost(executed=became != "not done"))
    closing = world.pm.close(ticket, volume, foreign=True)
    mend(world)
    if became == "done and more" and volume:
        world.person.close(ticket, 0.05)
    settle(world)
    known = world.order(closing)
    if became == "done" or (became == "done and more" and not volume):
        assert (known.status, known.unproven) == (OrderStatus.FILLED, False)
        assert "unproven: somebody else may have closed" in world.settled_by(known)
    else:
        assert (known.status, known.unproven) == (OrderStatus.CANCELED, True)
    assert is_untouched(world)


# After a loss, and in words.


@BOTH
def test_a_journal_that_lost_a_foreign_close_knows_again_that_it_was_foreign(
    account: AccountSetup, tmp_path: Path
) -> None:
    world = BackupWorld(tmp_path, account, policy=OURS)
    ticket = world.person.open("EURUSD", BUY, 0.3)
    world.sync()
    world.pm.submit("sell", 0.1) if account is HEDGING else world.pm.modify(
        ticket, 1.0, 1.2, foreign=True
    )
    kept = world.back_up()
    part = world.pm.close(ticket, 0.1, foreign=True)
    whole = world.pm.close(ticket, foreign=True)
    world.put_back(kept)
    settle(world)
    for lost in (part, whole):
        known = world.order(lost)
        assert (known.status, known.is_foreign) == (OrderStatus.FILLED, True)
    assert world.agrees()
    assert ticket not in world.pm.book.closed


def test_the_intent_has_the_row_and_its_words_say_foreign() -> None:
    world, ticket = foreign_world()
    world.pm.close(ticket, 0.1, foreign=True)
    world.pm.modify(ticket, 1.05, 0.0, foreign=True)
    created = [e for e in world.pm.recorded() or () if isinstance(e, events.OrderCreated)]
    assert [[row.ticket for row in event.foreign] for event in created] == [[ticket], [ticket]]
    assert [wish_of(event) for event in created] == [
        f"SELL 0.10L EURUSD closing foreign {ticket}",
        f"set SL 1.05, TP none of foreign {ticket}",
    ]


def test_an_order_about_the_books_own_has_the_bytes_that_it_always_had() -> None:
    world = OrderWorld()
    held = world.pm.submit("buy", 0.2)
    world.pm.close(held.ticket)
    created = [e for e in world.pm.recorded() or () if isinstance(e, events.OrderCreated)]
    assert b"foreign" not in msgspec.json.encode(created)
    assert b"terms" not in msgspec.json.encode(created[-1])
    assert not any("foreign" in message for message in world.sent())


@pytest.mark.parametrize("token", [True, False])
def test_with_a_token_in_the_magic_number_stops_and_cancellations_go_out_too(
    *, token: bool
) -> None:
    world = OrderWorld(magic_token=token, policy=OURS)
    held = world.pm.submit("buy", 0.1)
    placed = world.pm.submit("buy", 0.1, limit=1.05)
    assert world.pm.modify(held.ticket, 1.0, 1.2).status is OrderStatus.FILLED
    assert world.pm.cancel(placed.ticket).status is OrderStatus.FILLED
    world.sync()
    assert world.agrees()


def test_a_close_says_its_terms_and_refuses_what_it_has_not() -> None:
    world = OrderWorld()
    held = world.pm.submit("buy", 0.2)
    closing = world.pm.close(held.ticket, filling="FOK", deviation=3, comment="out", key="k")
    assert (closing.terms.filling, closing.terms.deviation, closing.comment) == ("FOK", 3, "out")
    sent = world.sent()[-1]
    assert (sent["type_filling"], sent["deviation"]) == ("FOK", 3)
    with pytest.raises(Refused, match="comes again with terms="):
        world.pm.close(held.ticket, filling="IOC", key="k")
    bad: Any = {"expires": "day"}
    with pytest.raises(TypeError, match="A close has no expires: give deviation, filling, comment"):
        world.pm.close(held.ticket, **bad)
