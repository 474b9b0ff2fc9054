"""A live book as plain values, and a reconciler that tells of each of its syncs."""

from __future__ import annotations

import random
import re
from typing import Any, Protocol

import msgspec

from trueup.core.account.trust import Trusted, Unknown
from trueup.core.book import events
from trueup.core.book.holdings import Holding, Tombstone
from trueup.core.book.strategies import strategy_rows
from trueup.core.look.inputs import SyncInputs
from trueup.core.model import PendingOrder, Position, Snapshot
from trueup.core.policy import Policy
from trueup.core.sync.plan import Plan, plan
from trueup.gateway.client.execution_gateway import ExecutionGateway
from trueup.gateway.client.reader import Reading
from trueup.lab.facts.facts import (
    UNITS,
    Audited,
    BookSeen,
    Fact,
    HandedOut,
    Heard,
    Held,
    Replanned,
    Retold,
    Synced,
    Working,
)
from trueup.lab.system.retelling import retold, steps
from trueup.lab.system.schedule import Schedule
from trueup.runtime.bot.portfolio import PortfolioManager
from trueup.runtime.sync.observation import Asked, Observation
from trueup.runtime.sync.reconciler import StateReconciler, SyncResult, SyncStatus

BELIEVED = frozenset({SyncStatus.SUCCESS, SyncStatus.PARTIAL})


def lasting(said: str) -> str:
    """Return a sentence without what differs between runs of the same plan: the real process."""
    return re.sub(r" \(process \d+ on [^)]*\)", "", said)


def book_seen(
    pm: PortfolioManager, at_ns: int, bot: str, *, with_results: bool = False
) -> BookSeen:
    """Return the contents of a bot's live book as plain values."""
    # The results take long, and are compared only when agreement is due.
    book = pm.book
    results: tuple[tuple[int, int], ...] | None = None
    kept: dict[int, Holding | Tombstone] = {**book.holdings, **book.closed}
    if with_results:
        results = tuple((key, one.realised_units) for key, one in kept.items())
    counted = tuple(
        (key, one.realised_units, sum(deal.money for deal in one.booked))
        for key, one in kept.items()
        if one.deals
    )
    return BookSeen(
        at_ns,
        bot=bot,
        version=book.version,
        positions=tuple(_held(holding.position) for holding in book.holdings.values()),
        orders=tuple(_working(pending.order) for pending in book.pending.values()),
        in_doubt=tuple(book.in_doubt),
        missing=tuple(book.missing),
        state=book.state(),
        realised_units=round(book.realised * UNITS),
        results=results,
        booked=counted,
        strategies=tuple(
            (row.symbol, row.magic, round(row.net_volume * UNITS)) for row in strategy_rows(book)
        ),
    )


def _held(row: Position) -> Held:
    return Held(
        identifier=row.identifier,
        ticket=row.ticket,
        symbol=row.symbol,
        side=row.side.value,
        units=round(row.volume * UNITS),
        price_open=row.price_open,
        sl=row.sl,
        tp=row.tp,
        magic=row.magic,
    )


def _working(order: PendingOrder) -> Working:
    return Working(
        ticket=order.ticket,
        symbol=order.symbol,
        type=order.type.value,
        units=round(order.volume * UNITS),
        price_open=order.price_open,
        price_stoplimit=order.price_stoplimit,
        sl=order.sl,
        tp=order.tp,
        magic=order.magic,
    )


class Teller(Protocol):
    """The bot of a `SyncWatch`, which receives the facts about syncs."""

    name: str
    schedule: Schedule
    retells: random.Random | None
    """Draws the equivalent form of a reading for a second plan; None for no second plan."""
    owes_own_sync: bool
    """Whether the bot has to sync by itself; its next trusted sync of its own clears this."""

    def observe(self, fact: Fact) -> None:
        """Take in a fact."""


class SyncWatch(StateReconciler):
    """A `StateReconciler` that also reports its readings and syncs as facts."""

    def __init__(
        self,
        pm: PortfolioManager,
        gateway: ExecutionGateway,
        sync_interval_sec: float,
        *,
        policy: Policy,
        bot: Teller,
    ) -> None:
        super().__init__(pm, gateway, sync_interval_sec, policy=policy, account="")
        self._bot = bot
        self._told = 0
        self._asked_version = 0
        self._is_by_hand = self._is_first = False
        self._session = pm.run_id
        consider = self._observer._consider

        def hear(reading: Reading, asked: Asked) -> Observation:
            evidence = reading.evidence if isinstance(reading, Snapshot) else None
            if evidence is not None:
                bot.observe(
                    Heard(
                        bot.schedule.now_ns,
                        bot.name,
                        (self._session, evidence.epoch, evidence.sequence),
                    )
                )
            return consider(reading, asked)

        vars(self._observer)["_consider"] = hear

    @property
    def is_looking(self) -> bool:
        """Whether a question to the broker has no handled answer yet."""
        return self._observer.is_under_way

    def startup_recovery(self) -> SyncResult:
        """Reconcile at the start."""
        self._asked_version = self.portfolio.book.version
        self._is_first = True
        return super().startup_recovery()

    def sync_positions(self) -> SyncResult:
        """Compare book and broker now."""
        self._asked_version = self.portfolio.book.version
        self._is_by_hand = True
        return super().sync_positions()

    def sync_continuous(self) -> SyncResult | None:
        """Sync when the interval has passed."""
        if not self._observer.is_under_way:
            self._asked_version = self.portfolio.book.version
        return super().sync_continuous()

    def _finish(self, look: Observation) -> SyncResult:
        before = self._book()
        is_own = not (self._is_by_hand or self._is_first)
        reading = self._retold(look)
        second = None if reading is None else steps(self._planned(look, reading))
        result = super()._finish(look)
        self._tell(result, before, look)
        if is_own and result.status in BELIEVED:
            self._bot.owes_own_sync = False
        if second is not None and result.status in BELIEVED:
            now_ns, bot = self._bot.schedule.now_ns, self._bot.name
            again = self._again(before, reading, look)
            self._bot.observe(Retold(now_ns, bot, steps(look.plan), second, len(again)))
        return result

    def _retold(self, look: Observation) -> Snapshot | None:
        """Return an equivalent form of the reading, if a second plan is wanted."""
        is_wanted = self._is_by_hand or self._bot.owes_own_sync
        self._is_by_hand = self._is_first = False
        chance = self._bot.retells if is_wanted else None
        if chance is None or not isinstance(look.verdict, Trusted):
            return None
        if look.verdict.snapshot.evidence is None:
            # A plain list has no number: a second plan would count as another reading.
            return None
        return retold(look.verdict.snapshot, chance)

    def _planned(self, look: Observation, snapshot: Snapshot) -> Plan:
        """Return the plan of an observation for an equivalent form of its reading."""
        observer = self._observer
        assert look.inputs is not None
        retold = msgspec.structs.replace(
            look.inputs,
            snapshot=snapshot,
            now_ns=self.portfolio.clock.now_ns(),
            settle_ms=observer.settling.window_ms,
            absences=observer.absences,
        )
        return plan(retold)

    def _tell(self, result: SyncResult, before: BookSeen, look: Observation) -> None:
        pm, schedule = self.portfolio, self._bot.schedule
        believed = result.status in BELIEVED
        asked_ns = schedule.now_ns - round(result.sync_time_ms * 1e6)
        if believed and pm.seen is not None:
            # The bot's clock for ages is the world's own time.
            asked_ns = pm.seen.age_ns
        # Only the entries of this sync: earlier facts have the others.
        trail = self.get_audit_trail()
        fresh, self._told = trail[self._told :], len(trail)
        unknown = self._unknown
        is_unknown = unknown is not None and unknown.sentence in result.errors
        why = unknown.sentence if unknown is not None and is_unknown else ""
        after = self._book()
        again = self._again(before, self.remote, look) if believed else ()
        entries = tuple((e["action"], e["ticket"] or 0, e["details"]) for e in fresh)
        at_ns, bot = after.at_ns, after.bot
        self._bot.observe(
            Synced(
                at_ns,
                bot=bot,
                status=result.status.value,
                believed=believed,
                asked_ns=asked_ns,
                changed=before.state != after.state,
                version=before.version,
                state=before.state,
                said=lasting(self.health if believed else why),
                reason=unknown.reason.value if unknown is not None and is_unknown else "",
                holds=tuple(hold.reason for hold in self.holds),
                **self._reading(look),
            )
        )
        self._bot.observe(Audited(at_ns, bot, entries, after.version))
        self._bot.observe(Replanned(at_ns, bot, len(again)))
        self._bot.observe(after)
        if pm.age_ns is not None:
            # A strategy that accepts this age or more is told that the book is current.
            flat = not after.positions
            self._bot.observe(HandedOut(at_ns, bot, flat, current=True, max_age_ns=pm.age_ns))

    def _book(self) -> BookSeen:
        return book_seen(self.portfolio, self._bot.schedule.now_ns, self._bot.name)

    def _reading(self, look: Observation) -> dict[str, Any]:
        """Return the trusted reading of an observation, and the rows of that reading."""
        if isinstance(look.verdict, Unknown) or look.verdict.snapshot.evidence is None:
            return {}
        snapshot, evidence = look.verdict.snapshot, look.verdict.snapshot.evidence
        rows = tuple((row.ticket, row.volume) for row in (*snapshot.positions, *evidence.orders))
        return {
            "reading": (self._session, evidence.epoch, evidence.sequence),
            "rows": None if snapshot.faults else rows,
        }

    def _again(
        self, before: BookSeen, remote: Snapshot | None, look: Observation
    ) -> tuple[str, ...]:
        """Return the changes of a second plan on the same reading."""
        pm = self.portfolio
        if remote is None or pm.seen is None:
            return ()
        if before.version != self._asked_version:
            # The book changed after the question, so its changes are newer than this reading.
            return ()
        # This reading may not show the effect of an order resolved just now.
        has_settled = set(before.in_doubt) != set(pm.book.in_doubt)
        again = SyncInputs(
            book=pm.book,
            snapshot=remote,
            policy=self.policy,
            asked_version=before.version if has_settled else pm.book.version,
            asked_ns=pm.seen.date_ns,
            now_ns=pm.clock.now_ns(),
            waited=pm.times.at(pm.seen),
            settle_ms=self._observer.settling.window_ms,
            rechecks=look.inputs.rechecks if look.inputs is not None else (),
        )
        found = plan(again)
        # An end that names its successor lets the book wait for that one's deals, and the reading
        # may have them already: they are counted at the next look.
        ends = (
            event
            for event in look.plan.events
            if isinstance(event, events.PositionClosed | events.DealsRecorded)
        )
        followed = {identifier for event in ends for identifier in event.went_on_as}
        return tuple(
            type(event).__name__
            for event in found.events
            if not isinstance(event, events.DealsRecorded)
            or event.position.identifier not in followed
        )
