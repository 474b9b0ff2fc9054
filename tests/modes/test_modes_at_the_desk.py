"""A person pauses, allows only closes and resumes: what the order desk then lets out."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.desk_world import HEDGING, NETTING, SELL
from tests.support.make import RefusingJournal
from tests.support.order_world import OrderWorld
from trueup.core.book import events
from trueup.core.book.events import TradingMode
from trueup.core.book.lifecycle import OrderStatus
from trueup.errors import JournalConflict, JournalError, Paused
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.journal import JournalAhead
from trueup.runtime.bot.portfolio import PortfolioManager
from trueup.sim.market.symbols import AccountSetup

BOTH = pytest.mark.parametrize("account", [HEDGING, NETTING], ids=["hedging", "netting"])
Ask = Callable[[PortfolioManager, int, int], Any]
ENTRIES: dict[str, Ask] = {
    "buy": lambda pm, *_: pm.submit("buy", 0.1),
    "sell": lambda pm, *_: pm.submit("sell", 0.1),
    "reversal": lambda pm, *_: pm.submit("sell", 0.5),
    "limit": lambda pm, *_: pm.submit("buy", 0.1, limit=1.05),
    "stop": lambda pm, *_: pm.submit("sell", 0.1, stop=1.05),
    "stop limit": lambda pm, *_: pm.submit("buy", 0.1, stop=1.2, stoplimit=1.15),
}
OTHERS: dict[str, Ask] = {
    "part": lambda pm, ticket, _: pm.close(ticket, 0.1),
    "modify": lambda pm, ticket, _: pm.modify(ticket, 1.05, 1.2),
    "modify order": lambda pm, _, order: pm.modify_order(order, price=1.04),
    "cancel": lambda pm, _, order: pm.cancel(order),
    "close": lambda pm, ticket, _: pm.close(ticket),
}


def at_work(account: AccountSetup = HEDGING) -> tuple[OrderWorld, int, int]:
    """A bot with a position of 0.3 lots and a pending order; returns their tickets."""
    world = OrderWorld(account)
    ticket = world.pm.submit("buy", 0.3).ticket
    order = world.pm.submit("buy", 0.1, limit=1.05).ticket
    world.sync()
    assert ticket is not None
    assert order is not None
    return world, ticket, order


@BOTH
@pytest.mark.parametrize("entry", ENTRIES)
def test_close_only_refuses_each_entry_with_who_and_why(account: AccountSetup, entry: str) -> None:
    world, ticket, order = at_work(account)
    told = world.pm.close_only(" Ada ", why="the news")
    sent = len(world.sent())
    with pytest.raises(Paused, match=r"only closes are allowed by Ada: the news \(until") as raised:
        ENTRIES[entry](world.pm, ticket, order)
    assert raised.value.retcode == mt5.TRADE_RETCODE_CLOSE_ONLY
    assert len(world.sent()) == sent
    assert world.pm.paused == told
    assert not world.pm.is_paused


@BOTH
@pytest.mark.parametrize("ask", OTHERS)
def test_close_only_lets_closes_changes_and_cancellations_pass(
    account: AccountSetup, ask: str
) -> None:
    world, ticket, order = at_work(account)
    world.pm.close_only("Ada")
    assert OTHERS[ask](world.pm, ticket, order).status is OrderStatus.FILLED


def test_close_only_lets_close_by_and_close_all_pass() -> None:
    world, ticket, _ = at_work()
    other = world.pm.submit("sell", 0.2).ticket
    world.sync()
    world.pm.close_only("Ada")
    assert world.pm.close_by(ticket, other).status is OrderStatus.FILLED
    world.sync()
    assert [one.status for one in world.pm.close_all()] == [OrderStatus.FILLED]


EACH: dict[str, Ask] = {**ENTRIES, **OTHERS}


@BOTH
@pytest.mark.parametrize("ask", EACH)
def test_a_pause_refuses_all_that_the_strategy_asks_for(account: AccountSetup, ask: str) -> None:
    world, ticket, order = at_work(account)
    world.pm.pause("Ada", why="lunch")
    before, sent = world.pm.book.version, len(world.sent())
    with pytest.raises(Paused, match="trading is paused by Ada: lunch") as raised:
        EACH[ask](world.pm, ticket, order)
    assert raised.value.retcode == mt5.TRADE_RETCODE_CLIENT_DISABLES_AT
    # Nothing was recorded either: the desk refuses before the intent.
    assert (world.pm.book.version, len(world.sent())) == (before, sent)
    # And what is so refused passes after a person's word.
    assert world.pm.resume("Bob") is True
    assert EACH[ask](world.pm, ticket, order).status is OrderStatus.FILLED


@BOTH
def test_a_persons_own_close_passes_a_pause_and_is_journalled_with_the_name(
    account: AccountSetup,
) -> None:
    world, ticket, _ = at_work(account)
    world.pm.pause("Ada")
    with pytest.raises(Paused):
        world.pm.close_all()
    part = world.pm.close(ticket, 0.1, who="Ada", why="too much", key="ada-1")
    assert (part.status, part.by, part.why) == (OrderStatus.FILLED, "Ada", "too much")
    # The same key again sends nothing, so no mode refuses it.
    assert world.pm.close(ticket, 0.1, key="ada-1") is part
    (rest,) = world.pm.close_all(who="Ada")
    assert (rest.status, rest.by) == (OrderStatus.FILLED, "Ada")
    assert world.ledger.positions == {}
    created = [e for e in world.pm.recorded() or () if isinstance(e, events.OrderCreated)]
    assert [event.by for event in created[-2:]] == ["Ada", "Ada"]


@BOTH
def test_the_guides_way_is_refused_too(account: AccountSetup) -> None:
    world, _, _ = at_work(account)
    world.pm.close_only("Ada")
    assert (world.pm.check_risk(1), world.pm.create_order(1, 1.1)) == (False, None)
    # A signal against the position closes it, and no more than it.
    assert world.pm.check_risk(-1)
    closing = world.pm.create_order(-1, 1.1, 0.3)
    assert closing is not None
    assert closing.position
    if account is NETTING:
        assert world.pm.create_order(-1, 1.1, 0.4) is None
    world.pm.pause("Ada")
    assert (world.pm.check_risk(-1), world.pm.create_order(-1, 1.1, 0.1)) == (False, None)


def test_syncs_and_recovery_go_on_in_a_pause() -> None:
    world, ticket, _ = at_work()
    world.pm.pause("Ada")
    other = world.person.open("EURUSD", SELL, 0.2)
    world.person.close(ticket)
    world.sync()
    assert world.tickets() == {other}


def test_a_mode_is_said_in_the_log_the_trail_the_health_and_the_status(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    world, _, _ = at_work()
    pm, reconciler = world.pm, world.reconciler
    assert "paused" not in reconciler.get_status()
    told = pm.pause("Ada", why="lunch")
    (line,) = [said for said in caplog.messages if said.startswith("[PERSON]")]
    words = "Ada paused trading (lunch); nothing that the strategy asks for is sent"
    assert line == f"[PERSON] {words}"
    trail = reconciler.get_audit_trail()
    assert (trail[-1]["action"], trail[-1]["details"]) == ("PERSON", words)
    assert "Trading is paused by Ada: lunch." in reconciler.health
    assert reconciler.get_status()["paused"] == "trading is paused by Ada: lunch"
    (restricted,) = pm.restrictions
    assert (restricted.symbol, restricted.since_ns) == ("", told.at_ns)
    assert pm.entries_refused().startswith("trading is paused by Ada: lunch (until a person")
    # The same again changes nothing, and the first person stays named.
    assert pm.pause("Bob") == told
    assert pm.resume("Bob", why="back") is True
    assert caplog.messages[-1] == "[PERSON] Bob resumed trading (back)"
    assert pm.resume("Bob") is False
    assert (pm.restrictions, pm.entries_refused(), pm.paused) == ((), "", None)
    kinds = [type(event).__name__ for event in pm.recorded() or ()]
    assert (kinds.count("TradingPaused"), kinds.count("TradingResumed")) == (1, 1)


def test_one_mode_follows_the_other_and_a_nameless_person_is_a_person() -> None:
    world, ticket, _ = at_work()
    world.pm.pause("Ada")
    world.pm.close_only("")
    assert world.pm.paused is not None
    assert (world.pm.paused.by, world.pm.paused.mode) == ("a person", TradingMode.CLOSE_ONLY)
    world.pm.close(ticket)
    with pytest.raises(ValueError, match=r"who='\\ud800' is not valid: give a text"):
        world.pm.pause("\ud800")


@pytest.mark.parametrize("mode", TradingMode)
def test_a_mode_outlives_the_process_and_is_said_at_the_start(
    mode: TradingMode, caplog: pytest.LogCaptureFixture
) -> None:
    world, _, _ = at_work()
    ask = world.pm.pause if mode is TradingMode.PAUSED else world.pm.close_only
    told = ask("Ada", why="the night")
    world.restart()
    assert world.pm.paused == told
    assert "[PERSON] As before the restart, " in caplog.text
    assert "by Ada: the night since 2023-11-14T22:13:" in caplog.text
    world.sync()
    with pytest.raises(Paused):
        world.pm.submit("buy", 0.1)
    world.pm.resume("Ada")
    world.restart()
    world.sync()
    assert world.pm.submit("buy", 0.1).status is OrderStatus.FILLED


# While the journal takes nothing.


def broken() -> tuple[OrderWorld, RefusingJournal, int]:
    journal = RefusingJournal()
    world = OrderWorld(journal=journal)
    ticket = world.pm.submit("buy", 0.3).ticket
    world.sync()
    journal.refuse = JournalError("the disk is full")
    assert ticket is not None
    return world, journal, ticket


def test_a_pause_holds_at_once_and_is_journalled_when_the_journal_is_back() -> None:
    world, journal, ticket = broken()
    told = world.pm.pause("Ada")
    for _ in range(3):
        assert world.pm.paused == told
        assert world.pm.book.paused is None
        # The journal is tried again, and still takes nothing.
        world.sync()
    journal.refuse = None
    with pytest.raises(Paused):
        world.pm.close(ticket)
    world.sync()
    assert world.pm.book.paused == told
    world.restart()
    assert world.pm.paused == told


def test_a_resume_waits_for_the_journal() -> None:
    world, journal, _ = broken()
    journal.refuse = None
    world.pm.pause("Ada")
    journal.refuse = JournalError("the disk is full")
    for ask in (world.pm.resume, world.pm.close_only):
        with pytest.raises(JournalError, match="the disk is full"):
            ask("Ada")
        assert world.pm.is_paused
    # What the journal never had, needs no journal to end.
    journal.refuse = None
    world.pm.resume("Ada")
    journal.refuse = JournalError("the disk is full")
    world.pm.pause("Ada")
    assert world.pm.resume("Ada") is True
    assert world.pm.paused is None


def test_a_pause_in_memory_over_another_mode_outlives_a_failed_resume_and_the_restart() -> None:
    world, journal, ticket = broken()
    journal.refuse = None
    world.pm.close_only("Ada")
    journal.refuse = JournalError("the disk is full")
    told = world.pm.pause("Bob", why="the news")
    with pytest.raises(JournalError, match="the disk is full"):
        world.pm.resume("Cleo")
    assert world.pm.paused == told
    journal.refuse = None
    world.sync()
    world.restart()
    assert world.pm.paused == told
    with pytest.raises(Paused, match="trading is paused by Bob: the news"):
        world.pm.close(ticket)


def test_a_pause_that_was_written_all_the_same_is_in_the_journal_once() -> None:
    world, journal, _ = broken()
    bare = journal.append
    journal.refuse = None

    def written_all_the_same(history: Any) -> int:
        journal.append = bare  # type: ignore[method-assign]
        bare(history)
        raise JournalError("no answer")

    journal.append = written_all_the_same  # type: ignore[method-assign]
    told = world.pm.pause("Ada")
    world.sync()
    assert world.pm.book.paused == told
    kinds = [type(event).__name__ for event in world.pm.recorded() or ()]
    assert kinds.count("TradingPaused") == 1


def test_a_word_is_journalled_also_after_events_that_the_book_had_not_taken() -> None:
    world, journal, _ = broken()
    bare = journal.append
    journal.refuse = None

    def ahead(history: Any) -> int:
        journal.append = bare  # type: ignore[method-assign]
        raise JournalAhead(world.pm.book.version, "others came first")

    journal.append = ahead  # type: ignore[method-assign]
    told = world.pm.pause("Ada")
    assert world.pm.book.paused == told


def test_a_process_that_lost_its_journal_to_another_pauses_nothing() -> None:
    world, journal, _ = broken()
    journal.refuse = JournalConflict("another process took over")
    with pytest.raises(JournalConflict):
        world.pm.pause("Ada")
    assert world.pm.paused is None


def test_the_end_by_a_person_is_journalled(caplog: pytest.LogCaptureFixture) -> None:
    world, journal, _ = broken()
    journal.refuse = None
    world.pm.note_stop("Ada", why="the machine restarts")
    assert caplog.messages[-1] == (
        "[PERSON] Ada stopped the bot (the machine restarts); positions stay open"
    )
    (event,) = [e for e in world.pm.recorded() or () if isinstance(e, events.BotStopped)]
    assert (event.by, event.why) == ("Ada", "the machine restarts")
