"""The guide's reconciler: read, decide, journal, act, say so.

The decision itself is `core.plan`; this shell asks the gateway, commits the plan, and reports.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import logging
from collections.abc import Sequence
from typing import Any

import msgspec

from trueup.core import events
from trueup.core.model import Snapshot, describe
from trueup.core.plan import Plan, plan
from trueup.core.policy import Policy
from trueup.core.trust import Unknown
from trueup.errors import JournalError
from trueup.gateway.client import Reading
from trueup.runtime.audit import AuditTrail, drift_sentence
from trueup.runtime.portfolio import PortfolioManager
from trueup.runtime.sources import source_of
from trueup.settings import load_settings

log = logging.getLogger("trueup.reconciler")

BACKOFF_LIMIT_SEC = 60.0


class SyncStatus(enum.Enum):
    """How a sync ended.

    SUCCESS: book and broker agree. PARTIAL: part of the reading could not be believed. FAILED: the
    reading is good and the book could not take it. DEGRADED: the broker could not be seen.
    """

    SUCCESS = "SUCCESS"
    PARTIAL = "PARTIAL"
    FAILED = "FAILED"
    DEGRADED = "DEGRADED"


@dataclasses.dataclass
class RemotePosition:
    """A position as a gateway of the guide lists it; `type` is "buy" or "sell", volume in lots."""

    ticket: int
    symbol: str
    type: str
    volume: float
    price_open: float
    profit: float = 0.0
    time: int = 0
    comment: str = ""


@dataclasses.dataclass
class SyncResult:
    """What a sync found and did.

    `recovered` and `closed` count positions; `drifts` has one sentence for each position that
    differed; `errors` says what could not be read or done; `sync_time_ms` runs from the question
    to the end.
    """

    status: SyncStatus
    recovered: int = 0
    closed: int = 0
    drifts: list[str] = dataclasses.field(default_factory=list)
    errors: list[str] = dataclasses.field(default_factory=list)
    timestamp: dt.datetime = dataclasses.field(default_factory=lambda: dt.datetime.now(dt.UTC))
    sync_time_ms: float = 0.0


class _Asked(msgspec.Struct, frozen=True):
    """When, and at which version of the book, the broker was asked."""

    at_ns: int
    version: int


class StateReconciler:
    """Keeps a `PortfolioManager` in agreement with the broker behind a gateway.

    Args:
        pm: the book to keep.
        gateway: an `ExecutionGateway`, or any object with `get_positions()`.
        sync_interval_sec: seconds between the syncs of `sync_continuous`; by default the setting
            SYNC_INTERVAL_SEC.
        policy: whose positions these are; by default every position in the book's symbol.

    Raises:
        ValueError: the interval is not a number above 0.
    """

    def __init__(
        self,
        pm: PortfolioManager,
        gateway: Any,
        sync_interval_sec: float | None = None,
        *,
        policy: Policy | None = None,
    ) -> None:
        if sync_interval_sec is None:
            sync_interval_sec = load_settings().sync_interval_sec
        if not 0 < sync_interval_sec < float("inf"):
            raise ValueError(
                f"sync_interval_sec={sync_interval_sec!r} is not valid: give seconds above 0."
            )
        self.portfolio = pm
        self.gateway = gateway
        self.sync_interval = sync_interval_sec
        self.sync_count = 0
        self.last_sync_time: float | None = None
        self._policy = policy or Policy(symbols=frozenset({pm.symbol}))
        self._source = source_of(gateway)
        self._clock = pm.clock
        self._audit = AuditTrail()
        self._pending: _Asked | None = None
        self._due_ns = self._clock.now_ns()
        self._failures = 0

    def startup_recovery(self) -> SyncResult:
        """Take into the book what the broker has; call it once, when the process starts."""
        log.info("[STARTUP] Starting recovery process")
        result = self._sync()
        if result.status is SyncStatus.DEGRADED:
            log.warning("[STARTUP] Nothing recovered; the next sync tries again")
        elif not result.recovered:
            log.info("[STARTUP] No recovery needed, clean state")
        else:
            log.info("[STARTUP] Recovered %d positions", result.recovered)
        return result

    def sync_positions(self) -> SyncResult:
        """Compare book and broker now, wait for the answer, and correct the book."""
        log.info("[SYNC] Starting full synchronization")
        result = self._sync()
        self._log_summary(result)
        return result

    def sync_continuous(self) -> SyncResult | None:
        """Sync when the interval has passed; call it as often as you like.

        With an `ExecutionGateway` this never waits: the call that finds the interval passed asks,
        and a later one returns the result. After a failure the interval doubles, up to a minute.
        """
        if self._pending is not None:
            return self._finish_pending(self._pending)
        if self._clock.now_ns() < self._due_ns:
            return None
        if self._source.waits:
            return self.sync_positions()
        log.info("[SYNC] Starting full synchronization")
        self._pending = self._ask_now()
        self._source.ask()
        return None

    def detect_drift(self) -> str | None:
        """Say in what the broker differs from the book, or None; changes nothing."""
        asked = self._ask_now()
        reading = self._source.read()
        if isinstance(reading, Unknown):
            return reading.sentence
        found = self._plan(reading, asked)
        said = [*reading.faults, *map(_sentence, found.events), *(h.reason for h in found.holds)]
        return "; ".join(said) or None

    def get_audit_trail(self) -> list[dict[str, Any]]:
        """Return the last 1,000 corrections, oldest first.

        Each has `timestamp` (UTC), `action` (RECOVERY, CLOSED, DRIFT_FIX, SETTLED), `ticket`,
        `details`, `before` and `after`.
        """
        return self._audit.entries()

    def get_status(self) -> dict[str, Any]:
        """Return the state of reconciliation as plain values; times are seconds of UTC since 1970.

        `last_sync_time` is None until a first reading was believed.
        """
        return {
            "sync_count": self.sync_count,
            "last_sync_time": self.last_sync_time,
            "next_sync_due": self._due_ns / 1e9,
            "audit_trail_entries": len(self._audit),
            "portfolio_position": "OPEN" if self.portfolio.book.holdings else "FLAT",
        }

    def _sync(self) -> SyncResult:
        asked = self._ask_now()
        return self._finish(self._source.read(), asked)

    def _ask_now(self) -> _Asked:
        return _Asked(self._clock.now_ns(), self.portfolio.book.version)

    def _finish_pending(self, asked: _Asked) -> SyncResult | None:
        reading = self._source.poll()
        if reading is None and self._clock.now_ns() - asked.at_ns >= self._source.timeout_ns:
            reading = self._source.give_up()
        if reading is None:
            return None
        self._pending = None
        result = self._finish(reading, asked)
        self._log_summary(result)
        return result

    def _finish(self, reading: Reading, asked: _Asked) -> SyncResult:
        if isinstance(reading, Unknown):
            return self._degraded(reading, asked)
        found = self._plan(reading, asked)
        try:
            if found.events:
                self.portfolio.commit(found.events)
        except JournalError as error:
            log.error("[SYNC] The journal refused the corrections: %s", error)
            return self._result(SyncStatus.FAILED, asked, errors=[str(error)])
        self.portfolio.mark(reading)
        self._audit.record(found.events)
        return self._done(reading, found, asked)

    def _plan(self, snapshot: Snapshot, asked: _Asked) -> Plan:
        return plan(
            self.portfolio.book,
            snapshot,
            self._policy,
            asked_version=asked.version,
            asked_ns=asked.at_ns,
            now_ns=self._clock.now_ns(),
        )

    def _degraded(self, unknown: Unknown, asked: _Asked) -> SyncResult:
        self._failures += 1
        log.warning("[SYNC] %s; the book is unchanged", unknown.sentence)
        wait_sec = self.sync_interval * 2 ** min(self._failures - 1, 10)
        wait_sec = max(self.sync_interval, min(wait_sec, BACKOFF_LIMIT_SEC))
        self._due_ns = self._clock.now_ns() + round(wait_sec * 1e9)
        return self._result(SyncStatus.DEGRADED, asked, errors=[unknown.sentence])

    def _done(self, snapshot: Snapshot, found: Plan, asked: _Asked) -> SyncResult:
        self._failures = 0
        self.sync_count += 1
        self.last_sync_time = asked.at_ns / 1e9
        self._due_ns = asked.at_ns + round(self.sync_interval * 1e9)
        for sentence in (*snapshot.faults, *(hold.reason for hold in found.holds)):
            log.warning("[SYNC] %s", sentence)
        status = SyncStatus.PARTIAL if snapshot.faults else SyncStatus.SUCCESS
        result = self._result(status, asked, errors=list(snapshot.faults))
        _count(result, found.events)
        return result

    def _result(self, status: SyncStatus, asked: _Asked, errors: list[str]) -> SyncResult:
        now_ns = self._clock.now_ns()
        return SyncResult(
            status=status,
            errors=errors,
            timestamp=dt.datetime.fromtimestamp(now_ns / 1e9, dt.UTC),
            sync_time_ms=(now_ns - asked.at_ns) / 1e6,
        )

    def _log_summary(self, result: SyncResult) -> None:
        if result.status in (SyncStatus.DEGRADED, SyncStatus.FAILED):
            return
        if result.recovered or result.closed or result.drifts or result.errors:
            log.info(
                "[SYNC] Reconciliation complete: +%d -%d ~%d drifts",
                result.recovered,
                result.closed,
                len(result.drifts),
            )
        else:
            log.info("[SYNC] State Reconciled: Local matches Remote (%.1fms)", result.sync_time_ms)


def _count(result: SyncResult, history: Sequence[events.Event]) -> None:
    for event in history:
        if isinstance(event, events.PositionAdopted):
            result.recovered += 1
        elif isinstance(event, events.PositionClosed):
            result.closed += 1
        elif isinstance(event, events.PositionCorrected):
            result.drifts.append(f"Ticket {event.remote.ticket}: {drift_sentence(event)}")


def _sentence(event: events.Event) -> str:
    match event:
        case events.PositionAdopted(position=position):
            return f"Zombie position: Ticket {position.ticket}, {describe(position)}"
        case events.PositionClosed(position=position):
            return f"Ghost position: Ticket {position.ticket}, {describe(position)}"
        case events.PositionCorrected(remote=remote):
            return f"Drift: Ticket {remote.ticket}: {drift_sentence(event)}"
        case events.OrderCanceled(order_id=order_id) | events.OrderSettled(order_id=order_id):
            return f"Order in doubt that can be settled: {order_id}"
    return type(event).__name__
