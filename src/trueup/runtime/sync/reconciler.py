"""The guide's reconciler: read, judge, plan, journal, apply, report.

`core.account.trust` decides whether a reading is believed, and `core.sync.plan` decides on the
corrections. This module does the input and output: it asks the gateway, commits the plan and
reports.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from trueup.core.account.health import Restriction, health, restrictions
from trueup.core.account.intended_account import IntendedAccount
from trueup.core.account.trust import Bound, Reason, Trusted, Unknown
from trueup.core.book import events
from trueup.core.book.event_ids import change_id
from trueup.core.book.lifecycle import OrderStatus
from trueup.core.conversions import number, whole_number
from trueup.core.doubt.manual import not_in_doubt
from trueup.core.holds import Hold, HoldKind, age_of
from trueup.core.limits.modes import mode_words
from trueup.core.look.inputs import Statement
from trueup.core.look.settle_window import LONGEST_MS, learn
from trueup.core.model import Snapshot
from trueup.core.policy import Policy
from trueup.core.quantity import format_lots
from trueup.core.realised.history_report import HistoryReport
from trueup.core.scope import EVERY_SYMBOL, Scope
from trueup.core.sync.binding import bound_to
from trueup.core.sync.plan import Plan
from trueup.core.trade_modes import describe_mode
from trueup.errors import BrokerUnknown, JournalError, PlanOutdated, Refused
from trueup.logs import Logger, about_order, logger
from trueup.runtime.bot.portfolio import PortfolioManager
from trueup.runtime.bot.portfolio_view import PortfolioView
from trueup.runtime.story.audit import AuditEntry, AuditTrail, sentence
from trueup.runtime.sync.duty import DutyCycle
from trueup.runtime.sync.history_watch import HistoryWatch
from trueup.runtime.sync.intended_account import intended_account
from trueup.runtime.sync.neighbours import Neighbours, OwnScope
from trueup.runtime.sync.observation import Asked, BrokerObserver, Observation
from trueup.runtime.sync.results import ReconcilerStatus, RemotePosition, SyncResult, SyncStatus
from trueup.runtime.sync.schedule import SECOND_NS, SyncSchedule
from trueup.runtime.sync.sources import source_of
from trueup.runtime.time.clock import Moment, utc
from trueup.turns import Turn, in_turn

__all__ = [
    "BrokerUnknown",
    "PlanOutdated",
    "RemotePosition",
    "StateReconciler",
    "SyncResult",
    "SyncStatus",
]

log: Logger = logger("trueup.reconciler")

# After these reasons the gateway works and the next reading is probably believed, so the wait is
# not doubled.
SOON = frozenset(
    {Reason.EPOCH_CHANGED, Reason.RECONNECTED, Reason.TORN, Reason.ACCOUNT_CONTRADICTS}
)


class StateReconciler:
    """Keeps a `PortfolioManager` in agreement with the broker behind a gateway.

    For a portfolio of an account (`Account.portfolio`), this is a handle of the account's one
    reconciler; see `SharedReconciler`.

    Args:
        portfolio_manager: the book to keep.
        gateway: an `ExecutionGateway`, or any object with `get_positions()`.
        sync_interval_sec: seconds between the syncs of `sync_continuous`; by default the setting
            SYNC_INTERVAL_SEC. 0 makes a sync due at every call: still one question at a time, and
            after a failure the wait still doubles, starting at 0.1 s.
        policy: which positions are ours, and how differences are handled; by default every position
            in the book's symbol is ours, and every difference is corrected.
        account: the intended account, as login@server. A reading of another account, or without an
            account, is not believed. "" for any account; by default the setting TRUEUP_ACCOUNT.
        real_money: whether trading is allowed on an account that is not known to be a demo.

    Raises:
        ValueError: the interval is not a number of seconds, 0 or above; the account is not valid;
            or the book's own orders would not be ours under the policy.
    """

    def __new__(
        cls, portfolio_manager: PortfolioManager, *_: object, **__: object
    ) -> StateReconciler:
        """Make a reconciler, or a handle of the account's reconciler."""
        is_part = isinstance(portfolio_manager, PortfolioView)
        return object.__new__(SharedReconciler if is_part else cls)

    def __init__(
        self,
        portfolio_manager: PortfolioManager,
        gateway: Any,
        sync_interval_sec: float | None = None,
        *,
        policy: Policy | None = None,
        account: str | None = None,
        real_money: bool = True,
    ) -> None:
        if sync_interval_sec is None:
            # Imported here: pydantic takes longer to import than all other modules of a bot
            # together.
            from trueup.settings import load_settings

            sync_interval_sec = load_settings().sync_interval_sec
        self.sync_interval: float = _interval(sync_interval_sec)
        self.portfolio: PortfolioManager = portfolio_manager
        pm = portfolio_manager
        self.intended: IntendedAccount = intended_account(account, real_money=real_money)
        self.policy: Policy = policy or Policy(symbols=frozenset({pm.symbol}))
        _refuse_to_disown(self.policy, pm)
        self.gateway = gateway
        pm.desk.policy = self.policy
        # One gateway usually does both: send orders and list positions. A gateway that the caller
        # set on the desk stays.
        if pm.desk.gateway is None and callable(getattr(gateway, "send_order", None)):
            pm.desk.gateway = gateway
        pm.sight.reads(gateway)
        self.sync_count: int = 0
        self.logger: Logger = log
        self.last_sync_time: float | None = None
        self.latest: SyncResult | None = None
        """The result of the latest sync, whoever asked for the sync."""
        self.holds: tuple[Hold, ...] = ()
        self.remote: Snapshot | None = None
        self._clock = pm.clock
        self._source = source_of(gateway)
        self._observer = BrokerObserver(pm, self._source, self.policy, self.intended)
        self._neighbours = Neighbours(OwnScope(pm, self.policy), gateway)
        self._history = HistoryWatch(pm, self._source.history, self.policy, self._observer.recheck)
        self._audit = AuditTrail()
        pm.on_forced = self._audit.keep
        self._unknown: Unknown | None = None
        self._shown: tuple[Hold, ...] = ()
        # When the reading behind `holds` was asked for.
        self._held_at: Moment | None = None
        self._faults: set[str] = set()
        # By field and kind of value, because a gateway that writes a field in its own way does so
        # in every row.
        self._noted: set[tuple[str, str]] = set()
        self._foreign = 0
        self._said_account: tuple[str, str] | None = None
        self._schedule = SyncSchedule(self._clock.age_ns())
        self._call_duty, self._drift_duty = DutyCycle(pm.clock), DutyCycle(pm.clock)
        # The sentence and the time (ns, clock for ages) of the last `detect_drift` without a
        # believed reading.
        self._drift_unknown = ("", 0)

    @property
    def turn(self) -> Turn:
        """The turn of the book; see `PortfolioManager.turn`."""
        return self.portfolio.turn

    # The guide's six methods.

    @in_turn
    def startup_recovery(self) -> SyncResult:
        """Take the broker's positions into the book; call this once, when the process starts."""
        log.info("[STARTUP] Starting recovery process")
        # Recovery is an ordinary sync; only the log lines are the guide's.
        result = self._finish(self._observe())
        if result.status in (SyncStatus.DEGRADED, SyncStatus.FAILED):
            log.warning("[STARTUP] Nothing recovered; the next sync tries again")
        elif result.recovered or result.errors or result.holds or result.closed or result.drifts:
            log.info("[STARTUP] Recovered %s", _counted(result.recovered, "position"))
        else:
            log.info("[STARTUP] No recovery needed, clean state")
        return result

    @in_turn
    def sync_positions(self) -> SyncResult:
        """Compare book and broker now, wait for the answer, and correct the book."""
        log.info("[SYNC] Starting full synchronization")
        result = self._finish(self._observe())
        self._log_summary(result)
        return result

    @in_turn
    def refresh(self) -> SyncResult:
        """Do as `sync_positions` does, and log only what is new; for a caller that syncs often."""
        return self._finish(self._observe())

    def sync_continuous(self) -> SyncResult | None:
        """Sync when the interval has passed or the gateway hints at a change; call this often.

        With an `ExecutionGateway` this method never waits: the call that finds the interval passed
        asks, and a later call returns the result. Any other gateway object is called, and its
        answer waited for; a slow object is asked so rarely that the waiting takes at most a tenth
        of the time. After a failure the interval doubles, up to a minute. While another thread has
        the turn, for example to send an order, the method returns None at once.
        """
        with self.turn.if_free() as is_ours:
            return self._continue() if is_ours else None

    def _continue(self) -> SyncResult | None:
        self._history.turn()
        if self._observer.is_under_way:
            return self._finish_observation()
        age_ns = self._clock.age_ns()
        if age_ns < self.due_age_ns and not self._is_hinted(age_ns):
            return None
        if self._source.waits:
            return self.sync_positions()
        log.info("[SYNC] Starting full synchronization")
        self._observer.begin()
        return None

    @in_turn
    def detect_drift(self) -> str | None:
        """Return the differences between broker and book as a sentence, or None; changes nothing.

        A gateway that does not answer costs the timeout once. For a while after that, the method
        returns the same sentence at once, with its age.
        """
        rest_ns = self._drift_duty.rest_ns()
        if rest_ns:
            # The gateway did not answer a moment ago: repeat that answer rather than make the
            # strategy wait for the timeout again.
            offline, asked_ns = self._drift_unknown
            ago = age_of(asked_ns, self._clock.age_ns())
            return f"{offline} ({ago}; asked again in {_seconds(rest_ns)})"
        self._drift_duty.begin()
        observation = self._observe()
        if isinstance(observation.verdict, Unknown):
            # Only an offline gateway costs the timeout; other reasons come with an answer, so the
            # next call may ask at once.
            is_away = observation.verdict.reason is Reason.OFFLINE and not self._source.waits
            longest_ns = max(SECOND_NS, round(self.sync_interval * SECOND_NS))
            self._drift_duty.end(SECOND_NS if is_away else 0, longest_ns)
            self._drift_unknown = observation.verdict.sentence, self._clock.age_ns()
            return observation.verdict.sentence
        differences = [
            *map(str, observation.verdict.snapshot.faults),
            *map(sentence, observation.plan.events),
        ]
        return (
            "; ".join(filter(None, [*differences, *(h.reason for h in observation.plan.holds)]))
            or None
        )

    def get_audit_trail(self) -> list[AuditEntry]:
        """Return the last 1,000 entries of the audit trail, oldest first.

        Each entry has `timestamp` (UTC), `action`, `ticket`, `details`, `before` and `after`.
        Actions are the guide's RECOVERY, CLOSED and DRIFT_FIX, and MISSING, FOUND, EXPLAINED,
        SETTLED, ORDER, BOUND, LIMIT and PERSON. May be called from another thread.
        """
        return self._audit.entries()

    @property
    def audit_trail(self) -> list[AuditEntry]:
        """The entries of `get_audit_trail`; setting a list replaces them, `[]` removes them."""
        return self._audit.entries()

    @audit_trail.setter
    def audit_trail(self, entries: list[AuditEntry]) -> None:
        self._audit.replace(entries)

    def get_status(self) -> ReconcilerStatus:
        """Return the state of reconciliation as plain values; times are seconds of UTC since 1970.

        `last_sync_time` is None before the first believed reading. `health` is one sentence.
        """
        book = self.portfolio.book
        status: ReconcilerStatus = {
            "sync_count": self.sync_count,
            "last_sync_time": self.last_sync_time,
            "next_sync_due": self.due_ns / 1e9,
            "audit_trail_entries": len(self._audit),
            "portfolio_position": "OPEN" if book.holdings else "FLAT",
            "health": self.health,
            "account": book.bound.name if book.bound else None,
            "foreign": self._foreign,
            "holds": [hold.reason_at(self.portfolio.counted_ns) for hold in self.holds],
            "neighbours": list(self.neighbours),
            "settle_window_ms": self._observer.settling.window_ms,
        }
        if self.portfolio.has_limits:
            status["limits"] = list(map(_limit_sentence, self.portfolio.limits_reached))
        paused = self.portfolio.paused
        if paused is not None:
            status["paused"] = mode_words(paused)
        return status

    @in_turn
    def sync_soon(self) -> None:
        """Let the next `sync_continuous` sync, whatever the interval."""
        self._schedule.at_once(self._clock.age_ns())

    @in_turn
    def sync_within(self, seconds: float) -> None:
        """Let the next sync be due after so many seconds at the latest."""
        due_ns = self._clock.age_ns() + round(seconds * SECOND_NS)
        self._schedule.due_ns = min(self._schedule.due_ns, due_ns)

    @property
    def is_syncing(self) -> bool:
        """Whether `sync_continuous` waits for an answer."""
        return self._observer.is_under_way

    @property
    def due_ns(self) -> int:
        """The date of the next sync of `sync_continuous`, unless a hint comes earlier (ns)."""
        return self._date_of(self.due_age_ns)

    @property
    def due_age_ns(self) -> int:
        """The time of the next sync as `due_ns`, by the clock for ages (ns)."""
        return max(self._schedule.due_ns, self._call_duty.rests_until_ns)

    @property
    def overdue(self) -> Mapping[int, int]:
        """The positions with overdue deals: since which date (ns) their deals are expected."""
        late = self._schedule.overdue(self._clock.age_ns())
        return {key: self._date_of(since_ns) for key, since_ns in late.items()}

    def _date_of(self, age_ns: int) -> int:
        """Return the date of a past or future time by the clock for ages."""
        return self._clock.now_ns() + age_ns - self._clock.age_ns()

    @property
    def scope(self) -> Scope:
        """The names of the book for other books, and the positions that it counts as its own."""
        return OwnScope(self.portfolio, self.policy).now

    @property
    def neighbours(self) -> tuple[str, ...]:
        """One sentence for each other book that counts the same positions as its own.

        Our own gateway names these books. On the guide's wire, only the bots of this folder and the
        books of this process are known. Entries stay allowed.
        """
        return self._neighbours.sentences

    def note_neighbours(self, scopes: Iterable[Scope]) -> None:
        """Note the books found at the same gateway; each call replaces the earlier list."""
        self._neighbours.found(scopes)

    @property
    def is_current(self) -> bool:
        """Whether the last reading was believed, and is younger than the interval."""
        return self._unknown is None and self.portfolio.is_current(self.sync_interval)

    @property
    def unknown(self) -> Unknown | None:
        """The reason why the last reading is not believed, or None."""
        return self._unknown

    # Plan first, then apply.

    @property
    def health(self) -> str:
        """The state of reconciliation in one sentence."""
        trouble = self.portfolio.journal_trouble.rstrip(".")
        if trouble:
            # Corrections since then are not in the book, so the book cannot be said to agree.
            return f"Degraded: the journal takes nothing: {trouble}; the book is unchanged."
        seen = self.portfolio.seen
        seen_ns = None if seen is None else seen.date_ns
        faults = () if self.remote is None else self.remote.faults
        now_ns = self.portfolio.counted_ns
        sentence = health(self._unknown, self.holds, seen_ns, now_ns, faults, self._unjudged())
        reached, paused = self.portfolio.limits_reached, self.portfolio.paused
        told = [] if paused is None else [_sentence(mode_words(paused))]
        return " ".join([sentence, *told, *map(_limit_sentence, reached[:1])])

    def _unjudged(self) -> list[str]:
        """Return a sentence for each order in doubt that no reading has judged yet."""
        judged = {hold.order_id for hold in self.holds}
        return [
            f"Order in doubt: {order.action} {format_lots(order.volume)}L {order.symbol} ({key}), "
            "the broker has not been asked about it yet"
            for key, order in self.portfolio.book.in_doubt.items()
            if key not in judged
        ]

    @in_turn
    def plan(self) -> Plan:
        """Return the corrections that a sync would make now, without making them.

        Raises:
            BrokerUnknown: the broker cannot be read or believed, so there is no plan.
        """
        observation = self._observe()
        if isinstance(observation.verdict, Unknown):
            raise BrokerUnknown(f"No plan: {observation.verdict.sentence}")
        self._shown = observation.plan.holds
        return observation.plan

    @in_turn
    def apply(self, wanted: Plan) -> SyncResult:
        """Carry out a plan, provided that it is still valid.

        The broker is read again, and a new plan is made from the reading; the plan is carried out
        only if the new plan has the same changes.

        Raises:
            PlanOutdated: the new plan has other changes.
            BrokerUnknown: the broker cannot be read or believed; the plan may still be valid.
        """
        observation = self._observe()
        if isinstance(observation.verdict, Unknown):
            raise BrokerUnknown(f"Not applied: {observation.verdict.sentence}")
        if list(map(change_id, observation.plan.events)) != list(map(change_id, wanted.events)):
            raise PlanOutdated
        return self._finish(observation)

    @in_turn
    def check_history(self, since: Any = None) -> HistoryReport:
        """Compare the book's deals with the broker's history, deal by deal; waits for the answer.

        The comparison changes nothing. The next sync counts the deals that the book lacks, by the
        rule that counts every deal. `sync_continuous` makes the same comparison once a day.

        Args:
            since: where to begin; a datetime (without a zone: UTC), ISO 8601 text, or seconds of
                UTC since 1970. By default the latest agreement of book and broker, or the start of
                the book.

        Returns:
            The report. The guide's wire has no deals, and the report then says so.

        Raises:
            ValueError: `since` is not a moment.
            JournalError: the journal cannot be read.
        """
        report = self._history.check(since)
        self.recheck_deals(report.found.positions)
        return report

    def recheck_deals(self, identifiers: Iterable[int]) -> None:
        """Compare the deals of these positions with the broker's at the next sync."""
        self._observer.recheck(identifiers)

    @in_turn
    def approve(self, hold_id: str, who: str = "a person") -> bool:
        """Approve a hold of the last sync or the last plan; the next sync applies the correction.

        A difference that waits for approval is corrected. A missing position is closed in the book
        as unproven, and the audit trail names `who`: only a person who has checked that the
        position is gone should approve this. Returns False if no hold has this id; a difference
        that changed has a new id.
        """
        waiting = (*self.holds, *self._shown)
        if not hold_id or not any(hold.id == hold_id for hold in waiting):
            return False
        who = who.strip() or "a person"
        log.info("[APPROVED] %s by %s", hold_id, who)
        self._observer.approved[hold_id] = who
        self._schedule.at_once(self._clock.age_ns())
        return True

    @in_turn
    def settle(self, order_id: str, ticket: int = 0, who: str = "a person") -> None:
        """Resolve an order in doubt by hand; the next sync uses the statement.

        This is for an order that no reading can resolve.

        `ticket` is the broker's order that matches, or its position; 0 means that the order was
        never executed. The statement is used for one believed reading, and only if the broker's
        data does not decide; the audit trail calls the outcome an assumption of `who`.

        Raises:
            ValueError: `ticket` is not a ticket.
            Refused: the order is not in doubt, or a ticket for another order still waits for a
                sync.
        """
        named = whole_number(ticket)
        if named is None or named < 0:
            # A value that is not a ticket must never count as 0, "never executed".
            raise ValueError(f"ticket={ticket!r:.40} is not valid: give a ticket, or 0 for none.")
        ticket = named
        order = self.portfolio.book.orders.get(order_id)
        if order is None or order.status is not OrderStatus.IN_DOUBT:
            raise Refused(not_in_doubt(order_id, self.portfolio.book))
        # Two statements in one sync could name the same order, once by ticket and once by
        # position.
        others = [i for i, made in self.statements.items() if made.ticket and i != order_id]
        if ticket and others:
            raise Refused(f"What was said of {others[0]} waits for the next sync: say this then.")
        who = who.strip() or "a person"
        with about_order(order_id):
            log.info("[TOLD] %s: %s says %s", order_id, who, ticket or "that it was never executed")
        self._observer.note_statement(order_id, Statement(who, self._clock.now_ns(), ticket))
        self._schedule.at_once(self._clock.age_ns())

    @property
    def statements(self) -> Mapping[str, Statement]:
        """The statements that wait for the next believed reading, by order id."""
        return self._observer.statements

    @in_turn
    def bind_to_terminal_account(self) -> SyncResult:
        """Bind the book to the account that the terminal is logged in to, on a person's request.

        The book's positions belong to the other account: they leave the book, marked unproven.
        Orders in doubt are given up, because no reading of this account can resolve them.

        Raises:
            Refused: the terminal's account is not the intended account.
        """
        reading, book = self._observer.peek(), self.portfolio.book
        # Without evidence the terminal's account is not known, so there is nothing to bind to; the
        # sync reports the reason.
        if isinstance(reading, Unknown) or reading.evidence is None:
            return self.sync_positions()
        account, now_ns = reading.evidence.account, self._clock.now_ns()
        if book.bound == Bound(account.login, account.server):
            return self.sync_positions()
        objection = self.intended.objection(reading)
        if objection is not None:
            raise Refused(f"Nothing was changed: {objection.sentence}.")
        because = f"a person bound the book to {account.name}"
        left: list[events.Event] = [
            events.PositionClosed(at_ns=now_ns, position=h.position, because=because, unproven=True)
            for h in book.holdings.values()
        ]
        left += [
            events.PendingClosed(at_ns=now_ns, order=p.order, because=because)
            for p in book.pending.values()
        ]
        left += [
            events.OrderCanceled(at_ns=now_ns, order_id=order_id, because=because)
            for order_id in book.in_doubt
        ]
        bound = bound_to(account, now_ns)
        # Entries wait for a reading of the new account, even if the commit fails.
        self.portfolio.sight.forget()
        self.portfolio.commit([*left, bound])
        self._audit.record([*left, bound], self.portfolio.book)
        # The sequence numbers and the clock of the other account's readings mean nothing here.
        self._observer.forget()
        return self.sync_positions()

    # The steps of a sync.

    def _observe(self) -> Observation:
        """Observe now and wait for the answer."""
        if not self._source.waits:
            return self._observer.observe()
        self._call_duty.begin()
        observation = self._observer.observe()
        self._call_duty.end()
        return observation

    def _finish_observation(self) -> SyncResult | None:
        observation = self._observer.poll()
        if observation is None:
            return None
        result = self._finish(observation)
        self._log_summary(result)
        return result

    def _finish(self, observation: Observation) -> SyncResult:
        if not isinstance(observation.verdict, Trusted):
            return self._not_believed(observation.verdict, observation.asked)
        try:
            # An outcome that is not journalled yet was not in the book this plan used, so do not
            # apply the plan.
            if self.portfolio.desk.owes:
                raise JournalError(self.portfolio.journal_trouble)
            if observation.plan.events:
                self.portfolio.commit(observation.plan.events)
            else:
                # Without corrections nothing would be written, and a journal that works again would
                # not be noticed.
                self.portfolio.find_out()
        except JournalError as error:
            log.error("[SYNC] The journal refused the corrections: %s", error)
            self._schedule.failed(self._clock.age_ns(), self.sync_interval)
            return self._result(SyncStatus.FAILED, observation.asked, [str(error)])
        snapshot = observation.verdict.snapshot
        # Only after the commit: prices, audit trail and schedule must not be ahead of the journal.
        self.portfolio.mark(snapshot, observation.asked.at)
        self.portfolio.desk.last_reading.see(snapshot, observation.asked.version)
        self._audit.record(observation.plan.events, self.portfolio.book)
        self._learn(observation)
        self._observer.believed(observation)
        return self._believed(snapshot, observation.plan, observation.asked)

    def _not_believed(self, unknown: Unknown, asked: Asked) -> SyncResult:
        self._unknown = unknown
        self.portfolio.sight.failed(unknown.sentence)
        log.warning("[SYNC] %s; the book is unchanged", unknown.sentence)
        is_soon = unknown.reason in SOON
        self._schedule.failed(self._clock.age_ns(), self.sync_interval, is_soon=is_soon)
        self._restrict()
        # A wrong account does not heal by waiting, so the status is FAILED rather than DEGRADED.
        is_wrong = unknown.reason in (Reason.WRONG_ACCOUNT, Reason.REAL_MONEY)
        status = SyncStatus.FAILED if is_wrong else SyncStatus.DEGRADED
        return self._result(status, asked, [unknown.sentence])

    def _is_hinted(self, age_ns: int) -> bool:
        reason = self._source.hint(age_ns)
        if not reason or not self._schedule.takes_hints(age_ns):
            return False
        log.info("[SYNC] Hint from the gateway: %s", reason)
        return True

    def _believed(self, snapshot: Snapshot, found: Plan, asked: Asked) -> SyncResult:
        self._unknown = None
        self._say_account(snapshot)
        # The gateway answers again, so `detect_drift` may ask again.
        self._drift_duty.reset()
        self.portfolio.sight.believed(self.gateway)
        self.sync_count += 1
        self.last_sync_time = asked.at.date_ns / 1e9
        self.remote, self._foreign = snapshot, found.foreign
        if snapshot.evidence is not None and snapshot.evidence.server_time_msc:
            self.portfolio.desk.see_server_clock(snapshot.evidence.server_time_msc)
            self._history.seen(snapshot.evidence)
        self.portfolio.see_for_limits(snapshot, asked.version)
        self._log_holds(snapshot, found)
        self._neighbours.believed(snapshot.evidence, asked.at.age_ns)
        self.holds, self._shown, self._held_at = found.holds, (), asked.at
        # An approval applies to exactly one difference: drop it when its hold has ended.
        if self._observer.approved:
            approved, still = self._observer.approved, {hold.id for hold in found.holds}
            self._observer.approved = {key: who for key, who in approved.items() if key in still}
        self._observer.forget_statements(asked)
        self._schedule.believed(
            asked.at.age_ns, self.sync_interval, found, date_ns=asked.at.date_ns
        )
        self._restrict()
        status = SyncStatus.PARTIAL if snapshot.faults else SyncStatus.SUCCESS
        return self._result(status, asked, list(map(str, snapshot.faults))).count(found)

    def _say_account(self, snapshot: Snapshot) -> None:
        """Log the account and whether its money is real, once in the life of this process."""
        account = snapshot.evidence.account if snapshot.evidence is not None else None
        if account is None or (account.name, account.trade_mode) == self._said_account:
            return
        self._said_account = account.name, account.trade_mode
        level = logging.WARNING if account.is_real else logging.INFO
        log.log(level, "[ACCOUNT] %s: %s", account.name, describe_mode(account.trade_mode))

    def _learn(self, observation: Observation) -> None:
        """Learn the settle window from holds that have just ended.

        The last reading with the hold proves that the broker showed the old state for at least the
        time from our own activity to that reading.
        """
        if not self.holds:
            return
        seen = self.portfolio.times.at(self._held_at) if self._held_at is not None else None
        # A difference that this sync corrects did not end by itself and teaches nothing; the return
        # of a position and the arrival of its deals do.
        healing = (events.PositionFound, events.DealsRecorded)
        still = {hold.identifier for hold in observation.plan.holds}
        still |= {change_id(e)[1] for e in observation.plan.events if not isinstance(e, healing)}
        for hold in self.holds:
            touched_ns = self.portfolio.book.touched_ns(hold.identifier)
            lag_ms = 0 if seen is None else seen.waited_ns(touched_ns) // 1_000_000
            # A longer time has another cause than a late list, such as a person.
            if (
                hold.kind in (HoldKind.SETTLING, HoldKind.MISSING)
                and hold.identifier not in still
                and 0 < lag_ms <= LONGEST_MS
            ):
                self._observer.settling = learn(self._observer.settling, lag_ms)

    def _restrict(self) -> None:
        # A book on the guide's wire is never bound and keeps the guide's behaviour: an unknown
        # reading halts no entries.
        before = self.portfolio.restrictions
        if self._unknown is None and not self.holds and not before:
            return
        unknown = self._unknown if self.portfolio.book.bound is not None else None
        now_ns = self._clock.now_ns()
        self.portfolio.restrictions = restrictions(unknown, self.holds, before, now_ns)

    def _log_holds(self, snapshot: Snapshot, found: Plan) -> None:
        self._log_unreadable(snapshot)
        known = {(hold.kind, hold.symbol, hold.identifier, hold.id) for hold in self.holds}
        for hold in found.holds:
            level = logging.INFO if hold.kind is HoldKind.SETTLING else logging.WARNING
            if (hold.kind, hold.symbol, hold.identifier, hold.id) not in known:
                with about_order(hold.order_id):
                    log.log(level, "[HOLD] %s: %s (until %s)", hold.scope, hold.reason, hold.until)

    def _log_summary(self, result: SyncResult) -> None:
        if result.status in (SyncStatus.DEGRADED, SyncStatus.FAILED):
            return
        if self.portfolio.journal_trouble:
            # Nothing agrees that cannot be recorded: the next order would be refused.
            log.warning("[SYNC] The broker was read; the journal still takes nothing")
        elif result.recovered or result.closed or result.drifts or result.errors or result.holds:
            log.info(
                "[SYNC] Reconciliation complete: +%d -%d ~%d drifts",
                result.recovered,
                result.closed,
                len(result.drifts),
            )
        else:
            log.info("[SYNC] State Reconciled: Local matches Remote (%.1fms)", result.sync_time_ms)

    def _log_unreadable(self, snapshot: Snapshot) -> None:
        """Log new unreadable rows, and each kind of unreadable optional field once."""
        faults = set(map(str, snapshot.faults))
        for fault in snapshot.faults:
            if str(fault) not in self._faults:
                log.warning("[SYNC] %s", fault)
        self._faults = faults
        for note in snapshot.notes:
            if (note.field, note.kind) not in self._noted:
                self._noted.add((note.field, note.kind))
                log.warning("[SYNC] %s (said once for this field)", note)

    def _result(self, status: SyncStatus, asked: Asked, errors: list[str]) -> SyncResult:
        took_ns = self._clock.waiting_ns() - asked.at.waiting_ns
        self.latest = SyncResult(
            status=status,
            errors=errors,
            timestamp=utc(self._clock.now_ns()),
            sync_time_ms=took_ns / 1e6,
        )
        return self.latest


class SharedReconciler(StateReconciler):
    """A handle of an account's one reconciler, for one of the account's portfolios.

    Every attribute and method is that of the account's reconciler. So the portfolios of an account
    cost one reading of the broker together: `sync_continuous` returns each result once to each
    handle, and `startup_recovery` takes a reading that another portfolio has just made.

    Args:
        portfolio_manager: a portfolio of the account.
        gateway: the gateway of the account.
        sync_interval_sec: as for `StateReconciler`; the shortest interval of all handles holds.
        policy: belongs to the account, so not to be given here, or the account's own.
        account: the same.
        real_money: the same.

    Raises:
        ValueError: a value is not that of the account, or the interval is not valid.
    """

    def __init__(
        self,
        portfolio_manager: PortfolioManager,
        gateway: Any,
        sync_interval_sec: float | None = None,
        *,
        policy: Policy | None = None,
        account: str | None = None,
        real_money: bool = True,
    ) -> None:
        assert isinstance(portfolio_manager, PortfolioView)
        self._view = portfolio_manager
        # The result that this handle returned last.
        self._given: SyncResult | None = None
        one = self._one
        if gateway is not one.gateway:
            raise ValueError(
                f"gateway={gateway!r:.60} is not valid: the account reads and sends through its "
                "own gateway; give account.gateway."
            )
        if policy not in (None, one.policy):
            raise ValueError(
                "policy is not valid here: the policy is the account's; give it there."
            )
        if account and one.intended != intended_account(account, real_money=True):
            raise ValueError(
                f"account={account!r:.60} is not valid: the book is of {one.intended}."
            )
        if not real_money:
            raise ValueError("real_money=False is not valid here: give it to the account.")
        if sync_interval_sec is not None:
            portfolio_manager.intervals.append(_interval(sync_interval_sec))
            one.sync_interval = min(portfolio_manager.intervals)

    def __getattribute__(self, name: str) -> Any:
        if name in _OF_HANDLE:
            return object.__getattribute__(self, name)
        return getattr(self._one, name)

    def __setattr__(self, name: str, value: object) -> None:
        if name in _KEPT:
            object.__setattr__(self, name, value)
        else:
            setattr(self._one, name, value)

    @property
    def _one(self) -> StateReconciler:
        """The account's reconciler now: a wider scope gets a new reconciler."""
        one = self._view.reconciler()
        assert isinstance(one, StateReconciler)
        return one

    @property
    def portfolio(self) -> PortfolioManager:  # type: ignore[override]
        """The portfolio of this handle."""
        return self._view

    def startup_recovery(self) -> SyncResult:
        """Take the broker's positions into the book; call this once, when the process starts.

        The result of another portfolio's sync is returned if the sync is younger than the interval.
        """
        one = self._one
        with one.turn:
            latest = one.latest
            if latest is None or latest is self._given or not one.is_current:
                latest = one.startup_recovery()
            return self._give(latest)

    def sync_positions(self) -> SyncResult:
        """Compare book and broker now, wait for the answer, and correct the book."""
        return self._give(self._one.sync_positions())

    def refresh(self) -> SyncResult:
        """Do as `sync_positions` does, and log only what is new; for a caller that syncs often."""
        return self._give(self._one.refresh())

    def sync_continuous(self) -> SyncResult | None:
        """Sync as the account's reconciler does; return each result once, whoever asked for it."""
        one = self._one
        one.sync_continuous()
        latest = one.latest
        if latest is None or latest is self._given:
            return None
        return self._give(latest)

    def _give(self, result: SyncResult) -> SyncResult:
        self._given = result
        return result


# What a handle keeps itself, and what it has besides; all other names are the reconciler's.
_KEPT = frozenset({"_view", "_given"})
_OF_HANDLE = _KEPT | {
    "startup_recovery",
    "sync_positions",
    "refresh",
    "sync_continuous",
    "portfolio",
    "_one",
    "_give",
    "__class__",
}


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:].rstrip('.')}."


def _limit_sentence(reached: Restriction) -> str:
    where = f" in {reached.symbol}" if reached.symbol else ""
    return f"Entries{where} are refused by a risk limit: {reached.reason} (until {reached.until})."


def _refuse_to_disown(policy: Policy, pm: PortfolioManager) -> None:
    """Refuse a policy under which the book's own orders would not be ours."""
    # The book of an account has orders in any symbol of the policy; the desk checks each order.
    symbol = min(policy.symbols) if pm.symbol == EVERY_SYMBOL else pm.symbol
    why = policy.why_not_ours(symbol, pm.magic, magic_token=pm.desk.magic_token)
    if why:
        raise ValueError(
            f"policy={policy.adopt} is not valid for this book: {why}. Give the book a magic "
            "number of its own, and name that in the policy, as "
            f"PortfolioManager({pm.symbol!r}, magic=7) and Policy(magics={{7}})."
        )


def _interval(sync_interval_sec: object) -> float:
    """Return an interval in seconds; refuse a value that is not 0 or above."""
    interval_sec = number(sync_interval_sec)
    if interval_sec is None or interval_sec < 0:
        raise ValueError(
            f"sync_interval_sec={sync_interval_sec!r:.40} is not valid: give a number of "
            "seconds, 0 or above."
        )
    # A whole number stays a whole number, so that the interval prints as it was given: 15.
    return sync_interval_sec if isinstance(sync_interval_sec, int) else interval_sec


def _seconds(nanoseconds: int) -> str:
    return f"{nanoseconds / SECOND_NS:.0f} s" if nanoseconds >= SECOND_NS else "less than 1 s"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
