"""What tests are made of: rows, replies, positions, books and plans, each in one line.

Objects of the core are made here and nowhere else in the tests, so that a change of a constructor
is a change of this file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any
from unittest.mock import Mock

import msgspec
from hypothesis import strategies as st

from trueup.core.book import events
from trueup.core.book.book import Book
from trueup.core.book.events import AccountBound
from trueup.core.book.order import Order
from trueup.core.book.wishes import OrderWish, WishAction
from trueup.core.deals import as_booked
from trueup.core.digest import digest
from trueup.core.look.inputs import SyncInputs
from trueup.core.look.waited import by_dates
from trueup.core.model import (
    Account,
    Deal,
    Entry,
    Evidence,
    HistoryOrder,
    MarginMode,
    OrderType,
    PendingOrder,
    Position,
    RowFault,
    Side,
    Snapshot,
    TerminalState,
)
from trueup.core.policy import Policy
from trueup.core.sync.plan import Plan, plan
from trueup.journal.memory import MemoryJournal
from trueup.protocol.snapshot import SnapshotReply
from trueup.runtime.bot.portfolio import PortfolioManager
from trueup.runtime.sync.reconciler import StateReconciler
from trueup.runtime.time.clock import ManualClock

TICKET = 123456
NOW_NS = 1_767_571_200_000_000_000
SECOND_NS = 1_000_000_000
GRACE_MS = 10_000


def policy(*symbols: str) -> Policy:
    return Policy(symbols=frozenset(symbols), grace_period_ms=GRACE_MS)


OURS = policy("EURUSD")


class RefusingJournal(MemoryJournal):
    """A journal in memory; `refuse` makes it raise on everything, or events of one kind only."""

    def __init__(self) -> None:
        super().__init__()
        self.refuse: Exception | None = None
        self.kind: type[events.Event] = events.Event
        self.asked = 0

    def append(self, history: Sequence[events.Event]) -> int:
        self.asked += 1
        if self.refuse is not None and any(isinstance(e, self.kind) for e in history):
            raise self.refuse
        return super().append(history)

    def checkpoint(self, position: int, state: bytes) -> None:
        if self.refuse is not None and self.kind is events.Event:
            raise self.refuse
        super().checkpoint(position, state)


# The guide's wire, as plain values.


def row(ticket: object = TICKET, **changes: object) -> dict[str, Any]:
    """A row of a position list as the guide prints it."""
    return {
        "ticket": ticket,
        "symbol": "EURUSD",
        "type": "buy",
        "volume": 0.01,
        "price_open": 1.0543,
        "profit": 0.0,
        "time": 1767571200,
    } | changes


def without(original: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in original.items() if name not in names}


def reply(*rows: object, **changes: object) -> dict[str, Any]:
    """A reply to GET_POSITIONS as the guide prints it."""
    return {"status": "SUCCESS", "positions": list(rows), "error": None} | changes


def as_json(row: msgspec.Struct) -> bytes:
    """A struct as it goes over the wire."""
    return msgspec.json.encode(row)


def snapshot_reply(fields: dict[str, Any]) -> SnapshotReply:
    """A SNAPSHOT reply of these fields without its positions, as a gateway makes it."""
    return msgspec.convert(fields | {"positions": []}, SnapshotReply)


def as_bytes(value: object) -> bytes:
    return json.dumps(value).encode()


# The core.


def position(ticket: int = TICKET, **changes: Any) -> Position:
    facts: dict[str, Any] = {
        "ticket": ticket,
        "symbol": "EURUSD",
        "side": Side.BUY,
        "volume": 0.01,
        "price_open": 1.0543,
        "identifier": ticket,
    }
    return Position(**(facts | changes))


def snapshot(*positions: Position, faults: Sequence[str] = ()) -> Snapshot:
    return Snapshot(positions, tuple(map(RowFault, faults)))


def book_of(*positions: Position) -> Book:
    """A book that holds exactly these."""
    return Book().replay(events.PositionAdopted(at_ns=NOW_NS, position=p) for p in positions)


# A gateway that proves its readings.

ACCOUNT = Account(
    login=1,
    server="Demo",
    currency="USD",
    margin_mode=MarginMode.HEDGING,
    balance=1000.0,
    equity=1000.0,
)
NETTING = msgspec.structs.replace(ACCOUNT, margin_mode=MarginMode.NETTING)


def proven(*positions: Position, **evidence: Any) -> Snapshot:
    """A snapshot with evidence; `evidence` says what is not as plain as can be."""
    counts = (len(positions), len(evidence.get("orders", ())))
    facts: dict[str, Any] = {
        "account": ACCOUNT,
        "terminal": TerminalState(connected=True),
        "epoch": "e1",
        "sequence": 1,
        "digest": digest(positions, evidence.get("orders", ())),
        "server_time_msc": NOW_NS // 1_000_000,
        "count_before": counts,
        "count_after": counts,
    }
    return Snapshot(positions, evidence=Evidence(**(facts | evidence)))


def bound(account: Account = ACCOUNT) -> AccountBound:
    return AccountBound(
        at_ns=NOW_NS,
        login=account.login,
        server=account.server,
        currency=account.currency,
        margin_mode=account.margin_mode,
        currency_digits=account.currency_digits,
    )


def bound_book(*positions: Position, account: Account = ACCOUNT) -> Book:
    """A book that belongs to an account and holds exactly these."""
    adopted = (events.PositionAdopted(at_ns=NOW_NS, position=p) for p in positions)
    return Book().replay([bound(account), *adopted])


def deal(ticket: int, position: int, side: Side, volume: float, **changes: Any) -> Deal:
    """A deal at the position's usual price; an entry, unless it is said otherwise."""
    facts: dict[str, Any] = {
        "ticket": ticket,
        "order": position,
        "position": position,
        "symbol": "EURUSD",
        "side": side,
        "entry": Entry.IN,
        "volume": volume,
        "price": 1.0543,
    }
    return Deal(**(facts | changes))


def counting(position: Position, *deals: Deal) -> events.DealsRecorded:
    """Return the event by which these deals of a position were counted."""
    booked = tuple(map(as_booked, deals))
    return events.DealsRecorded(
        at_ns=NOW_NS,
        position=position,
        deals=tuple(deal.ticket for deal in deals),
        booked=booked,
        realised_units=sum(deal.money for deal in booked),
        because="counted before",
    )


def pending(ticket: int = 50, **changes: Any) -> PendingOrder:
    facts: dict[str, Any] = {
        "ticket": ticket,
        "symbol": "EURUSD",
        "type": OrderType.BUY_LIMIT,
        "volume": 0.1,
        "price_open": 1.05,
    }
    return PendingOrder(**(facts | changes))


TOKEN = "tabcdefgh"


def sent(order_id: str = "A", **changes: Any) -> Order:
    """An order of our desk to buy 0.1 lots, which left at NOW_NS with a token."""
    facts: dict[str, Any] = {
        "symbol": "EURUSD",
        "action": "BUY",
        "volume": 0.1,
        "entry_price": 1.05,
        "entry_ns": NOW_NS,
        "token": TOKEN,
        "by_desk": True,
    }
    return Order(order_id, **(facts | changes))


def past_order(ticket: int = 7, **changes: Any) -> HistoryOrder:
    """An order of the broker's history that bought 0.1 lots a second after NOW_NS."""
    facts: dict[str, Any] = {
        "symbol": "EURUSD",
        "side": Side.BUY,
        "volume": 0.1,
        "filled": 0.1,
        "state": "filled",
        "position": ticket,
        "time_setup_msc": NOW_NS // 1_000_000 + 1_000,
    }
    return HistoryOrder(ticket, **(facts | changes))


def book_with(*orders: Order) -> Book:
    """A book that knows exactly these orders."""
    book = Book()
    book.orders = {order.order_id: order for order in orders}
    book.orders_by_ticket = {order.ticket: order for order in orders if order.ticket}
    return book


def created(order_id: str, side: Side, volume: float = 0.01, **changes: Any) -> events.Event:
    facts: dict[str, Any] = {
        "at_ns": NOW_NS,
        "order_id": order_id,
        "symbol": "EURUSD",
        "side": side,
        "volume": volume,
        "price": 1.0543,
    }
    return events.OrderCreated(**(facts | changes))


def filled(order_id: str, ticket: int, side: Side, volume: float, price: float) -> events.Event:
    return events.OrderFilled(
        at_ns=NOW_NS,
        order_id=order_id,
        ticket=ticket,
        symbol="EURUSD",
        side=side,
        volume=volume,
        price=price,
    )


def proposed(proposal_id: str, key: str = "hedge", **changes: Any) -> events.ProposalMade:
    """Return the proposal of an assistant to buy."""
    wish = OrderWish(WishAction.OPEN, "EURUSD", Side.BUY, 0.1, sl=1.05)
    facts: dict[str, Any] = {
        "at_ns": NOW_NS,
        "proposal_id": proposal_id,
        "by": "mcp:ada/desk",
        "key": key,
        "wish": wish,
        "asked": wish,
        "expires_ns": NOW_NS + 900_000_000_000,
    }
    return events.ProposalMade(**(facts | changes))


def put_in_doubt(book: Book, order_id: str, side: Side, volume: float = 0.01, **more: Any) -> None:
    """Have an order whose answer never came."""
    book.apply(created(order_id, side, volume, **more))
    at_ns = more.get("at_ns", NOW_NS)
    book.apply(events.OrderInDoubt(at_ns=at_ns, order_id=order_id, error="no reply"))


def planned(
    book: Book,
    seen: Snapshot,
    *,
    policy: Policy = OURS,
    asked_version: int | None = None,
    after_sec: float = 1.0,
    now_sec: float | None = None,
    **more: Any,
) -> Plan:
    """The plan of a reading asked for `after_sec` after NOW_NS, at the book's present version.

    It is made at once, or `now_sec` after NOW_NS; `more` goes to `SyncInputs` as it is.
    """
    asked_ns = NOW_NS + round(after_sec * SECOND_NS)
    facts: dict[str, Any] = {
        "book": book,
        "snapshot": seen,
        "policy": policy,
        "asked_version": book.version if asked_version is None else asked_version,
        "asked_ns": asked_ns,
        "now_ns": asked_ns if now_sec is None else NOW_NS + round(now_sec * SECOND_NS),
        "waited": by_dates(asked_ns),
    }
    return plan(SyncInputs(**(facts | more)))


def look_at(seen: Snapshot | None = None, **more: Any) -> SyncInputs:
    """A look that asked at NOW_NS, with a settle window of a second."""
    facts: dict[str, Any] = {
        "book": Book(),
        "snapshot": proven() if seen is None else seen,
        "policy": OURS,
        "asked_version": 0,
        "asked_ns": NOW_NS,
        "now_ns": NOW_NS,
        "settle_ms": more.pop("settle_ns", SECOND_NS) // 1_000_000,
        "waited": by_dates(NOW_NS),
    }
    return SyncInputs(**(facts | more))


def positions_of(book: Book) -> dict[int, tuple[str, float, float]]:
    """What the book holds, by identifier: side, lots, open price."""
    return {
        key: (h.position.side.value, h.position.volume, h.position.price_open)
        for key, h in book.holdings.items()
    }


def wanted(positions: Iterable[Position]) -> dict[int, tuple[str, float, float]]:
    """The same for what a broker has, foreign symbols left out."""
    return {
        p.identifier: (p.side.value, p.volume, p.price_open)
        for p in positions
        if p.symbol == "EURUSD"
    }


# The guide's classes, on a clock that stands still.


def portfolio(journal: RefusingJournal | None = None) -> PortfolioManager:
    return PortfolioManager(symbol="EURUSD", journal=journal, clock=ManualClock(NOW_NS))


def clock_of(pm: PortfolioManager) -> ManualClock:
    assert isinstance(pm.clock, ManualClock)
    return pm.clock


def gateway_saying(*replies: object) -> Mock:
    """The guide's Mock: each call gives the next reply, an exception is raised, the last stays."""
    waiting = list(replies)

    def answer() -> object:
        now = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        if isinstance(now, BaseException):
            raise now
        return now

    gateway = Mock(spec=["get_positions"])
    gateway.get_positions.side_effect = answer
    return gateway


def reconciler_on(*replies: object, pm: PortfolioManager | None = None) -> StateReconciler:
    return StateReconciler(pm or portfolio(), gateway_saying(*replies), sync_interval_sec=15)


def filling(order_id: str, ticket: object = TICKET, **changes: object) -> dict[str, Any]:
    """The guide's answer to an order."""
    return {
        "order_id": order_id,
        "ticket": ticket,
        "filled_price": 1.0543,
        "filled_volume": 0.01,
        "status": "FILLED",
        "timestamp": NOW_NS / 1e9,
        "error": None,
    } | changes


# Strategies.

lots = st.integers(1, 100_000).map(lambda units: units / 1000)
prices = st.integers(1, 10_000_000).map(lambda units: units / 100_000)
sides = st.sampled_from(Side)
tickets = st.integers(1, 40) | st.integers(2**53, 2**53 + 3) | st.integers(2**63, 2**64 - 1)


@st.composite
def one_position(draw: Callable[..., Any], ticket: int) -> Position:
    # A ticket never changes its symbol, so the symbol follows from it.
    return position(
        ticket,
        symbol="GBPUSD" if ticket % 5 == 0 else "EURUSD",
        side=draw(sides),
        volume=draw(lots),
        price_open=draw(prices),
        profit=draw(st.floats(-1e6, 1e6)),
    )


@st.composite
def broker_lists(draw: Callable[..., Any], *, only_ours: bool = False) -> list[Position]:
    """Any number of positions, both sides, ours and foreign."""
    keys = draw(st.lists(tickets, unique=True, max_size=12))
    kept = [key for key in keys if key % 5 or not only_ours]
    return [draw(one_position(key)) for key in kept]
