"""The status of a running bot: its live facts, and since when each finding is seen."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from trueup.core.account.intended_account import IntendedAccount
from trueup.core.account.trust import Reason
from trueup.core.dates import iso
from trueup.core.holds import Hold
from trueup.errors import JournalError
from trueup.logs import Logger, logger
from trueup.observe.status.facts import Began, BotFacts, LiveFacts
from trueup.observe.status.findings import Finding
from trueup.observe.status.hold_findings import PASSING
from trueup.observe.status.making import findings_of, status_of_bot
from trueup.observe.status.status import EventRow, PriceRow, Status
from trueup.runtime.story.story import last_entries
from trueup.runtime.sync.results import SyncStatus
from trueup.runtime.time.clock import Moment, moment
from trueup.runtime.trading.loop import Feed, TradingLoop

log: Logger = logger("trueup.status")

# A price that has not changed for so long must not look current. Liquid symbols have a new price
# every second while their market is open.
PRICE_OLD_SEC = 60


class StatusSource:
    """Make the status of a running bot.

    Args:
        loop: the bot's trading loop.
        facts: the constant facts of the bot.
    """

    def __init__(self, loop: TradingLoop, facts: BotFacts) -> None:
        self._loop, self._facts = loop, facts
        self._began: dict[str, Moment] = {}
        self._judged: tuple[object, ...] = ()
        # The findings that the log has told; a bot that begins well has nothing to tell.
        self._said: tuple[tuple[str, str], ...] = ()
        self._events: tuple[EventRow, ...] = ()
        self._version = -1

    def turn(self) -> None:
        """Note which findings are new; call this in every turn of the loop."""
        pm, reconciler = self._loop.pm, self._loop.reconciler
        judged = (reconciler.latest, pm.journal_trouble, pm.is_fenced_out, *pm.book.in_doubt)
        # Findings change with readings and with the journal, so most turns cost nothing.
        if judged != self._judged:
            self._judged = judged
            self._say(self._note())

    def _say(self, found: Sequence[Finding]) -> None:
        """Log the state when it changes: what happened, what works, and what a person does."""
        facts = tuple((finding.fact, finding.need) for finding in found)
        if facts == self._said:
            return
        self._said = facts
        status = self.status()
        todo = f" To do: {' '.join(status.needs)}" if status.needs else ""
        level = logging.WARNING if found else logging.INFO
        log.log(level, "[STATUS] %s %s%s", status.sentence, status.works, todo)

    def status(self) -> Status:
        """Return the present status."""
        self._note()
        return status_of_bot(self._loop.pm.book, self._live())

    def _note(self) -> Sequence[Finding]:
        """Note since when each finding is seen, and return all findings."""
        found = findings_of(self._loop.pm.book, self._live())
        now = moment(self._loop.pm.clock)
        keys = [key for finding in found for key in finding.keys]
        self._began = {key: self._began.get(key, now) for key in keys}
        return found

    def _live(self) -> LiveFacts:
        # Read between two turns, so all facts are of the same moment.
        pm, reconciler = self._loop.pm, self._loop.reconciler
        seen, limits, age_ns = pm.seen, pm.limits_reached, pm.clock.age_ns()
        return LiveFacts(
            bot=self._facts,
            symbol=pm.symbol,
            now_ns=pm.clock.now_ns(),
            counted_ns=pm.counted_ns,
            policy=reconciler.policy,
            unknown=reconciler.unknown,
            wanted_login=_wanted_login(self._loop),
            seen_ns=None if seen is None else seen.date_ns,
            age_ns=pm.age_ns,
            due_ns=reconciler.due_ns,
            interval_sec=reconciler.sync_interval + self._loop.pace_sec,
            sync_count=reconciler.sync_count,
            sync_ms=None if reconciler.latest is None else round(reconciler.latest.sync_time_ms, 1),
            snapshot=reconciler.remote,
            foreign=reconciler.get_status()["foreign"],
            holds=tuple(reconciler.holds),
            paused=pm.paused,
            # The limits are the last of all restrictions.
            restrictions=pm.restrictions[: len(pm.restrictions) - len(limits)],
            limits=limits,
            entries_refused=pm.entries_refused() or _unseen(self._loop),
            journal_trouble=pm.journal_trouble,
            journal_remedy=pm.journal_remedy,
            is_fenced_out=pm.is_fenced_out,
            events_count=pm.book.version,
            overdue=reconciler.overdue,
            neighbours=reconciler.neighbours,
            prices=tuple(_price(feed, age_ns) for feed in self._loop.feeds),
            events=self._last_events(),
            began={
                key: Began(began.date_ns, age_ns - began.age_ns)
                for key, began in self._began.items()
            },
        )

    def _last_events(self) -> tuple[EventRow, ...]:
        """Return the last events; read again only after a change of the book."""
        pm = self._loop.pm
        if pm.journal is None:
            return ()
        if pm.book.version != self._version:
            # A journal in trouble is told elsewhere; its last events stay as they were.
            try:
                self._events = last_entries(pm.journal)
                self._version = pm.book.version
            except JournalError:
                pass
        return self._events


def concerns_a_person(hold: Hold) -> bool:
    """Return whether a person should know about a hold."""
    return hold.kind not in PASSING


def _wanted_login(loop: TradingLoop) -> str:
    """Return the action that corrects a wrong account; empty if the account is not wrong."""
    unknown, intended = loop.reconciler.unknown, loop.reconciler.intended
    if unknown is None or unknown.reason not in (Reason.WRONG_ACCOUNT, Reason.REAL_MONEY):
        return ""
    if intended.account is not None and loop.pm.book.bound in (None, intended.account):
        # An account that the program itself has named is no setting that a person can correct.
        is_setting = intended.said_by != IntendedAccount().said_by
        otherwise = f", or correct {intended.said_by}" if is_setting else ""
        return f"Log the terminal in to {intended.account.name}{otherwise}."
    return (
        "Log the terminal in to the book's account; or, to bind the book to the terminal's "
        "account from now on, `trueup rebind`."
    )


def _unseen(loop: TradingLoop) -> str:
    result = loop.last_result
    if result is None:
        return "until the broker has been seen"
    if result.status in (SyncStatus.SUCCESS, SyncStatus.PARTIAL):
        return ""
    return f"while {result.errors[0]}" if result.errors else "while the broker is not believed"


def _price(feed: Feed, age_ns: int) -> PriceRow:
    """Return the price of a symbol; `age_ns` is the present time by the clock for ages."""
    tick, seen, trouble = feed.tick, feed.seen, feed.unknown or ""
    if tick is None or seen is None:
        return PriceRow(symbol=feed.symbol, trouble=trouble)
    age_sec = (age_ns - seen.age_ns) / 1e9
    return PriceRow(
        symbol=feed.symbol,
        bid=tick.bid,
        ask=tick.ask,
        at=iso(seen.date_ns),
        age_sec=round(age_sec, 1),
        market_time=iso(tick.time_msc * 1_000_000) if tick.time_msc > 0 else None,
        is_old=bool(trouble) or age_sec > PRICE_OLD_SEC,
        trouble=trouble,
    )
