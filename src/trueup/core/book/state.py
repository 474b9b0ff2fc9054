"""The state of a book, and the questions that can be asked of it.

The rules of the fold read and set this state; `core.book.book` applies events by them.
"""

from __future__ import annotations

from collections.abc import Iterator

from trueup.core.account.trust import Bound
from trueup.core.book import events
from trueup.core.book.holdings import Claim, Holding, Pending, Recent, Tombstone, UnbookedOrders
from trueup.core.book.order import Order
from trueup.core.gateway_record import RecordMark
from trueup.core.model import MarginMode, PendingOrder, Position
from trueup.core.quantity import from_units


class BookState:
    """Positions by identifier and orders by id; `version` counts the events applied.

    `closed` keeps a tombstone of the positions that left last: a snapshot asked for before that
    may still show the position, and is not to bring it back. On a netting account, where
    strategies share a position, `claims` say what each order brought to it, by order id, or by
    ticket for an order that we do not know. `missing` says since when (ns) a position is not in the
    broker's list without a proof that it closed. `halts` are contradictions that stop entries, by
    position. `unexplained` are positions, open or closed, that have deals which are still to come,
    and `changed_ns` says of those that the broker's list showed another volume, price or ticket of,
    since when: only new deals explain that. `unbooked` are orders that were executed and whose
    deals are not all counted yet, by ticket, and `ending` pending orders that we cancelled and
    whose end the broker has not told yet: a part of one may have been filled before. `recent` are
    the positions whose deals were counted lately, oldest first: a broker may still change those.
    `compared` is how its deals were compared with the broker's history last, and `agreed_msc` up to
    when (server time) they agreed at the last time that they did, 0 for never. `loss` is what the
    journal was found to lack, until a person accepts that, and `recalled` how far the gateway's
    record reached when that was found last.
    """

    def __init__(self) -> None:
        self.version: int = 0
        self.holdings: dict[int, Holding] = {}
        self.orders: dict[str, Order] = {}
        self.orders_by_ticket: dict[int, Order] = {}
        self.in_doubt: dict[str, Order] = {}
        self.by_key: dict[str, Order] = {}
        self.finished: dict[str, None] = {}
        self.closed: dict[int, Tombstone] = {}
        self.pending: dict[int, Pending] = {}
        self.account: events.AccountBound | None = None
        self.claims: dict[str, Claim] = {}
        self.halts: dict[int, events.HaltRaised] = {}
        self.missing: dict[int, int] = {}
        self.unexplained: dict[int, Position] = {}
        self.changed_ns: dict[int, int] = {}
        self.unbooked: UnbookedOrders = UnbookedOrders()
        self.ending: dict[int, PendingOrder] = {}
        self.recent: dict[int, Recent] = {}
        self.realised_closed_units = 0
        self.compared: events.HistoryCompared | None = None
        self.agreed_msc = 0
        self.loss: events.LossFound | None = None
        self.recalled: RecordMark | None = None

    @property
    def bound(self) -> Bound | None:
        """The account this book belongs to, or None before the first proven snapshot."""
        return Bound(self.account.login, self.account.server) if self.account else None

    @property
    def nets(self) -> bool:
        """Whether a fill may reduce the opposite side without naming the position it closes."""
        return self.account is None or self.account.margin_mode is not MarginMode.HEDGING

    @property
    def shares_positions(self) -> bool:
        """Whether the account is known to have one position for each symbol."""
        return self.account is not None and self.nets

    @property
    def realised(self) -> float:
        """The realised result of all deals recorded, in the account's currency."""
        return from_units(self.realised_units)

    @property
    def realised_units(self) -> int:
        """The realised result in units of 1e-8 of the account's currency."""
        open_units = sum(holding.realised_units for holding in self.holdings.values())
        return self.realised_closed_units + open_units

    def holdings_in(self, symbol: str) -> Iterator[Holding]:
        """Yield the holdings of a symbol, oldest first."""
        return (h for h in self.holdings.values() if h.position.symbol == symbol)

    def touched_ns(self, identifier: int) -> int:
        """Return when we last did something to a position ourselves (ns), 0 for never."""
        kept = self.holdings.get(identifier) or self.closed.get(identifier)
        return kept.touched_ns if kept is not None else 0

    def strategy_of(self, holding: Holding) -> int:
        """Return the strategy's number of a position, where its magic number carries a token."""
        magic = holding.position.magic
        opened_by = self.orders.get(holding.order_ids[0]) if holding.order_ids else None
        is_ours = opened_by is not None and opened_by.wire_magic == magic
        return opened_by.magic if opened_by is not None and is_ours else magic

    def holding_by_ticket(self, ticket: int) -> Holding | None:
        """Return the holding that has this ticket now, or None."""
        holding = self.holdings.get(ticket)
        if holding is not None and holding.position.ticket == ticket:
            return holding
        return next((h for h in self.holdings.values() if h.position.ticket == ticket), None)
