"""Each request of a bot is carried out at most once, whatever network and gateway do.

    request written and synced -> order_send -> outcome written and synced -> reply

The same id with the same parameters gets the first outcome, and nothing is sent; with other
parameters it is refused. Where the process died in between, or the answer left it open, the outcome
is UNKNOWN until the terminal proves it (`gateway.record.investigate`). A book's key names one
order: another id under a key whose order may have been executed is refused, as where a bot has a
journal from a backup and has forgotten the first. A request that cannot be written first is not
sent; while nobody can read whether it came before, its outcome is UNKNOWN too, for the first of its
id may have been executed. What was refused stays refused: a copy of it may come when it could be
sent, and its sender has gone on.

An id is one request whatever the account: the account that the terminal is logged in to belongs to
its parameters, so that a repetition after a change of account neither runs a second time nor is
told what happened elsewhere.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from trueup.core.gateway_record import (
    BookAsked,
    RecordMark,
    RequestInDoubt,
    RequestState,
    RequestStatus,
    SentOrders,
)
from trueup.gateway.record.investigate import LOOK_BACK_SEC, SECOND_NS, Investigator, Sending
from trueup.gateway.record.recorded_requests import RecordedRequests
from trueup.gateway.record.rows import check, parameters_in, reply_in, sent_order
from trueup.gateway.record.store import (
    ELSEWHERE,
    UNOPENED,
    Entry,
    StoreRefused,
    StoreTrouble,
)
from trueup.gateway.terminal.clocks import Clocks, one_clock
from trueup.gateway.terminal.terminal import AccountInfo
from trueup.logs import Logger, logger
from trueup.protocol.requests import OrderReply, Request, parameters_of
from trueup.protocol.snapshot import NAMED_AT_ONCE

log: Logger = logger("trueup.record")

# Whoever asks has it looked for at most this often; by itself the gateway looks ever more rarely.
LOOK_EVERY_NS = SECOND_NS
LOOK_RARELY_NS = 600 * SECOND_NS
# While the terminal cannot be read.
LOOK_BLIND_NS = 5 * SECOND_NS
DROP_EVERY_NS = 3_600 * SECOND_NS
# Refusals that are kept in memory while they cannot be written.
UNKEPT_MOST = 10_000
Message = dict[str, Any]

_encode = msgspec.json.encode


class GatewayPoint(enum.Enum):
    """The moments at which a gateway may die, by name; a test dies at each of them."""

    BEFORE_RECORD = "before record"
    AFTER_RECORD = "after record"
    AFTER_SEND = "after send"
    AFTER_OUTCOME = "after outcome"


def carry_on(point: GatewayPoint) -> None:
    """Pass a point alive, as every process but a test's does."""


class RequestRecord:
    """What a gateway knows of the requests it was given.

    `status`, `mark` and `may_know` may be called from any thread; everything else may ask the
    terminal, and is for the thread that does.

    Args:
        store: the rows.
        investigator: finds out what became of a request.
        boot: this run of the gateway.
        now_ns: nanoseconds of UTC since 1970.
        crash: called at every `GatewayPoint`.
        clocks: the machine's clocks; by default `now_ns` is all of them.
    """

    def __init__(
        self,
        store: RecordedRequests,
        investigator: Investigator,
        boot: str,
        now_ns: Callable[[], int],
        crash: Callable[[GatewayPoint], None] = carry_on,
        *,
        clocks: Clocks | None = None,
    ) -> None:
        self._store = store
        self._investigator = investigator
        self._boot = boot
        self._now_ns, self._clocks = now_ns, clocks or one_clock(now_ns)
        self._crash = crash
        self._in_flight: set[str] = set()
        # Outcomes that the store did not take.
        self._owed: dict[str, OrderReply] = {}
        # Refusals that the store did not take.
        self._unkept: dict[str, Entry] = {}
        # By the clock for ages: when the terminal was looked at, None for never, and when it is
        # looked at again and old rows let go of.
        self._looked_ns: int | None = None
        self._look_next_ns = self._drop_ns = self._clocks.age_ns()
        # What was said last about the store, and which rows were called damaged, to say it once.
        self._trouble = ""
        self._damaged: set[str] = set()

    def once(
        self,
        request: Request,
        account: AccountInfo | str,
        make: Callable[[], Sending | OrderReply],
        send: Callable[[Message], OrderReply],
        may_see: Callable[[int], bool] = lambda _: True,
    ) -> OrderReply:
        """Carry a request out, or answer it from the record.

        Args:
            request: an order.
            account: what the terminal is logged in to, or why that cannot be read.
            make: returns what is to be sent, or a reply where that cannot be known.
            send: gives it to `order_send`, and returns what is known of the outcome.
            may_see: whether its sender may know what happened on an account (login).
        """
        try:
            known = self._find(request.order_id, account) or self._unkept.get(request.order_id)
            if known is not None:
                return self._again(request, self._looked_up(known), account, may_see)
        except _NeverCame as trouble:
            return self._refused(request, None, not_recorded(request, trouble))
        except StoreTrouble as trouble:
            return self._unread(request, account, trouble)
        try:
            self._write_owed()
        except StoreTrouble as trouble:
            return self._refused(request, None, not_recorded(request, trouble))
        if isinstance(account, str):
            return self._refused(request, None, not_sent(request, account))
        try:
            why = _not_meant(request, account) or self._key_used(request, account)
        except StoreTrouble as trouble:
            return self._refused(request, None, not_recorded(request, trouble))
        if why:
            return self._refused(request, None, not_sent(request, why))
        made = make()
        if isinstance(made, OrderReply):
            return self._refused(request, account, made)
        return self._first(request, account, made, send, may_see)

    @property
    def serves_nobody(self) -> bool:
        """Whether it waits to be told which account the terminal has."""
        return self._store.serves_nobody

    def serve(self, login: int, server: str) -> None:
        """Keep the record of an account from now on; trouble that may pass is logged.

        Raises:
            StoreRefused: it is another process's, or cannot be used.
        """
        try:
            self._store.serve(login, server)
        except StoreRefused:
            raise
        except StoreTrouble as trouble:
            self._complain(trouble)

    def mark(self, login: int, server: str) -> RecordMark | None:
        """Return how far the record of an account reaches, or None when it cannot be read."""
        try:
            self._store.serve(login, server)
            return self._store.mark()
        except StoreTrouble as trouble:
            self._complain(trouble)
            return None

    def status(self, order_id: str) -> tuple[RequestStatus, RecordMark]:
        """Return what the record has of a request, and how far it reaches.

        Raises:
            StoreTrouble: it cannot be read.
        """
        return self._status(self._store.find(order_id), order_id), self._store.mark()

    def may_know(self, order_id: str) -> bool:
        """Return whether a request came before, or may have: the record cannot be read."""
        try:
            known = self._store.find(order_id)
        except StoreTrouble:
            return True
        return known is not None and known.state != "withdrawn"

    def sent_by(self, login: int, server: str, asked: BookAsked) -> SentOrders | None:
        """Return which orders of a book the record has, None when it cannot be read."""
        try:
            count, entries = self._store.sent_by(login, server, asked, NAMED_AT_ONCE)
            return SentOrders(count, tuple(map(sent_order, self._readable(entries))))
        except StoreTrouble as trouble:
            self._complain(trouble)
            return None

    def answer_doubts(self, asked: Iterable[RequestInDoubt]) -> tuple[RequestStatus, ...]:
        """Return what the record has of requests that their sender is in doubt about.

        What never came is withdrawn: should it come later, it is refused. Nothing is returned when
        the record cannot be read or written.
        """
        doubts = {doubt.order_id: doubt for doubt in asked}.values()
        try:
            found = [self._withdrawn_or_known(doubt) for doubt in doubts]
            if any(status.state is RequestState.UNKNOWN for status in found):
                self._look()
                found = [self._withdrawn_or_known(doubt) for doubt in doubts]
        except StoreTrouble as trouble:
            log.error("[RECORD] %s", trouble)
            return ()
        return tuple(found)

    def tend(self) -> None:
        """Settle what the terminal can prove, and let go of what is old; call it often."""
        if self._clocks.age_ns() >= self._look_next_ns:
            self._look()

    def close(self) -> None:
        """Write what is owed, if that can be done, and let go of the file."""
        try:
            self._write_owed()
        except StoreTrouble as trouble:
            log.error("[RECORD] %s", trouble)
        self._store.close()

    def _find(self, order_id: str, account: AccountInfo | str) -> Entry | None:
        """Return what there is of a request, once the record of its account is there."""
        known = self._store.find(order_id)
        if isinstance(account, str) or (known is not None and known.state != UNOPENED):
            return known
        try:
            is_opened = self._store.serve(account.login, account.server)
        except StoreTrouble as trouble:
            if known is not None:
                # It came before, and may have been executed: nothing makes that untrue.
                return known
            if self._may_have_more(account):
                raise
            raise _NeverCame(str(trouble)) from trouble
        return self._store.find(order_id) if is_opened else known

    def _may_have_more(self, account: AccountInfo) -> bool:
        return self._store.may_have_more(account.login, account.server)

    # The first time.

    def _first(
        self,
        request: Request,
        account: AccountInfo,
        made: Sending,
        send: Callable[[Message], OrderReply],
        may_see: Callable[[int], bool],
    ) -> OrderReply:
        self._crash(GatewayPoint.BEFORE_RECORD)
        entry = self._entry(request, account, made, "prepared")
        try:
            is_new = self._store.add(entry)
        except StoreTrouble as trouble:
            return self._refused(request, account, not_recorded(request, trouble))
        if not is_new:
            return self.once(request, account, lambda: made, send, may_see)
        with self._flight_of(request.order_id):
            self._crash(GatewayPoint.AFTER_RECORD)
            reply = send(made.message)
            self._crash(GatewayPoint.AFTER_SEND)
            self._owed[request.order_id] = reply
        try:
            self._write_owed()
        except StoreTrouble as trouble:
            log.error("[RECORD] The outcome of %s is kept in memory: %s", request.order_id, trouble)
        self._crash(GatewayPoint.AFTER_OUTCOME)
        return reply

    def _refused(
        self, request: Request, account: AccountInfo | None, reply: OrderReply
    ) -> OrderReply:
        """Keep that an order was refused: what comes twice may come again when it could be sent."""
        entry = self._refusal(request, account, reply)
        try:
            self._store.add(entry)
        except StoreTrouble as trouble:
            self._complain(trouble)
            self._keep(entry)
        return reply

    def _refusal(self, request: Request, account: AccountInfo | None, reply: OrderReply) -> Entry:
        entry = self._entry(request, account, None, "settled")
        return entry._replace(reply=_encode(reply), ended_ns=entry.came_ns)

    def _keep(self, refusal: Entry) -> None:
        """Keep a refusal in memory until it can be written."""
        self._unkept[refusal.order_id] = refusal
        if len(self._unkept) > UNKEPT_MOST:
            self._unkept.pop(next(iter(self._unkept)))

    def _entry(
        self, request: Request, account: AccountInfo | None, made: Sending | None, state: str
    ) -> Entry:
        return Entry(
            request.order_id,
            0 if account is None else account.login,
            "" if account is None else account.server,
            _encode(parameters_of(request)),
            None if made is None else _encode(made.message),
            None if made is None else made.before,
            self._boot,
            self._now_ns(),
            state,
            stream=request.stream,
            journal=request.journal,
            key=request.key,
        )

    @contextmanager
    def _flight_of(self, order_id: str) -> Iterator[None]:
        self._in_flight.add(order_id)
        try:
            yield
        finally:
            self._in_flight.discard(order_id)

    def _write_owed(self) -> None:
        for order_id, entry in list(self._unkept.items()):
            # It may be in a record that could not be read when it was refused.
            if self._store.find(order_id) is None:
                self._store.add(entry)
            self._unkept.pop(order_id, None)
        for order_id, reply in list(self._owed.items()):
            state = "unknown" if reply.status == "UNKNOWN" else "settled"
            self._store.end(order_id, state, _encode(reply))
            self._owed.pop(order_id, None)

    # Every other time.

    def _looked_up(self, known: Entry) -> Entry:
        """Return a request as it is known now, after a look at the terminal where that may help."""
        if known.ended_ns is None and known.order_id not in self._in_flight:
            self._look()
            return self._store.find(known.order_id) or known
        return known

    def _key_used(self, request: Request, account: AccountInfo) -> str:
        """Say that the key of an order was another order's, or return an empty string.

        Not where that one was refused: it did nothing.
        """
        if not (request.key and request.stream):
            return ""
        known = self._store.with_key(account.login, account.server, request.stream, request.key)
        for entry in self._readable(known):
            reply = self._owed.get(entry.order_id) or reply_in(entry)
            if reply is not None and reply.status == "REJECTED":
                continue
            became = "in doubt" if reply is None else reply.status
            ticket = f", ticket {reply.ticket}" if reply is not None and reply.ticket else ""
            return (
                f"key {request.key!r:.60} of stream {request.stream!r:.60} was used before, for "
                f"order {entry.order_id} ({became}{ticket}): give another key, or give each bot a "
                "stream of its own"
            )
        return ""

    def _unread(
        self, request: Request, account: AccountInfo | str, trouble: StoreTrouble
    ) -> OrderReply:
        """Answer an order while nobody can read whether it came before; nothing is sent."""
        first = self._owed.get(request.order_id)
        if first is not None:
            return msgspec.structs.replace(first, repeated=True)
        if isinstance(account, str) or not self._may_have_more(account):
            # Should it prove to be the first of its id, it was refused.
            self._keep(self._refusal(request, None, not_recorded(request, trouble)))
        error = f"not sent now, and it cannot be read whether it came before: {trouble}"
        return OrderReply(request.order_id, "UNKNOWN", error=error)

    def _again(
        self,
        request: Request,
        known: Entry,
        account: AccountInfo | str,
        may_see: Callable[[int], bool],
    ) -> OrderReply:
        name = request.order_id
        if known.state == UNOPENED:
            error = "it came before; what became of it is known when the terminal says its account"
            return OrderReply(name, "UNKNOWN", error=error, repeated=True)
        if known.state == ELSEWHERE:
            return not_sent(request, f"order_id={name!r} is in the record of another account")
        if known.login and not may_see(known.login):
            why = "was used before, on an account that this key is not for"
            return not_sent(request, f"order_id={name!r} {why}")
        differs = _difference(request, known) or _other_account(known, account)
        if known.state == "withdrawn":
            words = "its sender asked what became of it before it came, and it was withdrawn"
            return not_sent(request, words)
        if differs:
            return not_sent(request, f"order_id={name!r} was used before with {differs}")
        log.warning("[RECORD] Order %s came again; it is answered from the record", name)
        if name in self._in_flight:
            error = "it came before, and is being carried out"
            return OrderReply(name, "UNKNOWN", error=error, repeated=True)
        first = self._owed.get(name) or reply_in(known)
        if first is None:
            error = "the gateway ended while it was sent, and its outcome is not known yet"
            return OrderReply(name, "UNKNOWN", error=error, repeated=True)
        return msgspec.structs.replace(first, repeated=True)

    def _withdrawn_or_known(self, doubt: RequestInDoubt) -> RequestStatus:
        order_id = doubt.order_id
        known = self._store.find(order_id)
        covered = doubt.record is not None and self._store.covers(doubt.record)
        if known is None:
            now_ns = self._now_ns()
            nothing = Entry(order_id, 0, "", b"{}", None, None, self._boot, now_ns, "withdrawn")
            self._store.add(nothing._replace(ended_ns=now_ns))
            known = self._store.find(order_id)
        return msgspec.structs.replace(self._status(known, order_id), covered=covered)

    def _status(self, known: Entry | None, order_id: str) -> RequestStatus:
        if known is None:
            return RequestStatus(order_id, RequestState.NEVER_SEEN)
        if known.state == "withdrawn":
            return RequestStatus(order_id, RequestState.WITHDRAWN)
        state = RequestState.SETTLED if known.state == "settled" else RequestState.UNKNOWN
        reply = self._owed.get(order_id)
        if reply is not None and reply.status != "UNKNOWN":
            state = RequestState.SETTLED
        elif reply is None:
            try:
                reply = reply_in(known)
            except StoreTrouble as trouble:
                self._complain_of(known, trouble)
                state = RequestState.UNKNOWN
        if reply is None:
            if order_id in self._in_flight:
                state = RequestState.PREPARED
            return RequestStatus(order_id, state, known.login, known.server)
        return RequestStatus(
            order_id,
            state,
            known.login,
            known.server,
            reply.status,
            reply.ticket or 0,
            reply.filled_volume or 0.0,
            reply.filled_price,
            reply.retcode or 0,
            reply.error or "",
        )

    def _look(self) -> None:
        """Settle what the terminal proves now, and let go of what is old."""
        age_ns = self._clocks.age_ns()
        if self._looked_ns is not None and age_ns - self._looked_ns < LOOK_EVERY_NS:
            return
        self._looked_ns, self._look_next_ns = age_ns, age_ns + LOOK_EVERY_NS
        try:
            self._write_owed()
            self._settle(age_ns)
            if age_ns >= self._drop_ns:
                self._drop_ns = age_ns + DROP_EVERY_NS
                self._store.drop_old()
            self._trouble = ""
        except StoreTrouble as trouble:
            self._complain(trouble)

    def _complain(self, trouble: StoreTrouble) -> None:
        if str(trouble) != self._trouble:
            self._trouble = str(trouble)
            log.error("[RECORD] %s", trouble)

    def _settle(self, age_ns: int) -> None:
        unsettled = self._readable(self._store.unsettled())
        entries = [entry for entry in unsettled if entry.order_id not in self._in_flight]
        if not entries:
            return
        # Earlier ones show what this broker does to comments.
        since_ns = entries[0].came_ns - LOOK_BACK_SEC * SECOND_NS
        neighbours = self._readable(self._store.since(since_ns))
        now_ns, waiting_ns = self._now_ns(), self._clocks.waiting_ns()
        for reply in self._investigator.settle(entries, neighbours, now_ns, waiting_ns):
            self._store.end(reply.order_id, "settled", _encode(reply))
            words = reply.error or f"ticket {reply.ticket}"
            log.warning("[RECORD] Order %s: %s, %s", reply.order_id, reply.status, words)
        # Days of history every second are too much for a terminal; what it does not show within
        # a minute, it does not show soon.
        read_ns = self._investigator.readable_since_ns
        pause_ns = LOOK_BLIND_NS
        if read_ns is not None:
            pause_ns = min(waiting_ns - read_ns, now_ns - entries[-1].came_ns) // 10
        self._look_next_ns = age_ns + min(max(pause_ns, LOOK_EVERY_NS), LOOK_RARELY_NS)

    def _readable(self, entries: Iterable[Entry]) -> list[Entry]:
        """Leave out what is damaged: what became of the others can be found out without it."""
        readable = []
        for entry in entries:
            try:
                check(entry)
            except StoreTrouble as trouble:
                self._complain_of(entry, trouble)
            else:
                readable.append(entry)
        return readable

    def _complain_of(self, entry: Entry, trouble: StoreTrouble) -> None:
        if entry.order_id not in self._damaged:
            self._damaged.add(entry.order_id)
            log.error("[RECORD] %s; what became of it is not known", trouble)


class _NeverCame(StoreTrouble):
    """A request cannot be recorded, and none of its id came before."""


def not_sent(request: Request, because: str) -> OrderReply:
    """Return the reply to an order that was not given to the terminal."""
    return OrderReply(request.order_id, "REJECTED", error=f"not sent: {because}")


def not_recorded(request: Request, trouble: StoreTrouble) -> OrderReply:
    """Return the reply to an order that could not be written first."""
    return not_sent(request, f"the gateway cannot record it: {trouble}")


def _difference(request: Request, known: Entry) -> str:
    """Say in what a request differs from the first one of its id, or return an empty string."""
    first, now = parameters_in(known), parameters_of(request)
    if "server" in now and known.server:
        # An earlier release named no server; the record has the one that the order went to.
        first["server"] = known.server
    else:
        first.pop("server", None)
        now.pop("server", None)
    for name in sorted(first.keys() | now.keys()):
        if first.get(name) != now.get(name):
            was, is_now = first.get(name, "none"), now.get(name, "none")
            return f"{name}={was!r:.40}, and comes again with {is_now!r:.40}: give each its own id"
    return ""


def _not_meant(request: Request, account: AccountInfo) -> str:
    """Say that an order is for another account, or return an empty string."""
    is_login = request.login in (0, account.login)
    if is_login and request.server in ("", account.server):
        return ""
    meant = f"{request.login or '*'}@{request.server}" if request.server else str(request.login)
    return (
        f"it is for account {meant}, and the terminal is logged in to "
        f"{account.login}@{account.server}"
    )


def _other_account(known: Entry, account: AccountInfo | str) -> str:
    if isinstance(account, str) or not known.login:
        return ""
    if (account.login, account.server) == (known.login, known.server):
        return ""
    return (
        f"account {known.login}@{known.server}, and the terminal is logged in to "
        f"{account.login}@{account.server} now"
    )
