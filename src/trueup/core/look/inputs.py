"""The inputs of a sync: the book, the snapshot, the policy, and statements of persons.

Each rule for a difference takes a `SyncInputs` and adds events and holds to an `Outcome`. No rule
reads the broker itself; a rule adds its open questions to the outcome.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from types import MappingProxyType

import msgspec

from trueup.core.book.book import Book
from trueup.core.book.diff import Diff, diff
from trueup.core.book.order import Order
from trueup.core.book.realised import known_deals
from trueup.core.deals import Comparison, History, history_of
from trueup.core.gateway_record import SentOrder
from trueup.core.look.absence import NONE_ABSENT, Absences
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
)
from trueup.core.policy import Policy

NO_APPROVALS: Mapping[str, str] = MappingProxyType({})
# Without deals to confirm a list, our own changes get twice the time to appear.
WITHOUT_DEALS = 2


class Statement(msgspec.Struct, frozen=True):
    """A statement of the person `who` about an order in doubt, made at `at_ns`.

    `ticket` is the matching order at the broker, or the position that this order opened or changed;
    0 states that the order was never executed.
    """

    who: str
    at_ns: int
    ticket: int = 0


Statements = Mapping[str, Statement]
"""Statements of persons, by order id."""

NO_STATEMENTS: Statements = MappingProxyType({})


class Lost(msgspec.Struct, frozen=True):
    """The orders of a book that the gateway's record has and the journal lacks.

    `count` is their number, and `orders` are the newest of them. `stream` is the book's name, and
    `is_new` says that the journal itself has sent no order yet.
    """

    orders: tuple[SentOrder, ...]
    count: int
    stream: str
    is_new: bool = False


class SyncInputs(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """All inputs of a sync.

    Args:
        book: our positions and orders.
        snapshot: a trusted reading of the broker.
        policy: which positions are ours and how to act on differences.
        asked_version: the book's version when the snapshot was requested.
        asked_ns: the date (ns) when the snapshot was requested.
        now_ns: the date (ns) for the plan's events. Never compute an age from dates; use `waited`.
        waited: the ages of facts at the time of the question.
        settle_ms: the settle window (ms) learnt for this account; by default the policy's.
        approved: the person who approved a hold, by the hold's id.
        is_final: whether deals and ends of orders were requested already, so that no further
            question of this sync can add facts.
        absences: the absence records from earlier trusted snapshots, by order id.
        told: statements of persons about orders in doubt that no evidence decides, by order id.
        rechecks: identifiers of positions whose deals are due for another comparison with the
            counted deals.
        has_asked_history: whether the account's history was requested already.
        lost: the orders of this book that the gateway's record has and the journal lacks.
    """

    book: Book
    snapshot: Snapshot
    policy: Policy
    asked_version: int
    asked_ns: int
    now_ns: int
    waited: Waited
    settle_ms: int | None = None
    approved: Mapping[str, str] = NO_APPROVALS
    is_final: bool = True
    absences: Absences = NONE_ABSENT
    told: Statements = NO_STATEMENTS
    rechecks: tuple[int, ...] = ()
    has_asked_history: bool = True
    lost: Lost | None = None

    @cached_property
    def differences(self) -> Diff:
        """The differences between the book and the reading."""
        return diff(self.book.holdings, self.snapshot, self.policy, self.book.pending)

    @cached_property
    def settle_ns(self) -> int:
        """The settle window: how late the broker may show a change of ours (ns)."""
        window_ms = self.policy.settle_ms if self.settle_ms is None else self.settle_ms
        return window_ms * 1_000_000 * (WITHOUT_DEALS if self.snapshot.evidence is None else 1)

    @cached_property
    def listed(self) -> Mapping[int, Position]:
        """The positions in the broker's list by identifier."""
        return {position.identifier: position for position in self.snapshot.positions}

    @cached_property
    def changed_symbols(self) -> frozenset[str]:
        """The symbols of the positions that we changed after the question."""
        # Once for all rows: to look through the book for each of ten thousand rows takes seconds.
        return frozenset(
            holding.position.symbol
            for holding in self.book.holdings.values()
            if holding.touched_ns and holding.version > self.asked_version
        )

    def is_settling(self, touched_ns: int) -> bool:
        """Return whether our change is so recent that the snapshot may not show it yet."""
        return touched_ns > 0 and self._is_within(touched_ns, self.settle_ns)

    def is_recent(self, touched_ns: int) -> bool:
        """Return whether our change is within the longest delay granted to any broker."""
        return bool(self.settle_ns) and self._is_within(touched_ns, LONGEST_MS * 1_000_000)

    def _is_within(self, touched_ns: int, window_ns: int) -> bool:
        return 0 <= self.waited.waited_ns(touched_ns) < window_ns

    def history(self, identifier: int) -> History | None:
        """Return the deals of a position, or None if they were not requested or not readable.

        The account's recent history contains them as well. That history is complete for a position
        if it begins with the opening order, which has the number of the position (MQL5 reference,
        POSITION_IDENTIFIER).
        """
        evidence = self.snapshot.evidence
        if evidence is not None and identifier in evidence.explained:
            return history_of(identifier, evidence.deals)
        shown = history_of(identifier, self.late_deals or ())
        begins = bool(shown.deals) and shown.deals[0].order == identifier
        return shown if begins and shown.deals[0].entry is Entry.IN else None

    def compare(self, identifier: int) -> Comparison | None:
        """Return a position's deals compared with the counted deals; None as for `history`."""
        history = self.history(identifier)
        return None if history is None else Comparison(history, known_deals(self.book, identifier))

    def past_order(self, ticket: int) -> PastOrder | None:
        """Return the end of an order, or None if it was not requested or is not shown."""
        evidence = self.snapshot.evidence
        past = evidence.past_orders if evidence is not None else ()
        return next((order for order in past if order.ticket == ticket), None)

    @property
    def server_time_msc(self) -> int:
        """The trade server's time by the latest price; 0 without a price."""
        evidence = self.snapshot.evidence
        return evidence.server_time_msc if evidence is not None else 0

    @property
    def late_deals(self) -> tuple[Deal, ...] | None:
        """All deals of the account's recent past; None if not requested or not readable."""
        evidence = self.snapshot.evidence
        if evidence is None or evidence.history is None:
            return None
        return evidence.history.deals

    def may_be_unread(self, row: Position | PendingOrder) -> RowFault | None:
        """Return an unreadable row that may be the given row, or None.

        On a netting account a position's ticket may have changed, so there the ticket proves
        nothing.
        """
        for fault in self.snapshot.faults:
            is_ticket = self.is_shared or fault.ticket in (0, row.ticket)
            if is_ticket and fault.symbol in ("", row.symbol):
                return fault
        return None

    def released_by(self, hold_id: str) -> str:
        """Return the person who released a missing row, or empty; only in a final plan."""
        return self.approved.get(hold_id, "") if self.is_final else ""

    @cached_property
    def is_shared(self) -> bool:
        """Whether the account has a single position per symbol, shared by all traders."""
        evidence = self.snapshot.evidence
        return evidence is not None and evidence.account.margin_mode is not MarginMode.HEDGING

    def own_order(self, ticket: int) -> Order | None:
        """Return our order with this ticket, or None."""
        order = self.book.orders_by_ticket.get(ticket)
        return None if order is None or order.is_stand_in else order

    @property
    def money_digits(self) -> int | None:
        """The decimals of the account's money, None if the reading does not have them."""
        evidence = self.snapshot.evidence
        return None if evidence is None else evidence.account.currency_digits
