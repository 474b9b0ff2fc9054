"""Compare the book's deals with the broker's history: on request, and once a day.

The daily comparison runs some minutes after the trade server's midnight, at a different minute for
each account, so that many bots do not ask at once. While an order is in doubt the comparison waits,
because the deals of that order may not be counted yet. The span begins where book and broker last
agreed. The pages come one after another in the calls of `sync_continuous`, which never waits for a
page.

The comparison changes no money. After a difference, the next sync reads the deals of those
positions and counts them by the ordinary rule. Then the comparison runs once more, and the journal
records its result.
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
from trueup.errors import JournalError
from trueup.logs import Logger, logger
from trueup.protocol.history import Span
from trueup.runtime.bot.portfolio import PortfolioManager
from trueup.runtime.sync.history_span import DAY_MSC, begin_msc, report_of, since_msc
from trueup.runtime.sync.sources import HistorySource

log: Logger = logger("trueup.reconciler")

MINUTE_MSC = 60_000
# The first minutes are left out: brokers book rollovers and commissions at midnight.
FIRST_MINUTE, LAST_MINUTE = 5, 59
TRY_AGAIN_NS = 600 * 1_000_000_000
# Believed readings between the first comparison and the second: the first of them counts the
# missing deals.
READINGS_BETWEEN = 2
NO_DEALS = "This gateway object has no deals to compare with: give an `ExecutionGateway`"


class HistoryWatch:
    """Compares the deals of one book with the broker's.

    Args:
        pm: the book.
        gateway: the source of the broker's deals, or None if the gateway object serves none.
        policy: the policy with the symbols to compare.
        recheck: makes the next sync compare the deals of these positions, given by identifier.
    """

    def __init__(
        self,
        pm: PortfolioManager,
        gateway: HistorySource | None,
        policy: Policy,
        recheck: Callable[[Iterable[int]], None],
    ) -> None:
        self._pm, self._gateway, self._policy, self._recheck = pm, gateway, policy, recheck
        self._symbols = () if policy.covers_all else policy.named_symbols
        self._span: Span | None = None
        # The server's clock at the latest believed reading, the number of believed readings, and
        # that number at the latest test for due.
        self._server_msc = self._readings = self._judged = 0
        self._wait_until_age_ns = self._wait_until_reading = 0
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
        # Deals after the latest reading are not in the book yet and would count as missing.
        span = Span(begin, self._server_msc + 1 if self._server_msc else 0)
        return report_of(self._gateway.read_history(span, self._symbols), span, counted)

    def seen(self, evidence: Evidence) -> None:
        """Note a believed reading."""
        self._server_msc = max(self._server_msc, evidence.server_time_msc)
        self._readings += 1

    def turn(self) -> None:
        """Begin the daily comparison when due, and continue a started one; never waits."""
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

    # When the comparison is due.

    def _is_due(self) -> bool:
        if self._judged == self._readings:
            # Every condition below depends on the readings, and no reading came since the last
            # test.
            return False
        self._judged, bound, book = self._readings, self._pm.book.bound, self._pm.book
        if bound is None or not self._server_msc:
            return False
        if self._pm.clock.age_ns() < self._wait_until_age_ns:
            return False
        # Deals of an order in doubt, or with an unrecorded outcome, may not be counted yet.
        if self._readings < self._wait_until_reading or book.in_doubt or self._pm.desk.owes:
            return False
        # Each account has its own minute, so that many bots do not ask at once.
        minute = self._server_msc % DAY_MSC // MINUTE_MSC
        return self._done_msc() < self._midnight_msc and minute >= jitter_minute(bound)

    @property
    def _midnight_msc(self) -> int:
        return self._server_msc - self._server_msc % DAY_MSC

    def _done_msc(self) -> int:
        """Return the end of the latest comparison (server time), at first a day after the start."""
        compared = self._pm.book.compared
        return compared.until_msc if compared is not None else self._began_msc() + DAY_MSC

    def _since_msc(self) -> int:
        """Return where the comparison begins: the latest agreement, or the book's start."""
        return self._pm.book.agreed_msc or self._began_msc()

    def _began_msc(self) -> int:
        account = self._pm.book.account
        offset_sec = self._gateway.time_offset_sec if self._gateway is not None else None
        return begin_msc(0 if account is None else account.at_ns, offset_sec)

    # The result of the comparison.

    def _finish(self, report: HistoryReport) -> None:
        # Without the broker's deals there is no result: ask again later.
        if report.unknown:
            log.warning("[HISTORY] %s; asked again in 10 minutes", report.unknown)
            self._wait_until_age_ns = self._pm.clock.age_ns() + TRY_AGAIN_NS
            return
        if self._pm.book.in_doubt:
            # An order came in doubt during the comparison; its deals may be among the differences.
            return
        # The first difference may only be a deal that the book has not counted yet. Give the next
        # syncs the chance to count it before the journal records a difference.
        if not report.agrees and not self._is_second:
            log.info("[HISTORY] %s; asked about at the next sync", report.sentence)
            self._is_second = True
            self._wait_until_reading = self._readings + READINGS_BETWEEN
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
    """Return the event that records a comparison in the journal."""
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
    """Return the counted deals of a book, from its whole journal if the book keeps one."""
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
