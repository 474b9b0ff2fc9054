"""Everything that one sync may depend on: the book, the reading, the policy, and what was said.

Every rule about a difference takes a `SyncInputs` and adds events and holds to an `Outcome`. No
rule asks for anything; the facts that a rule still needs go into the outcome's questions.
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

NOBODY: Mapping[str, str] = MappingProxyType({})
# Where no deals can confirm a list, what we did ourselves is given twice the time to show.
WITHOUT_DEALS = 2


class Told(msgspec.Struct, frozen=True):
    """What `who` said of an order in doubt at `at_ns`.

    `ticket` is the order at the broker that it is, or the position that such an order made or
    changed; 0 says that it was never executed.
    """

    who: str
    at_ns: int
    ticket: int = 0


Words = Mapping[str, Told]
"""What persons said, by order id."""

NOTHING_SAID: Words = MappingProxyType({})


class Lost(msgspec.Struct, frozen=True):
    """What the gateway's record has of a book and the journal lacks.

    `count` orders in all, of which `orders` are the newest. `stream` is the book's name, and
    `is_new` says that the journal has sent nothing itself.
    """

    orders: tuple[SentOrder, ...]
    count: int
    stream: str
    is_new: bool = False


class SyncInputs(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """Everything that one sync may depend on.

    Args:
        book: what we believe we hold.
        snapshot: a reading that may be believed.
        policy: whose positions these are.
        asked_version: the book's version when the snapshot was asked for.
        asked_ns: the date (ns) when it was asked for.
        now_ns: the date (ns) of the plan's events. Dates are no measure of how long ago something
            was: that is `waited`.
        waited: how long before the question things were.
        settle_ms: the settle window (ms) learnt for this account; by default the policy's.
        approved: who said yes to a hold, by its id.
        is_final: whether deals, and the ends of orders, were asked for, as far as they go.
        absences: the orders of which the looks before this one, each of them believed, have shown
            nothing.
        told: what persons said of orders in doubt that nobody else can tell, by order id.
        rechecks: identifiers of positions whose deals are due to be compared again with the
            counted ones.
        has_asked_history: whether the account's history was asked for, as far as that goes.
        lost: the orders that the gateway's record has of this book and the journal lacks.
    """

    book: Book
    snapshot: Snapshot
    policy: Policy
    asked_version: int
    asked_ns: int
    now_ns: int
    waited: Waited
    settle_ms: int | None = None
    approved: Mapping[str, str] = NOBODY
    is_final: bool = True
    absences: Absences = NONE_ABSENT
    told: Words = NOTHING_SAID
    rechecks: tuple[int, ...] = ()
    has_asked_history: bool = True
    lost: Lost | None = None

    @cached_property
    def differences(self) -> Diff:
        """The differences between the book and the reading."""
        return diff(self.book.holdings, self.snapshot, self.policy, self.book.pending)

    @cached_property
    def settle_ns(self) -> int:
        """How long a change of our own may take to show (ns)."""
        window_ms = self.policy.settle_ms if self.settle_ms is None else self.settle_ms
        return window_ms * 1_000_000 * (WITHOUT_DEALS if self.snapshot.evidence is None else 1)

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
