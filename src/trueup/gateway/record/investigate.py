"""Find out at the terminal the outcome of requests whose outcome is unknown.

An outcome is unknown if the gateway died between sending the request and recording its outcome, or
if the answer of `order_send` was not conclusive. The rules are those by which a bot resolves an
order in doubt (`core.doubt.traces`): the ticket that the answer gave; the token in the comment;
then the only matching order (`core.doubt.lookalikes`). For a request without a token, the comment
that was sent must match.

An order counts as absent only by trusted readings whose history covers the time of sending, only
while this process could read the terminal all along, and only by the rules of `core.look.absence`.
The reasons: an answer "timed out" may itself have taken half a minute; a terminal that was just
started shows its history little by little; a terminal whose link is dead may not know the order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from trueup.core.account.trust import CLOCK_JITTER_MSC, Seen, Unknown, judge, seen_after
from trueup.core.book.book import Book, Order
from trueup.core.book.events import AT_ONCE, CHANGES, OrderKind
from trueup.core.book.terms import Terms
from trueup.core.doubt.lookalikes import SUMMER_TIME_SEC, elapsed_sec, habit, habits_of
from trueup.core.doubt.trace import Trace
from trueup.core.doubt.traces import trace_of
from trueup.core.gateway_record import RequestState, RequestStatus
from trueup.core.look.absence import Absence, update_absence
from trueup.core.model import Evidence, Snapshot
from trueup.core.recovery import BrokerShows
from trueup.core.tokens import token_of
from trueup.gateway.reading.rows import BUYING
from trueup.gateway.reading.snapshots import CannotRead, Snapshots
from trueup.gateway.record.rows import SentMessage, before_in, message_in, parameters_in, reply_in
from trueup.gateway.record.store import Entry
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.protocol.requests import OrderReply
from trueup.protocol.snapshot import SnapshotReply, SnapshotRequest, snapshot_of

SECOND_NS = 1_000_000_000
# How far before the oldest request the neighbours begin (s).
LOOK_BACK_SEC = 3600
STOPS = frozenset({mt5.ORDER_TYPE_BUY_STOP, mt5.ORDER_TYPE_SELL_STOP})
STOP_LIMITS = frozenset({mt5.ORDER_TYPE_BUY_STOP_LIMIT, mt5.ORDER_TYPE_SELL_STOP_LIMIT})


class Sending(NamedTuple):
    """The arguments for `order_send`, and the state of the terminal before sending.

    Attributes:
        message: the arguments.
        quote_msc: the time of the latest quotation in the trade server's clock (ms), 0 if none was
            needed.
        orders: the tickets of the working orders, or None if they were not read.
    """

    message: dict[str, Any]
    quote_msc: int = 0
    orders: tuple[int, ...] | None = None

    @property
    def before(self) -> bytes:
        """The state before sending, as stored in the record."""
        return msgspec.json.encode({"quote_msc": self.quote_msc, "orders": self.orders})


class Investigator:
    """Resolves requests by the readings of a terminal.

    Args:
        snapshots: reads the terminal.
        boot: the name of this run of the gateway.
        grace_sec: how long a request without a trace may still be executed.
    """

    def __init__(self, snapshots: Snapshots, boot: str, grace_sec: int) -> None:
        self._snapshots = snapshots
        self._grace_sec = grace_sec
        self._session = f"{boot}.record"
        self._asked = 0
        self._seen: Seen | None = None
        self.readable_since_ns: int | None = None
        """Since when all readings could be trusted and were of the same account, by the clock for
        waiting (ns); None while they cannot be trusted."""
        self._account = ""
        self._absences: dict[str, Absence] = {}

    def resolve(
        self,
        entries: Sequence[Entry],
        neighbours: Sequence[Entry],
        now_ns: int,
        waiting_ns: int | None = None,
    ) -> Iterator[OrderReply]:
        """Yield the replies that the terminal proves.

        Args:
            entries: the requests without a known outcome.
            neighbours: all requests of that time. An order of a neighbour cannot belong to another
                request; neighbours also show whether this broker changes comments.
            now_ns: nanoseconds of UTC since 1970.
            waiting_ns: the clock for waiting; by default `now_ns`.
        """
        waiting_ns = now_ns if waiting_ns is None else waiting_ns
        snapshot = self._look(entries, now_ns)
        evidence = None if snapshot is None else snapshot.evidence
        self._note(evidence, waiting_ns)
        if snapshot is None or evidence is None:
            return
        # Forget the absences of requests that were resolved otherwise.
        names = {entry.order_id for entry in entries}
        self._absences = {k: v for k, v in self._absences.items() if k in names}
        # This terminal says nothing about requests that were sent to another account.
        account = evidence.account
        here = [e for e in entries if (e.login, e.server) == (account.login, account.server)]
        orders = {entry.order_id: _order_of(entry, snapshot, evidence) for entry in here}
        tickets = _tickets(evidence, snapshot, here, orders)
        evidence = msgspec.structs.replace(evidence, requests=tickets)
        # The rules of `core` expect a book: give them the orders that are known to be others'.
        book = Book()
        book.orders_by_ticket = _owners(neighbours, names)
        habits = habits_of(book, snapshot)
        for entry in here:
            order = orders[entry.order_id]
            # An order that existed before the request cannot be its result.
            since = msgspec.structs.replace(snapshot, evidence=_since(entry, order, evidence))
            sent = {habit(order, message_in(entry).comment)} if not order.token else set()
            trace = trace_of(order, list(orders.values()), since, book, habits | sent)
            is_absent = trace.shows is BrokerShows.NO_TRACE and not trace.is_final
            if is_absent and snapshot.faults:
                # The unreadable row may be the position of this order.
                continue
            reply = self._reply(order, trace, evidence, waiting_ns)
            if reply is not None:
                yield reply

    def _note(self, evidence: Evidence | None, waiting_ns: int) -> None:
        """Track since when the terminal can be read without a break and with the same account.

        A terminal or an account that comes back may not have its history at once.
        """
        account = "" if evidence is None else evidence.account.name
        if account != self._account:
            self._account = account
            self.readable_since_ns = waiting_ns if account else None
            self._absences.clear()

    def _look(self, entries: Sequence[Entry], now_ns: int) -> Snapshot | None:
        """Read the terminal; return None if the reading fails or cannot be trusted."""
        self._asked += 1
        # 0 before the first reading, when no request can be resolved as absent yet.
        server_time_msc = self._seen.server_time_msc if self._seen is not None else 0
        oldest_sec = max(
            elapsed_sec(before_in(entry).quote_msc, server_time_msc, now_ns - entry.came_ns)
            for entry in entries
        )
        messages = [message_in(entry) for entry in entries]
        # A change names its symbol in the request only, and without a symbol there is no quotation
        # that dates the history.
        symbols = {message.symbol for message in messages}
        symbols |= {parameters_in(entry).get("symbol", "") for entry in entries}
        # The history must reach back to the oldest request, and cover its neighbours.
        request = SnapshotRequest(
            session=self._session,
            id=self._asked,
            symbols=tuple(sorted(symbols - {""})),
            explain_orders=tuple(sorted({message.order for message in messages} - {0})),
            history_age_sec=oldest_sec + LOOK_BACK_SEC,
        )
        try:
            reply = self._snapshots.make(request)
        except CannotRead:
            return None
        # The trust rules compare this reading with the one before.
        if not isinstance(reply, SnapshotReply):
            return None
        snapshot = snapshot_of(reply)
        verdict = judge(snapshot, None, self._seen)
        if snapshot.evidence is not None:
            self._seen = seen_after(snapshot.evidence, self._seen, verdict)
        return None if isinstance(verdict, Unknown) else snapshot

    def _reply(
        self, order: Order, trace: Trace, evidence: Evidence, waiting_ns: int
    ) -> OrderReply | None:
        name = order.order_id
        if trace.shows is not BrokerShows.NO_TRACE:
            self._absences.pop(name, None)
            return None if trace.shows is BrokerShows.UNSEEN else _carried_out(order, trace)
        if not trace.is_final and not self._is_absent(name, evidence, waiting_ns):
            return None
        if trace.is_not_known:
            return OrderReply(
                name, "UNKNOWN", error=f"not known whether it took effect: {trace.words}"
            )
        return OrderReply(name, "REJECTED", error=f"not executed: {trace.words}")

    def _is_absent(self, order_id: str, evidence: Evidence, waiting_ns: int) -> bool:
        # Count from the first absence, not from the arrival: the duration of sending is unknown.
        before, server_time_msc = self._absences.get(order_id), evidence.server_time_msc
        absence = update_absence(before, waiting_ns, server_time_msc, self._grace_sec * 1000)
        self._absences[order_id] = absence
        return absence.is_settled


def _carried_out(order: Order, trace: Trace) -> OrderReply | None:
    if order.kind in CHANGES:
        return OrderReply(order.order_id, "DONE")
    if order.kind not in AT_ONCE:
        return OrderReply(order.order_id, "PLACED", trace.ticket)
    if trace.price is None:
        # The deals have not arrived yet, and a fill needs a price.
        return None
    return OrderReply(
        order.order_id,
        "FILLED",
        trace.ticket,
        filled_price=trace.price,
        filled_volume=trace.volume,
    )


def _order_of(entry: Entry, snapshot: Snapshot, evidence: Evidence) -> Order:
    """Return a request as an `Order`, so that the rules for orders in doubt apply."""
    message = message_in(entry)
    kind = _kind_of(message)
    position = _identifier_of(message.position, snapshot, evidence)
    position_by = _identifier_of(message.position_by, snapshot, evidence)
    if kind is OrderKind.CLOSE_BY:
        # The order names only the first of its positions. On a hedging account a ticket is the
        # identifier, unless the broker opened the position again.
        position, position_by = position or message.position, position_by or message.position_by
    # The message names a position by ticket, which changes; the rules need the identifier.
    return Order(
        order_id=entry.order_id,
        symbol=message.symbol,
        action="BUY" if message.type in BUYING else "SELL",
        volume=message.volume,
        entry_price=message.price,
        entry_ns=entry.came_ns,
        position=position,
        magic=message.magic,
        kind=kind,
        sl=message.sl,
        tp=message.tp,
        target=message.order,
        wire_magic=message.magic,
        token=_token_of(entry),
        server_time_msc=before_in(entry).quote_msc,
        stoplimit=message.stoplimit,
        position_by=position_by,
        terms=Terms(time=parameters_in(entry).get("type_time")),
    )


def _identifier_of(ticket: int, snapshot: Snapshot, evidence: Evidence) -> int:
    """Return the identifier of the position with this ticket, 0 if it is not known.

    A position's ticket is that of the order that opened or last reversed it (MT5 reference,
    POSITION_TICKET). A position that has been closed since is in no list, only in the history.
    """
    past = evidence.history.orders if evidence.history else ()
    known = {p.ticket: p.identifier for p in snapshot.positions}
    known = {o.ticket: o.position for o in past if o.position} | known
    is_identifier = any(ticket == order.position for order in past)
    return known.get(ticket, ticket if is_identifier else 0)


def _token_of(entry: Entry) -> str:
    """Return the token in a request's comment; other comments may be on other orders too."""
    token = token_of(entry.order_id)
    return token if message_in(entry).comment == token else ""


def _since(entry: Entry, order: Order, evidence: Evidence) -> Evidence:
    """Return the evidence without orders from before the request: they cannot be its result."""
    if order.kind in CHANGES:
        return evidence
    before = before_in(entry)
    began_msc = before.quote_msc - CLOCK_JITTER_MSC
    # The trade server's clock was set back since then, so the request's own order seems older too.
    if 0 < evidence.server_time_msc < began_msc:
        began_msc -= SUMMER_TIME_SEC * 1000
    known = set(before.orders or ())
    history = evidence.history
    if history is not None:
        past = (o for o in history.orders if o.time_setup_msc >= began_msc)
        orders = tuple(order for order in past if order.ticket not in known)
        history = msgspec.structs.replace(history, orders=orders)
    working = tuple(order for order in evidence.orders if order.ticket not in known)
    return msgspec.structs.replace(evidence, history=history, orders=working)


def _kind_of(message: SentMessage) -> OrderKind:
    match message.action:
        case mt5.TRADE_ACTION_SLTP:
            return OrderKind.MODIFY
        case mt5.TRADE_ACTION_REMOVE:
            return OrderKind.CANCEL
        case mt5.TRADE_ACTION_MODIFY:
            return OrderKind.MODIFY_ORDER
        case mt5.TRADE_ACTION_CLOSE_BY:
            return OrderKind.CLOSE_BY
        case mt5.TRADE_ACTION_PENDING:
            if message.type in STOP_LIMITS:
                return OrderKind.STOP_LIMIT
            return OrderKind.STOP if message.type in STOPS else OrderKind.LIMIT
    return OrderKind.MARKET


def _tickets(
    evidence: Evidence, snapshot: Snapshot, entries: Sequence[Entry], orders: dict[str, Order]
) -> tuple[RequestStatus, ...]:
    """Return the tickets from answers, or from a comment that equals the request's id."""
    past = evidence.history.orders if evidence.history else ()
    rows = (*past, *snapshot.positions, *evidence.orders)
    found = []
    for entry in entries:
        name, symbol = entry.order_id, orders[entry.order_id].symbol
        said = _ticket_of(entry)
        bearing = {row.ticket for row in rows if (row.comment, row.symbol) == (name, symbol)}
        tickets = {said} if said else bearing
        # Two tickets would be a guess, so neither is used.
        if len(tickets) == 1:
            found.append(RequestStatus(name, RequestState.UNKNOWN, ticket=tickets.pop()))
    return tuple(found)


def _ticket_of(entry: Entry) -> int:
    reply = reply_in(entry)
    return 0 if reply is None else reply.ticket or 0


def _owners(neighbours: Sequence[Entry], without: set[str]) -> dict[int, Order]:
    """Return the broker orders that are known to belong to other requests, by ticket."""
    owners = {}
    for entry in neighbours:
        ticket = _ticket_of(entry)
        if ticket and entry.order_id not in without:
            owners[ticket] = Order(
                entry.order_id,
                "",
                "BUY",
                0.0,
                0.0,
                entry.came_ns,
                ticket=ticket,
                # The comment that was sent, to compare with the comment that the broker shows.
                token=message_in(entry).comment,
            )
    return owners
