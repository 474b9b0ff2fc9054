"""What became of requests whose outcome the gateway does not know: the terminal is asked.

A request is in that state when the gateway died between sending it and writing its outcome, and
when the answer itself left it open. The rules are those by which a bot settles an order in doubt
(`core.doubt.traces`): the ticket that an answer gave, the token in the comment, then the only order
that fits (`core.doubt.lookalikes`), where what was sent without a token shows the comment that it
was sent with. Absence counts only in readings that may be believed, whose history covers the
sending, in which this process could read the terminal all along, and as `core.doubt.absence` says:
an answer that says "timed out" may itself have taken half a minute, a terminal that was just
started shows its past bit by bit, and one whose link is dead may not know it yet.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from trueup.core.account.trust import CLOCK_JITTER_MSC, Seen, Unknown, judge, seen_after
from trueup.core.book.book import Book, Order
from trueup.core.book.events import OrderKind
from trueup.core.doubt.absence import Absence, absent_again
from trueup.core.doubt.lookalikes import elapsed_sec, habit, habits_of
from trueup.core.doubt.trace import Trace
from trueup.core.doubt.traces import trace_of
from trueup.core.gateway_record import RequestState, RequestStatus
from trueup.core.model import Evidence, Snapshot
from trueup.core.recovery import BrokerShows
from trueup.core.tokens import token_of
from trueup.gateway.reading.snapshots import CannotRead, Snapshots
from trueup.gateway.record.rows import SentMessage, before_in, message_in, reply_in
from trueup.gateway.record.store import Entry
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.protocol.requests import OrderReply
from trueup.protocol.snapshot import SnapshotReply, SnapshotRequest, snapshot_of

# MetaTrader 5 can fill an order after it answered that it timed out (retcode 10012).
GRACE_SEC = 12
SECOND_NS = 1_000_000_000
# How far before a request its neighbours are looked at.
LOOK_BACK_SEC = 3600
BUYS = frozenset({mt5.ORDER_TYPE_BUY, mt5.ORDER_TYPE_BUY_LIMIT, mt5.ORDER_TYPE_BUY_STOP})
STOPS = frozenset({mt5.ORDER_TYPE_BUY_STOP, mt5.ORDER_TYPE_SELL_STOP})


class Sending(NamedTuple):
    """What `order_send` is about to be given, and what was there before.

    `quote_msc` is the time of the latest quotation by the trade server's clock, 0 where none was
    needed; `orders` are the tickets that worked already, or None where nobody looked.
    """

    message: dict[str, Any]
    quote_msc: int = 0
    orders: tuple[int, ...] | None = None

    @property
    def before(self) -> bytes:
        """What was there before, as it is kept."""
        return msgspec.json.encode({"quote_msc": self.quote_msc, "orders": self.orders})


class Investigator:
    """Settles requests by what one terminal shows.

    Args:
        snapshots: readings of the terminal.
        boot: this run of the gateway.
    """

    def __init__(self, snapshots: Snapshots, boot: str) -> None:
        self._snapshots = snapshots
        self._session = f"{boot}.record"
        self._asked = 0
        self._seen: Seen | None = None
        self.readable_since_ns: int | None = None
        """Since when, by the clock for waiting, all readings could be believed, at one account;
        None while they cannot."""
        self._account = ""
        self._absences: dict[str, Absence] = {}

    def settle(
        self,
        entries: Sequence[Entry],
        neighbours: Sequence[Entry],
        now_ns: int,
        waiting_ns: int | None = None,
    ) -> Iterator[OrderReply]:
        """Yield the replies that the terminal proves.

        Args:
            entries: the requests without a known outcome.
            neighbours: all requests of that time; an order of one of them is nobody else's, and
                shows what this broker does to comments.
            now_ns: nanoseconds of UTC since 1970.
            waiting_ns: the clock for waiting; by default the same.
        """
        waiting_ns = now_ns if waiting_ns is None else waiting_ns
        snapshot = self._look(entries, now_ns)
        evidence = None if snapshot is None else snapshot.evidence
        self._note(evidence, waiting_ns)
        if snapshot is None or evidence is None:
            return
        names = {entry.order_id for entry in entries}
        self._absences = {k: v for k, v in self._absences.items() if k in names}
        account = evidence.account
        here = [e for e in entries if (e.login, e.server) == (account.login, account.server)]
        orders = {entry.order_id: _order_of(entry, snapshot, evidence) for entry in here}
        tickets = _tickets(evidence, snapshot, here, orders)
        evidence = msgspec.structs.replace(evidence, requests=tickets)
        book = Book()
        book.orders_by_ticket = _owners(neighbours, names)
        habits = habits_of(book, snapshot)
        for entry in here:
            order = orders[entry.order_id]
            since = msgspec.structs.replace(snapshot, evidence=_since(entry, order, evidence))
            sent = {habit(order, message_in(entry).comment)} if not order.token else set()
            trace = trace_of(order, list(orders.values()), since, book, habits | sent)
            is_absent = trace.shows is BrokerShows.NO_TRACE and not trace.is_final
            if is_absent and snapshot.faults:
                # The row that cannot be read may be this very order's position.
                continue
            reply = self._reply(order, trace, evidence, waiting_ns)
            if reply is not None:
                yield reply

    def _note(self, evidence: Evidence | None, waiting_ns: int) -> None:
        """Note since when the terminal can be read, all along and at one account.

        What comes back, as a terminal or as an account, may not have its past at once.
        """
        account = "" if evidence is None else evidence.account.name
        if account != self._account:
            self._account = account
            self.readable_since_ns = waiting_ns if account else None
            self._absences.clear()

    def _look(self, entries: Sequence[Entry], now_ns: int) -> Snapshot | None:
        """Read the terminal; None where it cannot be read, or the reading not be believed."""
        self._asked += 1
        # Unknown before the first look, at which nothing is settled as absent.
        server_time_msc = self._seen.server_time_msc if self._seen is not None else 0
        oldest_sec = max(
            elapsed_sec(before_in(entry).quote_msc, server_time_msc, now_ns - entry.came_ns)
            for entry in entries
        )
        messages = [message_in(entry) for entry in entries]
        symbols = {message.symbol for message in messages}
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
        if trace.is_untold:
            return OrderReply(
                name, "UNKNOWN", error=f"not known whether it took effect: {trace.words}"
            )
        return OrderReply(name, "REJECTED", error=f"not executed: {trace.words}")

    def _is_absent(self, order_id: str, evidence: Evidence, waiting_ns: int) -> bool:
        # Never from when it came: how long its sending took is not known.
        before, server_time_msc = self._absences.get(order_id), evidence.server_time_msc
        absence = absent_again(before, waiting_ns, server_time_msc, GRACE_SEC * 1000)
        self._absences[order_id] = absence
        return absence.is_settled


def _carried_out(order: Order, trace: Trace) -> OrderReply | None:
    if order.kind in (OrderKind.MODIFY, OrderKind.CANCEL):
        return OrderReply(order.order_id, "DONE")
    if order.kind is not OrderKind.MARKET:
        return OrderReply(order.order_id, "PLACED", trace.ticket)
    if trace.price is None:
        # Its deals are not there yet; a fill without a price is no answer.
        return None
    return OrderReply(
        order.order_id,
        "FILLED",
        trace.ticket,
        filled_price=trace.price,
        filled_volume=trace.volume,
    )


def _order_of(entry: Entry, snapshot: Snapshot, evidence: Evidence) -> Order:
    """Return a request as the order that a bot would have in doubt."""
    message = message_in(entry)
    position = _identifier_of(message.position, snapshot, evidence)
    return Order(
        order_id=entry.order_id,
        symbol=message.symbol,
        action="BUY" if message.type in BUYS else "SELL",
        volume=message.volume,
        entry_price=message.price,
        entry_ns=entry.came_ns,
        position=position,
        magic=message.magic,
        kind=_kind_of(message),
        sl=message.sl,
        tp=message.tp,
        target=message.order,
        wire_magic=message.magic,
        token=_token_of(entry),
        server_time_msc=before_in(entry).quote_msc,
    )


def _identifier_of(ticket: int, snapshot: Snapshot, evidence: Evidence) -> int:
    """Return the identifier of the position that was to be closed by its ticket, 0 where unknown.

    A ticket is that of the order that opened the position or turned it round last (MT5 reference,
    POSITION_TICKET); a position that has ended since is in no list any more.
    """
    past = evidence.history.orders if evidence.history else ()
    known = {p.ticket: p.identifier for p in snapshot.positions}
    known = {o.ticket: o.position for o in past if o.position} | known
    is_identifier = any(ticket == order.position for order in past)
    return known.get(ticket, ticket if is_identifier else 0)


def _token_of(entry: Entry) -> str:
    """Return the token that a request bears; any other comment may be on other orders too."""
    token = token_of(entry.order_id)
    return token if message_in(entry).comment == token else ""


def _since(entry: Entry, order: Order, evidence: Evidence) -> Evidence:
    """Leave out what was there before the order: it may look like it, and is not it."""
    if order.kind in (OrderKind.MODIFY, OrderKind.CANCEL):
        return evidence
    before = before_in(entry)
    began_msc = before.quote_msc - CLOCK_JITTER_MSC
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
        case mt5.TRADE_ACTION_PENDING:
            return OrderKind.STOP if message.type in STOPS else OrderKind.LIMIT
    return OrderKind.MARKET


def _tickets(
    evidence: Evidence, snapshot: Snapshot, entries: Sequence[Entry], orders: dict[str, Order]
) -> tuple[RequestStatus, ...]:
    """Return the tickets that answers gave, or whose comment is the request's own id."""
    past = evidence.history.orders if evidence.history else ()
    rows = (*past, *snapshot.positions, *evidence.orders)
    found = []
    for entry in entries:
        name, symbol = entry.order_id, orders[entry.order_id].symbol
        said = _ticket_of(entry)
        bearing = {row.ticket for row in rows if (row.comment, row.symbol) == (name, symbol)}
        tickets = {said} if said else bearing
        if len(tickets) == 1:
            found.append(RequestStatus(name, RequestState.UNKNOWN, ticket=tickets.pop()))
    return tuple(found)


def _ticket_of(entry: Entry) -> int:
    reply = reply_in(entry)
    return 0 if reply is None else reply.ticket or 0


def _owners(neighbours: Sequence[Entry], without: set[str]) -> dict[int, Order]:
    """Return which orders of the broker are known to be another request's."""
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
                # Whatever it was sent with shows what becomes of comments.
                token=message_in(entry).comment,
            )
    return owners
