"""`ExecutionGateway`: the client of a gateway.

Queries, orders and prices each have a connection of their own. So an order never waits behind a
query, and giving up a query never affects an order.

Results say only what is known. A failed query is an `Unknown`, never an empty list. An order
without an answer is UNKNOWN, never REJECTED, and is never sent again. REJECTED means that nothing
happened: the broker refused the order, or the order was not sent.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

from trueup.core.account.trust import Reason, Unknown
from trueup.core.book import outcome
from trueup.core.conversions import whole_number
from trueup.core.gateway_record import RecordMark, RequestStatus
from trueup.core.scope import Scope
from trueup.errors import NotSent, OutcomeUnknown, ProtocolError
from trueup.gateway.access.keys import LinkKeys, link_keys
from trueup.gateway.client.claiming import GatewayClaims
from trueup.gateway.client.endpoints import bare, tcp
from trueup.gateway.client.hint_listener import HintListener
from trueup.gateway.client.history_reader import HistoryReader
from trueup.gateway.client.link import HintLine, Link, Signal, Signals, exchange
from trueup.gateway.client.listing import Form
from trueup.gateway.client.reader import PLAIN, Question, Reader, Reading
from trueup.gateway.client.renewals import Renewing
from trueup.gateway.client.zmq_hints import ZmqHints
from trueup.gateway.client.zmq_link import ZmqLink
from trueup.logs import Logger, about_order, logger
from trueup.protocol import guide, orders
from trueup.protocol.claims import CAPABILITY as CLAIM
from trueup.protocol.history import CAPABILITY as HISTORY
from trueup.protocol.history import PastDeals, Span
from trueup.protocol.request_status import decode_status, encode_status_request
from trueup.protocol.text import read_json, reason_of, why_unreadable
from trueup.protocol.ticks import Tick, decode_tick, encode_tick_request
from trueup.turns import Turn

if TYPE_CHECKING:
    from trueup.gateway.client.remote_terminal import RemoteTerminal

log: Logger = logger("trueup.gateway")

# The limit of ZeroMQ (signed, 32 bits): 24 days.
LONGEST_TIMEOUT_MS = 2**31

__all__ = ["ExecutionGateway", "Question", "Reading"]


class ExecutionGateway:
    """A gateway reached over ZeroMQ; connects by itself, and again after every failure.

    Threads may share it: each connection serves one thread at a time, and the others wait for their
    turn. A forked process must make its own.

    Args:
        host: the gateway's host name or address; by default the setting GTW_HOST.
        port: the gateway's TCP port; by default the setting GTW_PORT.
        timeout_ms: how long to wait for a connection, and for a reply; by default GTW_TIMEOUT_MS.
        server_key: the gateway's public key, or the path of its file; "" for plain text; by
            default the setting GTW_SERVER_KEY.
        key_file: the path of this client's own secret key file; by default the setting
            GTW_KEY_FILE.
        link: makes a connection to an endpoint; by default ZeroMQ. A simulation has its own.
        hints: makes a subscription to a hint endpoint; by default ZeroMQ, or none with `link`.
        session: this client's name, unique among all clients; random by default.
        renewals: renews claims; by default a thread of this process. A simulation has its own.

    Raises:
        SettingsError, KeysError: a setting or a key file cannot be used.
        ValueError: port or timeout is not valid.
    """

    def __init__(
        self,
        host: str | None = None,
        port: int | None = None,
        timeout_ms: int | None = None,
        *,
        server_key: str | None = None,
        key_file: str | Path | None = None,
        link: Callable[[str], Link] | None = None,
        hints: Callable[[str], HintLine] | None = None,
        session: str | None = None,
        renewals: Renewing | None = None,
    ) -> None:
        if host is None or port is None or timeout_ms is None:
            # Import here: pydantic takes longer to import than all other modules of a bot together.
            from trueup.settings import load_settings

            settings = load_settings()
            host = settings.gtw_host if host is None else host
            port = settings.gtw_port if port is None else port
            timeout_ms = settings.gtw_timeout_ms if timeout_ms is None else timeout_ms
        if link is None:
            keys = _keys(server_key, key_file)
            link, hints = partial(ZmqLink, keys=keys), hints or partial(self._subscribe, keys)
        self.host: str = bare(str(host))
        self.port: int = _whole("port", port, range(1, 65_536), "a TCP port, from 1 to 65535")
        self.timeout_ms: int = _whole(
            "timeout_ms", timeout_ms, range(1, LONGEST_TIMEOUT_MS), "milliseconds above 0"
        )
        timeout_ms = self.timeout_ms
        self.url: str = tcp(self.host, self.port)
        self.logger = log
        self.why_not_now: Callable[[], str] = lambda: ""
        """Returns why no order may leave now, or an empty text; asked right before each order."""
        self._new_link = partial(link, self.url)
        self._another = partial(
            ExecutionGateway, self.host, self.port, timeout_ms, link=link, hints=hints
        )
        self._reading_link = link(self.url)
        self._reader = Reader(
            self._reading_link, self.url, timeout_ms, session or secrets.token_hex(8)
        )
        self._hints = HintListener(self.host, hints)
        self._queries = _Line(link(self.url), Turn())
        self._orders = _Line(link(self.url), Turn())
        self._prices = _Line(link(self.url), Turn())
        self._reading_signal = _signal_of(self._reading_link)
        self._price_signal = _signal_of(self._prices.link)
        self._reading, self._past = Turn(), Turn()
        self._history = HistoryReader(link(self.url), self.url, timeout_ms)
        self._claims = GatewayClaims(
            self._new_link,
            self.url,
            timeout_ms,
            lambda: CLAIM in self._reader.capabilities,
            renewals,
        )
        self._tick_symbol: str | None = None
        self._tick_waited_ms = 0

    def connect(self) -> bool:
        """Ask the gateway for its positions once; return whether a usable reply came."""
        reading = self.read()
        if isinstance(reading, Unknown):
            log.warning("%s (%s)", reading.sentence, self.url)
            return False
        log.info("Connected to %s", self.url)
        return True

    def get_positions(self) -> dict[str, Any]:
        """Return the gateway's reply to GET_POSITIONS as plain values.

        `status` is SUCCESS with the list in `positions`, or FAILED with the reason in `error`. With
        FAILED an empty list means that the positions could not be read, not that there are none. If
        the list for all symbols is empty, the gateway is asked again without a symbol; see
        `gateway.client.listing`.
        """
        forms = self._reader.forms
        if forms.form is Form.BARE:
            return self._listed(guide.GET_ALL_POSITIONS)
        if forms.form is Form.BY_SYMBOL:
            return self._listed(*map(guide.encode_positions_request, forms.symbols))
        reply = self._listed(guide.GET_POSITIONS)
        if forms.has_shown_a_row or reply.get("positions") != [] or "capabilities" in reply:
            return reply
        # Some gateways take `*` for the name of a symbol, and list nothing for it.
        without_symbol = self._listed(guide.GET_ALL_POSITIONS)
        return without_symbol if without_symbol.get("positions") else reply

    def _listed(self, *questions: bytes) -> dict[str, Any]:
        """Return the reply to a question about positions; several replies are merged."""
        reply: dict[str, Any] = {}
        rows: list[Any] = []
        for question in questions:
            reply = self._asked(question)
            if not isinstance(reply.get("positions"), list) or reply.get("status") == "FAILED":
                return reply
            rows += (row for row in reply["positions"] if row not in rows)
        return {**reply, "positions": rows}

    def _asked(self, question: bytes) -> dict[str, Any]:
        raw = b""
        # All failures become FAILED: an empty success would look like an account without positions.
        try:
            raw = self._exchange(self._queries, question)
            reply = read_json(raw)
        except (NotSent, OutcomeUnknown) as error:
            return {"status": "FAILED", "positions": [], "error": str(error)}
        except (ValueError, RecursionError):
            wrong = f"the reply cannot be read: {why_unreadable(raw)}"
            return {"status": "FAILED", "positions": [], "error": wrong}
        if not isinstance(reply, dict):
            return {"status": "FAILED", "positions": [], "error": "the reply is not an object"}
        return reply

    def send_order(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """Send an order once; return its outcome as far as it is known.

        Args:
            order: `order_id`, `symbol`, `action` (BUY or SELL), `volume` (lots), `price`, and
                optionally `confidence`; further keys are passed on.

        Returns:
            `order_id`, `status`, `ticket`, `filled_price`, `filled_volume` (lots), `error`. The
            status is FILLED, REJECTED (nothing happened) or UNKNOWN (the order may have been
            executed: never send it again, a sync will find out).
        """
        claimed = self._claims.claimed
        if claimed is not None:
            # The gateway refuses the order if it gave this claim to another writer meanwhile.
            order = {**order, "claim": claimed.run}
            journal, token = self._claims.fence
            if token and order.get("journal") == journal:
                # The gateway refuses the order if it knows a newer writer of the journal.
                order = {**order, "token": token}
        why = self.why_not_now()
        if why:
            return orders.spell_outcome(order.get("order_id"), outcome.Refused(f"Not sent: {why}"))
        try:
            message = orders.encode_order(order)
            reply = self._exchange(self._orders, message)
            return orders.decode_outcome(reply, order)
        except (NotSent, ProtocolError) as error:
            return orders.spell_outcome(
                order.get("order_id"), outcome.Refused(f"Not sent: {error}")
            )
        except OutcomeUnknown as error:
            # The message may have reached the broker: only a reconciliation can tell.
            with about_order(str(order.get("order_id") or "")):
                log.error("Order %s: %s", order.get("order_id"), error)
            return orders.spell_outcome(order.get("order_id"), outcome.Unknown(str(error)))

    def claim(self, scope: Scope, journal: str = "", token: int = 0) -> None:
        """Claim a scope of the gateway's account, in place of what this object has claimed so far.

        While the claim is held, no other writer gets a claim that overlaps, and every order of this
        object carries the claim. A thread renews it until `release_claim` or `disconnect`.

        Args:
            scope: magic numbers and symbols (see `core.claims.claimable`), with the names of the
                writer. `run` is the claim's name: a restarted program gives another one. `account`
                is login@server, or empty for the terminal's account.
            journal: the id of the writer's journal. A restarted program with the same stream and
                journal takes its claim over at once.
            token: the writer's fencing token of that journal (`StoredJournal.token`), 0 for none.
                The gateway records the token on disk before it replies, and refuses requests with
                an older token of the journal from then on. Orders and questions carry it as well.

        Raises:
            FormerWriter: the gateway knows a newer token of the journal; nothing was claimed.
            ClaimRefused: another writer claimed a part of the scope; the claim so far stays.
            Refused: the gateway does not serve CLAIM.
            NotSent: nothing was claimed; a retry is safe.
            OutcomeUnknown, RemoteProtocolError: no usable answer came; a retry is safe.
            ValueError: the scope is not valid.
        """
        self._claims.claim(scope, journal, token)
        self._reader.claim = scope.run
        self._reader.fence = self._claims.fence

    def name_journal(self, journal: str) -> None:
        """Tell the gateway the id of the claim's journal, which may get its id after the claim.

        The gateway is told soon, in the thread that renews the claim; without a claim, never.
        """
        self._claims.name_journal(journal)
        self._reader.fence = self._claims.fence

    def release_claim(self) -> None:
        """Give the claim up; a second call does nothing."""
        self._reader.claim, self._reader.fence = "", ("", 0)
        self._claims.release()

    @property
    def claimed(self) -> Scope | None:
        """The scope that this object claimed last, or None."""
        return self._claims.claimed

    @property
    def is_fenced(self) -> bool:
        """Whether the gateway has recorded the token of the claim, so older ones are refused."""
        token = self._claims.fence[1]
        return bool(token) and self._claims.recorded_token == token

    @property
    def refused_orders(self) -> int:
        """How many orders of former writers of the journal the gateway has refused so far."""
        return self._claims.refused_orders

    def request_status(self, order_id: str) -> RequestStatus | Unknown:
        """Ask the gateway's record for the outcome of an order, and wait for the answer.

        Returns Unknown if the record cannot be asked: OFFLINE, or NO_EVIDENCE for a gateway without
        a record of requests. Such a gateway, for example the guide's, is never sent this question.
        """
        why_not = None if self._reader.keeps_record else self._why_no_record()
        if why_not is not None:
            return why_not
        try:
            reply = self._exchange(self._queries, encode_status_request(order_id))
        except (NotSent, OutcomeUnknown) as error:
            return _offline(str(error))
        return decode_status(reply, order_id)

    def read_history(self, span: Span, symbols: tuple[str, ...] = ()) -> PastDeals | Unknown:
        """Return all position deals in a span of the trade server's clock; waits for each page.

        Returns Unknown if they cannot be read: OFFLINE or UNREADABLE, or NO_EVIDENCE for a gateway
        that does not serve HISTORY. Such a gateway, for example the guide's, is never sent this
        question.

        Args:
            span: the time span.
            symbols: the symbols of the wanted deals; empty for all.
        """
        why_not = None if self.serves_history else self._why_no_history()
        if why_not is not None:
            return why_not
        with self._past:
            return self._history.read(span, symbols)

    def ask_history(self, span: Span, symbols: tuple[str, ...] = ()) -> None:
        """Begin to ask a gateway that `serves_history` for the deals of a span; never waits."""
        with self._past:
            self._history.ask(span, symbols)

    def poll_history(self, now_ns: int) -> PastDeals | Unknown | None:
        """Continue `ask_history`, and return the deals once all have arrived; never waits.

        Args:
            now_ns: the caller's clock for waiting.
        """
        with self._past:
            return self._history.poll(now_ns)

    @property
    def serves_history(self) -> bool:
        """Whether the gateway has said that it serves its deals page by page."""
        return HISTORY in self._reader.capabilities

    @property
    def serves_terms(self) -> bool:
        """Whether the gateway said that it heeds the terms of an order; see `core.book.terms`."""
        return "TERMS" in self._reader.capabilities

    def serves(self, capability: str) -> bool:
        """Return whether the gateway serves a capability; asks on the guide's wire if not known."""
        if capability in self._reader.capabilities:
            return True
        return capability in guide.capabilities_of(self._asked(guide.GET_POSITIONS))

    def _why_no_history(self) -> Unknown | None:
        words = f"{self.url} has no deals to compare with: it does not serve {HISTORY}"
        return self._why_not_served(
            HISTORY, words, "a gateway that serves its deals, `trueup gateway`"
        )

    def _why_no_record(self) -> Unknown | None:
        words = f"{self.url} keeps no record of requests"
        return self._why_not_served("REQUEST_STATUS", words, "a gateway that keeps one")

    def _why_not_served(self, capability: str, words: str, until: str) -> Unknown | None:
        """Return why the gateway does not serve a capability, or None; asks on the guide's wire.

        The terminal may be busy, so a failed query is not taken for a missing capability.
        """
        reply = self._asked(guide.GET_POSITIONS)
        if capability in guide.capabilities_of(reply):
            return None
        if reply.get("status") == "FAILED":
            return _offline(reason_of(reply))
        return Unknown(Reason.NO_EVIDENCE, words, until)

    @property
    def record(self) -> RecordMark | None:
        """The mark of the gateway's record of requests at the latest reading, or None."""
        return self._reader.record

    @property
    def time_offset_sec(self) -> int | None:
        """The trade server's clock minus UTC, by the latest fresh quotation; None before."""
        return self._reader.time_offset_sec

    def get_tick(self, symbol: str, wait_ms: int | None = None) -> Tick | Unknown | None:
        """Return the latest price of a symbol, waiting at most `wait_ms` (default `timeout_ms`).

        None means that the answer has not arrived yet: a later call returns it. Unknown means that
        there is no price: OFFLINE, or UNREADABLE for a gateway that serves no prices.
        """
        if wait_ms is None:
            wait_ms = self.timeout_ms
        wait_ms = _whole("wait_ms", wait_ms, range(LONGEST_TIMEOUT_MS), "milliseconds, 0 or above")
        with self._prices.turn:
            return self._tick(symbol, wait_ms)

    def _tick(self, symbol: str, wait_ms: int) -> Tick | Unknown | None:
        try:
            # One question is under way per connection; for another symbol it must be given up.
            if self._tick_symbol != symbol:
                self._forget_tick()
                self._prices.link.send(encode_tick_request(str(symbol)), wait_ms)
                self._tick_symbol, self._tick_waited_ms = symbol, 0
            reply = self._prices.link.receive(wait_ms)
        except (NotSent, OutcomeUnknown) as error:
            self._tick_symbol = None
            return _offline(str(error))
        if reply is not None:
            self._tick_symbol = None
            return decode_tick(reply, symbol)
        # Count at least 1 ms, so that calls that do not wait reach the timeout as well.
        self._tick_waited_ms += max(wait_ms, 1)
        if self._tick_waited_ms < self.timeout_ms:
            return None
        self._forget_tick()
        return _offline(f"{self.url} gave no price within {self.timeout_ms} ms")

    def _forget_tick(self) -> None:
        if self._tick_symbol is not None:
            self._prices.link.reset()
        self._tick_symbol = None

    def another(self) -> ExecutionGateway:
        """Return a client of the same gateway with connections of its own.

        Its questions do not wait behind the orders and readings of this client.
        """
        return self._another()

    def terminal(self) -> RemoteTerminal:
        """Return the terminal behind the gateway: the official module's reading functions.

        It has a connection of its own, so that prices of the past never wait in front of an order.
        """
        # Imported here: a bot that asks for no prices of the past does not pay for it.
        from trueup.gateway.client.remote_terminal import RemoteTerminal

        return RemoteTerminal(self._new_link(), self.url, self.timeout_ms)

    def disconnect(self) -> None:
        """Close all connections and give the claim up; the next request connects again."""
        self.release_claim()
        self._tick_symbol = None
        with self._reading:
            self._reader.close()
            self._hints.close()
        for line in (self._queries, self._orders, self._prices):
            with line.turn:
                line.link.close()
        with self._past:
            self._history.close()

    def __enter__(self) -> ExecutionGateway:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.disconnect()

    # The methods that a reconciler uses.

    def read(self, question: Question = PLAIN) -> Reading:
        """Ask for the broker's positions and wait for the answer; see `Reader.read`."""
        with self._reading:
            self._hints.asked()
            return self._reader.read(question)

    def ask(self, question: Question = PLAIN) -> None:
        """Begin to ask for the broker's positions; never waits."""
        with self._reading:
            self._hints.asked()
            self._reader.ask(question)

    def poll(self) -> Reading | None:
        """Return the answer to `ask` if it has arrived; never waits."""
        with self._reading:
            return self._reader.poll()

    def give_up(self) -> Reading:
        """Give up the question under way; its answer cannot be taken for a later one's."""
        with self._reading:
            return self._reader.give_up()

    @property
    def messages_sent(self) -> int:
        """How many messages `read` and `ask` have sent; a question may need several."""
        return self._reader.messages_sent

    def hint(self, now_ns: int) -> str:
        """Return why to ask now, by the gateway's hints; empty if there is no reason; never waits.

        Args:
            now_ns: the time by the caller's clock.
        """
        with self._reading:
            return self._hints.reason(self._reader.hints_port, self._reader.digest, now_ns)

    def signals(self) -> Signals:
        """Return where a reading, a hint and a price are signalled; for a loop that never waits."""
        with self._reading:
            # A caller that waits for a hint does not ask for one before it has come.
            self._hints.listen(self._reader.hints_port)
            line = self._hints.line
            reading = self._reading_signal()
            hint = None if line is None else _signal_of(line)()
        with self._prices.turn:
            return Signals(reading, hint, self._price_signal())

    def rest(self) -> None:
        """Close the connection for readings; the next question opens it again.

        For a gateway that is away: an open connection is tried again by itself, ten times a second.
        """
        with self._reading:
            self._reading_link.close()

    def _subscribe(self, keys: LinkKeys | None, endpoint: str) -> HintLine:
        found = getattr(self._queries.link, "is_ipv6", False)
        return ZmqHints(endpoint, keys=keys, is_ipv6=found)

    def _exchange(self, line: _Line, message: bytes) -> bytes:
        with line.turn:
            return exchange(line.link, message, self.timeout_ms, self.url)


class _Line(NamedTuple):
    """A connection, and the lock by which one thread at a time asks and gets its answer."""

    link: Link
    turn: Turn


def _whole(name: str, value: object, fitting: range, valid: str) -> int:
    found = whole_number(value)
    if found is None or found not in fitting:
        raise ValueError(f"{name}={value!r:.40} is not valid: give {valid}.")
    return found


def _keys(server_key: str | None, key_file: str | Path | None) -> LinkKeys | None:
    """Return the given keys, or those of the settings; None for plain text."""
    if server_key is None:
        from trueup.settings import load_settings

        settings = load_settings()
        server_key = settings.gtw_server_key
        key_file = settings.gtw_key_file if key_file is None else key_file
    if not server_key and key_file is None:
        return None
    return link_keys(server_key, str(key_file or ""))


def _signal_of(line: object) -> Callable[[], Signal | None]:
    """Return the method of a connection that tells its signal; a simulation's has none."""
    found: Callable[[], Signal | None] = getattr(line, "signal", _no_signal)
    return found


def _no_signal() -> Signal | None:
    return None


def _offline(reason: str) -> Unknown:
    return Unknown(Reason.OFFLINE, f"Gateway offline - {reason}")
