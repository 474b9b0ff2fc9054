"""Carry out each request of a bot at most once, whatever network and gateway do.

    request written and synced -> order_send -> outcome written and synced -> reply

* The same id with the same parameters gets the first outcome, and nothing is sent. With other
  parameters it is refused.
* If the process died in between, or the answer was not conclusive, the outcome is UNKNOWN until the
  terminal proves it (`gateway.record.investigate`).
* A book's key names a single order. Another id under the same key is refused if the first order may
  have been executed: a bot that restored its journal from a backup has forgotten that order.
* An order that contradicts a claim (`gateway.record.claims`) is refused, and so is an order of a
  former writer of its journal (`gateway.record.fences`).
* A request that cannot be written first is not sent. While the record cannot be read, the outcome
  is UNKNOWN as well, because an earlier request with this id may have been executed.
* A refused id stays refused: a copy may arrive when it could be sent, after its sender was told
  "not sent".

An id names a single request on all accounts together. The terminal's account belongs to the
request's parameters. So a repetition after a change of account is neither sent again, nor does its
sender learn the outcome on the other account.
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
from trueup.gateway.record.claims import Claims
from trueup.gateway.record.fences import Fences
from trueup.gateway.record.investigate import LOOK_BACK_SEC, SECOND_NS, Investigator, Sending
from trueup.gateway.record.recorded_requests import RecordedRequests
from trueup.gateway.record.rows import (
    check,
    is_of_book,
    parameters_in,
    reply_in,
    sent_order,
)
from trueup.gateway.record.store import (
    ELSEWHERE,
    UNOPENED,
    Entry,
    StoreRefused,
    StoreTrouble,
)
from trueup.gateway.terminal.clocks import Clocks, one_clock
from trueup.gateway.terminal.terminal import AccountInfo
from trueup.logs import Logger, about_order, logger
from trueup.protocol.requests import OrderReply, Request, parameters_of
from trueup.protocol.snapshot import NAMED_AT_ONCE

log: Logger = logger("trueup.record")

# Requests make the record look at the terminal at most this often.
LOOK_EVERY_NS = SECOND_NS
# While no request arrives, the interval between two looks grows to this.
LOOK_RARELY_NS = 600 * SECOND_NS
# The interval while the terminal cannot be read.
LOOK_BLIND_NS = 5 * SECOND_NS
DROP_EVERY_NS = 3_600 * SECOND_NS
# How many refusals are kept in memory while they cannot be written.
UNWRITTEN_REFUSALS_MAX = 10_000
Message = dict[str, Any]

_encode = msgspec.json.encode


class GatewayPoint(enum.Enum):
    """Named moments at which a gateway may crash; a test crashes at each of them."""

    BEFORE_RECORD = "before record"
    AFTER_RECORD = "after record"
    AFTER_SEND = "after send"
    AFTER_OUTCOME = "after outcome"


def carry_on(point: GatewayPoint) -> None:
    """Do nothing at a crash point; the default outside of tests."""


class RequestRecord:
    """The requests that a gateway was given, with their outcomes.

    `status`, `mark` and `may_know` are thread-safe. All other methods may call the terminal, and
    only the thread that does so may call them.

    Args:
        store: stores the rows.
        investigator: finds out the outcome of a request at the terminal.
        boot: the name of this run of the gateway.
        now_ns: nanoseconds of UTC since 1970.
        crash: called at every `GatewayPoint`.
        clocks: the machine's clocks; by default `now_ns` stands for all of them.
        claims: the claims of the clients; None if there are none.
        fences: the newest tokens of the journals; by default those of `store`.
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
        claims: Claims | None = None,
        fences: Fences | None = None,
    ) -> None:
        self._store, self._claims = store, claims
        self._fences = fences or Fences(store)
        self._investigator = investigator
        self._boot = boot
        self._now_ns, self._clocks = now_ns, clocks or one_clock(now_ns)
        self._crash = crash
        self._in_flight: set[str] = set()
        # Outcomes that could not be written to the store yet.
        self._unwritten_outcomes: dict[str, OrderReply] = {}
        # Refusals that could not be written to the store yet.
        self._unwritten_refusals: dict[str, Entry] = {}
        # By the clock for ages: the last look at the terminal (None for never), and when the next
        # look and the next deletion of old rows are due.
        self._looked_ns: int | None = None
        self._look_next_ns = self._drop_ns = self._clocks.age_ns()
        # The last error and the damaged rows that were logged, so that each is logged once.
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
        """Carry out a request, or answer it from the record.

        Args:
            request: the order.
            account: the account that the terminal is logged in to, or why that cannot be read.
            make: returns the arguments for `order_send`, or a refusal if there are none.
            send: passes them to `order_send`, and returns the outcome as far as it is known.
            may_see: whether the sender may see orders of an account (login).
        """
        # First the record: a known id is never sent again, whatever else is wrong.
        try:
            known = self._find(request.order_id, account) or self._unwritten_refusals.get(
                request.order_id
            )
            if known is not None:
                return self._again(request, self._looked_up(known), account, may_see)
        except _NeverCame as trouble:
            return self._refused(request, None, not_recorded(request, trouble))
        except StoreTrouble as trouble:
            return self._unread(request, account, trouble)
        # Write delayed entries first: if that fails, this order could not be recorded either.
        try:
            self._flush()
        except StoreTrouble as trouble:
            here = None if isinstance(account, str) else account
            return self._refused(request, here, not_recorded(request, trouble))
        if isinstance(account, str):
            return self._refused(request, None, not_sent(request, account))
        try:
            why = _not_meant(request, account) or self._former_writer(request, account)
            why = why or self._key_used(request, account)
            if not why and self._claims is not None:
                why = self._claims.why_not(request, account)
        except StoreTrouble as trouble:
            return self._refused(request, None, not_recorded(request, trouble))
        if why:
            return self._refused(request, None, not_sent(request, why))
        # Only now ask the terminal for prices, because they should be as new as possible.
        made = make()
        if isinstance(made, OrderReply):
            return self._refused(request, account, made)
        return self._first(request, account, made, send, may_see)

    @property
    def awaits_account(self) -> bool:
        """Whether the terminal has not named its account yet."""
        return self._store.awaits_account

    def serve(self, login: int, server: str) -> None:
        """Serve an account from now on; log an error that may pass.

        Raises:
            StoreRefused: another process serves the account, or the record cannot be used.
        """
        try:
            self._store.serve(login, server)
        except StoreRefused:
            raise
        except StoreTrouble as trouble:
            self._log_trouble(trouble)

    def mark(self, login: int, server: str) -> RecordMark | None:
        """Return the mark of an account's record, or None if the record cannot be read."""
        try:
            self._store.serve(login, server)
            return self._store.mark()
        except StoreTrouble as trouble:
            self._log_trouble(trouble)
            return None

    def status(self, order_id: str) -> tuple[RequestStatus, RecordMark]:
        """Return the recorded state of a request, and the mark of the record.

        Raises:
            StoreTrouble: the record cannot be read.
        """
        return self._status(self._store.find(order_id), order_id), self._store.mark()

    def may_know(self, order_id: str) -> bool:
        """Return whether a request came before, or may have because the record is unreadable."""
        try:
            known = self._store.find(order_id)
        except StoreTrouble:
            return True
        return known is not None and known.state != "withdrawn"

    def sent_by(self, login: int, server: str, asked: BookAsked) -> SentOrders | None:
        """Return the recorded orders of a book, or None if the record cannot be read."""
        try:
            count, entries = self._store.sent_by(login, server, asked, NAMED_AT_ONCE)
            # A refusal in memory counts too: the book would take its key for a new one.
            kept = [
                entry
                for entry in self._unwritten_refusals.values()
                if is_of_book(entry, asked) and (entry.login, entry.server) == (login, server)
            ]
            named = self._readable([*entries, *kept])[-NAMED_AT_ONCE:]
            return SentOrders(count + len(kept), tuple(map(sent_order, named)))
        except StoreTrouble as trouble:
            self._log_trouble(trouble)
            return None

    def answer_doubts(self, asked: Iterable[RequestInDoubt]) -> tuple[RequestStatus, ...]:
        """Return the recorded states of requests whose senders are in doubt.

        A request that never came is withdrawn: if it comes later, it is refused. The result is
        empty if the record cannot be read or written.
        """
        doubts = {doubt.order_id: doubt for doubt in asked}.values()
        try:
            found = [self._withdrawn_or_known(doubt) for doubt in doubts]
            # The terminal may prove an outcome by now, which spares the sender another question.
            if any(status.state is RequestState.UNKNOWN for status in found):
                self._look()
                found = [self._withdrawn_or_known(doubt) for doubt in doubts]
        except StoreTrouble as trouble:
            log.error("[RECORD] %s", trouble)
            return ()
        return tuple(found)

    def tend(self) -> None:
        """Resolve requests that the terminal can prove, and delete old ones; call this often."""
        if self._clocks.age_ns() >= self._look_next_ns:
            self._look()

    def close(self) -> None:
        """Write the delayed entries if possible, and close the record."""
        try:
            self._flush()
        except StoreTrouble as trouble:
            log.error("[RECORD] %s", trouble)
        self._store.close()

    def _find(self, order_id: str, account: AccountInfo | str) -> Entry | None:
        """Return the entry of a request, after opening the record of the account if needed."""
        known = self._store.find(order_id)
        if isinstance(account, str) or (known is not None and known.state != UNOPENED):
            return known
        try:
            is_opened = self._store.serve(account.login, account.server)
        except StoreTrouble as trouble:
            if known is not None:
                # The request came before and may have been executed, whatever failed now.
                return known
            if self._may_have_more(account):
                raise
            raise _NeverCame(str(trouble)) from trouble
        return self._store.find(order_id) if is_opened else known

    def _may_have_more(self, account: AccountInfo) -> bool:
        return self._store.may_have_more(account.login, account.server)

    # The first request with an id.

    def _first(
        self,
        request: Request,
        account: AccountInfo,
        made: Sending,
        send: Callable[[Message], OrderReply],
        may_see: Callable[[int], bool],
    ) -> OrderReply:
        self._crash(GatewayPoint.BEFORE_RECORD)
        # From here on a crash leaves the entry in state "prepared", so the order is in doubt.
        entry = self._entry(request, account, made, "prepared")
        try:
            is_new = self._store.add(entry)
        except StoreTrouble as trouble:
            return self._refused(request, account, not_recorded(request, trouble))
        if not is_new:
            # The id was added after the lookup in `once`: answer from the record.
            return self.once(request, account, lambda: made, send, may_see)
        with self._flight_of(request.order_id):
            self._crash(GatewayPoint.AFTER_RECORD)
            reply = send(made.message)
            self._crash(GatewayPoint.AFTER_SEND)
            self._unwritten_outcomes[request.order_id] = reply
        # The order is sent: a failed write must not change the reply, only delay the entry.
        try:
            self._flush()
        except StoreTrouble as trouble:
            log.error("[RECORD] The outcome of %s is kept in memory: %s", request.order_id, trouble)
        self._crash(GatewayPoint.AFTER_OUTCOME)
        return reply

    def _refused(
        self, request: Request, account: AccountInfo | None, reply: OrderReply
    ) -> OrderReply:
        """Record a refusal, because a copy of the order may arrive when it could be sent."""
        entry = self._refusal(request, account, reply)
        try:
            self._store.add(entry)
        except StoreTrouble as trouble:
            self._log_trouble(trouble)
            self._keep_refusal(entry)
        return reply

    def _refusal(self, request: Request, account: AccountInfo | None, reply: OrderReply) -> Entry:
        entry = self._entry(request, account, None, "settled")
        return entry._replace(reply=_encode(reply), ended_ns=entry.came_ns)

    def _keep_refusal(self, refusal: Entry) -> None:
        """Keep a refusal in memory until it can be written to the store."""
        self._unwritten_refusals[refusal.order_id] = refusal
        if len(self._unwritten_refusals) > UNWRITTEN_REFUSALS_MAX:
            self._unwritten_refusals.pop(next(iter(self._unwritten_refusals)))

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

    def _flush(self) -> None:
        for order_id, entry in list(self._unwritten_refusals.items()):
            # The id may be in a record that could not be read at the time of the refusal.
            if self._store.find(order_id) is None:
                self._store.add(entry)
            self._unwritten_refusals.pop(order_id, None)
        for order_id, reply in list(self._unwritten_outcomes.items()):
            state = "settled" if reply.is_final else "unknown"
            self._store.end(order_id, state, _encode(reply))
            self._unwritten_outcomes.pop(order_id, None)

    def _former_writer(self, request: Request, account: AccountInfo) -> str:
        """Return why the token of an order is refused, or an empty text; count the refusal."""
        why = self._fences.why_not(request.journal, request.token, account)
        if why:
            self._fences.count_refused(request.journal, account)
        return why

    def _count_late(self, request: Request, account: AccountInfo | str) -> None:
        """Count a withdrawn order that arrives, if it is of a former writer."""
        if isinstance(account, str):
            return
        try:
            self._former_writer(request, account)
        except StoreTrouble as trouble:
            # The order is refused in any case.
            self._log_trouble(trouble)

    # A repeated request.

    def _looked_up(self, known: Entry) -> Entry:
        """Return the entry, after a look at the terminal if that may resolve its outcome."""
        if known.ended_ns is None and known.order_id not in self._in_flight:
            self._look()
            return self._store.find(known.order_id) or known
        return known

    def _key_used(self, request: Request, account: AccountInfo) -> str:
        """Return why the key of an order was used before, or an empty text.

        A key whose order was refused is free again, because that order had no effect.
        """
        if not (request.key and request.stream):
            return ""
        # Look at every order under the key: some may be refused and another executed.
        known = self._store.with_key(account.login, account.server, request.stream, request.key)
        for entry in self._readable(known):
            reply = self._unwritten_outcomes.get(entry.order_id) or reply_in(entry)
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
        """Answer an order while the record cannot be read; nothing is sent."""
        first = self._unwritten_outcomes.get(request.order_id)
        if first is not None:
            return msgspec.structs.replace(first, repeated=True)
        if isinstance(account, str) or not self._may_have_more(account):
            # If no earlier request turns up, this request counts as refused.
            self._keep_refusal(self._refusal(request, None, not_recorded(request, trouble)))
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
        # Check what the sender may know before anything about the first request is revealed.
        if known.state == UNOPENED:
            error = "it came before; its outcome is known once the terminal names its account"
            return OrderReply(name, "UNKNOWN", error=error, repeated=True)
        if known.state == ELSEWHERE:
            return not_sent(request, f"order_id={name!r} is in the record of another account")
        if known.login and not may_see(known.login):
            why = "was used before, on an account that this key is not for"
            return not_sent(request, f"order_id={name!r} {why}")
        # A withdrawn id was never sent, so a difference of parameters does not matter for it.
        differs = _difference(request, known) or _other_account(known, account)
        if known.state == "withdrawn":
            self._count_late(request, account)
            words = "its sender asked about it before it arrived, so it was withdrawn"
            return not_sent(request, words)
        if differs:
            return not_sent(request, f"order_id={name!r} was used before with {differs}")
        log.warning("[RECORD] Order %s came again; it is answered from the record", name)
        if name in self._in_flight:
            error = "it came before, and is being carried out"
            return OrderReply(name, "UNKNOWN", error=error, repeated=True)
        # An outcome that could not be written yet is newer than the entry.
        first = self._unwritten_outcomes.get(name) or reply_in(known)
        if first is None:
            error = "the gateway ended while it was sent, and its outcome is not known yet"
            return OrderReply(name, "UNKNOWN", error=error, repeated=True)
        return msgspec.structs.replace(first, repeated=True)

    def _withdrawn_or_known(self, doubt: RequestInDoubt) -> RequestStatus:
        order_id = doubt.order_id
        known = self._store.find(order_id) or self._unwritten_refusals.get(order_id)
        # Without coverage an unknown id does not prove that the order never came.
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
        # An outcome in memory is final even if the store could not take it.
        reply = self._unwritten_outcomes.get(order_id)
        if reply is not None and reply.is_final:
            state = RequestState.SETTLED
        elif reply is None:
            try:
                reply = reply_in(known)
            except StoreTrouble as trouble:
                self._log_damaged(known, trouble)
                state = RequestState.UNKNOWN
        if reply is None:
            if order_id in self._in_flight:
                state = RequestState.PREPARED
            return RequestStatus(order_id, state, known.login, known.server)
        if reply.rest_works is True:
            # Lots and price of a first part are not those of the order.
            reply = OrderReply(order_id, "UNKNOWN", reply.ticket, retcode=reply.retcode)
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
        """Resolve the requests that the terminal proves now, and delete old entries."""
        age_ns = self._clocks.age_ns()
        if self._looked_ns is not None and age_ns - self._looked_ns < LOOK_EVERY_NS:
            return
        self._looked_ns, self._look_next_ns = age_ns, age_ns + LOOK_EVERY_NS
        try:
            self._flush()
            self._resolve(age_ns)
            if age_ns >= self._drop_ns:
                self._drop_ns = age_ns + DROP_EVERY_NS
                self._store.drop_old()
            self._trouble = ""
        except StoreTrouble as trouble:
            self._log_trouble(trouble)

    def _log_trouble(self, trouble: StoreTrouble) -> None:
        if str(trouble) != self._trouble:
            self._trouble = str(trouble)
            log.error("[RECORD] %s", trouble)

    def _resolve(self, age_ns: int) -> None:
        unsettled = self._readable(self._store.unsettled())
        entries = [entry for entry in unsettled if entry.order_id not in self._in_flight]
        if not entries:
            return
        # Requests shortly before show whether this broker changes comments.
        since_ns = entries[0].came_ns - LOOK_BACK_SEC * SECOND_NS
        neighbours = self._readable(self._store.since(since_ns))
        now_ns, waiting_ns = self._now_ns(), self._clocks.waiting_ns()
        for reply in self._investigator.resolve(entries, neighbours, now_ns, waiting_ns):
            self._store.end(reply.order_id, "settled", _encode(reply))
            words = reply.error or f"ticket {reply.ticket}"
            with about_order(reply.order_id):
                log.warning("[RECORD] Order %s: %s, %s", reply.order_id, reply.status, words)
        # Reading days of history every second would load the terminal too much, and an order that
        # the terminal does not show within a minute will not appear soon. So wait ever longer.
        read_ns = self._investigator.readable_since_ns
        pause_ns = LOOK_BLIND_NS
        if read_ns is not None:
            pause_ns = min(waiting_ns - read_ns, now_ns - entries[-1].came_ns) // 10
        self._look_next_ns = age_ns + min(max(pause_ns, LOOK_EVERY_NS), LOOK_RARELY_NS)

    def _readable(self, entries: Iterable[Entry]) -> list[Entry]:
        """Return the entries that are not damaged; the others can be resolved without them."""
        readable = []
        for entry in entries:
            try:
                check(entry)
            except StoreTrouble as trouble:
                self._log_damaged(entry, trouble)
            else:
                readable.append(entry)
        return readable

    def _log_damaged(self, entry: Entry, trouble: StoreTrouble) -> None:
        if entry.order_id not in self._damaged:
            self._damaged.add(entry.order_id)
            with about_order(entry.order_id):
                log.error("[RECORD] %s; its outcome is not known", trouble)


class _NeverCame(StoreTrouble):
    """A request cannot be recorded, and no request with its id came before."""


def not_sent(request: Request, because: str) -> OrderReply:
    """Return the reply to an order that was not passed to the terminal."""
    return OrderReply(request.order_id, "REJECTED", error=f"not sent: {because}")


def not_recorded(request: Request, trouble: StoreTrouble) -> OrderReply:
    """Return the reply to an order that could not be written first."""
    return not_sent(request, f"the gateway cannot record it: {trouble}")


def _difference(request: Request, known: Entry) -> str:
    """Return the parameters that differ from the first request with this id, or an empty text."""
    first, now = parameters_in(known), parameters_of(request)
    if "server" in now and known.server:
        # An earlier release sent no server; the record has the server that the order went to.
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
    """Return why an order is for another account, or an empty text."""
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
