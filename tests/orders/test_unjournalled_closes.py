"""A person's close while the journal takes nothing: sent once, never forgotten, or refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.orders.test_restored_journals import BackupWorld
from tests.support.account_world import AccountWorld
from tests.support.desk_world import NETTING, SELL
from tests.support.make import RefusingJournal
from tests.support.order_world import ChoosyJournal, Died, OrderWorld
from trueup.core.book import events
from trueup.core.book.lifecycle import OrderStatus
from trueup.core.book.outcome import Filled, Unknown
from trueup.errors import JournalConflict, JournalError, Refused
from trueup.journal import MemoryJournal
from trueup.runtime.bot.crash_points import CrashPoint
from trueup.sim.terminal.terminal_faults import Answered, AnswerLost

FULL = JournalError("the disk is full")
TERMINAL = "In MetaTrader: Toolbox > Trade > right-click the position > Close position."


@pytest.fixture
def journal() -> RefusingJournal:
    return RefusingJournal()


@pytest.fixture
def world(tmp_path: Path, journal: RefusingJournal) -> Iterator[BackupWorld]:
    world = BackupWorld(tmp_path, journal=journal)
    yield world
    world.desk.close()


def in_trouble(world: OrderWorld, journal: RefusingJournal, lots: float = 0.1) -> int:
    """Open a position, and let the journal take nothing from then on; return the ticket."""
    ticket = world.pm.submit("buy", lots).ticket
    world.sync()
    journal.refuse = FULL
    with pytest.raises(JournalError):
        world.pm.close(ticket)
    assert ticket is not None
    return ticket


def closes(world: OrderWorld) -> list[dict[str, Any]]:
    """The closes that reached the gateway."""
    return [message for message in world.sent() if message.get("position")]


def only_close(history: Sequence[events.Event]) -> events.OrderCreated:
    created = (event for event in history if isinstance(event, events.OrderCreated))
    (found,) = [event for event in created if event.by]
    return found


def agrees_without_a_loss(world: BackupWorld, journal: RefusingJournal) -> None:
    """The journal has the close with its name, the book is the broker's, and nothing is held."""
    for _ in range(4):
        world.sync()
    created = only_close(world.history())
    assert (created.by, created.why, created.key) == ("Ada", "news", "k")
    assert world.order(created.order_id).status is OrderStatus.FILLED
    assert world.agrees()
    assert not any(isinstance(event, events.LossFound) for event in world.history())
    assert (world.pm.entries_refused(), world.reconciler.holds) == ("", ())
    assert len(closes(world)) == 1
    # The journal folds to the live book.
    assert type(world.pm.book)().replay(world.history()).state() == world.pm.book.state()


def close(world: OrderWorld, ticket: int) -> Any:
    return world.pm.close_unjournalled(ticket, key="k", who="Ada", why="news")


def test_a_close_leaves_without_the_journal_and_is_journalled_later(
    world: BackupWorld, journal: RefusingJournal, caplog: pytest.LogCaptureFixture
) -> None:
    ticket = in_trouble(world, journal)
    version = world.pm.book.version
    sent = close(world, ticket)
    assert isinstance(sent.outcome, Filled)
    assert world.ledger.positions == {}
    (message,) = closes(world)
    assert (message["by"], message["key"], message["stream"]) == ("Ada", "k", "EURUSD")
    assert f"[PERSON] Ada closes position {ticket} without the journal" in caplog.text
    # The book is the fold of its journal, so it has nothing of this yet.
    assert (world.pm.book.version, world.tickets()) == (version, {ticket})
    assert world.sync().status.value == "FAILED"
    journal.refuse = None
    agrees_without_a_loss(world, journal)
    assert world.tickets() == set()


def test_a_lost_reply_is_found_in_the_record_when_the_journal_is_back(
    world: BackupWorld, journal: RefusingJournal
) -> None:
    ticket = in_trouble(world, journal)
    world.lose_replies(1)
    sent = close(world, ticket)
    assert isinstance(sent.outcome, Unknown)
    journal.refuse = None
    agrees_without_a_loss(world, journal)


@pytest.mark.parametrize("gateway_too", [False, True], ids=["bot", "bot and gateway"])
@pytest.mark.parametrize("is_lost", [False, True], ids=["answered", "lost"])
def test_a_later_process_finds_the_close_in_the_record(
    world: BackupWorld, journal: RefusingJournal, gateway_too: bool, is_lost: bool
) -> None:
    ticket = in_trouble(world, journal)
    world.lose_replies(int(is_lost))
    close(world, ticket)
    # The bot dies with what it had in memory, and the disk has room again.
    journal.refuse = None
    if gateway_too:
        world.restart_gateway()
    world.restart()
    assert not [e for e in world.history() if isinstance(e, events.OrderCreated) and e.by]
    for _ in range(4):
        world.sync()
    created = only_close(world.history())
    # The record keeps the name and the key; the reason was in memory alone.
    assert (created.by, created.why, created.key) == ("Ada", "", "k")
    assert world.order(created.order_id).status is OrderStatus.FILLED
    assert world.agrees()
    assert not any(isinstance(event, events.LossFound) for event in world.history())
    assert (world.pm.entries_refused(), world.reconciler.holds) == ("", ())
    assert len(closes(world)) == 1
    # A further process finds nothing new.
    version = world.pm.book.version
    world.restart()
    world.sync()
    assert world.pm.book.version == version


@pytest.mark.parametrize(
    ("point", "was_sent"),
    [(CrashPoint.AFTER_SEND_STARTED, False), (CrashPoint.BEFORE_OUTCOME, True)],
)
def test_a_kill_in_the_middle_closes_once_or_never(
    world: BackupWorld, journal: RefusingJournal, point: CrashPoint, was_sent: bool
) -> None:
    ticket = in_trouble(world, journal)
    world.die_at(point)
    with pytest.raises(Died):
        close(world, ticket)
    journal.refuse = None
    world.restart()
    for _ in range(4):
        world.sync()
    assert len(closes(world)) == was_sent
    assert world.tickets() == (set() if was_sent else {ticket})
    assert world.agrees()
    assert world.reconciler.holds == ()


def test_a_close_that_the_broker_refused_is_journalled_as_refused(
    world: BackupWorld, journal: RefusingJournal
) -> None:
    ticket = in_trouble(world, journal)
    world.terminal.faults.next_send(Answered(10018))
    close(world, ticket)
    journal.refuse = None
    world.sync()
    created = only_close(world.history())
    assert world.order(created.order_id).status is OrderStatus.REJECTED
    assert world.tickets() == {ticket}


def test_a_second_close_of_the_same_position_is_refused(
    world: BackupWorld, journal: RefusingJournal
) -> None:
    ticket = in_trouble(world, journal)
    sent = close(world, ticket)
    with pytest.raises(Refused, match=f"{sent.order.order_id} was sent for it, and is not journ"):
        close(world, ticket)
    assert len(closes(world)) == 1


def test_the_strategy_is_not_told_of_a_close_that_a_person_was_told_of(
    world: BackupWorld, journal: RefusingJournal
) -> None:
    ticket = in_trouble(world, journal)
    close(world, ticket)
    journal.refuse = None
    # Without a sync in between, the desk itself records what is owed, and asks nobody to look.
    assert world.pm.submit("buy", 0.1).status is OrderStatus.FILLED
    assert only_close(world.history()).by == "Ada"


def test_only_the_start_of_the_sending_could_not_be_journalled(tmp_path: Path) -> None:
    journal = ChoosyJournal()
    world = BackupWorld(tmp_path, journal=journal)
    ticket = world.pm.submit("buy", 0.1).ticket
    world.sync()
    journal.refuses = (events.SendStarted, events.OrderCanceled)
    with pytest.raises(JournalError):
        world.pm.close(ticket, key="k", who="Ada", why="news")
    assert ticket is not None
    close(world, ticket)
    journal.refuses = ()
    for _ in range(4):
        world.sync()
    states = [order.status for order in world.pm.book.orders.values() if order.by]
    assert states == [OrderStatus.CANCELED, OrderStatus.FILLED]
    assert world.agrees()
    assert len(closes(world)) == 1
    world.desk.close()


# Where it is refused.


def test_on_a_netting_account_the_words_to_press_are_told(tmp_path: Path) -> None:
    journal = RefusingJournal()
    world = BackupWorld(tmp_path, NETTING, journal=journal)
    ticket = in_trouble(world, journal)
    with pytest.raises(Refused) as refused:
        close(world, ticket)
    assert str(refused.value) == (
        "Nothing was sent: the journal takes nothing (the disk is full), and on an account that is "
        f"not known to be hedging a close can open the other side. {TERMINAL}"
    )
    assert closes(world) == []
    world.desk.close()


def test_a_gateway_without_a_record_on_disk_is_not_enough(journal: RefusingJournal) -> None:
    world = OrderWorld(journal=journal)
    ticket = in_trouble(world, journal)
    with pytest.raises(Refused, match=f"keeps no record on disk that could .*{TERMINAL[:12]}"):
        close(world, ticket)
    assert closes(world) == []


def test_a_gateway_that_cannot_write_its_record_sends_nothing(
    world: BackupWorld, journal: RefusingJournal, tmp_path: Path
) -> None:
    ticket = in_trouble(world, journal)
    (tmp_path / "requests.db").unlink()
    sent = close(world, ticket)
    assert not isinstance(sent.outcome, Filled | Unknown)
    assert set(world.ledger.positions) == {ticket}


def test_a_process_that_lost_its_journal_to_another_closes_nothing(
    world: BackupWorld, journal: RefusingJournal
) -> None:
    ticket = in_trouble(world, journal)
    journal.refuse = JournalConflict("another process took over")
    with pytest.raises(JournalConflict):
        world.pm.commit([events.SyncAsked(at_ns=1, by="Ada")])
    with pytest.raises(Refused, match="another process took the journal over"):
        close(world, ticket)


def test_a_journal_without_a_name_cannot_be_found_in_the_record(
    world: BackupWorld, journal: RefusingJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticket = in_trouble(world, journal)

    def broken(*_: object) -> Any:
        raise FULL

    world.pm._kept._journal_id = ""
    monkeypatch.setattr(MemoryJournal, "records", broken)
    with pytest.raises(Refused, match="the journal has no name yet by which the record"):
        close(world, ticket)


def test_a_close_in_doubt_bars_another(world: BackupWorld, journal: RefusingJournal) -> None:
    ticket = world.pm.submit("buy", 0.1).ticket
    world.sync()
    world.terminal.faults.next_send(AnswerLost(executed=False, pipe_breaks=False))
    doubtful = world.pm.close(ticket)
    journal.refuse = FULL
    assert ticket is not None
    with pytest.raises(Refused, match=f"{doubtful.order_id} may have closed it already"):
        close(world, ticket)


def test_a_position_that_the_book_does_not_have(
    world: BackupWorld, journal: RefusingJournal
) -> None:
    in_trouble(world, journal)
    foreign = world.person.open("USDJPY", SELL, 0.1)
    with pytest.raises(ValueError, match=f"No position with ticket {foreign} in the book"):
        close(world, foreign)


def test_what_a_restored_copy_lacks_is_a_loss_beside_it(tmp_path: Path) -> None:
    """The journal lost its newest order, and a close that never was in it is not lost."""
    world = BackupWorld(tmp_path)
    ticket = world.pm.submit("buy", 0.1).ticket
    world.sync()
    backup = world.back_up()
    world.pm.submit("buy", 0.2, key="lost")
    world.sync()

    def full(history: Sequence[events.Event]) -> int:
        raise FULL

    assert world.pm.journal is not None
    assert ticket is not None
    world.pm.journal.append = full  # type: ignore[method-assign]
    with pytest.raises(JournalError):
        world.pm.close(ticket)
    close(world, ticket)
    world.put_back(backup)
    for _ in range(3):
        world.sync()
    (loss,) = world.losses()
    assert loss.orders == 1
    assert only_close(world.history()).by == "Ada"
    world.desk.close()


def test_a_book_of_a_whole_account_finds_its_close_too(tmp_path: Path) -> None:
    """Its journal had sent nothing before, and its symbol is every symbol."""
    world = AccountWorld(tmp_path)
    ticket = world.person.open("GBPUSD", 0, 0.1)
    with world.account() as account:
        account.sync()
        journal = account.manager.journal
        assert journal is not None
        bare = journal.append

        def full(history: Sequence[events.Event]) -> int:
            raise FULL

        journal.append = full  # type: ignore[method-assign]
        with pytest.raises(JournalError):
            account.close(ticket)
        account.manager.close_unjournalled(ticket, key="k", who="Ada")
        assert world.open_lots == 0
        journal.append = bare  # type: ignore[method-assign]
        # The process ends without another sync, as a kill would end it.
        account.manager._owed._owed.clear()
    with world.account() as account:
        for _ in range(3):
            world.wait(5)
            account.sync()
        (order,) = [order for order in account.orders.values() if order.by]
        assert (order.by, order.status, account.holds) == ("Ada", OrderStatus.FILLED, ())
        assert account.positions == {}
    world.end()
