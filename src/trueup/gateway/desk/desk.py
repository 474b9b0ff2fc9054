"""The desk: answers each request of a client from the terminal.

The desk works with any terminal that satisfies `Terminal`. Two rules keep the worst errors of
trading bridges off the wire: a list that could not be read is answered FAILED, never as an empty
list; an order whose outcome is not known is answered UNKNOWN, never REJECTED.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import msgspec

from trueup.core.account.trust import sign_of_positions
from trueup.core.model import Position
from trueup.core.policy import GRACE_SEC
from trueup.errors import RemoteProtocolError
from trueup.gateway.access.allow_file import FULL_ACCESS, Access
from trueup.gateway.client.other_dialect import (
    NOT_CONNECTED,
    read_account,
    read_holdings,
)
from trueup.gateway.desk.asking_books import AskingBooks
from trueup.gateway.desk.module_calls import make_call
from trueup.gateway.desk.orders import Orders
from trueup.gateway.reading.history import HistoryPages
from trueup.gateway.reading.rows import account_of, listed_position
from trueup.gateway.reading.snapshots import CannotRead, Reading, Snapshots
from trueup.gateway.reading.symbol_check import SymbolCheck
from trueup.gateway.reading.watcher import Watcher
from trueup.gateway.record.at_most_once import GatewayPoint, RequestRecord, carry_on
from trueup.gateway.record.claims import Claims
from trueup.gateway.record.fences import Fences
from trueup.gateway.record.investigate import Investigator
from trueup.gateway.record.recorded_requests import RecordedRequests
from trueup.gateway.record.store import RequestStore, StoreTrouble
from trueup.gateway.terminal.account_look import AccountLook
from trueup.gateway.terminal.call_wire import RAISED
from trueup.gateway.terminal.calls import CallTracker
from trueup.gateway.terminal.clocks import Clocks, one_clock
from trueup.gateway.terminal.terminal import AccountInfo, Terminal
from trueup.logs import Logger, about_order, logger
from trueup.protocol.dialect import (
    BAD_REQUEST,
    ONLY_HERE,
    Answer,
    DialectRequest,
    refusal,
    spell,
    translate,
)
from trueup.protocol.failures import Cause
from trueup.protocol.request_status import RequestStatusReply
from trueup.protocol.requests import (
    ORDER_ID_LONGEST,
    ORDERS,
    TRADES,
    ErrorReply,
    NotBegun,
    OrderReply,
    PongReply,
    PositionsReply,
    Reply,
    Request,
    TickReply,
    call_request,
    claim_request,
    decode_request,
    echoed,
    encode_reply,
    history_request,
    not_begun,
    snapshot_request,
)
from trueup.protocol.snapshot import (
    CAPABILITIES,
    UNJOURNALLED,
    VERSION,
    HelloReply,
    SnapshotReply,
    SnapshotRequest,
)
from trueup.protocol.text import read_json

log: Logger = logger("trueup.desk")

# How often the terminal is asked for its account until it names one.
MEET_EVERY_NS = 200_000_000


class Desk:
    """Answers the requests of bots from one terminal.

    Args:
        terminal: the terminal to serve.
        boot: this gateway's name, new at every start; clients detect a restart by it.
        now_ns: nanoseconds of UTC since 1970.
        pace: seconds of the trade server's clock per second of ours; 1 except in a simulation.
        clocks: the machine's clocks; by default `now_ns` stands for all of them.
        store: keeps the record of requests; by default in memory, which is enough for a terminal
            whose positions end with this process.
        crash: called at every `GatewayPoint`.
        attachments: how often the terminal was attached to; see `WorkerTerminal.attachments`.
        grace_sec: how long an order without a trace may still be executed.
    """

    def __init__(
        self,
        terminal: Terminal,
        boot: str,
        now_ns: Callable[[], int],
        pace: float = 1.0,
        *,
        clocks: Clocks | None = None,
        store: RecordedRequests | None = None,
        crash: Callable[[GatewayPoint], None] = carry_on,
        attachments: Callable[[], int] = lambda: 1,
        grace_sec: int = GRACE_SEC,
    ) -> None:
        clocks = clocks or one_clock(now_ns)
        # All parts get the wrapped terminal, so that `calls` knows which call is under way.
        self.calls: CallTracker = CallTracker(terminal, clocks.age_ns)
        self._terminal = self.calls.terminal
        self._boot = boot
        self._now_ns, self._age_ns = now_ns, clocks.age_ns
        symbols = SymbolCheck(self._terminal, clocks.age_ns, attachments)
        self._snapshots = Snapshots(self._terminal, boot, now_ns, pace, attachments, symbols)
        self._books = AskingBooks(clocks.age_ns)
        self._pages = HistoryPages(self._terminal, now_ns, self._snapshots.note_link)
        store = store or RequestStore(None, boot, now_ns)
        durable = (UNJOURNALLED,) if store.is_durable else ()
        self.capabilities: tuple[str, ...] = (*CAPABILITIES, *durable)
        """The capabilities that HELLO and GET_POSITIONS list."""
        self._fences = Fences(store)
        self._claims = Claims(store, now_ns, clocks.age_ns, self._fences)
        self._record = RequestRecord(
            store,
            Investigator(self._snapshots, boot, grace_sec),
            boot,
            now_ns,
            crash,
            clocks=clocks,
            claims=self._claims,
            fences=self._fences,
        )
        # When the terminal was last asked for its account, by the clock for ages; None for never.
        self._met_ns: int | None = None
        self._orders = Orders(self._terminal, self._record, symbols)

    @property
    def latest_reading(self) -> Reading | None:
        """The reading behind the latest snapshot; the terminal's own rows are in it."""
        return self._snapshots.latest

    def close(self) -> None:
        """Close the record of requests; the terminal is not touched."""
        self._record.close()

    def handle(self, raw: bytes) -> bytes:
        """Return the reply to any request bytes, valid or not; may wait for the terminal."""
        request = self.read(raw)
        return request if isinstance(request, bytes) else self.answer(request)

    def watcher(self, watch_ms: int) -> Watcher:
        """Return a watcher of this terminal; the caller publishes its hints."""
        return Watcher(self._terminal, self._snapshots, self._boot, self._age_ns, watch_ms)

    # The front calls the methods below from its own thread, except `answer`, `tend` and `look`,
    # which it calls from the desk's thread.

    def read(self, raw: bytes) -> Request | bytes:
        """Parse request bytes; return the request, or the reply to a message that is not valid."""
        try:
            return translate(decode_request(raw))
        except RemoteProtocolError as error:
            return self._refusal(raw, str(error))

    def at_once(
        self, request: Request, access: Callable[[], Access] = lambda: FULL_ACCESS
    ) -> bytes | None:
        """Return the reply to a request that needs no terminal, or None.

        Args:
            request: the request.
            access: returns the rights of its sender.
        """
        if request.action == "PING":
            return self._write(PongReply("SUCCESS"), request)
        if request.action == "HELLO":
            return encode_reply(self._hello(access()), request.uuid)
        if request.action == "REQUEST_STATUS":
            return encode_reply(self._request_status(request.order_id, access()), request.uuid)
        return None

    def _hello(self, access: Access) -> HelloReply:
        accounts = None if access.accounts is None else tuple(sorted(access.accounts))
        return HelloReply(
            "SUCCESS",
            "trueup",
            VERSION,
            self.capabilities,
            self._boot,
            access.role,
            accounts,
        )

    def _request_status(self, order_id: str, access: Access) -> Reply:
        try:
            status, mark = self._record.status(order_id)
        except StoreTrouble as trouble:
            return ErrorReply("FAILED", str(trouble))
        if status.login and not access.may_see(status.login):
            return ErrorReply("FAILED", "the request went to an account that your key is not for")
        return RequestStatusReply("SUCCESS", status, mark)

    def came_before(self, request: Request) -> bool:
        """Return whether the record has, or may have, an earlier order with this id."""
        return request.action in ORDERS and self._record.may_know(request.order_id)

    def refuse(self, request: Request, why: str, *, came_before: bool) -> bytes:
        """Return the reply to a request that was not begun: no order was sent.

        Args:
            request: the request.
            why: the reason.
            came_before: whether an order with the same id came before, or may have.
        """
        return self._write(not_begun(request, why, came_before=came_before), request)

    def tend(self) -> None:
        """Maintain the record of requests; call this often, most calls return quickly.

        Raises:
            StoreRefused: another gateway serves the terminal's account, or its record cannot be
                used.
        """
        self._record.tend()
        if not self._record.awaits_account:
            return
        # Claim the account before the first order arrives, so that a conflict shows at the start.
        age_ns = self._age_ns()
        if self._met_ns is None or age_ns - self._met_ns >= MEET_EVERY_NS:
            self._met_ns = age_ns
            account = self._terminal.account_info()
            if account is not None:
                self._record.serve(account.login, account.server)

    def refuse_unread(self, raw: bytes, why: str) -> bytes:
        """Return the reply to a message that is not valid and is refused as well."""
        return self._refusal(raw, why)

    def look(self, request: Request | None = None) -> AccountLook:
        """Return a reader of the terminal's account, for one request."""
        symbol = request.symbol if request is not None and request.action in TRADES else ""
        return AccountLook(self._terminal, self._age_ns, symbol)

    def answer(
        self, request: Request, look: AccountLook | None = None, access: Access = FULL_ACCESS
    ) -> bytes:
        """Return the reply to a request; may wait for the terminal.

        Args:
            request: the request.
            look: the reader of the account, if the caller has used one for this request already.
            access: the rights of the sender.
        """
        reply = self.at_once(request, lambda: access)
        if reply is not None:
            return reply
        try:
            if request.action in ORDERS:
                with about_order(request.order_id):
                    look = look or self.look(request)
                    carried_out = self._orders.carry_out(request, look, access.may_see)
                if isinstance(request, DialectRequest):
                    return self._spell(carried_out, request)
                return encode_reply(carried_out, request.uuid)
            if isinstance(request, DialectRequest):
                return self._spell(self._answer_dialect(request), request)
            if request.claim and access.may_trade:
                self._claims.renew(request.claim)
            return encode_reply(self._answer(request, access, look), request.uuid)
        except RAISED as error:
            # MetaTrader5 raises on argument values it cannot convert: only this request fails.
            log.exception("[DESK] %s failed", request.action)
            came_before = self.came_before(request)
            return self.refuse(request, f"the terminal failed: {error}", came_before=came_before)

    def _write(self, reply: PongReply | NotBegun, request: Request) -> bytes:
        """Encode a reply that exists in both dialects, in the dialect of the request."""
        if isinstance(request, DialectRequest):
            return self._spell(reply, request)
        return encode_reply(reply, request.uuid)

    def _spell(self, answer: Answer, request: DialectRequest) -> bytes:
        return encode_reply(spell(answer, request, self._now_ns()), request.uuid)

    def _refusal(self, raw: bytes, error: str) -> bytes:
        """Return the refusal of a message that is not valid, in the message's own dialect."""
        try:
            fields = read_json(raw)
        except (ValueError, RecursionError):
            fields = None
        if not isinstance(fields, dict):
            return encode_reply(ErrorReply("ERROR", error))
        uuid = echoed(fields["uuid"]) if "uuid" in fields else msgspec.UNSET
        order_id, asked = fields.get("order_id"), fields.get("action")
        if not isinstance(asked, str):
            # `action` may be a list or an object, which cannot be looked up in a set.
            asked = ""
        names_order = 0 < len(str(order_id or "")) <= ORDER_ID_LONGEST
        # An order must be refused as an order, or its sender would not know that it was not sent.
        if isinstance(order_id, str) and names_order and asked not in ONLY_HERE:
            return encode_reply(OrderReply(order_id, "REJECTED", error=error), uuid)
        if asked in ONLY_HERE or "uuid" in fields:
            return encode_reply(refusal(asked, BAD_REQUEST, error, self._now_ns()), uuid)
        return encode_reply(ErrorReply("ERROR", error))

    def _answer_dialect(self, request: DialectRequest) -> Answer:
        if request.asked == "GET_ACCOUNT":
            return read_account(self._terminal, self._snapshots)
        if request.asked == "SYNC_ALL":
            return read_holdings(self._snapshots)
        return self._positions(request.symbol)

    def _answer(self, request: Request, access: Access, look: AccountLook | None) -> Reply:
        if request.action == "CLAIM":
            return self._claim(request, (look or self.look()).account())
        if request.action == "SNAPSHOT":
            return self._snapshot(request, access)
        if request.action == "HISTORY":
            return self._history(request)
        if request.action == "CALL":
            return make_call(self._terminal, call_request(request))
        if request.action == "TICK":
            return self._tick(request.symbol)
        return self._positions(request.symbol)

    def _claim(self, request: Request, account: AccountInfo | str) -> Reply:
        if isinstance(account, str):
            return ErrorReply("FAILED", account)
        try:
            return self._claims.decide(claim_request(request), account)
        except StoreTrouble as trouble:
            return ErrorReply("FAILED", str(trouble))

    def _snapshot(self, request: Request, access: Access) -> Reply:
        wanted = snapshot_request(request)
        self._books.note(wanted)
        # Read the record before the lists: then the lists include every order recorded as done.
        known = self._record.answer_doubts(wanted.in_doubt) if wanted.in_doubt else ()
        # Leave out orders of accounts that the sender may not see. "Withdrawn" would be wrong: the
        # sender may have had wider rights when it sent the order.
        known = tuple(
            status for status in known if not status.login or access.may_see(status.login)
        )
        try:
            reply = self._snapshots.make(wanted)
        except CannotRead as error:
            return ErrorReply("FAILED", str(error), error.cause)
        why = self._former_writer(wanted, access)
        if why:
            return ErrorReply("FAILED", why)
        # Only a full snapshot carries these; "unchanged" means that they are the same, too.
        if isinstance(reply, SnapshotReply):
            account = reply.account
            reply.requests = known
            reply.record = self._record.mark(account.login, account.server)
            if wanted.book is not None and reply.record is not None:
                reply.sent = self._record.sent_by(account.login, account.server, wanted.book)
            reply.neighbours = self._books.beside(wanted, account.name)
        return reply

    def _former_writer(self, wanted: SnapshotRequest, access: Access) -> str:
        """Record the token of a question; return why the token is refused, or an empty text."""
        reading = self._snapshots.latest
        # Who may only read must not fence out the writer.
        if not wanted.token or reading is None or not access.may_trade:
            return ""
        account = reading.account
        try:
            self._record.serve(account.login, account.server)
            return self._fences.why_not(wanted.journal, wanted.token, account)
        except StoreTrouble as trouble:
            return f"the token of journal {wanted.journal!r:.60} cannot be recorded: {trouble}"

    def _history(self, request: Request) -> Reply:
        try:
            return self._pages.make(history_request(request))
        except CannotRead as error:
            return ErrorReply("FAILED", str(error))

    def _positions(self, symbol: str) -> PositionsReply:
        terminal = self._terminal
        # MT5 answers from its cache while disconnected, so that answer is not trusted.
        state = terminal.terminal_info()
        if state is None:
            return self._unseen("terminal_info")
        self._snapshots.note_link(state)
        if not state.connected:
            return _failed(CannotRead(NOT_CONNECTED, Cause.NO_LINK))
        rows = terminal.positions_get() if symbol == "*" else terminal.positions_get(symbol=symbol)
        if rows is None:
            return self._unseen("positions_get")
        if symbol == "*":
            total = terminal.positions_total()
            if total != len(rows):
                return _failed(CannotRead(f"the list has {len(rows)} of {total}"))
            contradiction = self._contradicts_empty() if not rows else None
            if contradiction is not None:
                return _failed(CannotRead(contradiction))
        # The encoder also takes rows as plain values; only the client needs `Position` objects.
        positions = cast(list[Position], [listed_position(row) for row in rows])
        return PositionsReply("SUCCESS", positions, capabilities=self.capabilities)

    def _contradicts_empty(self) -> str | None:
        """Return why an empty list cannot be complete, since this reply has no other evidence."""
        account = self._terminal.account_info()
        if account is None:
            return f"account_info failed: {self._terminal.last_error()}"
        orders = self._terminal.orders_total()
        sign = sign_of_positions(account_of(account), has_orders=orders != 0)
        return None if sign is None else f"the list is empty and the account has {sign}"

    def _unseen(self, function: str) -> PositionsReply:
        return _failed(CannotRead.by_call(function, self._terminal.last_error()))

    def _tick(self, symbol: str) -> TickReply:
        tick = self._orders.quote(symbol)
        if tick is None:
            return TickReply("FAILED", symbol, error=self._orders.no_quotes(symbol))
        return TickReply("SUCCESS", symbol, tick.bid, tick.ask, tick.time_msc)


def _failed(failure: CannotRead) -> PositionsReply:
    return PositionsReply("FAILED", error=str(failure), cause=failure.cause)
