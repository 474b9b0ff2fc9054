"""What one look at the broker may depend on, and what its differences come to.

Every rule about a difference takes a `Look` and adds events and holds to an `Outcome`. None of them
asks for anything; what they would need to know goes into the outcome's questions.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import msgspec

from trueup.core.book import events
from trueup.core.book.book import Book
from trueup.core.book.event_ids import step_id
from trueup.core.book.order import Order
from trueup.core.book.realised import known_deals
from trueup.core.deals import Comparison, History, history_of
from trueup.core.holds import Hold, HoldKind
from trueup.core.look.settle_window import LONGEST_MS
from trueup.core.look.waited import Waited
from trueup.core.model import (
    Deal,
    Entry,
    MarginMode,
    PastOrder,
    PendingOrder,
    Position,
    RowFault,
    Snapshot,
    describe,
    describe_at,
    describe_order,
)
from trueup.core.policy import Action, Policy
from trueup.core.quantity import format_price

NEXT_READING = "the next reading"


class Look(msgspec.Struct, frozen=True, dict=True):
    """One look at the broker: everything a decision may depend on.

    `approved` says who said yes to a hold, by its id. `is_final` is false where deals, and the ends
    of orders, can still be asked for before anything is done. `waited` says how long before the
    question things were: `asked_ns` and `now_ns` are dates, and dates are not for that. `rechecks`
    are identifiers of positions whose deals are due to be compared again with what was counted.
    `has_asked_history` is false where the account's recent history can still be asked for.
    """

    book: Book
    snapshot: Snapshot
    policy: Policy
    asked_version: int
    asked_ns: int
    now_ns: int
    settle_ns: int
    approved: Mapping[str, str]
    is_final: bool
    waited: Waited
    rechecks: tuple[int, ...] = ()
    has_asked_history: bool = True

    @cached_property
    def listed(self) -> Mapping[int, Position]:
        """The positions in the broker's list by identifier."""
        return {position.identifier: position for position in self.snapshot.positions}

    def is_settling(self, touched_ns: int) -> bool:
        """Return whether we touched it so shortly before the question that it may not show yet."""
        return touched_ns > 0 and self._is_within(touched_ns, self.settle_ns)

    def is_recent(self, touched_ns: int) -> bool:
        """Return whether we touched it within the longest time that any broker is given."""
        return bool(self.settle_ns) and self._is_within(touched_ns, LONGEST_MS * 1_000_000)

    def _is_within(self, touched_ns: int, window_ns: int) -> bool:
        return 0 <= self.waited.waited_ns(touched_ns) < window_ns

    def history(self, identifier: int) -> History | None:
        """Return the deals of a position, or None when they were not asked for or not readable.

        The account's recent history has them too, whole where it begins with the order that opened
        the position, whose number that has (MQL5 reference, POSITION_IDENTIFIER).
        """
        evidence = self.snapshot.evidence
        if evidence is not None and identifier in evidence.explained:
            return history_of(identifier, evidence.deals)
        shown = history_of(identifier, self.late_deals or ())
        begins = bool(shown.deals) and shown.deals[0].order == identifier
        return shown if begins and shown.deals[0].entry is Entry.IN else None

    def compare(self, identifier: int) -> Comparison | None:
        """Return a position's deals beside those that were counted, or None as `history` does."""
        history = self.history(identifier)
        return None if history is None else Comparison(history, known_deals(self.book, identifier))

    def past_order(self, ticket: int) -> PastOrder | None:
        """Return what became of an order, or None when it was not asked for or is not shown."""
        evidence = self.snapshot.evidence
        past = evidence.past_orders if evidence is not None else ()
        return next((order for order in past if order.ticket == ticket), None)

    @property
    def server_time_msc(self) -> int:
        """The trade server's time, as the latest price tells it; 0 where none does."""
        evidence = self.snapshot.evidence
        return evidence.server_time_msc if evidence is not None else 0

    @property
    def late_deals(self) -> tuple[Deal, ...] | None:
        """All deals of the account's recent past, or None when not asked for or not readable."""
        evidence = self.snapshot.evidence
        if evidence is None or evidence.history is None:
            return None
        return evidence.history.deals

    def may_be_unread(self, row: Position | PendingOrder) -> RowFault | None:
        """Return a row that cannot be read and may be this one, or None.

        On a netting account a position's ticket may have changed, so that it says nothing there.
        """
        for fault in self.snapshot.faults:
            is_ticket = self.is_shared or fault.ticket in (0, row.ticket)
            if is_ticket and fault.symbol in ("", row.symbol):
                return fault
        return None

    def let_go_by(self, hold_id: str) -> str:
        """Return who lets go of what is missing, or nothing; not before it was asked for."""
        return self.approved.get(hold_id, "") if self.is_final else ""

    @property
    def is_shared(self) -> bool:
        """Whether the account has one position for each symbol, whoever trades it."""
        evidence = self.snapshot.evidence
        return evidence is not None and evidence.account.margin_mode is not MarginMode.HEDGING

    def own_order(self, ticket: int) -> Order | None:
        """Return the order of ours that has this ticket, or None."""
        order = self.book.orders_by_ticket.get(ticket)
        return None if order is None or order.is_stand_in else order

    @property
    def money_digits(self) -> int | None:
        """The decimals of the account's money, None where the reading does not say."""
        evidence = self.snapshot.evidence
        return None if evidence is None else evidence.account.currency_digits


class Outcome:
    """What the differences of one look come to.

    `questions` are identifiers of positions whose deals are awaited, `order_questions` tickets of
    orders whose end is, and `rechecks` identifiers of positions whose deals are to be compared
    again, though nothing is known to be still to come. `since_msc` is the time of the trade
    server's clock since which the account's whole history is wanted, 0 for none of it.
    """

    def __init__(self) -> None:
        self.events: list[events.Event] = []
        self.holds: list[Hold] = []
        self.questions: list[int] = []
        self.order_questions: list[int] = []
        self.rechecks: list[int] = []
        self.since_msc: int = 0

    def add(self, other: Outcome) -> None:
        """Append what another outcome has."""
        self.events += other.events
        self.holds += other.holds
        self.questions += other.questions
        self.order_questions += other.order_questions
        self.rechecks += other.rechecks
        if other.since_msc:
            self.want_history(other.since_msc)

    def want_history(self, since_msc: int) -> None:
        """Ask for the account's history since a time of the trade server's clock."""
        self.since_msc = min(self.since_msc or since_msc, since_msc)

    def guard(self, row: Position | PendingOrder, rule: Callable[[], None]) -> bool:
        """Apply the rule of one row; what raises in it becomes that row's hold, and no more.

        A sync that ended there would end there at every sync, and at every start. Returns whether
        the rule was applied.
        """
        lists: tuple[list[Any], ...] = (
            self.events,
            self.holds,
            self.questions,
            self.order_questions,
            self.rechecks,
        )
        before = [len(one) for one in lists]
        try:
            rule()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this row's trouble alone
            for one, length in zip(lists, before, strict=True):
                del one[length:]
            self.holds.append(broken(row, error))
            return False
        return True

    def put_first(self, other: Outcome) -> None:
        """Put what another outcome has before what is here."""
        self.events[:0] = other.events
        self.holds[:0] = other.holds

    def propose(
        self,
        kind: str,
        row: Position | PendingOrder,
        action: Action,
        look: Look,
        *changes: events.Event,
    ) -> bool:
        """Take changes into the plan, or hold them where the policy wants a yes or only a look.

        Returns whether they were taken.
        """
        if action is Action.APPLY:
            self.events += changes
            return True
        wanted = step_id(kind, row)
        if action is Action.ASK and wanted in look.approved:
            self.events += changes
            return True
        what = f"{kind} on ticket {row.ticket}, {_figures(kind, row)},"
        identifier = row.identifier if isinstance(row, Position) else row.ticket
        if action is Action.ASK:
            said, until = f"{what} waits for a yes", f"trueup approve {wanted}"
            hold = Hold(row.symbol, said, until, identifier, HoldKind.ASK, id=wanted)
        else:
            said = f"{what} is shown and not corrected, as the policy says"
            hold = Hold(row.symbol, said, "a person", identifier, HoldKind.ALERT)
        self.holds.append(hold)
        return False


def _figures(kind: str, row: Position | PendingOrder) -> str:
    """Say what a person would say yes to."""
    if isinstance(row, PendingOrder):
        return describe_order(row)
    if kind != "protection":
        return describe_at(row)
    levels = (("stop loss", row.sl), ("take profit", row.tp))
    stops = ", ".join(f"{name} {format_price(p) if p else 'none'}" for name, p in levels)
    return f"{describe(row)}, {stops}"


def settling(row: Position, what: str, touched_ns: int, look: Look) -> Hold:
    """Return the hold of a difference inside its settle window."""
    return Hold(
        row.symbol,
        what,
        f"a reading {look.settle_ns // 1_000_000} ms after we touched it",
        row.identifier,
        HoldKind.SETTLING,
        until_ns=look.asked_ns + look.settle_ns - look.waited.waited_ns(touched_ns),
    )


def broken(row: Position | PendingOrder, error: Exception) -> Hold:
    """Return the hold of a row whose own rule raised an error."""
    identifier = row.identifier if isinstance(row, Position) else row.ticket
    return Hold(
        row.symbol,
        f"Ticket {row.ticket} could not be judged, {where_it_broke(error)}",
        "a reading that can be judged; please report this line",
        identifier,
        HoldKind.BROKEN,
    )


def where_it_broke(error: Exception) -> str:
    """Say what was raised, and where: ZeroDivisionError: division by zero (explain.py line 75)."""
    frames = traceback.extract_tb(error.__traceback__)
    place = ""
    if frames:
        name = frames[-1].filename.replace("\\", "/").rsplit("/", 1)[-1]
        place = f" ({name} line {frames[-1].lineno})"
    return f"{type(error).__name__}: {error}{place}"


def late(row: Position, what: str) -> Hold:
    """Return the hold of a difference that outlives its settle window, against better evidence."""
    until = "a list that agrees with what we did"
    return Hold(row.symbol, what, until, row.identifier, HoldKind.SETTLING)


def unread(row: Position | PendingOrder, fault: RowFault) -> Hold:
    """Return the hold of a row that is not in the list, unless it is the one that is unreadable."""
    what = f"Ticket {row.ticket} is not in the part of the list that can be read ({fault})"
    identifier = row.identifier if isinstance(row, Position) else row.ticket
    return Hold(row.symbol, what, "a whole reading", identifier, HoldKind.PARTIAL)


def newer(row: Position) -> Hold:
    """Return the hold of a position whose local facts are newer than the reading."""
    reason = f"Ticket {row.ticket} changed here after the broker was asked"
    return Hold(row.symbol, reason, NEXT_READING, row.identifier, HoldKind.NEWER)
