"""The state of a book, with properties derived from it.

The functions of the fold read and change this state; `core.book.book` applies events to it.
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

    Positions: `closed` keeps a tombstone of each position that closed recently, because a snapshot
    requested before the close may still show the position and must not bring the position back.
    `missing` has, by identifier, the time (ns) since when a position is absent from the broker's
    list without a proof that it closed. `halts` has the contradictions that stop entries, by
    position. On a netting account strategies share a position: `claims` has the lots that each
    order added, by order id, or by ticket for an unknown order.

    Deals: `unexplained` has positions, open or closed, that still wait for deals. `changed_ns` has
    the time since when the broker's list showed another volume, price or ticket for such a
    position: only new deals explain such a change. `unbooked` has executed orders whose deals are
    not all counted yet, by ticket. `ending` has pending orders that we cancelled and whose end the
    broker has not confirmed yet: a part may have been filled before. `recent` has the positions
    whose deals were counted recently, oldest first: a broker may still change these deals.

    Comparisons: `compared` is the latest comparison of the deals with the broker's history, and
    `agreed_msc` the end of the latest span (server time) over which both agreed, 0 for never.
    `loss` describes lost journal events until a person accepts the loss. `recalled` marks how far
    the gateway's record reached at the latest discovery of such a loss.
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
        """The account of this book, or None before the first snapshot with evidence."""
        return Bound(self.account.login, self.account.server) if self.account else None

    @property
    def nets(self) -> bool:
        """Whether a fill may reduce the opposite side without the ticket of a position to close."""
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
        """Return the time (ns) of our own latest change of a position, 0 for never."""
        kept = self.holdings.get(identifier) or self.closed.get(identifier)
        return kept.touched_ns if kept is not None else 0

    def strategy_of(self, holding: Holding) -> int:
        """Return the strategy's magic number of a position, without a token in its low half."""
        magic = holding.position.magic
        opened_by = self.orders.get(holding.order_ids[0]) if holding.order_ids else None
        is_ours = opened_by is not None and opened_by.wire_magic == magic
        return opened_by.magic if opened_by is not None and is_ours else magic

    def holding_by_ticket(self, ticket: int) -> Holding | None:
        """Return the holding with this current ticket, or None."""
        holding = self.holdings.get(ticket)
        if holding is not None and holding.position.ticket == ticket:
            return holding
        return next((h for h in self.holdings.values() if h.position.ticket == ticket), None)
