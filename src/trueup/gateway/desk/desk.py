"""What a gateway does with a request: it asks its terminal, and says what is known.

Serves anything that satisfies `Terminal`. The rules here keep the two original sins of this trade
out of the wire: a list that could not be read is FAILED and never empty, and an order whose outcome
is not known is UNKNOWN and never REJECTED.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import msgspec

from trueup.core.account.trust import sign_of_positions
from trueup.core.model import Position
from trueup.errors import RemoteProtocolError
from trueup.gateway.access.allow_file import ANYBODY, Access
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
from trueup.gateway.reading.snapshots import CannotRead, Snapshots
from trueup.gateway.reading.symbol_check import SymbolCheck
from trueup.gateway.reading.watcher import Watcher
from trueup.gateway.record.at_most_once import GatewayPoint, RequestRecord, carry_on
from trueup.gateway.record.investigate import Investigator
from trueup.gateway.record.recorded_requests import RecordedRequests
from trueup.gateway.record.store import RequestStore, StoreTrouble
from trueup.gateway.terminal.account_look import AccountLook
from trueup.gateway.terminal.call_wire import RAISED
from trueup.gateway.terminal.calls import Calls
from trueup.gateway.terminal.clocks import Clocks, one_clock
from trueup.gateway.terminal.terminal import Terminal
from trueup.logs import Logger, logger
from trueup.protocol.dialect import (
    BAD_REQUEST,
    ONLY_HERE,
    Answer,
    DialectRequest,
    refusal,
    spell,
    translate,
)
from trueup.protocol.request_status import RequestStatusReply
from trueup.protocol.requests import (
    ORDER_ID_LONGEST,
    ORDERS,
    ErrorReply,
    NotBegun,
    OrderReply,
    PongReply,
    PositionsReply,
    Reply,
    Request,
    TickReply,
    call_request,
    decode_request,
    echoed,
    encode_reply,
    history_request,
    not_begun,
    snapshot_request,
)
from trueup.protocol.snapshot import CAPABILITIES, VERSION, HelloReply, SnapshotReply
from trueup.protocol.text import read_json

log: Logger = logger("trueup.desk")

# Until the terminal says which account it has, it is asked so often.
MEET_EVERY_NS = 200_000_000


class Desk:
    """Answers the requests of bots from one terminal.

    Args:
        terminal: what is served.
        boot: this gateway's own name, new at every start; clients tell a restart by it.
        now_ns: nanoseconds of UTC since 1970.
        pace: seconds of the trade server's clock in one of ours; 1 but in a simulation.
        store: where the record of requests is kept; by default in memory, which is enough for a
            terminal whose positions live no longer than this process.
        crash: called at every `GatewayPoint`.
        attachments: how often the terminal was attached to; see `WorkerTerminal.attachments`.
        clocks: the machine's clocks; by default `now_ns` is all of them.
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
    ) -> None:
        clocks = clocks or one_clock(now_ns)
        self.calls: Calls = Calls(terminal, clocks.age_ns)
        self._terminal = self.calls.terminal
        self._boot = boot
        self._now_ns, self._age_ns = now_ns, clocks.age_ns
        symbols = SymbolCheck(self._terminal, clocks.age_ns, attachments)
        self._snapshots = Snapshots(self._terminal, boot, now_ns, pace, attachments, symbols)
        self._books = AskingBooks(clocks.age_ns)
        self._pages = HistoryPages(self._terminal, now_ns)
        self.capabilities: tuple[str, ...] = CAPABILITIES
        """What it says that clients may ask for."""
        self._record = RequestRecord(
            store or RequestStore(None, boot, now_ns),
            Investigator(self._snapshots, boot),
            boot,
            now_ns,
            crash,
            clocks=clocks,
        )
        # By the clock for ages: when the terminal was last asked for its account, None for never.
        self._met_ns: int | None = None
        self._orders = Orders(self._terminal, self._record, symbols)

    def close(self) -> None:
        """Let go of the record of requests; the terminal is left as it is."""
        self._record.close()

    def handle(self, raw: bytes) -> bytes:
        """Return the reply to a request, whatever its bytes are; may wait for the terminal."""
        request = self.read(raw)
        return request if isinstance(request, bytes) else self.answer(request)

    def watcher(self, watch_ms: int) -> Watcher:
        """Return what watches its terminal, for whoever publishes the hints."""
        return Watcher(self._terminal, self._snapshots, self._boot, self._age_ns, watch_ms)

    # What `gateway.server.front` calls from its own thread; from the desk's, `answer`, `tend` and
    # `look`.

    def read(self, raw: bytes) -> Request | bytes:
        """Return the request that these bytes are, or the reply to what is none."""
        try:
            return translate(decode_request(raw))
        except RemoteProtocolError as error:
            return self._refusal(raw, str(error))

    def at_once(
        self, request: Request, access: Callable[[], Access] = lambda: ANYBODY
    ) -> bytes | None:
        """Return the reply to a request that needs no terminal, or None.

        Args:
            access: what who asks may do and see.
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
        """Return whether an order's id came before, or may have, as far as the record goes."""
        return request.action in ORDERS and self._record.may_know(request.order_id)

    def refuse(self, request: Request, why: str, *, came_before: bool) -> bytes:
        """Return the reply to a request that is not begun: no order was sent.

        Args:
            came_before: whether an order of the same id came before, or may have.
        """
        return self._write(not_begun(request, why, came_before=came_before), request)

    def tend(self) -> None:
        """Look after the record of requests; to be called often, and quick but now and then.

        Raises:
            StoreRefused: the terminal's account is another gateway's, or its record cannot be used.
        """
        self._record.tend()
        if not self._record.serves_nobody:
            return
        age_ns = self._age_ns()
        if self._met_ns is None or age_ns - self._met_ns >= MEET_EVERY_NS:
            self._met_ns = age_ns
            account = self._terminal.account_info()
            if account is not None:
                self._record.serve(account.login, account.server)

    def refuse_unread(self, raw: bytes, why: str) -> bytes:
        """Return the reply to a request that cannot be read and is refused besides."""
        return self._refusal(raw, why)

    def look(self) -> AccountLook:
        """Return a look at the account that the terminal has, for one request."""
        return AccountLook(self._terminal)

    def answer(
        self, request: Request, look: AccountLook | None = None, access: Access = ANYBODY
    ) -> bytes:
        """Return the reply to a request; may wait for the terminal.

        Args:
            look: the account, where somebody has looked at it for this request already.
            access: what who asks may see.
        """
        reply = self.at_once(request, lambda: access)
        if reply is not None:
            return reply
        try:
            if request.action in ORDERS:
                account = (look or self.look()).account()
                carried_out = self._orders.carry_out(request, account, access.may_see)
                if isinstance(request, DialectRequest):
                    return self._spell(carried_out, request)
                return encode_reply(carried_out, request.uuid)
            if isinstance(request, DialectRequest):
                return self._spell(self._answer_dialect(request), request)
            return encode_reply(self._answer(request, access), request.uuid)
        except RAISED as error:
            # The module's answer to values that it does not take: no reason to end for everybody.
            log.exception("[DESK] %s broke", request.action)
            came_before = self.came_before(request)
            return self.refuse(request, f"the terminal broke: {error}", came_before=came_before)

    def _write(self, reply: PongReply | NotBegun, request: Request) -> bytes:
        """Write what is said in both dialects."""
        if isinstance(request, DialectRequest):
            return self._spell(reply, request)
        return encode_reply(reply, request.uuid)

    def _spell(self, answer: Answer, request: DialectRequest) -> bytes:
        return encode_reply(spell(answer, request, self._now_ns()), request.uuid)

    def _refusal(self, raw: bytes, error: str) -> bytes:
        """Answer a request that cannot be read in its own dialect."""
        try:
            fields = read_json(raw)
        except (ValueError, RecursionError):
            fields = None
        if not isinstance(fields, dict):
            return encode_reply(ErrorReply("ERROR", error))
        uuid = echoed(fields["uuid"]) if "uuid" in fields else msgspec.UNSET
        order_id, asked = fields.get("order_id"), fields.get("action")
        if not isinstance(asked, str):
            # No name of anything, and of a kind that may not even be looked up.
            asked = ""
        names_order = 0 < len(str(order_id or "")) <= ORDER_ID_LONGEST
        if isinstance(order_id, str) and names_order and asked not in ONLY_HERE:
            return encode_reply(OrderReply(order_id, "REJECTED", error=error), uuid)
        if asked in ONLY_HERE or "uuid" in fields:
            return encode_reply(refusal(asked, BAD_REQUEST, error, self._now_ns()), uuid)
        return encode_reply(ErrorReply("ERROR", error))

    def _answer_dialect(self, request: DialectRequest) -> Answer:
        if request.asked == "GET_ACCOUNT":
            return read_account(self._terminal)
        if request.asked == "SYNC_ALL":
            return read_holdings(self._snapshots)
        return self._positions(request.symbol)

    def _answer(self, request: Request, access: Access) -> Reply:
        if request.action == "SNAPSHOT":
            return self._snapshot(request, access)
        if request.action == "HISTORY":
            return self._history(request)
        if request.action == "CALL":
            return make_call(self._terminal, call_request(request))
        if request.action == "TICK":
            return self._tick(request.symbol)
        return self._positions(request.symbol)

    def _snapshot(self, request: Request, access: Access) -> Reply:
        wanted = snapshot_request(request)
        self._books.note(wanted)
        # The record first: what it has as done is older than the lists, never newer.
        known = self._record.answer_doubts(wanted.in_doubt) if wanted.in_doubt else ()
        # Left out rather than called withdrawn: its sender may have had another scope then.
        known = tuple(one for one in known if not one.login or access.may_see(one.login))
        try:
            reply = self._snapshots.make(wanted)
        except CannotRead as error:
            return ErrorReply("FAILED", str(error))
        if isinstance(reply, SnapshotReply):
            account = reply.account
            reply.requests = known
            reply.record = self._record.mark(account.login, account.server)
            if wanted.book is not None and reply.record is not None:
                reply.sent = self._record.sent_by(account.login, account.server, wanted.book)
            reply.neighbours = self._books.beside(wanted, account.name)
        return reply

    def _history(self, request: Request) -> Reply:
        try:
            return self._pages.make(history_request(request))
        except CannotRead as error:
            return ErrorReply("FAILED", str(error))

    def _positions(self, symbol: str) -> PositionsReply:
        terminal = self._terminal
        state = terminal.terminal_info()
        if state is None:
            return self._unseen("terminal_info")
        if not state.connected:
            return PositionsReply("FAILED", error=NOT_CONNECTED)
        rows = terminal.positions_get() if symbol == "*" else terminal.positions_get(symbol=symbol)
        if rows is None:
            return self._unseen("positions_get")
        if symbol == "*":
            total = terminal.positions_total()
            if total != len(rows):
                return PositionsReply("FAILED", error=f"the list has {len(rows)} of {total}")
            contradiction = self._contradicts_empty() if not rows else None
            if contradiction is not None:
                return PositionsReply("FAILED", error=contradiction)
        # The encoder takes plain values too; the client reads them one by one.
        positions = cast(list[Position], [listed_position(row) for row in rows])
        return PositionsReply("SUCCESS", positions, capabilities=self.capabilities)

    def _contradicts_empty(self) -> str | None:
        """Say why an empty list cannot be all; who asks this way is given no other evidence."""
        account = self._terminal.account_info()
        if account is None:
            return f"account_info failed: {self._terminal.last_error()}"
        orders = self._terminal.orders_total()
        sign = sign_of_positions(account_of(account), has_orders=orders != 0)
        return None if sign is None else f"the list is empty and the account has {sign}"

    def _unseen(self, function: str) -> PositionsReply:
        return PositionsReply("FAILED", error=f"{function} failed: {self._terminal.last_error()}")

    def _tick(self, symbol: str) -> TickReply:
        tick = self._orders.quote(symbol)
        if tick is None:
            return TickReply("FAILED", symbol, error=self._orders.no_quotes(symbol))
        return TickReply("SUCCESS", symbol, tick.bid, tick.ask, tick.time_msc)
