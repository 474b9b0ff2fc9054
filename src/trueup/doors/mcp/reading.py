"""The tools that read: from the running bot, else from the journal of the bot that ran last."""

from __future__ import annotations

import contextlib
import datetime as dt
import math
from collections import deque
from collections.abc import Iterable

import msgspec

from trueup.core.book.events import OrderEvent
from trueup.core.dates import iso
from trueup.doors.mcp.link import Link
from trueup.doors.mcp.results import (
    Arguments,
    AuditResult,
    Count,
    Orders,
    PlanResult,
    Positions,
    Timeline,
    Trail,
    Which,
)
from trueup.errors import JournalError, Refused, TrueupError
from trueup.journal.reading.reader import JournalReader
from trueup.observe.audit_text import AuditRow
from trueup.observe.status.status import Status
from trueup.runtime.assistants.outcomes import WishOutcome, outcome_of
from trueup.runtime.assistants.views import (
    BookView,
    LimitsView,
    OrderView,
    ProposalsView,
    book_view,
    find_order,
    limits_view,
    order_view,
    proposals_view,
)
from trueup.runtime.control.bots import Bot
from trueup.runtime.story.newest import newest_rows
from trueup.runtime.story.story import AuditFilter, orders_of, story


class Reading:
    """The tools that read.

    Args:
        link: the bot and the journal.
    """

    def __init__(self, link: Link) -> None:
        self._link = link

    def status(self, _: Arguments) -> Status:
        """Return the state of the bot in sentences."""
        return self._link.status()

    def positions(self, _: Arguments) -> Positions:
        """Return the open positions."""
        view, as_of = self._book(0)
        return Positions(
            source=view.source,
            account=view.account,
            currency=view.currency,
            balance=view.balance,
            equity=view.equity,
            realised=view.realised,
            read=view.read,
            as_of=as_of,
            positions=view.positions,
        )

    def orders(self, wanted: Count) -> Orders:
        """Return the pending orders, and the newest orders of the book."""
        view, _ = self._book(wanted.last)
        return Orders(source=view.source, read=view.read, pending=view.pending, orders=view.orders)

    def _book(self, count: int) -> tuple[BookView, str | None]:
        bot = self._link.running()
        if bot is not None:
            told = self._link.read(bot, "book", count=count)
            return msgspec.convert(told["book"], BookView), None
        stream, book, last_ns = self._link.last_book()
        as_of = None if last_ns is None else iso(last_ns)
        return book_view(book, stream=stream, source="journal", count=count), as_of

    def limits(self, _: Arguments) -> LimitsView:
        """Return the risk limits, a person's mode, and what refuses entries."""
        bot = self._link.running()
        if bot is not None:
            return msgspec.convert(self._link.read(bot, "limits")["limits"], LimitsView)
        return limits_view(self._link.last_book()[1], None, None)

    def plan(self, _: Arguments) -> PlanResult:
        """Have the bot read the broker now, and return what its next sync would change."""
        told = self._link.look(self._link.bot(), "plan")
        proposals = msgspec.convert(told["proposals"], list[WishOutcome])
        unknown = told.get("unknown")
        if unknown is not None:
            reason = f"{unknown['reason']} (until {unknown['until']})"
            return PlanResult(at=told["at"], proposals=proposals, unknown=reason)
        plan = told["plan"]
        return PlanResult(
            at=told["at"],
            foreign=plan["foreign"],
            steps=plan["steps"],
            waiting=told["waiting"],
            proposals=proposals,
        )

    def audit(self, wanted: Trail) -> AuditResult:
        """Return the last entries of the audit trail."""
        since_ns = _since_ns(wanted.since)
        with self._link.journal(self._link.running()) as reader:
            return AuditResult(stream=reader.stream, entries=_entries(reader, wanted, since_ns))

    def proposals(self, _: Arguments) -> ProposalsView:
        """Return the proposals that wait for a person, and the last that ended."""
        bot = self._link.running()
        if bot is None:
            return proposals_view(self._link.last_book()[1], "journal")
        return msgspec.convert(self._link.read(bot, "proposals")["proposals"], ProposalsView)

    def order(self, which: Which) -> Timeline:
        """Return an order with each of its steps."""
        given = [name for name in ("order_id", "key", "ticket") if getattr(which, name)]
        if len(given) != 1:
            raise TrueupError("Give exactly one of order_id, key and ticket.")
        bot = self._link.running()
        order, outcome = self._found(bot, which)
        if order is None and outcome is None:
            value = getattr(which, given[0])
            raise TrueupError(f"The book has no order with {given[0]}={value!r:.80}.")
        if order is None:
            return Timeline(order=None, outcome=outcome)
        try:
            with self._link.journal(bot) as reader:
                steps = _steps(reader, order)
        except JournalError as error:
            return Timeline(order=order, outcome=outcome, steps_unknown=str(error))
        return Timeline(order=order, outcome=outcome, steps=steps)

    def _found(self, bot: Bot | None, which: Which) -> tuple[OrderView | None, WishOutcome | None]:
        """Return the order, and what became of the wish if the key of a wish is given."""
        if bot is None:
            book = self._link.last_book()[1]
            found = find_order(book, order_id=which.order_id, key=which.key, ticket=which.ticket)
            view = None if found is None else order_view(found)
            return view, outcome_of(book, which.key) if which.key else None
        asked = {"id": which.order_id, "key": which.key, "ticket": which.ticket}
        told = self._link.read(bot, "find", **asked)["order"]
        outcome = None
        if which.key:
            # A key of the strategy names no wish of an assistant.
            with contextlib.suppress(Refused):
                answer = self._link.read(bot, "outcome", id=which.key)
                outcome = msgspec.convert(answer["outcome"], WishOutcome)
        return None if told is None else msgspec.convert(told, OrderView), outcome


def _steps(reader: JournalReader, order: OrderView) -> list[AuditRow]:
    """Return the entries of an order's own events; no earlier part of the journal is read."""
    since_ns = _since_ns(order.created)
    records = (
        record
        for record in reader.records(since_ns=since_ns)
        if isinstance(record.event, OrderEvent) and record.event.order_id == order.order_id
    )
    return list(story(records, AuditFilter()))


def _entries(reader: JournalReader, wanted: Trail, since_ns: int | None) -> list[AuditRow]:
    ticket = wanted.ticket or None
    # The last entries of all are at the end of the journal, so its begin need not be read.
    if ticket is None and since_ns is None:
        return newest_rows(reader.records, reader.position, wanted.last, AuditFilter())
    # A first pass: the orders of a ticket are known only from later events.
    order_ids: Iterable[str] = ()
    if ticket is not None:
        order_ids = orders_of(reader.records(since_ns=since_ns), ticket)
    wished = AuditFilter(ticket, frozenset(), frozenset(order_ids))
    return list(deque(story(reader.records(since_ns=since_ns), wished), maxlen=wanted.last))


def _since_ns(text: str) -> int | None:
    if not text:
        return None
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        raise TrueupError(
            f"since={text!r:.60} is not valid: give a time as 2026-01-05T14:02:10Z."
        ) from None
    known = moment if moment.tzinfo is not None else moment.replace(tzinfo=dt.UTC)
    # Down to the whole second: a time that was copied from a result includes its event.
    return math.floor(known.timestamp()) * 1_000_000_000
