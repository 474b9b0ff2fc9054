"""The state of a book, with properties derived from it.

The functions of the fold read and change this state; `core.book.book` applies events to it.
"""

from __future__ import annotations

from collections.abc import Iterator

from trueup.core.account.trust import Bound
from trueup.core.book import events
from trueup.core.book.holdings import (
    Claim,
    Holding,
    Owner,
    Pending,
    Recent,
    Tombstone,
    UnbookedOrders,
)
from trueup.core.book.order import Order
from trueup.core.book.proposals import Proposals
from trueup.core.gateway_record import RecordMark
from trueup.core.model import MarginMode, PendingOrder, Position
from trueup.core.quantity import from_units

# A name of its own, as a recovery asks ten thousand times; see `core.look.outcome`.
_HEDGING = MarginMode.HEDGING


class BookState:
    """Positions by identifier and orders by id; `version` counts the events applied.

    Orders: `by_key` has the newest order of each key, and `older_by_key` earlier orders of the same
    key, oldest first; see `core.book.keys`.

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

    Money: `realised_closed_units` is the realised result of all closed positions in units of 1e-8
    of the account's currency, and `realised_by` its parts by symbol and magic number.

    Comparisons: `compared` is the latest comparison of the deals with the broker's history, and
    `agreed_msc` the end of the latest span (server time) over which both agreed, 0 for never.
    `loss` describes lost journal events until a person accepts the loss. `recalled` marks how far
    the gateway's record reached at the latest discovery of such a loss.

    Risk limits: `figures` is the account's money by which they are judged, None without such
    limits. `reached` has the limits that refuse entries, by name.

    Persons: `paused` is the mode that a person has set, None while every order is allowed.
    `proposals` has the orders that assistants proposed, by id: those that wait for a person, and
    the last that ended, in the order of their ends; see `core.book.proposals`.
    """

    def __init__(self) -> None:
        self.version: int = 0
        self.holdings: dict[int, Holding] = {}
        self.orders: dict[str, Order] = {}
        self.orders_by_ticket: dict[int, Order] = {}
        self.in_doubt: dict[str, Order] = {}
        self.by_key: dict[str, Order] = {}
        self.older_by_key: dict[str, list[Order]] = {}
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
        self.realised_by: dict[Owner, int] = {}
        self.compared: events.HistoryCompared | None = None
        self.agreed_msc = 0
        self.loss: events.LossFound | None = None
        self.recalled: RecordMark | None = None
        self.figures: events.FiguresNoted | None = None
        self.reached: dict[str, events.LimitReached] = {}
        self.paused: events.TradingPaused | None = None
        self.proposals: Proposals = {}

    @property
    def bound(self) -> Bound | None:
        """The account of this book, or None before the first snapshot with evidence."""
        return Bound(self.account.login, self.account.server) if self.account else None

    @property
    def nets(self) -> bool:
        """Whether a fill may reduce the opposite side without the ticket of a position to close."""
        return self.account is None or self.account.margin_mode is not _HEDGING

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
        for order_id in holding.order_ids:
            order = self.orders.get(order_id)
            if order is not None and order.wire_magic == magic:
                return order.magic
        # An order in doubt may have opened it in part, while the broker works on the rest.
        in_doubt = self.in_doubt.values()
        return next((one.magic for one in in_doubt if one.wire_magic == magic), magic)

    def strategy_of_pending(self, row: PendingOrder) -> int:
        """Return the strategy's magic number of a pending order; see `strategy_of`."""
        order = self.orders_by_ticket.get(row.ticket)
        return order.magic if order is not None and order.wire_magic == row.magic else row.magic

    def holding_by_ticket(self, ticket: int) -> Holding | None:
        """Return the holding with this current ticket, or None."""
        holding = self.holdings.get(ticket)
        if holding is not None and holding.position.ticket == ticket:
            return holding
        return next((h for h in self.holdings.values() if h.position.ticket == ticket), None)
