"""Check the gateway and its terminal: answers, protocol, clock, account, latency."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from trueup.core.account.trust import Bound, Reason, Unknown, judge
from trueup.core.model import Evidence, Snapshot, TerminalState
from trueup.core.scope import Scope
from trueup.errors import NotSent, OutcomeUnknown
from trueup.gateway.client.link import Link
from trueup.observe.doctor_text import DoctorRow, Mark, not_asked, ok, sick, warn
from trueup.protocol import guide
from trueup.protocol.snapshot import (
    NAMED_AT_ONCE,
    VERSION,
    SnapshotRequest,
    decode_snapshot,
    encode_snapshot_request,
)
from trueup.protocol.text import read_json
from trueup.runtime.doctor.books import CHECKS as BOOKS
from trueup.runtime.doctor.books import NO_SNAPSHOT, BooksCheck
from trueup.runtime.doctor.line import BLIND, Target
from trueup.runtime.doctor.terminal import ALL_REFUSED, account_row, connected_row, trade_row
from trueup.runtime.time.clock import Clock

CHECKS = (
    *("answers", "protocol", "clock", "reading"),
    *("terminal connected", "trade allowed", "account", *BOOKS, "latency"),
)
SAMPLES = 50
# A bot's clock dates the audit trail and tells the age of a reading; two seconds do no harm there.
CLOCK_APART_SEC = 2.0
SEE_TO_THE_ROW = "look at this row in the terminal, and ask the broker about it"
# A gateway of ours gives these itself, and answers everything else.
TOLD_BELOW = frozenset({Reason.NOT_CONNECTED, Reason.WRONG_ACCOUNT})


# An empty name: the doctor asks about all books, and is not a book itself.
NO_BOOK = Scope("")


class GatewayVisit:
    """A visit to a gateway.

    Args:
        target: the gateway's address, for messages, and the timeout.
        link: a connection to the gateway.
        clock: the clock for durations and for the comparison with the gateway's clock.
        bound: the account that the book belongs to, or None if no journal tells.
        session: the name of this visit, unique among all clients.
        symbols: the symbols of this folder's bots, and further symbols to check.
        intended: the account that the setting TRUEUP_ACCOUNT names, or None.
    """

    def __init__(
        self,
        target: Target,
        link: Link,
        clock: Clock,
        bound: Bound | None,
        session: str,
        symbols: Sequence[str] = (),
        intended: Bound | None = None,
    ) -> None:
        self._target, self._link, self._clock = target, link, clock
        self._bound, self._session, self._symbols = bound, session, symbols
        self._intended = intended
        self._capabilities: tuple[str, ...] = ()
        # The reply to HELLO, with the role of our key; an older gateway does not tell the role.
        self._hello: dict[str, Any] = {}
        # Why the gateway has no list to send, if its connection works and its terminal does not.
        self._refusal: Unknown | None = None
        self._reading: Snapshot | Unknown | None = None
        self._asked = 0

    def rows(self) -> Iterator[DoctorRow]:
        """Yield a row for each check; without a first answer the others are not made."""
        answers = self._answers()
        yield answers
        if answers.mark is Mark.SICK:
            yield from unasked(CHECKS[1:])
            return
        # The latency check last: its many requests may exceed the gateway's rate limit.
        for check in (
            *(self._protocol, self._clocks, self._believed),
            *(self._connected, self._trade_allowed, self._account),
        ):
            yield check()
        yield from BooksCheck(self._symbols, self._snapshot).rows(self._reading)
        yield self._latency()

    def _answers(self) -> DoctorRow:
        raw = self._ask(guide.GET_POSITIONS)
        if raw is None:
            return sick(
                "answers",
                f"no reply to GET_POSITIONS within {self._target.timeout_ms} ms",
                BLIND,
                "look at the gateway's log: it hangs, or its terminal does; or raise "
                "GTW_TIMEOUT_MS",
            )
        reading = guide.decode_positions(raw)
        if isinstance(reading, Unknown):
            return self._no_list(reading)
        self._capabilities = reading.capabilities
        if reading.faults and not self._capabilities:
            risk = "the bot corrects nothing, and opens no position"
            remedy = "`trueup conformance` says what is wrong with this gateway's replies"
            return sick("answers", f"the list cannot be read: {reading.faults[0]}", risk, remedy)
        count = len(reading.positions)
        return ok("answers", f"{count} open position{'s' * (count != 1)}", positions=count)

    def _no_list(self, unknown: Unknown) -> DoctorRow:
        """Return the row of a gateway that answers and has no list to send."""
        if unknown.reason in TOLD_BELOW:
            # The rows of the terminal and of the account have the finding.
            self._refusal = unknown
            self._hello = self._ask_fields({"action": "HELLO"})
            self._capabilities = guide.capabilities_of(self._hello)
            return ok("answers", "yes, without a list of positions: see below")
        # A gateway that answers with a failure: the terminal, not the connection, is the cause.
        remedy = "look at the gateway's log, and whether the terminal runs and is logged in"
        return sick("answers", unknown.sentence, BLIND, remedy)

    def _protocol(self) -> DoctorRow:
        if not self._capabilities:
            return warn(
                "protocol",
                f"the guide's wire only: its readings carry no proof{self._hidden()}",
                "an incomplete list looks like closed positions, so the bot checks with care",
                "serve the terminal with `trueup gateway`",
            )
        # Different versions may read the same field differently, so they must not trade.
        self._hello = hello = self._hello or self._ask_fields({"action": "HELLO"})
        version, serves = hello.get("version"), ", ".join(self._capabilities)
        found = f"{hello.get('server', 'a gateway')}, protocol {version}; serves {serves}"
        if version != VERSION:
            remedy = f"install the same trueup on both machines; this one speaks {VERSION}"
            risk = "both may read the same field in another way, so the bot believes nothing"
            return sick("protocol", found, risk, remedy, ours=VERSION, theirs=version)
        return ok("protocol", found, ours=VERSION, theirs=version)

    def _hidden(self) -> str:
        """Name a position that a gateway of the guide hides for the symbol `*`, or return ''."""
        found = ""
        for _ in range(2):
            # A position that opened between two requests is in both lists the next time.
            found = self._hidden_now()
            if not found:
                return ""
        return found

    def _hidden_now(self) -> str:
        star = self._tickets(guide.GET_POSITIONS)
        forms = {"without a symbol": guide.GET_ALL_POSITIONS} | {
            f"for {symbol}": guide.encode_positions_request(symbol) for symbol in self._symbols
        }
        for how, question in forms.items():
            hidden = self._tickets(question) - star
            if hidden:
                return (
                    f"; asked {how} it shows ticket {min(hidden)}, and for the symbol * it does "
                    "not: a bot asks in the form that shows more"
                )
        return ""

    def _tickets(self, question: bytes) -> set[int]:
        raw = self._ask(question)
        reading = guide.read_positions(None) if raw is None else guide.decode_positions(raw)
        if isinstance(reading, Unknown):
            return set()
        return {position.ticket for position in reading.positions}

    def _latency(self) -> DoctorRow:
        ping = {"action": "PING"} if self._capabilities else None
        message = guide.GET_POSITIONS if ping is None else msgspec.json.encode(ping)
        question = "GET_POSITIONS" if ping is None else "PING"
        # PING is answered without the terminal, so the time is that of network and gateway.
        took_ms: list[float] = []
        for _ in range(SAMPLES):
            begin_ns = self._clock.waiting_ns()
            if self._ask(message) is None:
                remedy = "look for lost packets between the machines, and at the gateway's log"
                found = f"{question} {len(took_ms) + 1} got no answer"
                risk = "an order whose answer is lost is in doubt until the broker shows it"
                return sick("latency", found, risk, remedy)
            took_ms.append((self._clock.waiting_ns() - begin_ns) / 1e6)
        took_ms.sort()
        p50, p99 = took_ms[SAMPLES // 2], took_ms[SAMPLES * 99 // 100]
        figures = {"p50_ms": round(p50, 3), "p99_ms": round(p99, 3), "samples": SAMPLES}
        found = f"p50 {p50:.1f} ms, p99 {p99:.1f} ms ({SAMPLES} x {question})"
        # A small margin to the timeout means orders in doubt on a slow day.
        if p99 > self._target.timeout_ms / 2:
            remedy = f"raise GTW_TIMEOUT_MS, now {self._target.timeout_ms}, or shorten the way"
            risk = "on a slow day answers come too late, and orders are in doubt"
            return warn("latency", found, risk, remedy, **figures)
        return ok("latency", found, **figures)

    def _clocks(self) -> DoctorRow:
        if not self._capabilities:
            return not_asked("clock", "this gateway does not tell its time")
        begin_ns = self._clock.now_ns()
        reply = self._ask_fields({"action": "PING", "uuid": self._session})
        end_ns = self._clock.now_ns()
        theirs = _moment(reply.get("server_time"))
        if theirs is None:
            return not_asked("clock", "this gateway does not tell its time")
        # The gateway read its clock between the two times, and rounds to milliseconds.
        apart_sec = theirs.timestamp() - (begin_ns + end_ns) / 2e9
        doubt_sec = (end_ns - begin_ns) / 2e9 + 0.001
        found = f"the gateway's is {_apart(apart_sec, doubt_sec)}"
        if abs(apart_sec) - doubt_sec > CLOCK_APART_SEC:
            remedy = "synchronise both machines' clocks (NTP; on Windows `w32tm /resync`)"
            risk = "dates in the audit trail are wrong, and risk limits take another day's figures"
            return warn("clock", found, risk, remedy, apart_sec=round(apart_sec, 3))
        return ok("clock", found, apart_sec=round(apart_sec, 3))

    def _believed(self) -> DoctorRow:
        if "SNAPSHOT" not in self._capabilities:
            return not_asked("reading", NO_SNAPSHOT)
        self._reading = reading = self._snapshot(self._symbols)
        # The account and the terminal's connection have rows of their own.
        verdict = (
            reading if isinstance(reading, Unknown) else judge(_connected(reading), None, None)
        )
        if isinstance(verdict, Unknown):
            if verdict.reason in TOLD_BELOW:
                return not_asked("reading", "no list: see below")
            remedy = f"it ends with {verdict.until}; `trueup conformance` examines the gateway"
            risk = "the bot corrects nothing and opens no position; closing stays allowed"
            return sick("reading", verdict.sentence, risk, remedy)
        if verdict.snapshot.faults:
            risk = "nothing is opened in its symbol"
            return sick("reading", f"in part: {verdict.snapshot.faults[0]}", risk, SEE_TO_THE_ROW)
        return ok("reading", "list, counts, digest and account agree")

    def _snapshot(self, symbols: Sequence[str]) -> Snapshot | Unknown:
        self._asked += 1
        named = tuple(symbols[:NAMED_AT_ONCE])
        request = SnapshotRequest(self._session, self._asked, named, scope=NO_BOOK)
        raw = self._ask(encode_snapshot_request(request))
        return guide.read_positions(None) if raw is None else decode_snapshot(raw, self._asked)

    def _connected(self) -> DoctorRow:
        if self._refusal is not None and self._refusal.reason is Reason.NOT_CONNECTED:
            return connected_row(TerminalState(connected=False))
        evidence = self._evidence()
        if isinstance(evidence, str):
            return not_asked("terminal connected", evidence)
        return connected_row(evidence.terminal)

    def _trade_allowed(self) -> DoctorRow:
        evidence = self._evidence()
        if isinstance(evidence, str):
            return not_asked("trade allowed", evidence)
        return trade_row(evidence.terminal, evidence.account, str(self._hello.get("role", "")))

    def _evidence(self) -> Evidence | str:
        """Return the evidence of the reading, or why there is none."""
        if isinstance(self._reading, Snapshot) and self._reading.evidence is not None:
            return self._reading.evidence
        return NO_SNAPSHOT if self._reading is None else "no reading"

    def _account(self) -> DoctorRow:
        if self._refusal is not None and self._refusal.reason is Reason.WRONG_ACCOUNT:
            remedy = "log the terminal in to the account that the gateway serves"
            return sick("account", self._refusal.sentence, ALL_REFUSED, remedy)
        evidence = self._evidence()
        if isinstance(evidence, str):
            return not_asked("account", evidence)
        return account_row(evidence, self._bound, self._intended)

    def _ask(self, message: bytes) -> bytes | None:
        try:
            self._link.send(message, self._target.timeout_ms)
            reply = self._link.receive(self._target.timeout_ms)
        except (NotSent, OutcomeUnknown):
            reply = None
        if reply is None:
            self._link.reset()
        return reply

    def _ask_fields(self, request: Mapping[str, Any]) -> dict[str, Any]:
        try:
            found = read_json(self._ask(msgspec.json.encode(request)) or b"")
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}


def unasked(checks: tuple[str, ...]) -> Iterator[DoctorRow]:
    """Return rows for checks that could not be made."""
    return (not_asked(check, "not asked") for check in checks)


def _connected(reading: Snapshot) -> Snapshot:
    evidence = reading.evidence
    if evidence is None:
        return reading
    terminal = msgspec.structs.replace(evidence.terminal, connected=True)
    evidence = msgspec.structs.replace(evidence, terminal=terminal)
    return msgspec.structs.replace(reading, evidence=evidence)


def _moment(text: object) -> dt.datetime | None:
    try:
        moment = dt.datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return moment if moment is not None and moment.tzinfo is not None else None


def _apart(apart_sec: float, doubt_sec: float) -> str:
    """Return the difference of two clocks as text, with its uncertainty."""
    if abs(apart_sec) <= doubt_sec:
        return f"ours, to {doubt_sec * 1000:.0f} ms"
    way = "ahead of" if apart_sec > 0 else "behind"
    return f"{abs(apart_sec):.3f} s {way} ours, give or take {doubt_sec:.3f} s"
