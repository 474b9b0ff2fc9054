"""Compares the book's deals with the broker's history: when somebody asks, and once a day.

Once a day is some minutes after the trade server's midnight, another minute for each account, so
that many bots do not ask at once; not while an order is in doubt, because its deals may not be
counted yet. The span begins where book and broker agreed last. The pages come one after the other
in the calls of `sync_continuous`, which never waits for them.

The comparison changes no money. The positions in which the sides differ are asked about at the next
look, and counted there by the ordinary rule; then they are compared once more, and what that comes
to is noted in the journal.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable
from typing import Any

from trueup.core.account.trust import Bound
from trueup.core.book import events
from trueup.core.model import Evidence
from trueup.core.policy import Policy
from trueup.core.realised.agreement import Counted, counted_in
from trueup.core.realised.history_report import HistoryReport
from trueup.core.scope import EVERY_SYMBOL
from trueup.errors import JournalError
from trueup.logs import Logger, logger
from trueup.protocol.history import Span
from trueup.runtime.bot.portfolio import PortfolioManager
from trueup.runtime.sync.history_span import DAY_MSC, begin_msc, report_of, since_msc
from trueup.runtime.sync.sources import HistorySource

log: Logger = logger("trueup.reconciler")

MINUTE_MSC = 60_000
# Some minutes are left to the broker, which books rollovers and commissions at midnight.
FIRST_MINUTE, LAST_MINUTE = 5, 59
TRY_AGAIN_NS = 600 * 1_000_000_000
# So many looks, after the one that counts what was missing, until it is compared again.
LOOKS_BETWEEN = 2
NO_DEALS = "This gateway object has no deals to compare with: give an `ExecutionGateway`"


class HistoryWatch:
    """Compares one book's deals with the broker's.

    Args:
        pm: the book.
        gateway: where the broker's deals come from, or None where there are none.
        policy: whose symbols these are.
        recheck: has the deals of positions, by identifier, compared at the next look.
    """

    def __init__(
        self,
        pm: PortfolioManager,
        gateway: HistorySource | None,
        policy: Policy,
        recheck: Callable[[Iterable[int]], None],
    ) -> None:
        self._pm, self._gateway, self._policy, self._recheck = pm, gateway, policy, recheck
        self._symbols = () if EVERY_SYMBOL in policy.symbols else policy.named_symbols
        self._span: Span | None = None
        # The server's clock at the latest look that was believed, and how many of those there were.
        self._server_msc = self._looks = self._judged = 0
        self._wait_until_age_ns = self._wait_until_look = 0
        self._is_second = False

    def check(self, since: Any = None) -> HistoryReport:
        """Compare now, and wait for the broker's deals; see `StateReconciler.check_history`."""
        if self._gateway is None:
            return HistoryReport(unknown=NO_DEALS)
        counted, offset_sec = counted_by(self._pm), self._gateway.time_offset_sec
        if since is None:
            begin = begin_msc(counted.began_ns, offset_sec)
        else:
            begin = since_msc(since, offset_sec)
        # What the latest look did not show yet is not in the book either.
        span = Span(begin, self._server_msc + 1 if self._server_msc else 0)
        return report_of(self._gateway.read_history(span, self._symbols), span, counted)

    def seen(self, evidence: Evidence) -> None:
        """Take note of a look that was believed."""
        self._server_msc = max(self._server_msc, evidence.server_time_msc)
        self._looks += 1

    def turn(self) -> None:
        """Begin the day's comparison when it is due, and go on with it; never waits."""
        gateway = self._gateway
        if gateway is None:
            return
        if self._span is None:
            if self._is_due() and gateway.serves_history:
                self._span = Span(self._since_msc(), self._midnight_msc)
                gateway.ask_history(self._span, self._symbols)
            return
        past = gateway.poll_history(self._pm.clock.waiting_ns())
        if past is not None:
            span, self._span = self._span, None
            self._finish(report_of(past, span, counted_in(self._pm.book)))

    # When it is due.

    def _is_due(self) -> bool:
        if self._judged == self._looks:
            # Nothing that it depends on has changed since.
            return False
        self._judged, bound, book = self._looks, self._pm.book.bound, self._pm.book
        if bound is None or not self._server_msc:
            return False
        if self._pm.clock.age_ns() < self._wait_until_age_ns:
            return False
        if self._looks < self._wait_until_look or book.in_doubt or self._pm.desk.owes:
            return False
        minute = self._server_msc % DAY_MSC // MINUTE_MSC
        return self._done_msc() < self._midnight_msc and minute >= jitter_minute(bound)

    @property
    def _midnight_msc(self) -> int:
        return self._server_msc - self._server_msc % DAY_MSC

    def _done_msc(self) -> int:
        """Return up to when the deals were compared last, or when the book began."""
        compared = self._pm.book.compared
        return compared.until_msc if compared is not None else self._began_msc() + DAY_MSC

    def _since_msc(self) -> int:
        """Return from when on deals are compared: since they agreed last, or the book began."""
        return self._pm.book.agreed_msc or self._began_msc()

    def _began_msc(self) -> int:
        account = self._pm.book.account
        offset_sec = self._gateway.time_offset_sec if self._gateway is not None else None
        return begin_msc(0 if account is None else account.at_ns, offset_sec)

    # What it comes to.

    def _finish(self, report: HistoryReport) -> None:
        if report.unknown:
            log.warning("[HISTORY] %s; asked again in 10 minutes", report.unknown)
            self._wait_until_age_ns = self._pm.clock.age_ns() + TRY_AGAIN_NS
            return
        if self._pm.book.in_doubt:
            # Its deals may be among those that differ.
            return
        if not report.agrees and not self._is_second:
            log.info("[HISTORY] %s; asked about at the next sync", report.sentence)
            self._is_second = True
            self._wait_until_look = self._looks + LOOKS_BETWEEN
            self._recheck(report.found.positions)
            return
        self._is_second = False
        level = logging.INFO if report.agrees else logging.ERROR
        more = "" if report.agrees else "; `trueup reconcile` shows each of them"
        log.log(level, "[HISTORY] %s%s", report.sentence, more)
        self._note(report)

    def _note(self, report: HistoryReport) -> None:
        try:
            self._pm.commit([compared_event(report, self._pm.clock.now_ns())])
        except JournalError as error:
            log.warning("[HISTORY] The journal took no note of the comparison: %s", error)
            self._wait_until_age_ns = self._pm.clock.age_ns() + TRY_AGAIN_NS


def compared_event(report: HistoryReport, now_ns: int) -> events.HistoryCompared:
    """Return what the journal keeps of a comparison."""
    found = report.found
    return events.HistoryCompared(
        at_ns=now_ns,
        since_msc=report.since_msc,
        until_msc=report.until_msc,
        agreed=found.agreed,
        missing_in_book=len(found.missing_in_book),
        missing_at_broker=len(found.missing_at_broker),
        changed=len(found.changed),
        difference=found.difference,
    )


def counted_by(pm: PortfolioManager) -> Counted:
    """Return what a book has counted, by its whole journal where it keeps one."""
    history = pm.recorded()
    if history is None:
        return counted_in(pm.book)
    counted = Counted()
    for event in history:
        counted.take(event)
    return counted


def jitter_minute(bound: Bound) -> int:
    """Return the minute after the server's midnight at which an account's history is compared."""
    drawn = hashlib.blake2b(bound.name.encode(), digest_size=4).digest()
    return FIRST_MINUTE + int.from_bytes(drawn) % (LAST_MINUTE + 1 - FIRST_MINUTE)
