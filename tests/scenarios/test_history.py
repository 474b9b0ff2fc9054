"""The book's deals against the broker's history: by hand, and once a day by itself."""

from __future__ import annotations

import datetime as dt
import json
import logging
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from tests.support import make
from tests.support.desk_world import BUY, COSTLY, HEDGING, NETTING, OTHER, DeskWorld
from tests.support.order_world import OrderWorld
from trueup.core.account.trust import Bound
from trueup.core.book import events
from trueup.core.policy import Policy
from trueup.core.realised.agreement import Counted
from trueup.core.realised.history_report import HistoryReport
from trueup.errors import JournalError
from trueup.runtime.sync.history_span import DAY_MSC
from trueup.runtime.sync.history_watch import FIRST_MINUTE, LAST_MINUTE, jitter_minute
from trueup.runtime.sync.reconciler import SyncStatus
from trueup.sim.market.symbols import AccountSetup
from trueup.sim.terminal.terminal_faults import Fails

BOTH = pytest.mark.parametrize("account", [HEDGING, NETTING], ids=["hedging", "netting"])
HOUR_SEC = 3_600
DAY_SEC = 24 * HOUR_SEC
LOGIN = 5_000_001
OURS = Policy(symbols=frozenset({"EURUSD"}), magics=frozenset({7}))


class HistoryWorld(OrderWorld):
    """A bot whose symbol costs something at both ends of a trade; `is_plain` has the guide's wire.

    `serves_history` is false for a gateway of before.
    """

    serves_history = True

    def __init__(self, account: AccountSetup = HEDGING, **more: Any) -> None:
        super().__init__(account, specs=(COSTLY,), **more)

    def _carry(self, message: bytes) -> bytes | None:
        reply = super()._carry(message)
        if self.serves_history or reply is None or b"GET_POSITIONS" not in message:
            return reply
        return reply.replace(b',"HISTORY"', b"")

    def round_trip(self, volume: float = 0.1) -> int:
        """Open and close a position of ours, with a sync after each; return its identifier."""
        ticket = self.pm.submit("buy", volume).ticket
        self.sync()
        self.quote(1.1010)
        self.pm.close(ticket)
        self.sync()
        self.quote(1.1000)
        return int(ticket or 0)

    def deals_of(self, identifier: int) -> list[int]:
        """The tickets of a position's deals in the broker's ledger, oldest first."""
        return sorted(deal.ticket for deal in self.ledger.deals_of(identifier))

    def due(self) -> float:
        """The broker's result of all positions that there ever were."""
        return self.realised({d.position_id for d in self.ledger.deals.values()} - {0})

    def is_right(self) -> None:
        """Check that the book has the broker's result."""
        assert self.pm.realised == pytest.approx(self.due(), abs=1e-9)

    def asked(self) -> list[dict[str, Any]]:
        """The questions for a history that came to the gateway."""
        found = [json.loads(message) for message in self.requests if b'"HISTORY"' in message]
        return [one for one in found if not one.get("after")]

    def age(self, seconds: float = 40 * DAY_SEC) -> None:
        """Let deals become so old that no sync compares them again by itself, and sync."""
        self.wait(seconds)
        self.requote()
        self.sync()
        self.sync()

    def archive_until(self, ticket: int) -> None:
        """Let the terminal show no deal any more that is not newer than one."""
        made_msc = self.ledger.deals[ticket].time_msc
        self.terminal.switches.history_begins_msc = made_msc + 1

    def server_msc(self) -> int:
        """The trade server's clock."""
        return self.clock.now_ns() // 1_000_000 + 7_200_000

    def to_server_time(self, day: int, minute: int) -> None:
        """Let time pass until a minute of a day of the server's clock, counted from this one."""
        target_msc = (self.server_msc() // DAY_MSC + day) * DAY_MSC + minute * 60_000
        assert target_msc > self.server_msc()
        self.wait((target_msc - self.server_msc()) / 1000)
        self.requote()


def check(world: HistoryWorld, since: object = None) -> HistoryReport:
    return world.reconciler.check_history(since)


# By hand.


@BOTH
def test_everything_agrees_and_every_deal_was_compared(account: AccountSetup) -> None:
    world = HistoryWorld(account)
    for _ in range(3):
        world.round_trip()
    world.pm.submit("buy", 0.3)
    world.sync()
    report = check(world)
    assert report.agrees
    assert report.agreed == 7
    assert report.sentence == "7 deals agree with the broker's history"
    assert report.account == f"{LOGIN}@Simulated-Demo"
    world.is_right()


@BOTH
def test_it_reads_only(account: AccountSetup) -> None:
    world = HistoryWorld(account)
    identifier = world.round_trip()
    world.terminal.broker.amend_deal(LOGIN, world.deals_of(identifier)[-1], profit=-99.0)
    before, count = world.state(), len(list(world.pm.recorded() or ()))
    assert not check(world).agrees
    assert (world.state(), len(list(world.pm.recorded() or ()))) == (before, count)


@BOTH
def test_a_deal_that_was_changed_long_after_is_found_and_booked_at_the_next_sync(
    account: AccountSetup,
) -> None:
    world = HistoryWorld(account)
    identifier = world.round_trip()
    world.age()
    last = world.deals_of(identifier)[-1]
    # The balance is corrected elsewhere, so nothing about the account tells of it.
    deal = world.ledger.deals[last]
    world.ledger.rewrite_deal(replace(deal, commission=-7.77))
    world.sync()
    report = check(world)
    (change,) = report.changed
    assert (change.at_broker.ticket, change.at_broker.position) == (last, identifier)
    assert report.difference == pytest.approx(-7.77 - deal.commission)
    assert "1 with other money or lots" in report.sentence
    world.sync()
    world.is_right()
    assert check(world).agrees


@BOTH
def test_a_position_of_ours_that_the_book_never_had_is_found_and_booked(
    account: AccountSetup,
) -> None:
    """Another copy of the bot, or one whose journal was lost, traded under our magic number."""
    world = HistoryWorld(account, policy=OURS)
    world.round_trip()
    world.person.magic = 7
    ticket = world.person.open("EURUSD", BUY, 0.2)
    world.quote(1.0990)
    world.person.close(ticket)
    world.quote(1.1000)
    world.sync()
    report = check(world)
    assert [line.position for line in report.missing_in_book] == [ticket, ticket]
    assert report.difference == pytest.approx(world.realised({ticket}))
    world.sync()
    world.is_right()
    assert check(world).agrees


def test_positions_of_others_are_counted_as_such_until_the_book_counts_them() -> None:
    world = HistoryWorld()
    world.round_trip()
    # One that came and went between two looks, and one that was adopted.
    world.person.close(world.person.open("EURUSD", BUY, 0.2))
    adopted = world.person.open("EURUSD", BUY, 0.3)
    world.sync()
    report = check(world)
    assert report.agrees
    assert (report.agreed, report.of_others) == (2, 3)
    world.person.close(adopted, 0.1)
    world.sync()
    report = check(world)
    assert report.agrees
    assert (report.agreed, report.of_others) == (4, 2)


@BOTH
def test_a_deal_that_the_broker_does_not_show_any_more_is_named(account: AccountSetup) -> None:
    world = HistoryWorld(account)
    identifier = world.round_trip()
    world.wait(HOUR_SEC)
    other = world.round_trip()
    world.age()
    gone, before = world.deals_of(identifier), world.pm.realised
    world.archive_until(gone[-1])
    report = check(world)
    assert [line.ticket for line in report.missing_at_broker] == gone
    assert report.agreed == len(world.deals_of(other)) == 2
    assert "2 not shown by the broker any more" in report.sentence
    world.sync()
    assert world.pm.realised == before, "what was counted is not taken back because it is not shown"


@BOTH
def test_it_compares_from_the_moment_that_is_given_on(account: AccountSetup) -> None:
    world = HistoryWorld(account)
    world.round_trip()
    world.wait(3 * DAY_SEC)
    world.requote()
    since = world.clock.now_ns() / 1e9 - 60
    world.round_trip()
    moment = dt.datetime.fromtimestamp(since, dt.UTC)
    for given in (
        since,
        int(since),
        Decimal(str(since)),
        moment,
        moment.replace(tzinfo=None),
        moment.isoformat(),
        moment.astimezone(dt.timezone(dt.timedelta(hours=9))),
        moment.date(),
    ):
        assert check(world, given).agreed == 2, given
    assert check(world, "2020-01-01").agreed == 4
    assert check(world).agreed == 4


@pytest.mark.parametrize("bad", ["soon", "", True, float("nan"), float("inf"), [], {}])
def test_a_moment_that_is_none_is_one_sentence(bad: object) -> None:
    world = HistoryWorld()
    with pytest.raises(ValueError, match=r"^since=.* is not valid: give a datetime, an ISO 8601"):
        check(world, bad)


# Where there is nothing to compare with.


def test_the_guides_wire_says_that_it_has_no_deals() -> None:
    world = DeskWorld()
    world.knows_only_the_guide = True
    world.sync()
    report = world.reconciler.check_history()
    assert not report.agrees
    assert "has no deals to compare with: it does not serve HISTORY" in report.sentence
    assert not [one for one in world.requests if b'"HISTORY"' in one]


def test_a_gateway_of_before_says_so_and_is_not_asked() -> None:
    world = HistoryWorld()
    world.serves_history = False
    world.start_bot()
    world.sync()
    assert "does not serve HISTORY" in check(world).unknown
    assert not world.asked()


def test_an_object_that_has_get_positions_alone_has_no_deals() -> None:
    reconciler = make.reconciler_on(make.reply())
    assert "This gateway object has no deals to compare with" in reconciler.check_history().unknown


def test_another_account_is_not_compared() -> None:
    world = HistoryWorld(others=(OTHER,))
    world.round_trip()
    assert world.terminal.login(OTHER.login, password=OTHER.password, server=OTHER.server)
    report = check(world)
    assert not report.agrees
    assert report.unknown == (
        f"The terminal is logged in to {OTHER.login}@Simulated-Demo, and this book is bound to "
        f"{LOGIN}@Simulated-Demo"
    )


def test_a_terminal_that_cannot_be_read_is_no_difference() -> None:
    world = HistoryWorld()
    world.round_trip()
    world.terminal.disconnect()
    report = check(world)
    assert not report.agrees
    assert "the terminal has no connection to its trade server" in report.unknown
    assert report.missing_at_broker == ()


# Once a day.


def test_the_minute_is_one_for_each_account_within_the_hour() -> None:
    minutes = {jitter_minute(Bound(login, "Demo")) for login in range(500)}
    assert minutes <= set(range(FIRST_MINUTE, LAST_MINUTE + 1))
    assert len(minutes) == LAST_MINUTE + 1 - FIRST_MINUTE
    assert jitter_minute(Bound(7, "Demo")) == jitter_minute(Bound(7, "Demo"))


def noted(world: HistoryWorld) -> list[events.HistoryCompared]:
    history = world.pm.recorded() or ()
    return [event for event in history if isinstance(event, events.HistoryCompared)]


MINUTE = jitter_minute(Bound(LOGIN, "Simulated-Demo"))


@BOTH
def test_it_is_compared_some_minutes_after_the_servers_midnight_and_once(
    account: AccountSetup, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    world = HistoryWorld(account)
    world.round_trip()
    world.to_server_time(1, MINUTE - 1)
    world.turn(40)
    assert not world.asked()
    world.to_server_time(0, MINUTE)
    world.turn(40)
    (one,) = noted(world)
    assert (one.agreed, one.is_whole) == (2, True)
    assert one.until_msc % DAY_MSC == 0
    assert len(world.asked()) == 1
    assert "[HISTORY] 2 deals agree with the broker's history" in caplog.messages
    world.turn(40)
    world.to_server_time(0, 23 * 60)
    world.turn(40)
    assert len(world.asked()) == 1
    # The next day begins where they agreed last.
    world.round_trip()
    world.to_server_time(1, MINUTE)
    world.turn(40)
    assert [event.since_msc for event in noted(world)] == [one.since_msc, one.until_msc]
    assert noted(world)[-1].agreed == 2


def test_a_bot_that_was_down_at_midnight_compares_when_it_is_back() -> None:
    world = HistoryWorld()
    world.round_trip()
    world.to_server_time(1, 11 * 60)
    world.start_bot()
    world.sync()
    world.turn(40)
    assert [event.agreed for event in noted(world)] == [2]
    # And remembers that, restarted once more.
    world.start_bot()
    world.sync()
    world.turn(40)
    assert len(world.asked()) == 1
    world.pm._kept.checkpoint()
    world.start_bot()
    assert world.pm.book.agreed_msc == noted(world)[-1].until_msc
    assert world.pm.book.compared == noted(world)[-1]


def test_it_waits_until_no_order_is_in_doubt() -> None:
    world = HistoryWorld()
    world.round_trip()
    world.to_server_time(1, MINUTE)
    world.sync()
    world.lose_replies(1)
    world.pm.submit("buy", 0.1)
    assert world.pm.book.in_doubt
    world.reconciler.sync_continuous()
    world.reconciler.sync_continuous()
    assert not world.asked()
    world.sync()
    assert not world.pm.book.in_doubt
    world.turn(40)
    assert noted(world)[-1].is_whole


@BOTH
def test_what_is_missing_is_booked_and_then_compared_once_more(
    account: AccountSetup, caplog: pytest.LogCaptureFixture
) -> None:
    world = HistoryWorld(account)
    identifier = world.round_trip()
    world.age()
    deal = world.ledger.deals[world.deals_of(identifier)[-1]]
    world.ledger.rewrite_deal(replace(deal, commission=-7.77))
    world.to_server_time(1, MINUTE)
    caplog.set_level(logging.INFO)
    world.turn(90)
    world.is_right()
    assert [event.is_whole for event in noted(world)] == [True]
    assert len(world.asked()) == 2
    first, second = [line for line in caplog.messages if "[HISTORY]" in line]
    assert "1 with other money or lots" in first
    assert first.endswith("asked about at the next sync")
    assert second == "[HISTORY] 2 deals agree with the broker's history"


def test_what_stays_different_is_noted_and_compared_again_the_next_day(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = HistoryWorld()
    identifier = world.round_trip()
    world.age()
    world.archive_until(world.deals_of(identifier)[0])
    since = world.pm.book.agreed_msc
    for day in (1, 2):
        world.to_server_time(1, MINUTE)
        world.turn(90)
        (*_, last) = noted(world)
        assert (len(noted(world)), last.missing_at_broker) == (day, 1)
        # Each day anew: compared, asked about, and compared once more before it is an error.
        assert len(world.asked()) == 2 * day
        assert not last.is_whole
    assert world.pm.book.agreed_msc == since == 0
    assert noted(world)[0].since_msc == noted(world)[1].since_msc
    said = [line for line in caplog.messages if "`trueup reconcile` shows each of them" in line]
    assert len(said) == 2


def test_a_history_that_cannot_be_read_is_asked_for_again_and_hammers_nobody() -> None:
    world = HistoryWorld()
    world.round_trip()
    world.to_server_time(1, MINUTE)
    world.terminal.faults.next_call("history_deals_get", *[Fails()] * 1_000)
    world.turn(120)
    assert len(world.asked()) == 1
    assert not noted(world)
    world.terminal.faults.clear_calls()
    world.wait(600)
    world.requote()
    world.turn(40)
    assert [event.is_whole for event in noted(world)] == [True]


def test_a_journal_that_takes_no_note_costs_the_note_alone() -> None:
    journal = make.RefusingJournal()
    world = HistoryWorld(journal=journal)
    world.round_trip()
    world.to_server_time(1, MINUTE)
    journal.refuse, journal.kind = JournalError("the disk is full"), events.HistoryCompared
    results = world.turn(40)
    assert {result.status for result in results} == {SyncStatus.SUCCESS}
    assert not noted(world)
    journal.refuse = None
    world.wait(600)
    world.requote()
    world.turn(40)
    assert len(noted(world)) == 1


# Whatever keeps the book.


def test_a_journal_file_says_the_same_as_the_book(tmp_path: Path) -> None:
    world = HistoryWorld(journal=tmp_path / "bot.db")
    world.round_trip()
    world.pm.submit("buy", 0.1, limit=1.05)
    world.sync()
    counted = Counted()
    for event in world.pm.recorded() or ():
        counted.take(event)
    assert check(world).agreed == 2
    assert sum(len(known.booked) for known in counted.positions.values()) == 2
    world.pm.close_journal()
